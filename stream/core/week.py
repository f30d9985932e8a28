"""Hours as an author writes them, `{"mon-fri": "08:00-12:00, 13:00-17:00"}`, as spans of minutes; none overlaps another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Minutes from the midnight with which its day begins; past 1440 it ends on the next day."""
Spans: TypeAlias = tuple[Span, ...]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60
_SPAN = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)")


def parsed_week(hours: Mapping[str, str]) -> tuple[Spans, ...]:
    """The spans that begin on each weekday, Monday first. Raises `ValueError` for hours that cannot be meant."""
    week: list[Spans] = [()] * len(DAYS)
    for named, text in hours.items():
        for day in _days(named):
            if week[day]:
                raise ValueError(f"the hours of {DAYS[day]} are given twice")
            week[day] = parsed_day(text, named)
    if not any(week):
        raise ValueError("it has no working hours at all")
    for day, spans in enumerate(week):
        # Around the end of the week as well: a Sunday's night may reach into Monday.
        check_apart(spans, week[(day + 1) % len(DAYS)], DAYS[day])
    return tuple(week)


def parsed_day(text: str, of: str) -> Spans:
    """The spans of one day. One that ends at or before its beginning ends on the next day. Raises `ValueError`."""
    spans = tuple(sorted(_span(part.strip(), of) for part in text.split(",")))
    for span, following in pairwise(spans):
        if following[0] < span[1]:
            raise ValueError(f"the hours of {of} overlap: {shown(span)} and {shown(following)}")
    return spans


def check_apart(spans: Spans, following: Spans, of: str) -> None:
    """Raises `ValueError` where a day's last span reaches into the next day's first."""
    if spans and following and following[0][0] + DAY < spans[-1][1]:
        raise ValueError(f"the hours of {of} overlap with those of the next day: {shown(spans[-1])} and {shown(following[0])}")


def shown(span: Span) -> str:
    """As it was written."""
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (span[0], span[1] if span[1] <= DAY else span[1] - DAY))


def _days(named: str) -> Iterator[int]:
    first, _, last = named.partition("-")
    if first not in DAYS or (last or first) not in DAYS or named.endswith("-"):
        raise ValueError(f"{named!r} is no weekday and no range of them, such as mon or mon-fri")
    start = DAYS.index(first)
    for n in range((DAYS.index(last or first) - start) % len(DAYS) + 1):
        yield (start + n) % len(DAYS)


def _span(text: str, of: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"the hours of {of} are written like 09:00-12:00, 13:00-17:00, not {text!r}")
    hour, minute, to_hour, to_minute = map(int, found.groups())
    start, end = hour * 60 + minute, to_hour * 60 + to_minute
    if start >= DAY or end > DAY:
        raise ValueError(f"the hours of {of} lie between 00:00 and 24:00, not {text!r}")
    if start == end:
        raise ValueError(f"the hours of {of} are empty: {text!r}; a whole day is 00:00-24:00")
    return (start, end if end > start else end + DAY)
