"""Tasks as people handle them: who has one, what was said of it, and the answer. What a command or a page calls; every change is in the audit."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.console import RenderableType

from stream.adapters.postgres.columns import reading_of
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.core.errors import ConfigurationError, StreamError
from stream.core.event import Event, wire_type
from stream.core.order import Answer
from stream.core.own import SlaExplained
from stream.core.record import Ref
from stream.core.task import clock_asked
from stream.ops.events import event_of
from stream.ops.orders import Note
from stream.ops.queries import STATEMENTS, Questions, questions
from stream.ops.render import fields, table
from stream.ops.site import Site, known_owners


class NotYoursError(StreamError):
    """A person may not do that with this task, or not any more: nothing was done."""


class TaskLine(msgspec.Struct):
    """A task. `due` is when it should be answered (None: whenever), `left` how long that is from now, negative when it is overdue.

    `status`: open, answered, or closed when it is not asked any more. `assignee` has claimed it, "" for nobody.
    """

    id: int
    machine: str
    entity_id: str
    name: str
    state: str
    question: str
    owner: str
    answers: list[str]
    reasons: list[str]
    priority: int
    opened: datetime
    age: timedelta
    due: datetime | None
    left: timedelta | None
    status: str
    assignee: str
    claimed: datetime | None
    answer: str | None
    closed_by: str | None
    closed: datetime | None
    reason: str
    comment: str

    @property
    def ref(self) -> Ref:
        """Whose task it is."""
        return Ref(self.machine, self.entity_id)

    @property
    def target(self) -> str:
        """As the audit names it."""
        return f"{self.machine}/{self.entity_id} task {self.id}"


class Comment(msgspec.Struct):
    """What somebody said of a task."""

    at: datetime
    actor: str
    text: str


class Wanted(msgspec.Struct, frozen=True):
    """Which tasks; None for any. `status` is open, answered or closed."""

    owner: str | None = None
    person: str | None = None
    machine: str | None = None
    entity: str | None = None
    status: str | None = "open"


async def ask_tasks(ask: Questions, wanted: Wanted, limit: int, id: int | None = None) -> list[TaskLine]:
    """The most urgent first, then the oldest."""
    w = wanted
    return [_line(row) for row in await ask.rows("tasks", id, w.owner, w.person, w.machine, w.entity, w.status, limit)]


MOST = 10_000
"""Tasks that are looked through for overdue ones."""


async def read_tasks(site: Site, wanted: Wanted, limit: int, *, overdue: bool = False) -> list[TaskLine]:
    """One look. `overdue`: only those whose limit is behind us, among the first `MOST`."""
    async with questions(site.postgres) as ask:
        found = await ask_tasks(ask, wanted, MOST if overdue else limit)
    late = [task for task in found if task.left is not None and task.left < timedelta(0)] if overdue else found
    return late[:limit]


async def read_task(site: Site, id: int) -> tuple[TaskLine, list[Comment]] | None:
    """A task and what was said of it, or None."""
    async with questions(site.postgres) as ask:
        found = await ask_tasks(ask, Wanted(status=None), 1, id)
        return (found[0], [Comment(**row) for row in await ask.rows("comments", id)]) if found else None


def _line(row: dict[str, Any]) -> TaskLine:
    now, due, packed, opened = row.pop("now"), row.pop("due_at"), row.pop("reading"), row.pop("opened_at")
    if packed is not None:
        # Once it was breached the clock goes on to its next rung, if it has one.
        due = reading_of(packed).breached or due
    claimed, closed = row.pop("claimed_at"), row.pop("closed_at")
    return TaskLine(**row, opened=opened, age=now - opened, due=due, left=due and due - now, claimed=claimed, closed=closed)


# -- who has it ----------------------------------------------------------------------------------------------------------------------


async def claim(site: Site, id: int, actor: str) -> TaskLine:
    """Take a task: nobody else answers it then. Raises `NotYoursError` when somebody has it, saying who and since when."""
    async with _changing(site, id, actor) as (connection, task):
        if task.assignee:
            whose = "you have" if task.assignee == actor else f"{task.assignee} has"
            raise NotYoursError(f"{whose} claimed task {id} since {task.claimed:%Y-%m-%d %H:%M:%S} UTC")
        await _assign(connection, task, Note(actor, "tasks claim", task.target), task.owner, actor)
    return await _again(site, id)


async def release(site: Site, id: int, actor: str, reason: str) -> TaskLine:
    """Give a task back, one's own or another's. Raises `NotYoursError` when nobody has it."""
    async with _changing(site, id, actor) as (connection, task):
        if not task.assignee:
            raise NotYoursError(f"nobody has claimed task {id}")
        await _assign(connection, task, Note(actor, "tasks release", task.target, reason), task.owner, "")
    return await _again(site, id)


async def reassign(site: Site, id: int, actor: str, reason: str, *, owner: str | None = None, person: str | None = None) -> TaskLine:
    """Give a task to a person of its owner, or to another owner, where nobody has it yet.

    Raises `NotYoursError` for a person who does not belong to the owner, `ConfigurationError` for an owner nobody knows.
    """
    if owner is not None and owner not in known_owners(site):
        raise ConfigurationError(f"there is no owner {owner!r}; there are {', '.join(sorted(known_owners(site)))}")
    async with _changing(site, id, actor) as (connection, task):
        to = owner or task.owner
        _check_belongs(site, person or "", to)
        await _assign(connection, task, Note(actor, "tasks reassign", task.target, reason), to, person or "")
    return await _again(site, id)


async def prioritise(site: Site, id: int, actor: str, reason: str, priority: int) -> TaskLine:
    """Say how urgent a task is, 1 (first) to 5. Raises `NotYoursError` where it is so already."""
    async with _changing(site, id, actor) as (connection, task):
        if task.priority == priority:
            raise NotYoursError(f"task {id} has priority {priority} already")
        await connection.execute("prioritise_task", id, priority)
        note = Note(actor, "tasks prioritise", task.target, reason, {"priority": task.priority}, {"priority": priority})
        await connection.execute("note_order", *note.row)
    return await _again(site, id)


async def comment(site: Site, id: int, actor: str, text: str) -> None:
    """Say something of a task, open or not."""
    async with _acting(site) as connection:
        found = await ask_tasks(Questions(connection), Wanted(status=None), 1, id)
        if not found:
            raise NotYoursError(f"there is no task {id}")
        await connection.execute("comment_task", id, actor, text)
        await connection.execute("note_order", *Note(actor, "tasks comment", found[0].target, text).row)


def _check_belongs(site: Site, actor: str, owner: str) -> None:
    if actor and not site.app.owners.may(actor, owner):
        raise NotYoursError(f"{actor} does not belong to {owner!r}: its people are {', '.join(site.app.owners.people_of(owner))}")


async def _assign(connection: Connection, task: TaskLine, note: Note, owner: str, assignee: str) -> None:
    note = replace(note, before={"owner": task.owner, "assignee": task.assignee}, after={"owner": owner, "assignee": assignee})
    await connection.execute("assign_task", task.id, owner, assignee)
    await connection.execute("note_order", *note.row)


async def _again(site: Site, id: int) -> TaskLine:
    found = await read_task(site, id)
    if found is None:
        raise NotYoursError(f"task {id} is gone")
    return found[0]


@asynccontextmanager
async def _acting(site: Site) -> AsyncGenerator[Connection]:
    """One transaction for one order."""
    connection = Connection(site.postgres, {**QUERIES, **STATEMENTS})
    try:
        async with connection.transaction("begin_plain"):
            yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _changing(site: Site, id: int, actor: str) -> AsyncGenerator[tuple[Connection, TaskLine]]:
    """An open task whose entity is locked, for somebody of its owner. Raises `NotYoursError`."""
    async with _acting(site) as connection:
        ask = Questions(connection)
        found = await ask_tasks(ask, Wanted(status=None), 1, id)
        if not found:
            raise NotYoursError(f"there is no task {id}")
        await ask.rows("hold_entity", *found[0].ref)
        # A later statement than the lock: what a rival has done is seen now.
        task = (await ask_tasks(ask, Wanted(status=None), 1, id))[0]
        check_open(task)
        _check_belongs(site, actor, task.owner)
        yield connection, task


def check_open(task: TaskLine) -> None:
    """Raises `NotYoursError` with what became of it."""
    if task.status != "open":
        how = f"answered with {task.answer}" if task.answer else "closed"
        raise NotYoursError(f"task {task.id} was {how} by {task.closed_by} at {task.closed:%Y-%m-%d %H:%M:%S} UTC")


# -- the answer ----------------------------------------------------------------------------------------------------------------------


async def order_of(site: Site, id: int, actor: str, answer: str | None, data: bytes, reason: str = "", comment: str = "") -> tuple[Answer, TaskLine]:
    """The order that answers a task, checked as far as it can be before it is tried. `answer` is a type, None where there is but one.

    Raises `NotYoursError`, and `ConfigurationError` for what is no answer to it.
    """
    found = await read_task(site, id)
    if found is None:
        raise NotYoursError(f"there is no task {id}")
    task = found[0]
    check_open(task)
    _check_belongs(site, actor, task.owner)
    if task.reasons and reason not in task.reasons:
        raise ConfigurationError(f"--reason {reason!r}: it needs one of {', '.join(task.reasons)}")
    return Answer(task.ref, id, _event(site, task, answer, data, reason), actor, reason, comment), task


def _event(site: Site, task: TaskLine, answer: str | None, data: bytes, reason: str) -> Event:
    kind = answer or (task.answers[0] if len(task.answers) == 1 else None)
    if kind is None or kind not in task.answers:
        raise ConfigurationError(f"{answer or 'nothing'} is no answer to task {task.id}: say {' or '.join(task.answers)}")
    if (clock := clock_asked(task.name)) is not None:
        return _explained(task, kind, clock, data, reason)
    event = event_of(site, kind, _addressed(site, kind, data, task.entity_id))
    machine = site.app.machine(task.machine)
    ids = machine.ids_of(type(event)) if machine else None
    about = ids(event) if ids else ""
    if task.entity_id not in ([about] if isinstance(about, str) else about):
        raise ConfigurationError(f"that {kind} is about {about!r}, and task {task.id} about {task.machine} {task.entity_id!r}")
    return event


def _explained(task: TaskLine, kind: str, clock: str, data: bytes, reason: str) -> Event:
    """Nothing but the code: what else was said would be lost."""
    if data.strip() not in (b"", b"{}"):
        raise ConfigurationError(f"{kind} has no fields to say: task {task.id} wants --reason alone, and --comment for what else there is")
    return SlaExplained(clock=clock, reason=reason)


def _addressed(site: Site, kind: str, data: bytes, id: str) -> bytes:
    """An answer says by itself whom it is about: its key need not be said again. The bytes stay, for whoever checks them."""
    try:
        said = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"not a {kind}: {error}") from None
    cls = next((cls for cls in site.app.classes if wire_type(cls) == kind), None)
    if cls is None or not cls.__key__ or not isinstance(said, dict) or cls.__key__ in said:
        return data
    named = msgspec.json.encode({cls.__key__: id})[:-1]
    return named + (b"," if said else b"") + data.strip()[1:]


async def check_asked(site: Site, id: int) -> None:
    """Whether it is asked still. Raises `NotYoursError` with who was faster."""
    found = await read_task(site, id)
    if found is None:
        raise NotYoursError(f"task {id} is gone")
    check_open(found[0])


# -- for people ----------------------------------------------------------------------------------------------------------------------


def tasks_table(tasks: list[TaskLine]) -> RenderableType:
    """For people."""
    names = ("id", "prio", "machine", "entity", "question", "owner", "has it", "age", "due in", "answers")
    rows = [
        (t.id, t.priority, t.machine, t.entity_id, t.question, t.owner, t.assignee, t.age, t.left, ", ".join(t.reasons or t.answers)) for t in tasks
    ]
    return table("tasks", names, rows)


def task_tables(task: TaskLine, comments: list[Comment]) -> list[RenderableType]:
    """One of them, whole."""
    names = ("machine", "entity_id", "state", "question", "owner", "priority", "status", "opened", "due", "assignee", "claimed")
    ends = ("answer", "closed_by", "closed", "reason", "comment")
    head = [(name.replace("_", " "), getattr(task, name)) for name in (*names, *ends)]
    head += [("answers", ", ".join(task.answers)), ("reasons", ", ".join(task.reasons))]
    parts: list[RenderableType] = [fields(f"task {task.id}", head)]
    return [*parts, table("comments", ("at", "actor", "text"), [(c.at, c.actor, c.text) for c in comments])] if comments else parts
