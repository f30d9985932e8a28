"""Working time: when somebody is there, so that a clock can count only that. Pure arithmetic over a table of open spans for each year.

The wall clock of a zone jumps and repeats hours. A span begins at the first instant at which the wall clock reads its start or later, and ends
at the first at which it reads its end or later; so spans that do not overlap on paper never do, and a shift over the change counts what it lasts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from stream.core.errors import DefinitionError
from stream.core.week import Spans, check_apart, parsed_day, parsed_week

FIRST, LAST = 1900, 2999
"""Years, by UTC, in which anything is ever open: before there were zones, and where their rules are guesses, nothing is."""
REACH = 100
"""Years within which so much working time must be found."""
NONE = timedelta(0)


class Year(NamedTuple):
    """What is open within one year, by UTC: `used[n]` is the working time before the n-th span, the last entry that of the whole year."""

    begins: list[datetime]
    ends: list[datetime]
    used: list[timedelta]

    def upto(self, at: datetime) -> timedelta:
        """The working time of the year before an instant in it."""
        n = bisect_right(self.begins, at)
        return self.used[n - 1] + (min(at, self.ends[n - 1]) - self.begins[n - 1]) if n else NONE


@dataclass(frozen=True, eq=False, repr=False)
class Calendar:
    """When work is done, by the wall clock of a `zone` such as Europe/London. Raises `DefinitionError` for one that cannot be meant.

    `hours` by weekday: `{"mon-fri": "08:00-12:00, 13:00-17:00", "sat": "22:00-06:00"}`; a day that is not named has none. A span belongs to the
    day on which it begins. Nothing begins on a holiday: the public ones of `(country, region)`, such as ("DE", "BY") or ("DE", ""), which needs
    the extra `calendars`, or plain dates. `closed` are further days off; `open` are days with hours of their own, holidays or not.
    """

    name: str
    zone: str
    hours: Mapping[str, str]
    holidays: tuple[str, str] | Collection[date] = ()
    closed: Collection[date] = ()
    open: Mapping[date, str] = field(default_factory=dict[date, str])
    _year: Callable[[int], Year] = field(init=False)

    def __post_init__(self) -> None:
        try:
            days = _Days.of(self)
        except ValueError as error:
            raise DefinitionError(f"Calendar {self.name!r}: {error}") from None
        object.__setattr__(self, "_year", lru_cache(maxsize=2 * REACH)(days.year))

    def __repr__(self) -> str:
        return f"Calendar({self.name!r})"

    def add(self, start: datetime, working: timedelta) -> datetime:
        """The first instant, in UTC, at which so much working time has passed since `start`; `start` itself for none.

        Raises `OverflowError` when that is not within `REACH` years, `ValueError` for a negative time and for a naive `start`.
        """
        at = _instant(start)
        if working <= NONE:
            if working < NONE:
                raise ValueError("working time only passes forwards")
            return at
        number, year = at.year, self._year(at.year)
        left = year.upto(at) + working
        while left > year.used[-1]:
            left, number = left - year.used[-1], number + 1
            if number > min(at.year + REACH, LAST):
                raise OverflowError(f"{self.name}: {working} of working time are not within {REACH} years of {at:%Y-%m-%d}")
            year = self._year(number)
        n = bisect_left(year.used, left)
        return year.ends[n - 1] - (year.used[n] - left)

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The working time from `start` to `end`; negative where `end` comes first. Raises `ValueError` for a naive instant."""
        start, end = _instant(start), _instant(end)
        if end < start:
            return -self.between(end, start)
        used = self._year(end.year).upto(end) - self._year(start.year).upto(start)
        return sum((self._year(year).used[-1] for year in range(max(start.year, FIRST), min(end.year, LAST + 1))), used)


@dataclass(frozen=True)
class _Days:
    """What a calendar says of single days."""

    zone: ZoneInfo
    week: tuple[Spans, ...]
    off: tuple[Container[object], ...]
    open: Mapping[date, Spans]

    @staticmethod
    def of(calendar: Calendar) -> _Days:
        if not calendar.name:
            raise ValueError("it needs a name")
        zone, week, off = _zone(calendar.zone), parsed_week(calendar.hours), (_holidays(calendar.holidays), _dates(calendar.closed))
        days = _Days(zone, week, off, {day: parsed_day(text, str(day)) for day, text in calendar.open.items()})
        for day in sorted(_dates(calendar.open)):
            if day in off[1]:
                raise ValueError(f"{day} is closed and open")
            for first in (day - timedelta(days=1), day):
                check_apart(days.spans(first), days.spans(first + timedelta(days=1)), str(first))
        return days

    def spans(self, day: date) -> Spans:
        """What begins on that day."""
        found = self.open.get(day)
        return found if found is not None else () if any(day in off for off in self.off) else self.week[day.weekday()]

    def year(self, number: int) -> Year:
        """The open spans of a year, cut at its ends."""
        table = Year([], [], [NONE])
        for start, end in self._instants(number) if FIRST <= number <= LAST else ():
            table.begins.append(start)
            table.ends.append(end)
            table.used.append(table.used[-1] + (end - start))
        return table

    def _instants(self, number: int) -> Iterator[tuple[datetime, datetime]]:
        first, last = datetime(number, 1, 1, tzinfo=UTC), datetime(number + 1, 1, 1, tzinfo=UTC)
        day = date(number - 1, 12, 29)
        # A day may begin half a day away from UTC's, and its last span end a day later.
        while day <= date(number + 1, 1, 2):
            midnight = datetime(day.year, day.month, day.day)
            for opens, closes in self.spans(day):
                start = max(first, passed(self.zone, midnight + timedelta(minutes=opens)))
                end = min(last, passed(self.zone, midnight + timedelta(minutes=closes)))
                if start < end:
                    yield start, end
            day += timedelta(days=1)


def passed(zone: ZoneInfo, wall: datetime) -> datetime:
    """The first instant, in UTC, at which the wall clock reads `wall` or later: where it jumps over that, the instant of the jump."""
    late = wall.replace(tzinfo=zone).astimezone(UTC)
    if _reads(zone, late) == wall:
        return late
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    before, after = 0, int((late - early).total_seconds())
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _reads(zone, early + timedelta(seconds=middle)) >= wall else (middle, after)
    return early + timedelta(seconds=after)


def _reads(zone: ZoneInfo, at: datetime) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


def _instant(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no zone, so it is no instant")
    return at.astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise ValueError(f"there is no zone {name!r}; one is called like Europe/London") from None


def _dates(days: Collection[date]) -> frozenset[date]:
    for day in days:
        # To the type checkers a datetime is a date, yet it equals none.
        if type(day) is not date:
            raise ValueError(f"{day!r} is no date")
    return frozenset(days)


def _holidays(named: tuple[str, str] | Collection[date]) -> Container[object]:
    """Plain dates, or the public holidays of a country and region as the library `holidays` knows them."""
    days = [part for part in named if not isinstance(part, str)]
    places = [part for part in named if isinstance(part, str)]
    if not places:
        return _dates(days)
    if isinstance(named, str) or days or len(places) != 2:
        raise ValueError(f"holidays are dates or a country and a region, such as ('DE', 'BY') or ('DE', ''), not {named!r}")
    country, region = places
    try:
        import holidays
    except ImportError:
        raise ValueError(f"the holidays of {country} need the package holidays: pip install 'opstream[calendars]'") from None
    try:
        return holidays.country_holidays(country, subdiv=region or None)
    except NotImplementedError:
        raise ValueError(f"no holidays are known of country {country!r}{f' and region {region!r}' if region else ''}") from None
