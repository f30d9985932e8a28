"""What a careful programmer writes without the engine: the same effects in the same tables, event by event or batch by batch.

It decodes and checks with msgspec, keeps identities, state, history, outbox and position in one transaction. It has no machines, lines,
timers, counts, traces, or answers to failure: a lower bound, not an alternative.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Self
from uuid import UUID, uuid4
from zlib import crc32

import asyncpg
import msgspec
import orjson

from benchmarks.workload import OrderMoved, Sum
from stream.core.record import Record


class Change(msgspec.Struct):
    """The data of both events."""

    order_id: str
    amount: float
    actor: str
    note: str


FENCE = "select next_offset from partition where topic = $1 and partition = $2 and epoch = $3 for update"
SEEN = "insert into inbox (key, content) select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing returning key"
STUB = "insert into entity (machine, id) select 'order', x from unnest($1::text[]) x order by x on conflict do nothing"
READ = "select id, version, state, data, n, last_id, chain from entity where machine = 'order' and id = any ($1::text[]) order by id for update"
WRITE = """
update entity e set version = x.v, state = x.s, data = x.d, time = x.t, since = x.t, n = x.v, last_id = x.h, chain = x.c, sequences = x.q
from unnest($1::text[], $2::bigint[], $3::text[], $4::bytea[], $5::timestamptz[], $6::bigint[], $7::bytea[], $8::bytea[]) x (id, v, s, d, t, h, c, q)
where e.machine = 'order' and e.id = x.id"""
HISTORY = """
insert into history (id, prev_id, machine, entity_id, n, outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at,
    correlation_id, causation_id, trace_id, door, error, hash)
select x.h, x.p, 'order', x.id, x.n, 'applied', '', x.e, x.k, 'bench', '', x.a, x.b, x.t, now(), x.c, '', x.r, 'partitions', '', x.x
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
    $10::text[], $11::text[], $12::bytea[]) x (h, p, id, n, e, k, a, b, t, c, r, x)"""
OUTBOX = """
insert into outbox (shard, topic, key, value, headers, machine, entity_id, message_id, type, correlation_id, written_at)
select x.s, 'moved', x.k, x.v, x.h, 'order', x.id, x.m, 'order.moved', x.c, now()
from unnest($1::smallint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[]) x (s, k, v, h, id, m, c)"""
MOVE = "update partition set next_offset = $4, records = records + $5, admitted = admitted + $5 where topic = $1 and partition = $2 and epoch = $3"


class ByHand:
    """One connection, made for one run."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._decoder = msgspec.json.Decoder(Change)
        self._data = msgspec.json.Decoder(Sum)
        self._id = 0

    async def __aenter__(self) -> Self:
        self._link = await asyncpg.connect(
            self._dsn, server_settings={"search_path": "stream", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_seqscan": "off"}
        )
        await self._link.execute(
            "insert into partition (topic, partition, epoch, next_offset, owner, generation, seen_at, topic_partitions)"
            " values ('orders', 0, 1, 0, '', 1, now(), 1)"
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()

    async def one(self, record: Record) -> None:
        """A transaction for one event."""
        await self.many([record])

    async def many(self, batch: list[Record]) -> None:
        """A transaction for a batch, from one partition, in order."""
        link = self._link
        await link.execute("begin")
        await link.fetch(FENCE, "orders", 0, 1)
        keys = [self._identity(record) for record in batch]
        first = dict(zip(reversed(keys), reversed(batch), strict=True))
        new = {row["key"] for row in await link.fetch(SEEN, sorted(first), sorted(first))}
        fresh = [first[key] for key in dict.fromkeys(keys) if key in new]
        changes = [self._decoder.decode(record.value or b"") for record in fresh]
        ids = sorted({change.order_id for change in changes})
        await link.execute(STUB, ids)
        entities = {row["id"]: list(row) for row in await link.fetch(READ, ids)}
        await self._write(fresh, changes, entities)
        await link.execute(MOVE, "orders", 0, 1, batch[-1].offset + 1, len(batch))
        await link.execute("commit")

    def _identity(self, record: Record) -> UUID:
        head = dict(record.headers)
        return UUID(bytes=blake2b(b"bench\0" + (head["ce_id"] or b""), digest_size=16).digest())

    async def _write(self, fresh: list[Record], changes: list[Change], entities: dict[str, list[object]]) -> None:
        history: list[tuple[object, ...]] = []
        outbox: list[tuple[object, ...]] = []
        now = datetime.now(UTC)
        sums: dict[str, Sum] = {}
        for record, change in zip(fresh, changes, strict=True):
            entity = entities[change.order_id]
            data = entity[3]
            assert isinstance(data, bytes)
            known = sums.get(change.order_id) or (self._data.decode(data) if data else Sum(order_id=change.order_id))
            known.amount, known.actor, known.count = known.amount + change.amount, change.actor, known.count + 1
            sums[change.order_id] = known
            self._id += 1
            head = {key: (value or b"").decode() for key, value in record.headers}
            state = "busy" if entity[2] == "calm" else "calm"
            body = msgspec.json.encode(known)
            before = entity[6]
            assert isinstance(before, bytes)
            chain = blake2b(before + body, digest_size=32).digest()
            history.append((self._id, entity[5], change.order_id, known.count, head["ce_id"], head["ce_type"], entity[2], state, now,
                            head["ce_correlationid"], uuid4().hex, chain))  # fmt: skip
            message = uuid4().hex
            value = msgspec.json.encode(OrderMoved(order_id=known.order_id, amount=known.amount, actor=known.actor, note=change.note))
            headers = orjson.dumps([["ce_id", message], ["ce_type", "order.moved"], ["ce_source", "/bench/order"], ["ce_specversion", "1.0"],
                                    ["ce_correlationid", head["ce_correlationid"]], ["ce_causationid", head["ce_id"]],
                                    ["ce_sequence", f"{known.count:020d}"], ["ce_emitter", f"order/{known.order_id}"]])  # fmt: skip
            key = change.order_id.encode()
            outbox.append((crc32(key) % 16, key, value, headers, change.order_id, message, head["ce_correlationid"]))
            entity[1], entity[2], entity[3], entity[5], entity[6] = known.count, state, body, self._id, chain
        if not history:
            return
        rows = [(e[0], e[1], e[2], e[3], now, e[5], e[6], b"{}") for e in entities.values()]
        await self._link.execute(WRITE, *zip(*rows, strict=True))
        await self._link.execute(HISTORY, *zip(*history, strict=True))
        await self._link.execute(OUTBOX, *zip(*outbox, strict=True))
