"""Stopwatches kept by hand: the stretches they ran, the rungs they told, what became of them. Office hours are a list, drawn up day by day."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from tests.fold.facts import instant

NOTHING = timedelta(0)
AGAIN = 100
# England's bank holidays, as the government's list has them.
FREE = frozenset(
    date.fromisoformat(day)
    for day in (
        *("2016-01-01", "2016-03-25", "2016-03-28", "2016-05-02", "2016-05-30", "2016-08-29", "2016-12-26", "2016-12-27"),
        *("2017-01-02", "2017-04-14", "2017-04-17", "2017-05-01", "2017-05-29", "2017-08-28", "2017-12-25", "2017-12-26"),
        *("2026-01-01", "2026-04-03", "2026-04-06", "2026-05-04", "2026-05-25", "2026-08-31", "2026-12-25", "2026-12-28"),
    )
)


class Hours(Protocol):
    """Whose time counts."""

    def worked(self, start: datetime, end: datetime) -> timedelta: ...

    def after(self, start: datetime, work: timedelta) -> datetime: ...


class Always:
    """All of it."""

    def worked(self, start: datetime, end: datetime) -> timedelta:
        return end - start

    def after(self, start: datetime, work: timedelta) -> datetime:
        return start + work


class Office:
    """Eight to six in London, Monday to Friday. Nobody is there at night, so noon says how the clocks are set that day."""

    def __init__(self, first: int, last: int) -> None:
        self.opened: list[datetime] = []
        zone, day = ZoneInfo("Europe/London"), date(first, 1, 1)
        while day.year <= last:
            if day.isoweekday() < 6 and day not in FREE:
                ahead = datetime(day.year, day.month, day.day, 12, tzinfo=zone).utcoffset() or NOTHING
                self.opened.append(datetime(day.year, day.month, day.day, 8, tzinfo=UTC) - ahead)
            day += timedelta(days=1)

    def worked(self, start: datetime, end: datetime) -> timedelta:
        total = NOTHING
        for opened, closed in self._from(start):
            if opened >= end:
                break
            total += max(min(end, closed) - max(start, opened), NOTHING)
        return total

    def after(self, start: datetime, work: timedelta) -> datetime:
        for opened, closed in self._from(start):
            here = max(start, opened)
            if closed - here >= work:
                return here + work
            work -= max(closed - here, NOTHING)
        raise ValueError("beyond the list")

    def _from(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        for n in range(max(bisect_right(self.opened, start) - 1, 0), len(self.opened)):
            yield self.opened[n], self.opened[n] + timedelta(hours=10)


OFFICE, ALWAYS = Office(2015, 2030), Always()


@dataclass
class Watch:
    """One clock of one thing. `rung` comes next: 0 a warning, 1 the breach, then escalations. `passed` is the breach that stands.

    `used` is what the stretches in `ran` come to; `since`: running since.
    """

    name: str
    hours: Hours
    target: timedelta
    warns: bool = False
    repeat: timedelta | None = None
    reasons: tuple[str, ...] = ()
    rung: int = 1
    since: datetime | None = None
    ran: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])
    used: timedelta = NOTHING
    passed: datetime | None = None
    stands: str = ""

    def __post_init__(self) -> None:
        self.rung = 0 if self.warns else 1

    def due(self, earliest: datetime, rung: int | None = None) -> datetime | None:
        """When a rung (the next one) is to be told."""
        rung = self.rung if rung is None else rung
        if self.since is None or (rung > 1 and self.repeat is None) or rung > 1 + AGAIN:
            return None
        further = (rung - 1) * self.repeat if rung > 1 and self.repeat else NOTHING
        left = self.target * 0.75 - self.used if rung == 0 else self.target + further - self.used
        return max(earliest, self.since if left <= NOTHING else self.hours.after(self.since, left))

    def climb(self, at: datetime) -> Mapping[str, object]:
        """Tell the next rung, now; gives what it says beyond who and where."""
        level, self.rung = self.rung, self.rung + 1
        if level == 1:
            self.passed = at
        reached = self.passed or self.due(at, 1) or at
        late = (level - 1) * self.repeat if level > 1 and self.repeat else NOTHING
        said: dict[str, object] = {"clock": self.name, "level": level, "due": instant(reached), "late": late.total_seconds()}
        return {**said, "reason": "", "reasons": self.reasons} if level == 1 else said

    def start(self, at: datetime) -> None:
        if self.since is None:
            self.since, self.stands = at, ""

    def stop(self, word: str, when: datetime) -> Iterator[tuple[str, datetime | None]]:
        """Stop as of `when`; gives what is to be noted of it, with the breach that is taken back."""
        early = self.passed is not None and when < self.passed
        if self.stands == word or (self.stands == "met" and not early):
            return
        if self.since is not None:
            self.ran.append((self.since, max(self.since, when)))
        if early:
            self.ran = [(start, min(end, when)) for start, end in self.ran if start < when]
            yield "withdrawn", self.passed
            self.passed, self.rung = None, 1
        self.used = sum((self.hours.worked(start, end) for start, end in self.ran), NOTHING)
        self.since, self.stands = None, word
        if word != "paused":
            yield f"{word} late" if word == "met" and self.used > self.target else word, None
