"""Clocks that people hold, move, let go on and take away, counted minute by minute, come to the same rungs."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.ladder import Note, timer_of
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from tests.core.play import Play
from tests.core.test_clocks import rungs
from tests.core.test_steering import steer
from tests.core.visits import V, played, tell
from tests.properties.test_clocks_by_minute import MOVES, Counted, Told, live

END = 3500
ORDERS = {"pause": ClockPaused, "resume": ClockResumed, "cancel": ClockCancelled}
Taken = tuple[str, str]


@dataclass
class Steered(Counted):
    """A visit whose clocks people steer. `off` is by how many minutes a target was moved; `done` are the orders that were taken."""

    off: dict[str, int] = field(default_factory=lambda: {"booked": 0, "solving": 0})
    held: set[str] = field(default_factory=set[str])
    gone: set[str] = field(default_factory=set[str])
    done: list[Taken] = field(default_factory=list[Taken])

    def pass_minute(self) -> None:
        before = dict(self.used)
        super().pass_minute()
        self.used |= {clock: before[clock] for clock in self.held}

    def is_due(self, clock: str) -> bool:
        aim, share, repeat = self.target(clock) + self.off[clock], (0.75 if clock == "booked" else 0.5), (20 if clock == "booked" else 120)
        level, runs = self.level[clock], self.state in (("booked",) if clock == "booked" else ("booked", "working", "stuck"))
        point = aim * share if level == 0 else aim + (level - 1) * repeat
        return runs and clock not in self.held | self.gone and level < 102 and self.used[clock] >= point

    def target(self, clock: str) -> int:
        return 40 if clock == "booked" else 60 * self.hours

    def take(self, what: str, hours: int) -> None:
        word, _, clock = what.partition(" ")
        if not clock:
            super().take(what, hours)
            if self.state in ("solved", "dropped"):
                self.held.discard("solving")
        elif self.is_there(clock):
            self.order(word, clock, hours)

    def is_there(self, clock: str) -> bool:
        states = ("booked",) if clock == "booked" else ("booked", "working", "asking", "stuck")
        return clock not in self.gone and self.state in states

    def order(self, word: str, clock: str, by: int) -> None:
        if (word, clock in self.held) in (("pause", True), ("resume", False)):
            return
        if word == "move":
            if self.level[clock] >= 2:
                return
            self.off[clock] = max(self.target(clock) + self.off[clock] + by, self.used[clock]) - self.target(clock)
        elif word == "cancel":
            self.gone.add(clock)
        else:
            (self.held.add if word == "pause" else self.held.discard)(clock)
        self.done.append((clock, word))


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[Told]]:
    """Everything on a multiple of four minutes, so that each share of a target is a whole minute."""
    orders = [f"{word} {clock}" for word in (*ORDERS, "move", "move", "pause", "resume") for clock in ("booked", "solving", "solving")]
    kinds = st.sampled_from([*sorted(MOVES), *orders])
    minute, told = 0, list[Told]()
    for gap, what in draw(st.lists(st.tuples(st.integers(0, 50), kinds), max_size=14)):
        minute += 4 * gap
        told.append((minute, what, draw(st.integers(-15, 15)) * 20 if " " in what else draw(st.integers(1, 5))))
    return draw(st.integers(1, 5)), told


def step(play: Play, minute: int, what: str, more: int) -> None:
    word, _, clock = what.partition(" ")
    if not clock:
        tell(play, (minute, what, more))
    elif timer_of(clock) in play.entities[V].clocks:
        order: ClockOrder = ClockMoved(clock=clock, by=more * 60.0) if word == "move" else ORDERS[word](clock=clock)
        steer(play, minute, order)


def taken(play: Play) -> list[Taken]:
    words = {"moved": "move", "paused": "pause", "resumed": "resume", "cancelled": "cancel"}
    notes = [note for row in play.all.history if row.clocks for note in msgspec.json.decode(row.clocks, type=list[Note])]
    return [(note.clock, words[note.what]) for note in notes if note.what in words]


@settings(max_examples=200, deadline=None)
@given(lives(), st.lists(st.integers(0, END), max_size=4))
def test_counting_minutes_comes_to_the_same_rungs_under_peoples_orders(life: tuple[int, list[Told]], looks: list[int]) -> None:
    hours, told = life
    expected = Steered(hours=hours)
    live(expected, told, END)
    play = played((0, "booked", hours))
    for one in sorted([*told, *((look, "fire", 0) for look in looks)], key=lambda one: (one[0], one[1] != "fire")):
        step(play, *one)
    step(play, END, "fire", 0)
    assert taken(play) == expected.done
    assert (sorted(rungs(play), key=lambda r: r[2]), play.state(V)) == (sorted(expected.said, key=lambda r: r[2]), expected.state)
    assert play.balanced()
