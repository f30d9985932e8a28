"""Which tasks a step opens and closes, and what is to be said against an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from stream.core.changes import Changes
from stream.core.clock import SlaBreached
from stream.core.directory import Directory
from stream.core.entity import Entity, Envelope
from stream.core.event import wire_type
from stream.core.ladder import WITHDRAWN, Note
from stream.core.machine import AnyMachine
from stream.core.order import Answer
from stream.core.own import SlaExplained
from stream.core.task import Asked, Closed, Open, reason_task, task_of, types_of

EXPLAINS = (wire_type(SlaExplained),)


def left(changes: Changes, machine: AnyMachine, entity: Entity, state: str, envelope: Envelope) -> None:
    """The entity has left a state: its task is closed, by the event that led out, which may be one of its answers."""
    known = machine.by_name.get(state)
    if known is not None and known.task:
        answer = envelope.type if isinstance(envelope.event, known.task.answers) else None
        _close(changes, entity, Closed(entity.ref, task_of(state), answer, envelope.actor or envelope.source, envelope.time))


def entered(changes: Changes, machine: AnyMachine, entity: Entity, asks: tuple[str, int], at: datetime) -> None:
    """The entity rests in a state whose task asks this, so urgently."""
    state = machine.by_name[entity.state]
    if task := state.task:
        owner = task.asked_of(state.owner)
        question, priority = asks
        changes.asked.append(Asked(entity.ref, task_of(state.name), state.name, question, owner, types_of(task), task.reasons, at, priority))


def breached(changes: Changes, entity: Entity, event: SlaBreached, at: datetime) -> None:
    """Whoever is told of a breach that wants a reason, and has none by a rule, is asked for it; one question of a clock is enough."""
    owner = event.escalate_to or event.owner
    if event.reasons and owner and not event.reason:
        question = f"Why was {event.clock} breached?"
        changes.asked.append(Asked(entity.ref, reason_task(event.clock), event.state, question, owner, EXPLAINS, event.reasons, at))


def noted(changes: Changes, entity: Entity, notes: Sequence[Note], envelope: Envelope) -> None:
    """A breach that is withdrawn needs no reason."""
    for note in notes:
        if note.what == WITHDRAWN:
            _close(changes, entity, Closed(entity.ref, reason_task(note.clock), None, envelope.actor or envelope.source, envelope.time))


def _close(changes: Changes, entity: Entity, closed: Closed) -> None:
    for id in [id for id, task in entity.tasks.items() if task.name == closed.name]:
        del entity.tasks[id]
    for asked in reversed(changes.asked):
        if asked.ref == closed.ref and asked.name == closed.name and asked.closed is None:
            asked.closed = closed  # opened in this batch
            return
    changes.closed.append(closed)


def objection(task: Open, entity: Entity, order: Answer, owners: Directory) -> str:
    """Why this answer is not to be taken; empty where it is. The task may have gone to another owner since that person looked at it."""
    kind = wire_type(type(order.event))
    if not owners.may(order.actor, task.owner):
        return f"{order.actor} does not belong to {task.owner!r}, who is asked"
    if task.assignee not in ("", order.actor):
        return f"{task.assignee} has claimed it"
    if kind not in task.answers:
        return f"{kind} is no answer to it: say {' or '.join(task.answers)}"
    if task.reasons and order.reason not in task.reasons:
        return f"it needs a reason, one of {', '.join(task.reasons)}"
    if entity.parked and kind not in EXPLAINS:
        return f"an event of {entity.ref.machine} {entity.ref.id} is parked: that comes first"
    return ""


def answered(changes: Changes, entity: Entity, order: Answer, name: str, at: datetime) -> None:
    """The task is closed by this answer; a later one in the same batch comes too late."""
    entity.tasks.pop(order.task, None)
    last = next((c for c in reversed(changes.closed) if c.ref == order.ref and c.name == name), None)
    if last is None:
        last = Closed(order.ref, name, None, order.actor, at)
        changes.closed.append(last)
    last.answer, last.by, last.reason, last.comment = wire_type(type(order.event)), order.actor, order.reason, order.comment
