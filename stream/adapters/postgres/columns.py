"""Values to columns and back: what `unnest` takes are lists, one a column, in the order of the statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from zlib import crc32

import asyncpg
import msgspec
import orjson

from stream.core.changes import DeadLetter, History, Message
from stream.core.entity import Entity, Timer, Waiting
from stream.core.outcome import Outcome, Reason
from stream.core.record import Header, Record, Ref

SHARDS = 16
"""How many shares the outbox has: fixed by the schema, one row each in `outbox_position`."""

T = TypeVar("T")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None]]).decode
_instants = msgspec.json.Decoder(dict[str, datetime]).decode
_numbers = msgspec.json.Decoder(dict[str, int]).decode


def columns(rows: Sequence[T], *of: Callable[[T], Any]) -> list[list[Any]]:
    return [[get(row) for row in rows] for get in of]


def split(refs: Sequence[Ref]) -> tuple[list[str], list[str]]:
    return [r.machine for r in refs], [r.id for r in refs]


def shard_of(key: bytes) -> int:
    return crc32(key) % SHARDS


# -- entities ------------------------------------------------------------------------------------------------------------------------


def entity_columns(entities: Mapping[Ref, Entity], versions: Mapping[Ref, int]) -> list[list[Any]]:
    """Sorted by ref, as locks are taken."""
    rows = [entities[ref] for ref in sorted(entities)]
    return columns(
        rows,
        lambda e: e.ref.machine,
        lambda e: e.ref.id,
        lambda e: versions[e.ref],
        lambda e: e.version,
        lambda e: e.machine_version,
        lambda e: e.state,
        lambda e: e.data,
        lambda e: e.since,
        lambda e: e.time,
        lambda e: e.n,
        lambda e: e.last_id,
        lambda e: e.chain,
        lambda e: orjson.dumps(e.sequences) if e.sequences else None,
        lambda e: orjson.dumps(e.fired) if e.fired else None,
        lambda e: bool(e.timers) | bool(e.line) << 1,
    )


def entity_of(row: asyncpg.Record) -> Entity:
    ref = Ref(row[0], row[1])
    sequences = _numbers(row[11]) if row[11] is not None else {}
    fired = _instants(row[12]) if row[12] is not None else {}
    return Entity(ref, *(row[i] for i in range(2, 11)), sequences, fired)


def timer_columns(timers: Sequence[Timer]) -> list[list[Any]]:
    return columns(timers, lambda t: t.ref.machine, lambda t: t.ref.id, lambda t: t.name, lambda t: t.due)


# -- records in storage --------------------------------------------------------------------------------------------------------------


def record_columns(records: Sequence[Record]) -> list[list[Any]]:
    """Seven columns: topic, partition, offset, timestamp, key, value, headers."""
    return columns(
        records,
        lambda r: r.topic,
        lambda r: r.partition,
        lambda r: r.offset,
        lambda r: r.timestamp,
        lambda r: r.key,
        lambda r: r.value,
        lambda r: pack_headers(r.headers),
    )


def pack_headers(headers: Sequence[Header]) -> bytes:
    """MessagePack: keys back to the bytes they were, values as they are."""
    return _pack([(key.encode("utf-8", "surrogateescape"), value) for key, value in headers])


def unpack_headers(packed: bytes) -> list[Header]:
    return [(key.decode("utf-8", "surrogateescape"), value) for key, value in _unpack(packed)]


def record_of(row: asyncpg.Record) -> Record:
    headers = unpack_headers(row["headers"])
    return Record(row["topic"], row["partition"], row["offset"], row["timestamp"], row["key"], row["value"], headers)


def line_columns(lines: Sequence[Waiting]) -> list[list[Any]]:
    own = columns(
        lines,
        lambda w: w.ref.machine,
        lambda w: w.ref.id,
        lambda w: w.outcome.value,
        lambda w: str(w.reason),
        lambda w: w.event_id,
        lambda w: w.event_type,
        lambda w: w.correlation_id,
        lambda w: w.since,
        lambda w: w.until,
        lambda w: w.attempts,
        lambda w: clean(w.error),
    )
    return own + record_columns([w.record for w in lines])


def retried_columns(lines: Sequence[Waiting]) -> list[list[Any]]:
    return columns(
        lines,
        lambda w: w.id,
        lambda w: w.outcome.value,
        lambda w: str(w.reason),
        lambda w: w.until,
        lambda w: w.attempts,
        lambda w: clean(w.error),
    )


def waiting_of(row: asyncpg.Record) -> Waiting:
    return Waiting(
        ref=Ref(row["machine"], row["entity_id"]),
        outcome=Outcome(row["outcome"]),
        reason=Reason(row["reason"]),
        record=record_of(row),
        event_id=row["event_id"],
        event_type=row["event_type"],
        correlation_id=row["correlation_id"],
        since=row["since"],
        id=row["id"],
        error=row["error"],
        attempts=row["attempts"],
        until=row["until"],
    )


# -- append-only rows ----------------------------------------------------------------------------------------------------------------


def history_columns(rows: Sequence[History]) -> list[list[Any]]:
    """All but the two ids."""
    return columns(
        rows,
        lambda h: h.ref.machine,
        lambda h: h.ref.id,
        lambda h: h.n,
        lambda h: h.outcome.value,
        lambda h: h.reason,
        lambda h: h.event_id,
        lambda h: h.event_type,
        lambda h: h.source,
        lambda h: h.actor,
        lambda h: h.from_state,
        lambda h: h.to_state,
        lambda h: h.time,
        lambda h: h.at,
        lambda h: h.correlation_id,
        lambda h: h.causation_id,
        lambda h: h.trace_id,
        lambda h: h.door,
        lambda h: clean(h.error),
        lambda h: h.hash,
    )


def message_columns(rows: Sequence[Message]) -> list[list[Any]]:
    return columns(
        rows,
        lambda m: shard_of(m.key),
        lambda m: m.topic,
        lambda m: m.key,
        lambda m: m.value,
        lambda m: orjson.dumps(m.headers),
        lambda m: m.emitter.machine,
        lambda m: m.emitter.id,
        lambda m: m.id,
        lambda m: m.type,
        lambda m: m.correlation_id,
    )


def message_headers(packed: bytes) -> list[tuple[str, bytes]]:
    return [(key, value.encode()) for key, value in orjson.loads(packed)]


def letter_columns(rows: Sequence[DeadLetter]) -> list[list[Any]]:
    """What a refused record says of itself is anybody's text: it is cleaned; its bytes stay as they were."""
    own = columns(
        rows,
        lambda d: str(d.reason),
        lambda d: clean(d.error),
        lambda d: clean(d.event_id),
        lambda d: clean(d.event_type),
        lambda d: clean(d.correlation_id),
        lambda d: clean(d.trace_id),
        lambda d: d.ref.machine if d.ref else None,
        lambda d: d.ref.id if d.ref else None,
        lambda d: d.admitted,
    )
    return own + record_columns([d.record for d in rows])


def clean(text: str) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)
