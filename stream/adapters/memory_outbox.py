"""The relay's and the ticker's side of the store in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

from stream.adapters.memory_database import Held, Lease, MemoryDatabase, Written, shard_of
from stream.adapters.memory_partitions import NEVER
from stream.adapters.refusals import sorted_out
from stream.core.errors import FencedError
from stream.core.record import Ref
from stream.core.share import share
from stream.ports import ROUND_BYTES, Leases, Outgoing, Refusal, Round
from stream.ports.held import Reply
from stream.ports.timetable import Feed, Feeds

SHARDS = 2
Place: TypeAlias = tuple[str, bytes]
"""A topic and a key: what is held of them is a line."""


class MemoryOutbox:
    """See `ports.Outbox`. Transactions commit one by one, so a plain number is a safe position here."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database
        self._owner = ""
        self._epochs: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._passed: dict[int, list[int]] = {}

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
        lines = {place: seqs for place, seqs in lines_of(self._db).items() if shard_of(place[1]) == shard}
        on_their_way = [seq for seqs in lines.values() if any(self._db.held[s].status == "retrying" for s in seqs) for seq in seqs]
        if on_their_way:
            again = _weighed([(seq, self._db.outbox[seq]) for seq in sorted(on_their_way)[:limit]])
            return Round(shard, lease.epoch, [_outgoing(*row) for row in again], more=True, within=True, again=True)
        unsent = [(seq, w) for seq, w in self._db.outbox.items() if seq > lease.seq and shard_of(w.message.key) == shard]
        rows = _weighed(unsent[:limit])
        self._passed[shard] = [seq for seq, row in rows if _place(row) in lines]
        free = [_outgoing(seq, row) for seq, row in rows if _place(row) not in lines]
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
        sent, stopped, behind = sorted_out(round, refused)
        if round.again:
            self._settle(sent, stopped)
            return
        held, passed = self._db.held, self._passed[round.shard]
        held |= {r.seq: Held(r.reason, r.error, 1) for r in stopped}
        held |= {seq: Held("behind", "", 0) for seq in (*(row.seq for row in behind), *passed)}
        follow(self._db, {_place(self._db.outbox[seq]) for seq in passed})
        self._db.leases[round.shard] = replace(lease, seq=self._ends[round.shard])

    def _settle(self, sent: Sequence[Outgoing], stopped: Sequence[Refusal]) -> None:
        db = self._db
        ended = {_place(db.outbox[r.seq]) for r in stopped}
        for row in sent:
            db.held[row.seq] = replace(db.held[row.seq], status="sent")
        for r in stopped:
            db.held[r.seq] = Held(r.reason, r.error, db.held[r.seq].attempts + 1)
        lines = lines_of(db)
        for seq in [seq for place in ended for seq in lines[place]]:
            db.held[seq] = replace(db.held[seq], status="open")
        follow(db, {(row.topic, row.key) for row in sent} - ended, ordered=True)

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


class MemoryHeldLines:
    """See `ports.held.HeldLines`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def retry(self, seqs: Collection[int], actor: str) -> Mapping[int, Reply]:
        replies = {seq: self._reply(seq) for seq in seqs}
        for first in sorted({self._line(seq)[0] for seq, reply in replies.items() if reply is Reply.DONE}):
            self._db.held[first] = replace(self._db.held[first], status="retrying")
            self._db.audit.append((actor, "outbox retry", f"message {first}", ""))
        return replies

    async def skip(self, seq: int, actor: str, reason: str) -> Reply:
        reply = self._reply(seq)
        if reply is Reply.DONE and self._line(seq)[0] != seq:
            return Reply.BEHIND
        if reply is Reply.DONE:
            self._db.held[seq] = replace(self._db.held[seq], status="dropped")
            follow(self._db, {_place(self._db.outbox[seq])})
            self._db.audit.append((actor, "outbox skip", f"message {seq}", reason))
        return reply

    def _reply(self, seq: int) -> Reply:
        if seq not in self._db.held or self._db.held[seq].status in ("sent", "dropped"):
            return Reply.GONE
        return Reply.BUSY if any(self._db.held[other].status == "retrying" for other in self._line(seq)) else Reply.DONE

    def _line(self, seq: int) -> list[int]:
        return lines_of(self._db)[_place(self._db.outbox[seq])]

    async def close(self) -> None:
        """Nothing to let go of."""


def lines_of(database: MemoryDatabase) -> dict[Place, list[int]]:
    """What is held and not settled, by topic and key, in order."""
    lines: dict[Place, list[int]] = {}
    for seq in sorted(seq for seq, row in database.held.items() if row.status in ("open", "retrying")):
        lines.setdefault(_place(database.outbox[seq]), []).append(seq)
    return lines


def follow(database: MemoryDatabase, places: Collection[Place], *, ordered: bool = False) -> None:
    """Send lines on their way whose first message was never refused itself; `ordered`: also where it was."""
    lines = lines_of(database)
    for first in [lines[place][0] for place in places if place in lines]:
        row = database.held[first]
        if ordered or not row.attempts:
            database.held[first] = replace(row, status="retrying")


class MemoryTimetable:
    """See `ports.timetable.Timetable`."""

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


def _place(row: Written) -> Place:
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
