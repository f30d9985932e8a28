"""Clocks as operators see them: rows that run towards an instant, or stand still."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from rich.console import RenderableType

from stream.core.ladder import Reading, clock_of, rung
from stream.ops.queries import Due
from stream.ops.render import table


class ClockNow(msgspec.Struct):
    """A clock of one entity. `stands`: runs, paused, met or void; `since`: running since. `used` of its `target` was used up before that.

    `next` is told at `due`: warned, breached or escalated; both are empty while it stands still and at the ladder's end.
    """

    clock: str
    stands: str
    since: datetime | None
    used: timedelta
    target: timedelta
    breached: datetime | None
    next: str
    due: datetime | None


def clocks_of(timers: Iterable[Due]) -> list[ClockNow]:
    """Those of an entity's timers that are clocks."""
    return [_clock(timer.name, timer.due, timer.reading) for timer in timers if timer.reading is not None]


def clock_table(clocks: Iterable[ClockNow]) -> RenderableType:
    """For people."""
    names = ("clock", "stands", "since", "used before", "target", "breached", "next", "due")
    return table("clocks", names, [(c.clock, c.stands, c.since, c.used, c.target, c.breached, c.next, c.due) for c in clocks])


def _clock(name: str, due: datetime | None, reading: Reading) -> ClockNow:
    following = rung(reading.level)[1] if due else ""
    stands = reading.stands or "runs"
    return ClockNow(clock_of(name) or name, stands, reading.runs, reading.spent, reading.target, reading.breached, following, due)
