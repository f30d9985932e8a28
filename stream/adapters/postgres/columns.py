"""Values to rows and columns and back.

The three hot tables are sent as arrays of rows (tuples of a composite type), the others as an array a column. asyncpg looks at every element of
an array in Python; at every field of a row it does not: 21 columns of history cost more than the rows do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from zlib import crc32

import asyncpg
import msgspec
import orjson

from stream.core.changes import DeadLetter, History, Message, Notice
from stream.core.entity import Entity, Timer, Waiting
from stream.core.ladder import Reading
from stream.core.outcome import Outcome, Reason
from stream.core.record import Header, Record, Ref
from stream.core.task import Asked, Closed, Open

SHARDS = 16
"""How many shares the outbox has: fixed by the schema, one row each in `outbox_position`."""

Columns: TypeAlias = Sequence[Sequence[Any]]
Rows: TypeAlias = Sequence[tuple[Any, ...]]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None]]).decode
_reading = msgspec.json.Encoder().encode
reading_of = msgspec.json.Decoder(Reading).decode
_numbers = msgspec.json.Decoder(dict[str, int]).decode


def transpose(rows: Sequence[tuple[Any, ...]]) -> Columns:
    """Rows to columns; there must be at least one row."""
    return list(zip(*rows, strict=True))


def split(refs: Sequence[Ref]) -> tuple[list[str], list[str]]:
    return [r.machine for r in refs], [r.id for r in refs]


def shard_of(key: bytes) -> int:
    return crc32(key) % SHARDS


# -- entities ------------------------------------------------------------------------------------------------------------------------


def entity_rows(entities: Mapping[Ref, Entity], versions: Mapping[Ref, int]) -> Rows:
    """Type `entity_row_14`; sorted by ref, as locks are taken."""
    return [
        (
            *e.ref,
            versions[e.ref],
            e.version,
            e.machine_version,
            e.state,
            e.data,
            e.since,
            e.time,
            e.n,
            e.last_id,
            e.chain,
            orjson.dumps(e.sequences) if e.sequences else None,
            bool(e.timers or e.clocks) | bool(e.line) << 1,
            e.number,
        )
        for _, e in sorted(entities.items())
    ]


def entity_of(row: asyncpg.Record) -> Entity:
    ref = Ref(row[0], row[1])
    sequences = _numbers(row[11]) if row[11] is not None else {}
    _, _, version, machine_version, state, data, since, time, n, last_id, chain, *_ = row
    return Entity(ref, version, machine_version, state, data, since, time, n, last_id, chain, sequences, number=row["number"])


def timer_columns(timers: Sequence[Timer]) -> Columns:
    return transpose([(*t.ref, t.name, t.due, t.reading and _reading(t.reading)) for t in timers])


# -- records in storage --------------------------------------------------------------------------------------------------------------


def record_columns(records: Sequence[Record]) -> Columns:
    """Seven columns: topic, partition, offset, timestamp, key, value, headers."""
    return transpose(
        [
            (
                r.topic,
                r.partition,
                r.offset,
                r.timestamp,
                r.key,
                r.value,
                pack_headers(r.headers),
            )
            for r in records
        ]
    )


def pack_headers(headers: Sequence[Header]) -> bytes:
    """MessagePack: keys back to the bytes they were, values as they are."""
    return _pack([(key.encode("utf-8", "surrogateescape"), value) for key, value in headers])


def unpack_headers(packed: bytes) -> list[Header]:
    return [(key.decode("utf-8", "surrogateescape"), value) for key, value in _unpack(packed)]


def record_of(row: asyncpg.Record) -> Record:
    headers = unpack_headers(row["headers"])
    return Record(row["topic"], row["partition"], row["offset"], row["timestamp"], row["key"], row["value"], headers)


def line_columns(lines: Sequence[Waiting]) -> Columns:
    own = transpose(
        [
            (
                w.ref.machine,
                w.ref.id,
                w.outcome.value,
                str(w.reason),
                w.event_id,
                w.event_type,
                w.correlation_id,
                w.since,
                w.until,
                w.attempts,
                clean(w.error),
            )
            for w in lines
        ]
    )
    return [*own, *record_columns([w.record for w in lines]), [w.number for w in lines]]


def retried_columns(lines: Sequence[Waiting]) -> Columns:
    return transpose(
        [
            (
                w.id,
                w.outcome.value,
                str(w.reason),
                w.until,
                w.attempts,
                clean(w.error),
            )
            for w in lines
        ]
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
        number=row["number"],
    )


# -- tasks ---------------------------------------------------------------------------------------------------------------------------


def open_of(row: asyncpg.Record) -> Open:
    return Open(row["id"], row["name"], tuple(row["answers"]), tuple(row["reasons"]), row["owner"], row["assignee"])


def closed_columns(rows: Sequence[Closed]) -> Columns:
    return transpose([(*c.ref, c.name, c.answer, clean(c.by), c.at, c.reason, clean(c.comment)) for c in rows])


def asked_columns(rows: Sequence[Asked]) -> Columns:
    return transpose([_asked(a, a.closed) for a in rows])


def _asked(asked: Asked, closed: Closed | None) -> tuple[Any, ...]:
    a = asked
    own = (*a.ref, a.name, a.state, a.question, a.owner, orjson.dumps(a.answers).decode(), orjson.dumps(a.reasons).decode(), a.opened, a.priority)
    if closed is None:
        return (*own, "open", None, None, None)
    return (*own, "answered" if closed.answer else "closed", closed.answer, clean(closed.by), closed.at)


# -- append-only rows ----------------------------------------------------------------------------------------------------------------


def history_rows(ids: Sequence[int], previous: Sequence[int], rows: Sequence[History]) -> Rows:
    """Type `history_row`."""
    return [
        (
            id,
            before,
            *h.ref,
            h.n,
            h.outcome.value,
            h.reason,
            h.event_id,
            h.event_type,
            h.source,
            h.actor,
            h.from_state,
            h.to_state,
            h.time,
            h.at,
            h.correlation_id,
            h.causation_id,
            h.trace_id,
            h.door,
            clean(h.error),
            h.hash,
            h.clocks or None,
        )
        for id, before, h in zip(ids, previous, rows, strict=True)
    ]


def message_rows(rows: Sequence[Message]) -> Rows:
    """Type `message_row`."""
    return [(shard_of(m.key), m.topic, m.key, m.value, orjson.dumps(m.headers), *m.emitter, m.id, m.type, m.correlation_id) for m in rows]


def message_headers(packed: bytes) -> list[tuple[str, bytes]]:
    return [(key, value.encode()) for key, value in orjson.loads(packed)]


def notice_columns(rows: Sequence[Notice]) -> Columns:
    return transpose([(*n.ref, n.owner, n.channel, n.target, n.secret, n.private, n.type, n.body, n.key, n.correlation_id) for n in rows])


def notice_of(row: asyncpg.Record) -> Notice:
    names = ("owner", "channel", "target", "secret", "private", "type", "body", "key", "correlation_id")
    return Notice(Ref(row["machine"], row["entity_id"]), *(row[name] for name in names))


def letter_columns(rows: Sequence[DeadLetter]) -> Columns:
    """What a refused record says of itself is anybody's text: it is cleaned; its bytes stay as they were."""
    own = transpose(
        [
            (
                str(d.reason),
                clean(d.error),
                clean(d.event_id),
                clean(d.event_type),
                clean(d.correlation_id),
                clean(d.trace_id),
                d.ref.machine if d.ref else None,
                d.ref.id if d.ref else None,
                d.admitted,
            )
            for d in rows
        ]
    )
    return [*own, *record_columns([d.record for d in rows])]


def clean(text: str) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)
