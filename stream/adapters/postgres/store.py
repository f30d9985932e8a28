"""The store on PostgreSQL: one transaction a batch, statements over arrays, locks in one order.

Order of locks: partition rows, identities, stubs of unborn entities, entities, their timers and lines, append-only rows; each sorted. READ
COMMITTED gives every statement a snapshot of its own, so what depends on a lock is read in a later statement than the lock; the fence alone
judges its condition on the row as locked. Existence never ends: a connection remembers which entities it saw committed and asks for stubs
only for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from stream.adapters.postgres import columns as col
from stream.adapters.postgres.connection import Connection, PostgresSettings, Work
from stream.adapters.postgres.partitions import PostgresPartitions
from stream.core.changes import Changes, History
from stream.core.entity import Entity
from stream.core.errors import FencedError, UnavailableError
from stream.core.order import Claim, Order, Stored
from stream.core.outcome import Verdict
from stream.core.record import Record, Ref, TopicPartition, fingerprint
from stream.ports import Slice, Wait

COUNTERS = (
    *("records", "admitted", "duplicate", "conflict", "dead", "skipped", "concerned"),
    *("applied", "ignored", "deferred", "rejected", "parked", "unrouted", "drained", "fired"),
)
"""What is counted per partition, in the order of the statement `move_partitions`."""

_BLOCK = 1000
_SEEN = 200_000


class PostgresStore(PostgresPartitions):
    """One connection's view of the state: see `ports.Store`."""

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(Connection(settings, keyed=True))
        self._seen: set[Ref] = set()
        self._ids: list[int] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresTransaction]:
        try:
            async with self.connection.transaction() as work:
                tx = PostgresTransaction(self.connection, work, self._seen, self._ids)
                yield tx
        except BaseException:
            # Ids of a block that waited too long could belong to a partition that is gone: a retry starts with a new one.
            self._ids.clear()
            raise
        if len(self._seen) > _SEEN:
            self._seen.clear()
        self._seen |= tx.met

    async def note_instance(self, owner: str, roles: Sequence[str], waits: Sequence[Wait]) -> None:
        said = [w.what for w in waits], [w.detail for w in waits], [w.age for w in waits]
        await self.connection.execute("note_instance", owner, list(roles), *said)

    async def now(self) -> datetime:
        return col.utc((await self.connection.fetch("time"))[0]["now"])

    async def backlog(self) -> int:
        return int((await self.connection.fetch("backlog"))[0]["n"])

    async def close(self) -> None:
        await self.connection.close()


class PostgresTransaction:
    """One batch on its way: see `ports.Transaction`."""

    def __init__(self, connection: Connection, work: Work, seen: set[Ref], ids: list[int]) -> None:
        self._connection, self._work, self._seen, self._ids = connection, work, seen, ids
        self._slices: Sequence[Slice] = ()
        self._now: datetime | None = None
        self._whole = False
        self.met: set[Ref] = set()
        self.saved: Changes | None = None

    # -- claim -----------------------------------------------------------------------------------------------------------------------

    async def claim_partitions(self, slices: Sequence[Slice]) -> Claim:
        self._slices = sorted(slices, key=lambda s: s.place)
        rows = await self._connection.fetch("claim_partitions", *self._places())
        times = {TopicPartition(r["topic"], r["partition"]): r["stream_time"] for r in rows}
        lost = tuple(s.place for s in self._slices if s.place not in times)
        if lost:
            raise FencedError(lost)
        floors = await self._connection.fetch("floors", sorted({s.place.topic for s in slices}))
        return await self._claim(
            "partitions",
            records=[r for s in self._slices for r in s.records],
            stream_times={place: time for place, time in times.items() if time is not None},
            floors={r["topic"]: r["time"] for r in floors},
        )

    async def claim_timers(self, fires: Sequence[Order]) -> Claim:
        return await self._claim("timers", orders=fires)

    async def claim_letters(self, ids: Sequence[int], actor: str) -> Claim:
        rows = await self._connection.fetch("claim_letters", sorted(ids), actor)
        stored = [
            Stored(col.record_of(r), Ref(r["machine"], r["entity_id"]) if r["machine"] is not None else None, r["admitted"])
            for r in sorted(rows, key=lambda r: int(r["id"]))
        ]
        return await self._claim("replay", stored=stored)

    async def claim_orders(self, door: str, orders: Sequence[Order] = (), records: Sequence[Record] = ()) -> Claim:
        self._whole = True
        return await self._claim(door, orders=orders, stored=[Stored(record, None, False) for record in records])

    async def _claim(self, door: str, **what: Any) -> Claim:
        row = (await self._connection.fetch("clocks"))[0]
        self._work.xid, self._now = row["xid"], row["now"]
        return Claim(door, row["now"], row["clock"], **what)

    # -- first sight -----------------------------------------------------------------------------------------------------------------

    async def first_sight(self, seen: Sequence[tuple[bytes, bytes]]) -> Sequence[Verdict]:
        firsts: dict[bytes, bytes] = {}
        for key, content in seen:
            firsts.setdefault(key, content)
        keys = sorted(firsts)
        hexes = [k.hex() for k in keys]
        noted = await self._connection.fetch("first_sight", hexes, [firsts[k].hex() for k in keys])
        fresh = {r["key"].bytes for r in noted}
        if len(fresh) < len(keys):
            rows = await self._connection.fetch("contents", [k.hex() for k in keys if k not in fresh])
            firsts |= {r["key"].bytes: r["content"].bytes for r in rows}
        return [self._verdict(key, content, fresh, firsts) for key, content in seen]

    @staticmethod
    def _verdict(key: bytes, content: bytes, fresh: set[bytes], contents: Mapping[bytes, bytes]) -> Verdict:
        """Only the first of a batch can be new; the later ones are compared with it, as if it had come in a batch before."""
        if key in fresh:
            fresh.discard(key)
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if contents[key] == content else Verdict.CONFLICT

    # -- load ------------------------------------------------------------------------------------------------------------------------

    async def load(self, refs: Collection[Ref]) -> Mapping[Ref, Entity]:
        if not refs:
            return {}
        wanted = sorted(set(refs))
        unknown = [r for r in wanted if r not in self._seen]
        if unknown:
            await self._connection.execute("stubs", *col.split(unknown))
        rows = await self._connection.fetch("entities", *col.split(wanted))
        if len(rows) < len(wanted):
            self._seen.clear()
            raise UnavailableError("an entity that was there is gone: was another database restored?")
        entities = {e.ref: e for e in map(col.entity_of, rows)}
        self.met.update(unknown)
        await self._load_timers([Ref(r[0], r[1]) for r in rows if r["holds"] & 1], entities)
        await self._load_lines([Ref(r[0], r[1]) for r in rows if r["holds"] & 2], entities)
        if self._whole:
            for row in await self._connection.fetch("tasks", *col.split(wanted)):
                entities[Ref(row[0], row[1])].tasks[row[2]] = col.open_of(row)
        return entities

    async def _load_timers(self, refs: Sequence[Ref], entities: Mapping[Ref, Entity]) -> None:
        if refs:
            for row in await self._connection.fetch("timers", *col.split(refs)):
                entity = entities[Ref(row[0], row[1])]
                if row[3] is not None:
                    entity.timers[row[2]] = row[3]
                if row[4] is not None:
                    entity.clocks[row[2]] = col.reading_of(row[4])

    async def _load_lines(self, refs: Sequence[Ref], entities: Mapping[Ref, Entity]) -> None:
        if refs:
            for row in await self._connection.fetch("lines", *col.split(refs), self._whole):
                entities[Ref(row["machine"], row["entity_id"])].line.append(col.waiting_of(row))

    # -- save ------------------------------------------------------------------------------------------------------------------------

    async def save(self, changes: Changes) -> None:
        self.saved = changes
        ids, previous = await self._number(changes.history, changes.entities)
        await self._save_entities(changes)
        await self._save_children(changes)
        if changes.history:
            await self._connection.execute("add_history", col.history_rows(ids, previous, changes.history))
        if changes.messages:
            await self._connection.execute("add_messages", col.message_rows(changes.messages), self._now)
        if changes.notices:
            await self._connection.execute("add_notices", *col.notice_columns(changes.notices))
        if changes.dead:
            await self._connection.execute("add_letters", *col.letter_columns(changes.dead), self._now)
        await self._move_partitions(changes)
        await self._count_doors(changes)

    async def _number(self, history: Sequence[History], entities: Mapping[Ref, Entity]) -> tuple[list[int], list[int]]:
        """An id for each row, and the id of the one before it of the same entity, whose last one moves along."""
        while len(self._ids) < len(history):
            first = (await self._connection.fetch("history_block"))[0]["first"]
            self._ids.extend(range(first, first + _BLOCK))
        ids, previous = self._ids[: len(history)], list[int]()
        del self._ids[: len(history)]
        for id, row in zip(ids, history, strict=True):
            previous.append(entities[row.ref].last_id)
            entities[row.ref].last_id = id
        return ids, previous

    async def _save_entities(self, changes: Changes) -> None:
        if changes.entities:
            written = await self._connection.execute("save_entities", col.entity_rows(changes.entities, changes.versions))
            if written < len(changes.entities):
                raise FencedError(tuple(changes.entities))

    async def _save_children(self, changes: Changes) -> None:
        run = self._connection.execute
        if changes.drop_timers:
            await run("drop_timers", *col.transpose([(*ref, name) for ref, name in changes.drop_timers]))
        if changes.set_timers:
            latest = {(t.ref, t.name): t for t in changes.set_timers}
            await run("set_timers", *col.timer_columns(list(latest.values())))
        if changes.drop_lines:
            await run("drop_lines", changes.drop_lines)
        if changes.retried:
            await run("retry_lines", *col.retried_columns(changes.retried))
        if changes.lines:
            await run("add_lines", *col.line_columns(changes.lines))
        if changes.closed:
            await run("close_tasks", *col.closed_columns(changes.closed))
        if changes.asked:
            await run("open_tasks", *col.asked_columns(changes.asked))

    async def _move_partitions(self, changes: Changes) -> None:
        if not self._slices:
            return
        last = [s.records[-1] if s.records else None for s in self._slices]
        counts = [changes.counts.get(s.place, Counter()) for s in self._slices]
        moved = await self._connection.execute(
            "move_partitions",
            *self._places(),
            [s.end for s in self._slices],
            [r.offset if r else None for r in last],
            [fingerprint(r) if r else None for r in last],
            [changes.stream_times.get(s.place) for s in self._slices],
            *([c[name] for c in counts] for name in COUNTERS),
        )
        if moved < len(self._slices):
            raise FencedError(tuple(s.place for s in self._slices))

    async def _count_doors(self, changes: Changes) -> None:
        rows = [(door, name, n) for door, c in changes.counts.items() if isinstance(door, str) for name, n in c.items()]
        if rows:
            await self._connection.execute("count_doors", *col.transpose(sorted(rows)))

    def _places(self) -> col.Columns:
        return col.transpose([(*s.place, s.epoch, s.start) for s in self._slices])
