"""Working time counted minute by minute, by what the wall clock has read so far, comes to the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from stream import Calendar

WEEKDAYS: tuple[str, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SEEN = 6 * 24 * 60
# Where and when a wall clock does what one would not think of; and New Year's Eve.
CHANGES = (
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 11, 1)),
    ("America/St_Johns", date(2010, 3, 14)),  # a minute past midnight
    ("America/Sao_Paulo", date(2018, 11, 4)),  # from midnight to one
    ("America/Sao_Paulo", date(2019, 2, 17)),  # from midnight back into the day before
    ("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour
    ("Antarctica/Troll", date(2026, 3, 29)),  # two hours
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("Pacific/Apia", date(2011, 12, 30)),  # a day left out
    ("Asia/Pyongyang", date(2018, 5, 5)),  # half an hour for good
    ("Asia/Kolkata", date(2026, 1, 1)),
    ("Pacific/Kiritimati", date(2026, 1, 1)),
    ("Etc/GMT+12", date(2026, 1, 1)),
)
Week = Mapping[str, list[tuple[int, int]]]


@dataclass(frozen=True)
class Case:
    """A week in minutes of each day, days off, and where and when to look."""

    zone: str
    first: datetime
    week: Week
    closed: frozenset[date]
    open: Mapping[date, list[tuple[int, int]]]

    def calendar(self) -> Calendar:
        hours = {day: written(spans) for day, spans in self.week.items()}
        return Calendar("c", self.zone, hours, closed=self.closed, open={day: written(spans) for day, spans in self.open.items()})

    def begins(self, day: date) -> list[tuple[int, int]]:
        return self.open.get(day, [] if day in self.closed else self.week.get(WEEKDAYS[day.weekday()], []))

    def is_open(self, wall: datetime) -> bool:
        minute = wall.hour * 60 + wall.minute
        today, yesterday = self.begins(wall.date()), self.begins(wall.date() - DAY)
        return any(a <= minute < b for a, b in today) or any(a <= minute + 1440 < b for a, b in yesterday)

    def counted(self) -> list[int]:
        """How many minutes were open before each minute seen. The wall clock shows the latest it ever read: it never goes back."""
        zone, begin = ZoneInfo(self.zone), self.first - 3 * DAY
        walls = accumulate(((begin + n * MINUTE).astimezone(zone).replace(tzinfo=None) for n in range(3 * 1440 + SEEN)), max)
        return list(accumulate((self.is_open(wall) for wall in list(walls)[3 * 1440 :]), initial=0))


def written(spans: list[tuple[int, int]]) -> str:
    return ", ".join(f"{clock(a)}-{clock(b if b <= 1440 else b - 1440)}" for a, b in spans)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def shifts(draw: st.DrawFn, night: bool) -> list[tuple[int, int]]:
    """Spans of one day; some meet. With nights the last may reach up to four o'clock, before which then none begins."""
    marks = draw(st.lists(st.integers(16 if night else 0, 96), min_size=2, max_size=6, unique=True).map(sorted))
    spans = [(a * 15, b * 15) for a, b in zip(marks[::2], marks[1::2], strict=False)]
    if night and draw(st.booleans()):
        spans[-1] = (spans[-1][0], 1440 + 15 * draw(st.integers(0, 15)))
    (first, last), cut = spans[0], spans[0][0] + 15
    # None begins at midnight of its own end: that is the next day's.
    return [(first, cut), (cut, last), *spans[1:]] if cut < min(last, 1440) and draw(st.booleans()) else spans


@st.composite
def cases(draw: st.DrawFn) -> Case:
    zone, day = draw(st.sampled_from(CHANGES))
    first, night = datetime(day.year, day.month, day.day, tzinfo=UTC) - draw(st.integers(1, 4)) * DAY, draw(st.booleans())
    week = draw(st.dictionaries(st.sampled_from(WEEKDAYS), shifts(night), min_size=1))
    near = st.sampled_from([first.date() + n * DAY for n in range(-1, 7)])
    closed, own = draw(st.frozensets(near, max_size=2)), draw(st.dictionaries(near, shifts(night), max_size=1))
    return Case(zone, first, week, closed - own.keys(), own)


@settings(max_examples=120, deadline=None)
@given(cases(), st.lists(st.tuples(st.integers(0, SEEN), st.integers(0, SEEN)), min_size=1, max_size=20))
def test_counting_minutes_comes_to_the_same(case: Case, looks: list[tuple[int, int]]) -> None:
    calendar = case.calendar()
    used = case.counted()
    for start, end in looks:
        begin, done = case.first + start * MINUTE, case.first + end * MINUTE
        assert calendar.between(begin, done) == (used[end] - used[start]) * MINUTE
        work = used[end] - used[start]
        if work > 0:
            reached = next(n for n in range(start, SEEN + 1) if used[n] - used[start] == work)
            assert calendar.add(begin, work * MINUTE) == case.first + reached * MINUTE


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(0, 10**12), st.integers(0, 10**13), st.integers(0, 10**13))
def test_working_time_adds_up_to_the_microsecond(case: Case, start: int, first: int, second: int) -> None:
    calendar = case.calendar()
    begin, one, two = case.first + timedelta(microseconds=start), timedelta(microseconds=first), timedelta(microseconds=second)
    middle, end = calendar.add(begin, one), calendar.add(begin, one + two)
    assert calendar.add(middle, two) == end
    assert (calendar.between(begin, middle), calendar.between(middle, end), calendar.between(begin, end)) == (one, two, one + two)
    # Reached at the first such instant: a microsecond before it was not.
    assert one == timedelta(0) or calendar.between(begin, middle - timedelta(microseconds=1)) == one - timedelta(microseconds=1)
