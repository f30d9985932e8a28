"""The relay's and the ticker's side of the store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from stream.adapters.memory_partitions import NEVER
from stream.adapters.memory_store import Lease, MemoryDatabase, Written, shard_of
from stream.core.errors import FencedError
from stream.core.record import Ref
from stream.core.share import share
from stream.ports import ROUND_BYTES, Feed, Feeds, Leases, Outgoing, Refusal, Round

SHARDS = 2


class MemoryOutbox:
    """See `ports.Outbox`. Transactions commit one by one, so a plain number is a safe position here."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database
        self._owner = ""
        self._epochs: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    async def lease(self, owner: str, ttl: timedelta) -> Leases:
        self._owner, clock = owner, self._db.clock()
        self._be_seen(owner, ttl)
        relays = list(self._db.relays)
        most = share(SHARDS, relays.index(owner), len(relays))
        rows = {shard: self._db.leases.get(shard, Lease()) for shard in range(SHARDS)}
        mine = [s for s, row in rows.items() if row.owner == owner and self._epochs.get(s) == row.epoch]
        free = [s for s, row in rows.items() if s not in mine and (row.owner == owner or row.until < clock)]
        held = [*mine, *free][:most]
        for shard in held:
            row = rows[shard]
            self._db.leases[shard] = replace(row, owner=owner, until=clock + ttl, epoch=row.epoch + (shard not in mine))
        self._let_go(owner, held)
        self._epochs = {s: self._db.leases[s].epoch for s in held}
        return Leases(sorted(held), most)

    async def renew(self, owner: str, ttl: timedelta) -> None:
        self._be_seen(owner, ttl)
        for shard, epoch in self._epochs.items():
            row = self._db.leases[shard]
            if (row.owner, row.epoch) == (owner, epoch):
                self._db.leases[shard] = replace(row, until=self._db.clock() + ttl)

    def _be_seen(self, owner: str, ttl: timedelta) -> None:
        """The order of the entries is the order in which they joined."""
        relays, clock = self._db.relays, self._db.clock()
        relays[owner] = clock + ttl
        for other in [name for name, until in relays.items() if name != owner and until < clock]:
            del relays[other]

    async def read(self, shard: int, limit: int) -> Round:
        lease = self._lease(shard)
        unsent = [(seq, w) for seq, w in self._db.outbox.items() if seq > lease.seq and shard_of(w.message.key) == shard]
        rows = _weighed(unsent[:limit])
        closed = {_line(self._db.outbox[seq]) for seq in self._db.held}
        for seq, row in rows:
            if _line(row) in closed:
                self._db.held[seq] = "behind"
        free = [_outgoing(seq, row) for seq, row in rows if _line(row) not in closed]
        self._ends[shard] = rows[-1][0] if rows else lease.seq
        within = bool(rows) and (len(rows) == limit or len(rows) < len(unsent))
        round = Round(shard, lease.epoch, free, more=within, within=within)
        if rows and not free:
            await self.advance(round, ())
            return await self.read(shard, limit)
        return round

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        lease = self._lease(round.shard)
        if lease.epoch != round.epoch:
            raise FencedError((round.shard,))
        reasons = {r.seq: r.reason for r in refused}
        closed: set[tuple[str, bytes]] = set()
        for row in round.rows:
            if (row.topic, row.key) in closed:
                self._db.held[row.seq] = "behind"
            elif row.seq in reasons:
                closed.add((row.topic, row.key))
                self._db.held[row.seq] = reasons[row.seq]
        self._db.leases[round.shard] = replace(lease, seq=self._ends[round.shard])

    async def release(self, owner: str) -> None:
        self._epochs.clear()
        self._let_go(owner, ())
        self._db.relays.pop(owner, None)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _let_go(self, owner: str, keep: Sequence[int]) -> None:
        for shard, row in self._db.leases.items():
            if row.owner == owner and shard not in keep:
                self._db.leases[shard] = replace(row, owner="", until=NEVER)

    def _lease(self, shard: int) -> Lease:
        row = self._db.leases.get(shard, Lease())
        if row.owner != self._owner or row.epoch != self._epochs.get(shard) or row.until < self._db.clock():
            raise FencedError((shard,))
        return row


class MemoryTimetable:
    """See `ports.Timetable`."""

    def __init__(self, database: MemoryDatabase, horizon: timedelta = timedelta(days=14)) -> None:
        self._db, self._horizon = database, horizon

    async def feeds(self) -> Feeds:
        db = self._db
        feeds = [Feed(place, row.next_offset, row.drained_at, row.stream_time) for place, row in sorted(db.partitions.items())]
        unsent: dict[str, datetime] = {}
        for seq, row in db.outbox.items():
            if seq > db.leases.get(shard_of(row.message.key), Lease()).seq:
                unsent.setdefault(row.message.topic, row.at)
        return Feeds(db.now(), db.clock(), feeds, unsent)

    async def due(self, until: Mapping[str, datetime], limit: int) -> Sequence[tuple[Ref, datetime]]:
        earliest: dict[Ref, datetime] = {}
        for (ref, _), timer in self._db.timers.items():
            if ref.machine in until and timer.due is not None and timer.due <= until[ref.machine]:
                earliest[ref] = min(timer.due, earliest.get(ref, timer.due))
        return sorted(earliest.items(), key=lambda found: (found[1], found[0]))[:limit]

    async def rotate(self) -> Sequence[str]:
        db = self._db
        if db.opened > db.now() - self._horizon / 2:
            return []
        async with db.alone():
            for topic, newest in db.closed[1].items():
                db.floors[topic] = max(newest, db.floors.get(topic, newest))
            closing: dict[str, datetime] = {}
            for place, row in db.partitions.items():
                if row.stream_time is not None:
                    closing[place.topic] = max(row.stream_time, closing.get(place.topic, row.stream_time))
            db.closed = [closing, db.closed[0]]
            db.inbox[:] = [{}, db.inbox[0], db.inbox[1]]
            db.opened = db.now()
        return ["turned the inbox"]

    async def move_clock(self, ahead: timedelta) -> None:
        self._db.ahead = ahead

    async def close(self) -> None:
        """Nothing to let go of."""


def _line(row: Written) -> tuple[str, bytes]:
    return row.message.topic, row.message.key


def _weighed(rows: Sequence[tuple[int, Written]]) -> Sequence[tuple[int, Written]]:
    size = 0
    for n, (_, row) in enumerate(rows):
        if size >= ROUND_BYTES:
            return rows[:n]
        size += len(row.message.key) + len(row.message.value)
    return rows


def _outgoing(seq: int, row: Written) -> Outgoing:
    message = row.message
    return Outgoing(seq, message.topic, message.key, message.value, [(k, v.encode()) for k, v in message.headers])
