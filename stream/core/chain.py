"""The hash chain over an entity's history: each row's hash covers the row and the hash before it, so that a change shows."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from stream.core.changes import History

_encoder = msgspec.msgpack.Encoder()


def link(before: bytes, row: History) -> bytes:
    """The 16-byte hash of `row` after `before` (empty for the first row). Covers every field but `hash` itself; times to the microsecond, UTC."""
    fields = (
        *(row.ref.machine, row.ref.id, row.n, row.outcome.value, row.reason, row.event_id, row.event_type, row.source, row.actor),
        *(row.from_state, row.to_state, row.time, row.at, row.correlation_id, row.causation_id, row.trace_id, row.door, row.error),
    )
    # Rows written before there were notes of clocks keep their hash.
    return blake2b(before + _encoder.encode((*fields, row.clocks) if row.clocks else fields), digest_size=16).digest()
