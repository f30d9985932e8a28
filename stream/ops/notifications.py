"""Notices to owners as operators see them: what was sent, what waits, what failed, and what is to become of that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from rich.console import RenderableType

from stream.adapters.postgres.connection import QUERIES, Connection
from stream.core.directory import origin
from stream.ops.orders import Note, NotOpenError
from stream.ops.queries import STATEMENTS, Questions, questions
from stream.ops.render import fields, table
from stream.ops.site import Site


class NoticeLine(msgspec.Struct):
    """Something an owner is told. `status`: waiting, sent, failed (given up, or refused for good) or cancelled.

    `next` is when it is tried again; `key` is what the receiver knows a repeat by. `body` is what is sent.
    """

    id: int
    machine: str
    entity_id: str
    owner: str
    channel: str
    target: str
    type: str
    status: str
    attempts: int
    written: datetime
    next: datetime
    settled: datetime | None
    error: str
    key: str
    correlation_id: str
    body: bytes


async def read_notices(site: Site, owner: str | None, status: str | None, limit: int, id: int | None = None) -> list[NoticeLine]:
    """The latest first."""
    async with questions(site.postgres) as ask:
        return [NoticeLine(**row) for row in await ask.rows("notices", id, owner, status, limit)]


_ORDERS = {"retry": "retry_notices", "cancel": "cancel_notices"}


async def order(site: Site, what: Literal["retry", "cancel"], ids: Sequence[int], actor: str, reason: str) -> int:
    """Send them again from now on, or never; all of them or, with `NotOpenError`, none. Gives how many."""
    connection = Connection(site.postgres, {**QUERIES, **STATEMENTS})
    try:
        async with connection.transaction("begin_plain"):
            rows = await Questions(connection).rows(_ORDERS[what], sorted(set(ids)))
            if missing := set(ids) - {row["id"] for row in rows}:
                raise NotOpenError(f"{', '.join(map(str, sorted(missing)))}: not there, or already sent: nothing was done")
            for row in rows:
                target = f"{row['machine']}/{row['entity_id']} notice {row['id']}"
                await connection.execute("note_order", *Note(actor, f"notifications {what}", target, reason).row)
        return len(rows)
    finally:
        await connection.close()


def notices_table(found: Sequence[NoticeLine]) -> RenderableType:
    """For people."""
    names = ("id", "owner", "about", "type", "by", "target", "status", "attempts", "written", "error")
    rows = [
        (n.id, n.owner, f"{n.machine}/{n.entity_id}", n.type, n.channel, origin(n.target), n.status, n.attempts, n.written, n.error) for n in found
    ]
    return table("notifications", names, rows)


def notice_table(n: NoticeLine) -> RenderableType:
    """One of them, whole."""
    return fields(f"notification {n.id}", [(name.replace("_", " "), getattr(n, name)) for name in n.__struct_fields__ if name != "id"])
