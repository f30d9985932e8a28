"""The hash chain over an entity's history: each row's hash covers the row and the hash before it, so that a change shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from stream.core.changes import History

_encoder = msgspec.msgpack.Encoder()


def link(before: bytes, row: History) -> bytes:
    """The 16-byte hash of `row` after `before` (empty for the first row). Covers every field but `hash` itself; times to the microsecond, UTC."""
    fields = (
        *(row.ref.machine, row.ref.id, row.n, row.outcome, row.reason, row.event_id, row.event_type, row.source, row.actor),
        *(row.from_state, row.to_state, row.time, row.at, row.correlation_id, row.causation_id, row.trace_id, row.door, row.error),
    )
    # Rows written before there were notes of clocks keep their hash.
    return blake2b(before + _encoder.encode((*fields, row.clocks) if row.clocks else fields), digest_size=16).digest()


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A history row as it is stored: its id, and the id it gives for the one before it (0: none)."""

    id: int
    prev_id: int
    row: History


class Head(msgspec.Struct, frozen=True, gc=False):
    """What an entity's own row says of its history: how many rows, the id and the hash of the last one."""

    n: int
    last_id: int
    hash: bytes


class Break(msgspec.Struct, frozen=True):
    """Where a chain does not hold: `what` is `changed`, `removed`, `inserted` or `reordered`; `n` and `id` name the row (id 0: it is gone)."""

    what: str
    n: int
    id: int
    detail: str


def breaks(head: Head | None, kept: Sequence[Kept], floor: int, anchor: Head | None = None) -> Iterator[Break]:
    """What is wrong with one entity's history, given in the order of (n, id). `head`: None where there is no such entity.

    Rows with ids below `floor` were dropped by age: they are missed by nobody. `anchor` is the last of them: the row after it is proven like any
    other. After dropped rows that left none, a row is taken with the hash it has. Whoever changes a row and makes every later hash anew, the
    head's too, is not seen here.
    """
    if head is None:
        yield from (Break("inserted", one.row.n, one.id, "there is no such entity") for one in kept)
        return
    before: Kept | None = None
    for one in kept:
        yield from _link_breaks(before, one, floor, anchor)
        before = one
    yield from _end_breaks(head, before, floor)


def _link_breaks(before: Kept | None, one: Kept, floor: int, anchor: Head | None) -> Iterator[Break]:
    last_n, last_id, hash = (before.row.n, before.id, before.row.hash) if before else (0, 0, b"")
    n = one.row.n
    if n <= last_n:
        yield Break("inserted", n, one.id, f"it is numbered {n} like row {last_id}" if n == last_n else f"no row is numbered {n}")
    elif n > last_n + 1:
        if not 0 < one.prev_id < floor:
            yield Break("removed", n - 1, 0, f"rows {last_n + 1} to {n - 1} are missing before row {one.id}")
        elif anchor is not None and anchor.n == n - 1:
            yield from _anchor_breaks(anchor, one)
    elif one.prev_id != last_id:
        yield Break("reordered", n, one.id, f"it follows row {one.prev_id}, and row {last_id} stands before it")
    elif link(hash, one.row) != one.row.hash:
        yield Break("changed", n, one.id, "its hash is not that of what it says, after the row before it")


def _anchor_breaks(anchor: Head, one: Kept) -> Iterator[Break]:
    if anchor.last_id != one.prev_id:
        yield Break("reordered", one.row.n, one.id, f"it follows row {one.prev_id}, and row {anchor.last_id} stood before it")
    elif link(anchor.hash, one.row) != one.row.hash:
        yield Break("changed", one.row.n, one.id, "its hash is not that of what it says, after the dropped row before it")


def _end_breaks(head: Head, last: Kept | None, floor: int) -> Iterator[Break]:
    n, id, hash = (last.row.n, last.id, last.row.hash) if last else (0, 0, b"")
    if n < head.n:
        if not 0 < head.last_id < floor:
            yield Break("removed", head.n, 0, f"rows {n + 1} to {head.n} are missing at the end")
    elif n > head.n:
        yield Break("inserted", n, id, f"its entity has {head.n} rows")
    elif id != head.last_id:
        yield Break("reordered", n, id, f"its entity ends with row {head.last_id}")
    elif hash != head.hash:
        yield Break("changed", n, id, "its hash is not the one its entity ends with")
