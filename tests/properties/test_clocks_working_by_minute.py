"""The clocks of a visit on a calendar, counted minute by minute, come to the same rungs: nights, a weekend, breaks and two days of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from stream import Calendar
from tests.core.play import at
from tests.core.test_clocks import rungs
from tests.core.test_clocks_working import play
from tests.core.visits import V, tell
from tests.properties.test_clocks_by_minute import Counted, Told, live, lives

UNTIL = 8200
WEDNESDAY, SATURDAY = date(2026, 3, 4), date(2026, 3, 7)
OFFICE = Calendar("office", "UTC", {"mon-fri": "08:00-12:00, 13:00-17:00"}, closed=(WEDNESDAY,), open={SATURDAY: "22:00-03:00"})


def is_open(minute: int) -> bool:
    """Whether somebody is there in the minute that begins so many minutes after Monday noon."""
    time = at(minute)
    day, hour = time.date(), time.hour
    if day == SATURDAY or (day.isoweekday() == 7 and hour < 3):
        return hour >= 22 or day != SATURDAY
    return day.isoweekday() < 6 and day != WEDNESDAY and hour in (8, 9, 10, 11, 13, 14, 15, 16)


OPEN = [is_open(minute) for minute in range(UNTIL)]


@dataclass
class Worked(Counted):
    """The rest in `booked` is elapsed time, as before; the other clock runs in office hours."""

    passed: int = 0

    def pass_minute(self) -> None:
        used = self.used["solving"]
        super().pass_minute()
        if not OPEN[self.passed]:
            self.used["solving"] = used
        self.passed += 1


@settings(max_examples=60, deadline=None)
@given(lives(), st.lists(st.integers(0, UNTIL), max_size=4))
def test_counting_minutes_of_work_comes_to_the_same_rungs(life: tuple[int, list[Told]], looks: list[int]) -> None:
    hours, told = life
    visit = Worked(hours=hours)
    live(visit, told, UNTIL)
    found = play(OFFICE)
    steps = sorted([*told, *((look, "fire", 0) for look in looks)], key=lambda one: (one[0], one[1] != "fire"))
    tell(found, (0, "booked", hours), *steps, (UNTIL, "fire"))
    assert (sorted(rungs(found), key=lambda r: r[2]), found.state(V)) == (sorted(visit.said, key=lambda r: r[2]), visit.state)
