"""The store in memory: same promises as the real one, for tests, documentation and the harness.

Transactions run one after another behind one lock, so there are no late committers and no races here; fences, versions, identities and roll-back
are as in PostgreSQL. What a transaction writes is put aside until it commits, so that who reads without a lock sees none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from stream.adapters.memory_database import Lease, Letter, MemoryDatabase, NoticeRow, TaskRow, Written, shard_of
from stream.adapters.memory_partitions import Place
from stream.core.changes import Changes
from stream.core.entity import Entity
from stream.core.errors import FencedError, UnstorableError
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.order import Claim, Order, Stored
from stream.core.outcome import Outcome, Verdict
from stream.core.record import Record, Ref, TopicPartition, fingerprint
from stream.core.task import Open
from stream.ports import Position, Slice, Wait

K = TypeVar("K")
V = TypeVar("V")

RECORDS = (Verdict.ADMITTED, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.DEAD, Verdict.SKIPPED)
CONCERNED = (Outcome.APPLIED, Outcome.IGNORED, Outcome.DEFERRED, Outcome.REJECTED, Outcome.PARKED)


class MemoryStore:
    """See `ports.Store`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[MemoryTransaction]:
        async with self.database.alone():
            tx = MemoryTransaction(self.database)
            yield tx
            tx.commit()

    async def adopt(self, place: TopicPartition, *, owner: str, generation: int, begin: int, partitions: int) -> Position:
        db = self.database
        async with db.alone():
            row = db.partitions.see(place, begin, partitions, (owner, db.clock()))
            return db.partitions.adopt(place, row, owner, generation, db.clock())

    async def recognize(self, place: TopicPartition, epoch: int, topic_id: str) -> None:
        rows = self.database.partitions
        async with self.database.alone():
            if place in rows and rows[place].epoch == epoch:
                rows[place] = replace(rows[place], topic_id=topic_id)

    async def halt(self, place: TopicPartition, epoch: int, reason: HaltReason, seen: Seen) -> None:
        async with self.database.alone():
            self.database.partitions.halt(place, epoch, reason, seen, self.database.clock())

    async def halted(self, place: TopicPartition) -> Halt | None:
        row = self.database.partitions.get(place)
        return row.halt if row else None

    async def resume(self, decision: Decision) -> None:
        async with self.database.alone():
            self.database.partitions.resume(decision)
            self.database.decisions.append(decision)

    async def note_drained(self, marks: Sequence[tuple[TopicPartition, int, int]], at: datetime) -> None:
        db = self.database
        async with db.alone():
            for place, epoch, offset in marks:
                row = db.partitions.get(place)
                if row is not None and row.epoch == epoch:
                    drained = at if row.next_offset == offset else row.drained_at
                    db.partitions[place] = replace(row, seen_at=db.clock(), drained_at=drained)

    async def note_instance(self, owner: str, roles: Sequence[str], waits: Sequence[Wait]) -> None:
        self.database.instances[owner] = (tuple(roles), tuple(waits))

    async def now(self) -> datetime:
        return self.database.now()

    async def backlog(self) -> int:
        leases = self.database.leases
        return sum(seq > leases.get(shard_of(w.message.key), Lease()).seq for seq, w in self.database.outbox.items())

    async def close(self) -> None:
        """Nothing to let go of."""


class MemoryTransaction:
    """See `ports.Transaction`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database
        self._written: dict[int, tuple[MutableMapping[Any, Any], dict[Any, Any]]] = {}
        self._slices: Sequence[Slice] = ()
        self._whole = False

    def commit(self) -> None:
        """Until now nobody else saw any of it."""
        for table, rows in self._written.values():
            for key, row in rows.items():
                if row is None:
                    table.pop(key, None)
                else:
                    table[key] = row

    def _get(self, table: MutableMapping[K, V], key: K) -> V | None:
        _, rows = self._written.get(id(table), (table, {}))
        return rows[key] if key in rows else table.get(key)

    def _all(self, table: MutableMapping[K, V]) -> dict[K, V]:
        _, rows = self._written.get(id(table), (table, {}))
        return {key: row for key, row in {**table, **rows}.items() if row is not None}

    def _put(self, table: MutableMapping[K, V], key: K, value: V | None) -> None:
        """None: the row goes."""
        self._written.setdefault(id(table), (table, {}))[1][key] = value

    # -- claim -----------------------------------------------------------------------------------------------------------------------

    async def claim_partitions(self, slices: Sequence[Slice]) -> Claim:
        self._slices = sorted(slices, key=lambda s: s.place)
        rows = {s.place: self._held(s) for s in self._slices}
        lost = tuple(place for place, row in rows.items() if row is None)
        if lost:
            raise FencedError(lost)
        times = {place: row.stream_time for place, row in rows.items() if row is not None and row.stream_time is not None}
        floors = {s.place.topic: self._db.floors[s.place.topic] for s in slices if s.place.topic in self._db.floors}
        now, clock = self._db.now(), self._db.clock()
        return Claim("partitions", now, clock, [r for s in self._slices for r in s.records], stream_times=times, floors=floors)

    def _held(self, slice: Slice) -> Place | None:
        row = self._get(self._db.partitions, slice.place)
        return row if row is not None and (row.epoch, row.next_offset) == (slice.epoch, slice.start) else None

    async def claim_timers(self, fires: Sequence[Order]) -> Claim:
        return Claim("timers", self._db.now(), self._db.clock(), orders=fires)

    async def claim_letters(self, ids: Sequence[int], actor: str) -> Claim:
        stored: list[Stored] = []
        for id in sorted(set(ids)):
            row = self._get(self._db.letters, id)
            if row is not None and row.status == "open":
                self._put(self._db.letters, id, replace(row, status="replayed", closed_by=actor))
                stored.append(Stored(row.letter.record, row.letter.ref, row.letter.admitted))
        return Claim("replay", self._db.now(), self._db.clock(), stored=stored)

    async def claim_orders(self, door: str, orders: Sequence[Order] = (), records: Sequence[Record] = ()) -> Claim:
        self._whole = True
        return Claim(door, self._db.now(), self._db.clock(), orders=orders, stored=[Stored(record, None, False) for record in records])

    # -- first sight, load -----------------------------------------------------------------------------------------------------------

    async def first_sight(self, seen: Sequence[tuple[bytes, bytes]]) -> Sequence[Verdict]:
        return [self._sight(key, content) for key, content in seen]

    def _sight(self, key: bytes, content: bytes) -> Verdict:
        known = next((seen for generation in self._db.inbox if (seen := self._get(generation, key)) is not None), None)
        if known is None:
            self._put(self._db.inbox[0], key, content)
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if known == content else Verdict.CONFLICT

    async def load(self, refs: Collection[Ref]) -> Mapping[Ref, Entity]:
        wanted = sorted(set(refs))
        found: dict[Ref, Entity] = {}
        for ref in wanted:
            stored = self._get(self._db.entities, ref)
            if stored is None:
                self._put(self._db.entities, ref, Entity(ref))
            found[ref] = _copied(stored or Entity(ref))
        for (ref, name), timer in self._db.timers.items():
            if ref in found and timer.due is not None:
                found[ref].timers[name] = timer.due
            if ref in found and timer.reading is not None:
                found[ref].clocks[name] = timer.reading
        for id in sorted(self._db.waiting):
            row = self._db.waiting[id]
            if row.ref in found and (self._whole or row.outcome is not Outcome.PARKED or not found[row.ref].parked):
                found[row.ref].line.append(copy(row))
        if self._whole:
            for id, task in self._db.tasks.items():
                if task.asked.ref in found and task.open:
                    a = task.asked
                    found[a.ref].tasks[id] = Open(id, a.name, a.answers, a.reasons, a.owner, task.assignee)
        return found

    # -- save ------------------------------------------------------------------------------------------------------------------------

    async def save(self, changes: Changes) -> None:
        db, now = self._db, self._db.now()
        for row in changes.history:
            id = db.number("history")
            entity = changes.entities[row.ref]
            self._put(db.history, id, (entity.last_id, row))
            entity.last_id = id
        self._save_entities(changes)
        self._save_children(changes)
        for message in changes.messages:
            self._put(db.outbox, db.number("outbox"), Written(message, now))
        for notice in changes.notices:
            self._put(db.notices, db.number("notice"), NoticeRow(notice, db.clock(), db.clock()))
        for letter in changes.dead:
            self._put(db.letters, db.number("letter"), Letter(letter, now))
        self._move_partitions(changes)
        self._count_doors(changes)

    def _save_entities(self, changes: Changes) -> None:
        for ref, entity in changes.entities.items():
            stored = self._get(self._db.entities, ref)
            if stored is None or stored.version != changes.versions[ref]:
                raise FencedError(tuple(changes.entities))
            self._put(self._db.entities, ref, _copied(entity))

    def _save_children(self, changes: Changes) -> None:
        db = self._db
        for key in changes.drop_timers:
            self._put(db.timers, key, None)
        for timer in changes.set_timers:
            self._put(db.timers, (timer.ref, timer.name), timer)
        for id in changes.drop_lines:
            self._put(db.waiting, id, None)
        for row in changes.retried:
            if self._get(db.waiting, row.id) is not None:
                self._put(db.waiting, row.id, copy(row))
        for row in changes.lines:
            id = db.number("waiting")
            added = copy(row)
            added.id = id
            self._put(db.waiting, id, added)
        self._save_tasks(changes)

    def _save_tasks(self, changes: Changes) -> None:
        for closed in changes.closed:
            for id, task in self._open_tasks(closed.ref, closed.name):
                self._put(self._db.tasks, id, replace(task, closed=closed))
        for asked in changes.asked:
            if asked.closed or not self._open_tasks(asked.ref, asked.name):
                self._put(self._db.tasks, self._db.number("task"), TaskRow(asked, asked.closed))

    def _open_tasks(self, ref: Ref, name: str) -> list[tuple[int, TaskRow]]:
        ids = [id for id, task in self._all(self._db.tasks).items() if (task.asked.ref, task.asked.name) == (ref, name) and task.open]
        return [(id, task) for id in ids if (task := self._get(self._db.tasks, id)) is not None]

    def _move_partitions(self, changes: Changes) -> None:
        for s in self._slices:
            row = self._held(s)
            if row is None:
                raise FencedError((s.place,))
            counts = Counter(row.counts) + changes.counts.get(s.place, Counter())
            _check_identities(counts)
            time = max((t for t in (row.stream_time, changes.stream_times.get(s.place)) if t is not None), default=None)
            row = replace(row, next_offset=s.end, stream_time=time, seen_at=self._db.clock(), counts=counts)
            if s.records:
                row = replace(row, last_offset=s.records[-1].offset, fingerprint=fingerprint(s.records[-1]))
            self._put(self._db.partitions, s.place, row)

    def _count_doors(self, changes: Changes) -> None:
        doors = self._db.doors
        for door, counts in changes.counts.items():
            if isinstance(door, str):
                for name, n in counts.items():
                    self._put(doors, (door, name), (self._get(doors, (door, name)) or 0) + n)


def _copied(entity: Entity) -> Entity:
    """What the entity's own row holds, in a copy that shares nothing that changes."""
    return replace(entity, sequences=dict(entity.sequences), timers={}, clocks={}, line=[])


def _check_identities(counts: Counter[str]) -> None:
    if sum(counts[v] for v in RECORDS) != counts["records"] or sum(counts[o] for o in CONCERNED) != counts["concerned"]:
        raise UnstorableError("a record without a verdict, or an entity without an outcome, was counted")
