"""Partitions in PostgreSQL: who has one, where it stands, and whether it is halted. Each call is one statement, or safe to be cut in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from stream.adapters.postgres import columns as col
from stream.adapters.postgres.connection import Connection
from stream.core.errors import FencedError
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.record import TopicPartition
from stream.ports import Position


class PostgresPartitions:
    """The part of `ports.Store` that is about whole partitions, over a store's connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def adopt(self, place: TopicPartition, *, owner: str, generation: int, begin: int, partitions: int) -> Position:
        found = await self.connection.fetch("adopt", *place, owner, generation)
        if not found:
            await self.connection.execute("see_partition", *place, begin, partitions, owner)
            found = await self.connection.fetch("adopt", *place, owner, generation)
        if not found:
            raise FencedError((place,))
        row = found[0]
        return Position(row["epoch"], row["next_offset"], row["last_offset"], row["fingerprint"], row["topic_id"], halt_of(row))

    async def recognize(self, place: TopicPartition, epoch: int, topic_id: str) -> None:
        await self.connection.execute("recognize", *place, epoch, topic_id)

    async def note_drained(self, marks: Sequence[tuple[TopicPartition, int, int]], at: datetime) -> None:
        if marks:
            places = col.transpose([(*place, epoch, offset) for place, epoch, offset in sorted(marks)])
            await self.connection.execute("note_drained", *places, at)

    async def halt(self, place: TopicPartition, epoch: int, reason: HaltReason, seen: Seen) -> None:
        if not await self.connection.execute("halt", *place, epoch, str(reason), msgspec.json.encode(seen).decode()):
            raise FencedError((place,))

    async def halted(self, place: TopicPartition) -> Halt | None:
        rows = await self.connection.fetch("halted", *place)
        return halt_of(rows[0]) if rows else None

    async def resume(self, decision: Decision) -> None:
        d = decision
        stands = (*d.place, d.halt.since, d.position)
        said = (d.actor, d.reason, d.before().decode(), d.after().decode())
        if not await self.connection.execute("resume", *stands, d.target, d.forget, *said):
            raise FencedError((d.place,))


def halt_of(row: Mapping[str, Any] | asyncpg.Record) -> Halt | None:
    """Of a row of `partition`."""
    if row["halt_reason"] is None:
        return None
    seen = msgspec.json.decode(row["halt_seen"], type=Seen)
    return Halt(HaltReason(row["halt_reason"]), seen, col.utc(row["halted_since"]), row["halted_by"])
