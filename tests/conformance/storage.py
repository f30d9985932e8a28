"""A place to keep state, in memory or in PostgreSQL, and the small values its tests write."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_notices import MemoryNotices
from stream.adapters.memory_outbox import MemoryHeldLines, MemoryOutbox, MemoryTimetable
from stream.adapters.memory_store import MemoryStore
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.held import PostgresHeldLines
from stream.adapters.postgres.notices import PostgresNotices
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import PostgresTimetable
from stream.core.changes import Changes, History, Message
from stream.core.entity import Entity, Trace
from stream.core.outcome import Outcome
from stream.core.record import Record, Ref, TopicPartition
from stream.ports import Outbox, Refusal, Round, Slice, Store, Transaction
from stream.ports.held import HeldLines
from stream.ports.notices import Notices
from stream.ports.timetable import Timetable

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = TopicPartition("jobs", 0)
JOB = Ref("job", "j-1")


class Closing(Protocol):
    async def close(self) -> None: ...


class MovingTimetable(Timetable, Protocol):
    async def move_clock(self, ahead: timedelta) -> None: ...


P = TypeVar("P", bound=Closing)


@dataclass
class Storage:
    """Makes stores, outboxes and timetables over one database, each on a connection of its own, and closes them at the end."""

    new_store: Callable[[], Store]
    new_outbox: Callable[[], Outbox]
    new_timetable: Callable[[], MovingTimetable]
    new_lines: Callable[[], HeldLines]
    new_notices: Callable[[], Notices]
    opened: list[Closing]
    late_commits: bool = False

    def store(self) -> Store:
        return self._open(self.new_store())

    def outbox(self) -> Outbox:
        return self._open(self.new_outbox())

    def lines(self) -> HeldLines:
        return self._open(self.new_lines())

    def notices(self) -> Notices:
        return self._open(self.new_notices())

    def timetable(self) -> MovingTimetable:
        return self._open(self.new_timetable())

    def _open(self, part: P) -> P:
        self.opened.append(part)
        return part


@asynccontextmanager
async def closing(storage: Storage) -> AsyncGenerator[Storage]:
    try:
        yield storage
    finally:
        for part in storage.opened:
            await part.close()


def in_memory() -> Storage:
    database = MemoryDatabase()
    return Storage(
        lambda: MemoryStore(database),
        lambda: MemoryOutbox(database),
        lambda: MemoryTimetable(database),
        lambda: MemoryHeldLines(database),
        lambda: MemoryNotices(database),
        [],
    )


class _Timetable(PostgresTimetable):
    """Only the owner may move the clock."""

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self._owners = PostgresTimetable(settings.as_owner())

    async def move_clock(self, ahead: timedelta) -> None:
        await self._owners.move_clock(ahead)

    async def close(self) -> None:
        await self._owners.close()
        await super().close()


def in_postgres(dsn: str, owner: str = "") -> Storage:
    settings = PostgresSettings(dsn=dsn, owner_dsn=owner)
    return Storage(
        lambda: PostgresStore(settings),
        lambda: PostgresOutbox(settings),
        lambda: _Timetable(settings),
        lambda: PostgresHeldLines(settings),
        lambda: PostgresNotices(settings),
        [],
        late_commits=True,
    )


def key(n: int) -> bytes:
    return n.to_bytes(16)


def record(offset: int, value: bytes = b"{}") -> Record:
    return Record(PLACE.topic, PLACE.partition, offset, 1_700_000_000_000 + offset, b"j-1", value, [("ce_id", b"x"), ("\udcff", None)])


def batch(epoch: int, start: int, count: int = 1, place: TopicPartition = PLACE) -> Slice:
    return Slice(place, epoch, start, start + count, [record(start + i) for i in range(count)])


def history(ref: Ref, n: int, at: datetime = T0) -> History:
    """An applied move."""
    names = dict.fromkeys(("reason", "source", "actor", "from_state", "causation_id", "error"), "")
    return History(
        ref=ref,
        n=n,
        outcome=Outcome.APPLIED,
        event_id=f"e-{n}",
        event_type="job.moved",
        to_state="open",
        time=T0,
        at=at,
        correlation_id="c-1",
        trace_id="0" * 32,
        door="partitions",
        hash=b"h",
        **names,
    )


def message(key: str, n: int, emitter: Ref = JOB, topic: str = "out", value: bytes = b"{}") -> Message:
    return Message(emitter, topic, key.encode(), value, [("ce_id", f"m-{n}")], f"m-{n}", "job.told", n, "c-1", Trace("a", "b"))


def applied(changes: Changes, entity: Entity, *messages: Message, state: str = "open") -> Changes:
    """A move of `entity`, as `decide` would write it."""
    changes.versions.setdefault(entity.ref, entity.version)
    entity.version, entity.n, entity.state, entity.time, entity.since = entity.version + 1, entity.n + 1, state, T0, T0
    changes.entities[entity.ref] = entity
    changes.history.append(history(entity.ref, entity.n))
    changes.messages.extend(messages)
    return changes


def counted(changes: Changes, n: int, place: TopicPartition = PLACE) -> Changes:
    """`n` records, each admitted, and applied by one entity."""
    for what in ("records", "admitted", "concerned", "applied"):
        changes.count(place, what, n)
    return changes


async def move(tx: Transaction, *messages: Message, ref: Ref = JOB) -> Entity:
    """Load an entity, move it, save."""
    entity = (await tx.load([ref]))[ref]
    await tx.save(applied(Changes(), entity, *messages))
    return entity


async def tell(store: Store, *messages: Message, ref: Ref = JOB) -> None:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        await move(tx, *messages, ref=ref)


async def look(store: Store, ref: Ref = JOB) -> Entity:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        return (await tx.load([ref]))[ref]


async def drain(outbox: Outbox, shards: Sequence[int], limit: int = 100, refuse: Collection[str] = ()) -> list[str]:
    """Publish everything unsent: the ids, in the order they were sent. A broker that takes none of `refuse` is played along with."""
    sent: list[str] = []
    for shard in shards:
        more = True
        while more:
            round = await outbox.read(shard, limit)
            more = round.more
            taken, refused = published(round, refuse)
            sent += taken
            if round.rows:
                await outbox.advance(round, refused)
    return sent


def published(round: Round, refuse: Collection[str]) -> tuple[list[str], list[Refusal]]:
    """What a publisher says of a round: the ids on the log, and the first refused one of each key."""
    taken: list[str] = []
    refused: dict[tuple[str, bytes], Refusal] = {}
    for row in round.rows:
        id = dict(row.headers)["ce_id"].decode()
        if (row.topic, row.key) in refused:
            continue
        if id in refuse:
            refused[row.topic, row.key] = Refusal(row.seq, "too_large", "larger than the topic takes")
        else:
            taken.append(id)
    return taken, list(refused.values())
