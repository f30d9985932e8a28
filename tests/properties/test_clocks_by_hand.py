"""Clocks that people hold, let go on, move and cancel, counted minute by minute, come to the same rungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.order import Steer
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from tests.core.play import at
from tests.core.test_clocks import rungs
from tests.core.visits import V, event, played
from tests.properties.test_clocks_by_minute import MOVES, Counted

ORDERS = ("paused", "resumed", "moved", "cancelled")
Told = tuple[int, str, str, int]
"""Minute; an event or an order; the clock of an order; hours of an event, or by how many quarters of an hour a clock is moved."""


@dataclass
class ByHand(Counted):
    """`held` and `ended` by people or for good, `more` minutes by clock."""

    held: set[str] = field(default_factory=set[str])
    ended: set[str] = field(default_factory=set[str])
    more: dict[str, int] = field(default_factory=lambda: {"booked": 0, "solving": 0})

    def runs(self, clock: str) -> bool:
        here = self.state == "booked" or (clock == "solving" and self.state in ("working", "stuck"))
        return here and clock not in self.held | self.ended

    def pass_minute(self) -> None:
        for clock in ("booked", "solving"):
            self.used[clock] += self.runs(clock)

    def is_due(self, clock: str) -> bool:
        goal = (40 if clock == "booked" else 60 * self.hours) + self.more[clock]
        share, repeat = (0.75, 20) if clock == "booked" else (0.5, 120)
        level = self.level[clock]
        point = goal * share if level == 0 else goal + (level - 1) * repeat
        return self.runs(clock) and level < 102 and self.used[clock] >= point

    def take(self, what: str, hours: int) -> None:
        super().take(what, hours)
        if self.state in ("solved", "dropped"):
            self.held.discard("solving")

    def order(self, what: str, clock: str, more: int) -> None:
        """What does not fit is refused."""
        there = clock == "solving" or self.state == "booked"
        over = self.state in ("solved", "dropped") or clock in self.ended or not there
        if what == "paused" and not over:
            self.held.add(clock)
        elif what == "resumed" and there:
            self.held.discard(clock)
        elif what == "moved" and not over and self.level[clock] < 2:
            target = 40 if clock == "booked" else 60 * self.hours
            self.more[clock] = max(target + self.more[clock] + more, self.used[clock]) - target
        elif what == "cancelled" and not over:
            self.ended.add(clock)


def live(visit: ByHand, told: Sequence[Told], until: int) -> None:
    for minute in range(until + 1):
        if minute:
            visit.pass_minute()
        visit.ring(minute)
        for _, what, clock, more in [one for one in told if one[0] == minute]:
            if what in ORDERS:
                visit.order(what, clock, more * 4)
            else:
                visit.take(what, more)
            visit.ring(minute)


@st.composite
def lives(draw: st.DrawFn) -> list[Told]:
    whats = st.one_of(st.sampled_from(sorted(MOVES)), st.sampled_from(ORDERS))
    gaps = draw(st.lists(st.tuples(st.integers(0, 120), whats, st.sampled_from(["booked", "solving"]), st.integers(1, 5)), max_size=12))
    minute, told = 0, list[Told]()
    for gap, what, clock, more in gaps:
        minute += gap
        told.append((minute, what, clock, more if what != "moved" else draw(st.integers(-20, 20))))
    return told


def ordered(what: str, clock: str, minutes: int) -> ClockOrder:
    if what == "moved":
        return ClockMoved(clock=clock, by=minutes * 60.0)
    return {"paused": ClockPaused, "resumed": ClockResumed, "cancelled": ClockCancelled}[what](clock=clock)


@settings(max_examples=300, deadline=None)
@given(lives())
def test_rungs_are_those_of_the_minutes_counted(told: list[Told]) -> None:
    visit, until = ByHand(), max((one[0] for one in told), default=0) + 700
    live(visit, told, until)
    play = played((0, "booked", 4))
    play.fire(V, 0)
    for n, (minute, what, clock, more) in enumerate(told):
        play.now = at(minute)
        if what in ORDERS:
            play.fire(V, minute)
            if (reading := play.entities[V].clocks.get(f"sla {clock}")) is not None:
                play.order(Steer(V, ordered(what, clock, more * 4), reading, "ann", "x"), "desk")
        else:
            play.fire(V, minute)
            play.send((event(what, more), minute, f"e{n}"))
    play.fire(V, until)
    assert rungs(play) == visit.said
    assert play.state(V) == visit.state
