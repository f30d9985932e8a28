"""Clocks as operators see them: rows that run towards an instant, or stand still."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from rich.console import RenderableType

from stream.adapters.postgres.columns import reading_of
from stream.core.ladder import Reading, clock_of, rung
from stream.core.winding import owner_of
from stream.ops.queries import Due, questions
from stream.ops.render import table
from stream.ops.site import Site


class ClockNow(msgspec.Struct):
    """A clock of one entity. `stands`: runs, paused, held (by a person), met, void or cancelled; `since`: running since. `used` of its `target`,
    as a person has moved it, was used up before that.

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
    return ClockNow(clock_of(name) or name, stands, reading.runs, reading.spent, reading.aim, reading.breached, following, due)


class ClockDue(msgspec.Struct):
    """A clock whose `next` rung falls due: `left` from now, negative where it is overdue (a feed holds it, or no ticker runs).

    `owner` has the turn, `escalate_to` is told of a breach. `calendar` is whose working time it counts, "" for elapsed time.
    """

    machine: str
    entity_id: str
    clock: str
    state: str
    owner: str
    escalate_to: str
    next: str
    due: datetime
    left: timedelta
    calendar: str


async def read_due(site: Site, machine: str | None, within: timedelta, limit: int) -> list[ClockDue]:
    """Of this App's machines, the first first. Clocks that stand still, or are declared no more, fall due for nobody and stay out."""
    machines = {m.name: m for m in site.app.machines if machine in (None, m.name)}
    async with questions(site.postgres) as ask:
        rows = await ask.rows("clocks_due", list(machines), within, limit)
    return [
        ClockDue(
            *(row["machine"], row["entity_id"], dial.name, row["state"], dial.asks or owner_of(machines[row["machine"]], row["state"])),
            escalate_to=dial.target.escalate_to.name if dial.target.escalate_to else "",
            next=rung(reading_of(row["reading"]).level)[1],
            due=row["due"],
            left=row["due"] - row["now"],
            calendar=dial.target.calendar.name if dial.target.calendar else "",
        )
        for row in rows
        if (dial := machines[row["machine"]].dials.get(row["name"])) is not None
    ]


class ClockHeld(msgspec.Struct):
    """A clock that a person has paused: for how long, and what is `left` of its target in its own time, negative once that was passed."""

    machine: str
    entity_id: str
    clock: str
    state: str
    owner: str
    since: datetime | None
    age: timedelta | None
    left: timedelta


async def read_held(site: Site, machine: str | None, limit: int) -> list[ClockHeld]:
    """Of this App's machines, the longest held first."""
    machines = {m.name: m for m in site.app.machines if machine in (None, m.name)}
    async with questions(site.postgres) as ask:
        rows = await ask.rows("clocks_held", list(machines), limit)
    found: list[ClockHeld] = []
    for row in rows:
        name, reading, dial = row["machine"], reading_of(row["reading"]), machines[row["machine"]].dials.get(row["name"])
        if dial is not None:
            owner, since = dial.asks or owner_of(machines[name], row["state"]), reading.stood
            left = reading.aim - reading.spent
            found.append(ClockHeld(name, row["entity_id"], dial.name, row["state"], owner, since, row["now"] - since if since else None, left))
    return found


def held_table(clocks: Iterable[ClockHeld]) -> RenderableType:
    """For people."""
    names = ("machine", "id", "clock", "state", "owner", "held since", "for", "left")
    return table("held clocks", names, [(c.machine, c.entity_id, c.clock, c.state, c.owner, c.since, c.age, c.left) for c in clocks])


def due_table(clocks: Iterable[ClockDue]) -> RenderableType:
    """For people."""
    names = ("machine", "id", "clock", "state", "owner", "next", "due", "in", "tells", "calendar")
    rows = [(c.machine, c.entity_id, c.clock, c.state, c.owner, c.next, c.due, c.left, c.escalate_to, c.calendar) for c in clocks]
    return table("clocks", names, rows)
