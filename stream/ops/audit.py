"""The proof that nobody changed, removed, inserted or reordered a row of the history: every chain walked, in one snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
from rich.console import RenderableType
from rich.text import Text

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.core.chain import Break, Head, Kept, breaks
from stream.core.changes import History
from stream.core.record import Ref
from stream.ops.queries import STATEMENTS, questions
from stream.ops.render import fields, table

PATIENCE = 6 * 3600.0
"""Seconds that sorting a long history may take."""
KEPT = 1000
"""Findings that are told one by one; more are counted."""
Progress = Callable[[int, int], None]


class Found(msgspec.Struct):
    """`found`: the breaks, by machine and id, the first `KEPT` of `breaks`. `floor`: rows with lower ids were dropped by age."""

    entities: int
    rows: int
    floor: int
    breaks: int
    found: list[tuple[str, str, Break]]


async def verify_history(settings: PostgresSettings, progress: Progress) -> Found:
    """Walk every chain. `progress` is told, now and then, rows so far and about how many there are. Memory: one entity's history at a time."""
    patient = replace(settings, statement=PATIENCE, idle=PATIENCE, transaction=PATIENCE)
    connection = Connection(patient, {**QUERIES, **STATEMENTS})
    try:
        async with connection.transaction("begin_look"):
            return await _walk(connection, progress)
    finally:
        await connection.close()


async def _walk(connection: Connection, progress: Progress) -> Found:
    floor, about = (await connection.fetch("begins_with", "history"))[0]["id"], (await connection.fetch("history_size"))[0]["n"]
    told = Found(0, 0, floor, 0, [])
    await connection.execute("chains")
    async for ref, rows in _entities(connection):
        first = rows[0]
        head, anchor = (_end(first, name) for name in ("head", "anchor"))
        kept = [_kept(ref, row) for row in rows if row["id"] is not None]
        for one in breaks(head, kept, floor, anchor):
            told.breaks += 1
            if len(told.found) < KEPT:
                told.found.append((ref.machine, ref.id, one))
        told.entities, told.rows = told.entities + 1, told.rows + len(kept)
        progress(told.rows, about)
    return told


async def _entities(connection: Connection) -> AsyncIterator[tuple[Ref, list[asyncpg.Record]]]:
    """The rows of the cursor, those of one entity at a time."""
    ref, mine = Ref("", ""), list[asyncpg.Record]()
    while rows := await connection.fetch("more_chains"):
        for row in rows:
            if (row["machine"], row["entity_id"]) != ref:
                if mine:
                    yield ref, mine
                ref, mine = Ref(row["machine"], row["entity_id"]), []
            mine.append(row)
    if mine:
        yield ref, mine


def _end(row: asyncpg.Record, name: str) -> Head | None:
    return None if row[f"{name}_n"] is None else Head(row[f"{name}_n"], row[f"{name}_id"], bytes(row[f"{name}_hash"]))


def _kept(ref: Ref, row: asyncpg.Record) -> Kept:
    # The outcome stays text: a word that is none is a change like any other, and shows in the hash.
    said = {name: row[name] for name in History.__struct_fields__ if name not in ("ref", "hash", "clocks")}
    return Kept(row["id"], row["prev_id"], History(ref=ref, hash=bytes(row["hash"]), clocks=row["clocks"] or "", **said))


def audit_tables(found: Found) -> list[RenderableType]:
    """For people; breaks are red."""
    head: list[tuple[str, object]] = [("entities", found.entities), ("history rows", found.rows)]
    if found.floor:
        head.append(("dropped by age", f"rows with ids below {found.floor:,}"))
    rows = [[Text(one.what, style="red"), machine, id, one.n, one.id or None, one.detail] for machine, id, one in found.found]
    parts: list[RenderableType] = [fields("history", head)]
    return [*parts, table("breaks", ("what", "machine", "id", "n", "row", "detail"), rows)] if rows else parts


async def read_orders(settings: PostgresSettings, actor: str | None, target: str | None, limit: int) -> list[dict[str, Any]]:
    """What people ordered, the latest first. `target` is a pattern."""
    async with questions(settings) as ask:
        return await ask.rows("orders", actor, target, limit)
