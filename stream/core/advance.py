"""One event meets one entity: which row fires, and what the entity then is. A value; nothing of the entity is changed.

The author's functions work on private copies, decoded from the last good bytes: one that raises half-way leaves no trace of its half. What
they produced is encoded, checked and decoded again, because a Struct does not validate what is assigned to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from stream.core.clock import ClockEvent
from stream.core.directory import Directory
from stream.core.entity import Entity, Envelope
from stream.core.event import Command, Event, Fact, Says
from stream.core.ladder import BREACH, CANCELLED, EXPLAINED, Mode, Note, Reading, timer_of
from stream.core.layout import encoded
from stream.core.machine import AnyMachine
from stream.core.outcome import Outcome, Reason
from stream.core.own import OWN_EVENTS, AfterElapsed, EntityMoved, SlaExplained, TaskOpened
from stream.core.row import Cause, Transition
from stream.core.task import USUAL, priority_of, question_of, task_of
from stream.core.winding import Turn, length_of, owner_of, wind

Row = Transition[Any]


class Step(msgspec.Struct, gc=False):
    """The entity after a row fired. `path` are the states entered, in order; none: it stayed.

    `timers` (but the line's limit) and `clocks` are None where they are as before. `notes` say what became of clocks. `question` and `priority`
    are those of the task of the state entered last.
    """

    state: str
    data: bytes
    said: list[Fact]
    path: tuple[str, ...] = ()
    timers: dict[str, datetime] | None = None
    clocks: dict[str, Reading] | None = None
    notes: Sequence[Note] = ()
    question: str | None = None
    priority: int = USUAL


class Halt(msgspec.Struct, frozen=True, gc=False):
    """No row fired: what becomes of the event instead, and why."""

    outcome: Outcome
    reason: str = ""
    error: str = ""


IGNORED = Halt(Outcome.IGNORED)


def advance(machine: AnyMachine, entity: Entity, envelope: Envelope, at: datetime, owners: Directory) -> Step | Halt:
    """`at` is the time of the move; `owners` says who may what. Raises what the author's functions raise, and errors for what they produced."""
    event, state = envelope.event, entity.state if entity.born else ""
    cause = Cause(
        envelope.id, envelope.source, envelope.time, envelope.actor, envelope.correlation_id, entity.ref, state, entity.since or envelope.time
    )
    if isinstance(event, AfterElapsed | ClockEvent) and _is_stale(machine, entity, event):
        return IGNORED
    step = Step(state, entity.data, [])
    if isinstance(event, SlaExplained):
        step.notes = [Note(event.clock, EXPLAINED, owner_of(machine, state), reason=event.reason)]
        return step
    if isinstance(event, EntityMoved):
        step.state, step.path = event.to, (event.to,)
    elif isinstance(event, AfterElapsed):
        elapsed = _elapsed(machine, event)
        if elapsed is None:
            return IGNORED
        step = _move(machine, elapsed, step, event, cause)
    else:
        rows = machine.rows.get((state, type(event)), ())
        row = _choose(machine, rows, entity.data, event, cause, owners)
        if row is None:
            return _halt(machine, entity, type(event), refused=bool(rows))
        if isinstance(row, Halt):
            return row
        step = _move(machine, row, step, event, cause)
    if settling := machine.settling.get(step.state):
        _settle(machine, settling, step, event, cause)
    if step.path:
        step.timers = _afters(machine, step, at)
    if machine.dials or entity.clocks:
        # What our own clocks bring about is never early: by a line it may come later than what rang after it.
        when = at if isinstance(event, OWN_EVENTS) else envelope.time
        if (wound := wind(Turn(machine, entity, event, step.path, step.data, at, when))) is not None:
            step.clocks, dues, step.notes = wound
            step.timers = {**(_afters_kept(entity) if step.timers is None else step.timers), **dues}
    if step.path and machine.by_name[step.state].task:
        _ask(machine, entity, step)
    return step


def _ask(machine: AnyMachine, entity: Entity, step: Step) -> None:
    """Put the question of the state where it rests now, and say so."""
    state = machine.by_name[step.state]
    if task := state.task:
        data = machine.decoder.decode(step.data)
        step.question, step.priority = question_of(task, data), priority_of(task, data)
        due = (step.timers or {}).get(timer_of(f"{state.name} task"))
        step.said.append(
            TaskOpened(
                task=task_of(state.name),
                machine=entity.ref.machine,
                entity_id=entity.ref.id,
                state=state.name,
                owner=task.asked_of(state.owner),
                question=step.question,
                priority=step.priority,
                due=due,
            )
        )


def _is_stale(machine: AnyMachine, entity: Entity, event: AfterElapsed | ClockEvent) -> bool:
    """A timer's event that waited in a line may come to what is no longer so, and any may come to a machine that was changed."""
    rests = event.state == entity.state and event.entered == entity.since
    if isinstance(event, AfterElapsed):
        return not rests
    timer = timer_of(event.clock)
    dial, reading = machine.dials.get(timer), entity.clocks.get(timer)
    if dial is None or reading is None or not (dial.across or rests):
        return True
    over = reading.level <= event.level or reading.stands in (Mode.MET, Mode.VOID, CANCELLED)
    return over or (event.level >= BREACH and reading.breached != event.due)


def _choose(machine: AnyMachine, rows: Sequence[Row], data: bytes, event: Event, cause: Cause, owners: Directory) -> Row | Halt | None:
    """The first row that fits; a Halt where one would have, had somebody else said it."""
    barred: Row | None = None
    for row in rows:
        if row.clock and not (isinstance(event, ClockEvent) and event.clock == row.clock):
            continue
        if row.when is None or (row.when(event) if row.opens else row.when(machine.decoder.decode(data), event, cause)):
            if not row.by or owners.allows(cause.actor, row.by):
                return row
            barred = barred or row
    if barred is None:
        return None
    who = " or ".join(owner.name for owner in barred.by)
    return Halt(Outcome.REJECTED, Reason.NOT_ALLOWED, f"{cause.actor or 'an event without an actor'} does not belong to {who}")


def _halt(machine: AnyMachine, entity: Entity, kind: type[Event], *, refused: bool) -> Halt:
    if not entity.born:
        if refused:
            return Halt(Outcome.REJECTED, Reason.GUARD_REFUSED, f"every guard that could open a {machine.name} on {kind.__fact_type__} refused")
        return {
            "ignore": IGNORED,
            "defer": Halt(Outcome.DEFERRED, Reason.UNBORN),
            "reject": Halt(Outcome.REJECTED, Reason.UNBORN, f"there is no such {machine.name} yet"),
        }[machine.unborn]
    state = machine.by_name.get(entity.state)
    if state is None:
        lost = f"its state {entity.state!r} is no more in version {machine.version} of {machine.name}: move it into another (stream entities move)"
        return Halt(Outcome.PARKED, Reason.HANDLER_FAILED, lost)
    if issubclass(kind, state.ignores):
        return IGNORED
    if issubclass(kind, state.defers):
        return Halt(Outcome.DEFERRED, Reason.EARLY)
    if refused:
        return Halt(Outcome.REJECTED, Reason.GUARD_REFUSED, f"every guard on {kind.__fact_type__} in {state.name!r} refused")
    takers = ", ".join(repr(name) for name, taken in machine.rows if taken is kind and name) or "no state"
    return Halt(Outcome.REJECTED, Reason.NO_TRANSITION, f"{state.name!r} does not take {kind.__fact_type__}; taken in: {takers}")


def _move(machine: AnyMachine, row: Row, step: Step, event: Event, cause: Cause) -> Step:
    """Change, then speak; the emitter sees a copy of the changed and checked data."""
    checked: object = None
    if row.then is not None:
        if row.opens:
            made = row.then(event, cause)
        else:
            made = machine.decoder.decode(step.data)
            row.then(made, event, cause)
        if type(made) is not machine.data:
            raise TypeError(f"{row.names[1]} made a {type(made).__name__}, not a {machine.data.__name__}")
        step.data = encoded(made)
        checked = machine.decoder.decode(step.data)
    if row.emit is not None:
        step.said.extend(_flat(row, row.emit(machine.decoder.decode(step.data) if checked is None else checked, event, cause)))
    if row.to is not None:
        step.state = row.to.name
        step.path += (row.to.name,)
    return step


def _flat(row: Row, says: Says) -> Sequence[Fact]:
    if says is None:
        return ()
    facts = (says,) if isinstance(says, Event | Command) else says
    for fact in facts:
        if not isinstance(fact, row.says):
            raise TypeError(f"{row.names[2]} said a {type(fact).__name__}, which its return annotation does not name")
    return facts


def _settle(machine: AnyMachine, rows: Sequence[Row], step: Step, event: Event, cause: Cause) -> None:
    """Follow settling rows until none holds. Raises when they lead back to where they have been."""
    seen: list[str] = []
    while rows:
        row = next((r for r in rows if r.when is not None and r.when(machine.decoder.decode(step.data))), None)
        if row is None:
            break
        seen.append(step.state)
        _move(machine, row, step, event, cause)
        if step.state in seen:
            raise RuntimeError(f"settling goes in a circle: {' -> '.join([*seen, step.state])}")
        rows = machine.settling.get(step.state, ())


def _elapsed(machine: AnyMachine, event: AfterElapsed) -> Row | None:
    return machine.row_after(event.state, event.timer or f"after {event.state} {event.row}")


def _afters(machine: AnyMachine, step: Step, at: datetime) -> dict[str, datetime]:
    return {name: at + length_of(machine, row.after, step.data) for name, row in machine.afters.get(step.state, {}).items()}


def _afters_kept(entity: Entity) -> dict[str, datetime]:
    return {name: due for name, due in entity.timers.items() if name.startswith("after ")}
