"""The clocks of a visit, counted minute by minute in the simplest way there is, come to the same rungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.play import Play
from tests.core.test_clocks import Rung, rungs
from tests.core.visits import V, app, event, played

MOVES: dict[str, dict[str, str]] = {
    "begun": {"booked": "working", "asking": "working", "stuck": "working"},
    "asked": {"booked": "asking", "working": "asking"},
    "solved": dict.fromkeys(("booked", "working", "asking", "stuck"), "solved"),
    "dropped": dict.fromkeys(("booked", "working", "asking", "stuck"), "dropped"),
    "failed": {"solved": "working", "dropped": "working"},
    "rated": {},
}
Told = tuple[int, str, int]


@dataclass
class Counted:
    """One visit. `used` are the minutes of each clock, `level` its next rung; `said` what was told."""

    state: str = "booked"
    hours: int = 4
    used: dict[str, int] = field(default_factory=lambda: {"booked": 0, "solving": 0})
    level: dict[str, int] = field(default_factory=lambda: {"booked": 0, "solving": 0})
    said: list[Rung] = field(default_factory=list[Rung])

    def pass_minute(self) -> None:
        self.used["booked"] += self.state == "booked"
        self.used["solving"] += self.state in ("booked", "working", "stuck")

    def ring(self, minute: int) -> None:
        """What is due, in the order of names, again until nothing is."""
        while due := [clock for clock in ("booked", "solving") if self.is_due(clock)]:
            clock, level = due[0], self.level[due[0]]
            self.said.append((clock, ("warned", "breached", "escalated")[min(level, 2)], float(minute)))
            self.level[clock] += 1
            if clock == "solving" and level == 1 and self.hours == 1 and self.state in ("booked", "working"):
                self.state = "stuck"

    def is_due(self, clock: str) -> bool:
        target, warn, repeat = (40, 30, 20) if clock == "booked" else (60 * self.hours, 30 * self.hours, 120)
        runs = self.state == "booked" or (clock == "solving" and self.state in ("working", "stuck"))
        points = (warn, target)
        level = self.level[clock]
        return runs and level < 102 and self.used[clock] >= (points[level] if level < 2 else target + (level - 1) * repeat)

    def take(self, what: str, hours: int) -> None:
        if what == "rated":
            self.hours = hours
        self.state = MOVES[what].get(self.state, self.state)


def live(visit: Counted, told: Sequence[Told], until: int) -> None:
    for minute in range(until + 1):
        if minute:
            visit.pass_minute()
        visit.ring(minute)
        for _, what, more in [one for one in told if one[0] == minute]:
            visit.take(what, more)
            visit.ring(minute)


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[Told]]:
    gaps = draw(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(sorted(MOVES)), st.integers(1, 5)), max_size=10))
    minute, told = 0, list[Told]()
    for gap, what, hours in gaps:
        minute += gap
        told.append((minute, what, hours))
    return draw(st.integers(1, 5)), told


@settings(max_examples=150, deadline=None)
@given(lives(), st.lists(st.integers(0, 3500), max_size=4))
def test_counting_minutes_comes_to_the_same_rungs(life: tuple[int, list[Told]], looks: list[int]) -> None:
    hours, told = life
    expected = Counted(hours=hours)
    live(expected, told, 3500)
    steps = sorted([*told, *((look, "fire", 0) for look in looks)], key=lambda one: (one[0], one[1] != "fire"))
    play = played((0, "booked", hours), *steps, (3500, "fire"))
    assert (sorted(rungs(play), key=lambda r: r[2]), play.state(V)) == (sorted(expected.said, key=lambda r: r[2]), expected.state)


@settings(max_examples=60, deadline=None)
@given(lives(), st.data())
def test_any_cut_into_batches_leaves_the_same_history(life: tuple[int, list[Told]], data: st.DataObject) -> None:
    hours, told = life
    said = [(event("booked", hours), 0.0, "0"), *((event(what, more), float(minute), str(n)) for n, (minute, what, more) in enumerate(told, 1))]
    one, many = Play(app), Play(app)
    one.send(*said)
    while said:
        cut = data.draw(st.integers(1, len(said)))
        many.send(*said[:cut])
        said = said[cut:]
    for play in (one, many):
        play.fire(V, 4000)
    assert [row.hash for row in one.all.history] == [row.hash for row in many.all.history]
    assert [(m.id, m.value, m.sequence) for m in one.all.messages] == [(m.id, m.value, m.sequence) for m in many.all.messages]
    assert one.entities[V].clocks == many.entities[V].clocks
