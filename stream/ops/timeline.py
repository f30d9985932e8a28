"""One entity as an operator reads it: where it is, whose turn it is, what happened, what waits."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import orjson
from rich.console import RenderableType

from stream.core import winding
from stream.core.app import App
from stream.core.ladder import Note
from stream.core.record import Ref
from stream.core.steering import MOVED
from stream.ops.clocks import ClockNow, clock_table, clocks_of
from stream.ops.queries import EntityNow, Moment, Questions, Waits
from stream.ops.render import duration, fields, table
from stream.ops.tasks import TaskLine, Wanted, ask_tasks, tasks_table


class Timer(msgspec.Struct):
    """A due instant that is no clock's."""

    name: str
    due: datetime | None


class Told(msgspec.Struct):
    """`owner` is whose turn it is now; `owners` says it for every state named in the timeline ("" where nobody is named)."""

    entity: EntityNow
    owner: str
    owners: dict[str, str]
    timeline: list[Moment]
    clocks: list[ClockNow]
    timers: list[Timer]
    line: list[Waits]
    tasks: list[TaskLine] = []


async def read_entity(ask: Questions, app: App, ref: Ref, most: int) -> Told | None:
    """The entity with the latest `most` history rows, or None when nothing ever referred to it."""
    entity = await ask.entity(ref)
    if entity is None:
        return None
    timeline = await ask.timeline(entity.last_id, most)
    states = {entity.state, *(m.to_state for m in timeline)}
    owners = {state: owner_of(app, ref.machine, state) for state in sorted(states)}
    rows = await ask.timers(ref)
    timers = [Timer(row.name, row.due) for row in rows if row.reading is None]
    return Told(
        entity,
        owners[entity.state],
        owners,
        timeline,
        clocks_of(rows),
        timers,
        await ask.line(ref),
        await ask_tasks(ask, Wanted(machine=ref.machine, entity=ref.id), most),
    )


def owner_of(app: App, machine: str, state: str) -> str:
    """Whose turn it is in a state, as this program's App says; "" when it says nothing, or knows no such machine or state."""
    found = app.machine(machine)
    return winding.owner_of(found, state) if found else ""


def entity_tables(told: Told) -> list[RenderableType]:
    """For people."""
    e = told.entity
    place = e.state or "not born yet"
    head = [
        ("state", place),
        ("owner", told.owner),
        ("since", e.since),
        ("latest move", e.time),
        ("moves", e.version),
        ("number", e.number or None),
        ("data", None if e.data is None else orjson.dumps(e.data)),
    ]
    parts: list[RenderableType] = [fields(f"{e.machine}/{e.id}", head)]
    names = ("n", "time", "event", "outcome", "from", "to", "owner", "rested", "actor", "why")
    parts.append(table("timeline", names, [_row(told, at) for at in range(len(told.timeline))]))
    if told.clocks:
        parts.append(clock_table(told.clocks))
    if told.timers:
        parts.append(table("timers", ("name", "due"), [(t.name, t.due) for t in told.timers]))
    if told.tasks:
        parts.append(tasks_table(told.tasks))
    if told.line:
        rows = [(w.id, w.number, w.event_type, w.event_id, w.outcome, w.reason, w.since, w.until, w.error) for w in told.line]
        parts.append(table("line", ("id", "number", "event", "event id", "outcome", "reason", "since", "until", "error"), rows))
    return parts


def _row(told: Told, at: int) -> tuple[object, ...]:
    m = told.timeline[at]
    why = "; ".join([": ".join(part for part in (m.reason, m.error) if part), *map(_noted, m.clocks)]).removeprefix("; ")
    owner = told.owners.get(m.to_state, "") if m.outcome == "applied" else ""
    return (m.n, m.time, m.event_type, m.outcome, m.from_state, m.to_state, owner, _rested(told.timeline, at), m.actor, why)


def _noted(note: Note) -> str:
    """`resolution breached`, `New met after 12m 5s, 2m 0s late`."""
    took = f" after {duration(timedelta(seconds=note.took))}" if note.took is not None else ""
    late = f", {duration(timedelta(seconds=note.late))} late" if note.late else ""
    due = f" to {note.due.isoformat(timespec='seconds')}" if note.due and note.what == MOVED else ""
    return f"{note.clock} {note.what}{took}{late}{due}"


def _rested(timeline: list[Moment], at: int) -> timedelta | None:
    """How long it rested in the state this row led to; None for the state it is in, and for rows that led nowhere."""
    came: datetime = timeline[at].time
    state = timeline[at].to_state
    if timeline[at].outcome != "applied" or timeline[at].from_state == state:
        return None
    left = next((m.time for m in timeline[at + 1 :] if m.outcome == "applied" and m.to_state != state), None)
    return left - came if left else None
