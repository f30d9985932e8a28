"""What operators ask of the database, as typed values. Reads only; every one is a single look, without a lock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import orjson

from stream.adapters.postgres.columns import reading_of
from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.statements import statements
from stream.core.ladder import Note, Reading
from stream.core.record import Ref

_notes = msgspec.json.Decoder(list[Note]).decode
STATEMENTS: Mapping[str, str] = statements("stream.ops")
T = TypeVar("T")


class EntityLine(msgspec.Struct):
    """An entity in a list. `version` 0: something refers to it, but it is not born."""

    machine: str
    id: str
    version: int
    state: str
    since: datetime | None
    time: datetime | None
    n: int
    holds: int


class EntityNow(msgspec.Struct):
    """An entity as it is stored; `data` is its decoded JSON, None before its birth."""

    machine: str
    id: str
    version: int
    machine_version: int
    state: str
    data: object
    since: datetime | None
    time: datetime | None
    n: int
    last_id: int
    holds: int
    number: int = 0


class Moment(msgspec.Struct):
    """One history row. `time` is business time, `at` database time."""

    n: int
    outcome: str
    reason: str
    event_id: str
    event_type: str
    source: str
    actor: str
    from_state: str
    to_state: str
    time: datetime
    at: datetime
    correlation_id: str
    causation_id: str
    trace_id: str
    door: str
    error: str
    clocks: list[Note]


class Due(msgspec.Struct):
    """A timer, or a clock with its reading; without an instant it stands still, or its ladder has ended."""

    name: str
    due: datetime | None
    reading: Reading | None


class Waits(msgspec.Struct):
    """An event in an entity's line; `value` as it came."""

    id: int
    outcome: str
    reason: str
    event_id: str
    event_type: str
    correlation_id: str
    since: datetime
    until: datetime | None
    attempts: int
    error: str
    topic: str
    partition: int
    offset: int
    value: bytes | None
    number: int | None = None


class Parked(msgspec.Struct):
    """An entity that waits for a person, and the event it stopped at."""

    machine: str
    entity_id: str
    event_type: str
    event_id: str
    error: str
    attempts: int
    since: datetime
    correlation_id: str
    waiting: int


class LetterLine(msgspec.Struct):
    """A dead letter in a list. `machine` and `entity_id`: who rejected it; None when no entity was reached."""

    id: int
    at: datetime
    status: str
    reason: str
    error: str
    event_type: str
    event_id: str
    machine: str | None
    entity_id: str | None
    topic: str
    partition: int
    offset: int
    closed_by: str | None
    closed_at: datetime | None


class Letter(LetterLine):
    """A dead letter with its original bytes; `headers` as packed by the store."""

    correlation_id: str
    trace_id: str
    admitted: bool
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: bytes


class Questions:
    """Asks over one connection; not to be shared between tasks. Raises what `Connection` raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, name: str, *args: object) -> list[dict[str, Any]]:
        """The rows of a statement as they are."""
        return [dict(row.items()) for row in await self._connection.fetch(name, *args)]

    async def _many(self, kind: Callable[..., T], name: str, *args: object) -> list[T]:
        return [kind(**row) for row in await self.rows(name, *args)]

    async def entities(self, machine: str | None, state: str | None, after: Ref, limit: int) -> list[EntityLine]:
        """In the order of machine and id, from the one after `after`."""
        return await self._many(EntityLine, "entities", machine, state, *after, limit)

    async def entity(self, ref: Ref) -> EntityNow | None:
        rows = await self.rows("entity", *ref)
        if not rows:
            return None
        row = rows[0]
        row["data"] = orjson.loads(row["data"]) if row["data"] else None
        return EntityNow(**row)

    async def timeline(self, last_id: int, most: int) -> list[Moment]:
        """The latest `most` rows of the entity whose last history id this is, the oldest first."""
        rows = await self.rows("timeline", last_id, most)
        for row in rows:
            row["clocks"] = notes_of(row["clocks"])
        return [Moment(**row) for row in rows]

    async def timers(self, ref: Ref) -> list[Due]:
        rows = await self.rows("timers_of_entity", *ref)
        return [Due(row["name"], row["due"], reading_of(row["reading"]) if row["reading"] is not None else None) for row in rows]

    async def line(self, ref: Ref) -> list[Waits]:
        return await self._many(Waits, "line_of_entity", *ref)

    async def parked(self, machine: str | None, limit: int) -> list[Parked]:
        """Longest parked first."""
        return await self._many(Parked, "parked", machine, limit)

    async def letters(self, status: str | None, reason: str | None, topic: str | None, limit: int) -> list[LetterLine]:
        """Newest first."""
        return await self._many(LetterLine, "letters", status, reason, topic, limit)

    async def letter(self, id: int) -> Letter | None:
        found = await self._many(Letter, "letter", id)
        return found[0] if found else None


def notes_of(clocks: str | None) -> list[Note]:
    """What a history row says of clocks."""
    return _notes(clocks) if clocks else []


@asynccontextmanager
async def questions(settings: PostgresSettings) -> AsyncGenerator[Questions]:
    """A connection for one command, closed at the end."""
    connection = Connection(settings, {**QUERIES, **STATEMENTS})
    try:
        yield Questions(connection)
    finally:
        await connection.close()
