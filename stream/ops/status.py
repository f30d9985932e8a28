"""The one look an operator takes first: how far, how much, what waits, what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from rich.console import RenderableType
from rich.text import Text

from stream.ops.partitions import Bounds, Clocks, Row, ask_bounds, partition_row, read_clocks
from stream.ops.queries import Questions, questions
from stream.ops.render import cell, fields, safe, table
from stream.ops.site import Site
from stream.ops.waits import waits, waits_table

VERDICTS = ("admitted", "duplicate", "conflict", "dead", "skipped")
OUTCOMES = ("applied", "ignored", "deferred", "rejected", "parked")


class Status(msgspec.Struct):
    """`age` of a partition is how long ago, in database time, everything up to its position was known to be all there is; None: never.

    `lag` is None where the log was not asked, or the broker is away (`broker` then says why).
    """

    now: datetime
    moved_by: timedelta
    broker: str
    waits: list[Row]
    instances: list[Row]
    partitions: list[Row]
    counts: dict[str, int]
    doors: dict[str, dict[str, int]]
    outbox: Row
    timers: list[Row]
    waiting: list[Row]
    dead_letters: list[Row]
    untold: list[Row]


async def read_status(site: Site, *, lag: bool) -> Status:
    """One look at database and log; the log may be away."""
    async with questions(site.postgres) as ask:
        clocks = await read_clocks(ask)
        places = await ask.rows("partitions")
        bounds, broker = await ask_bounds(site, {p["topic"] for p in places}, lag)
        return Status(
            now=clocks.now,
            moved_by=clocks.ahead,
            broker=broker,
            waits=waits(places, clocks.instances, broker, site.roles),
            instances=clocks.instances,
            partitions=[_partition(p, clocks, bounds) for p in places],
            counts={
                name: sum(int(p[name]) for p in places) for name in ("records", *VERDICTS, "concerned", *OUTCOMES, "unrouted", "drained", "fired")
            },
            doors=_doors(await ask.rows("door_counts")),
            outbox=await _outbox(ask, clocks.now),
            timers=await ask.rows("timers_of_machines"),
            waiting=await ask.rows("lines_of_machines"),
            dead_letters=await ask.rows("open_letters"),
            untold=await ask.rows("notices_open"),
        )


def _partition(row: Row, clocks: Clocks, bounds: Bounds) -> Row:
    return {**partition_row(row, clocks, bounds), **{name: row[name] for name in ("records", *VERDICTS, "concerned", *OUTCOMES)}}


async def _outbox(ask: Questions, now: datetime) -> Row:
    unsent = await ask.rows("unsent")
    oldest = min((row["oldest"] for row in unsent), default=None)
    return {
        "unsent": (await ask.rows("backlog"))[0]["n"],
        "oldest_age": now - oldest if oldest else None,
        "relays": await ask.rows("relays"),
        "held": await ask.rows("held"),
    }


def _doors(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["door"], {})[row["name"]] = row["n"]
    return found


def status_tables(status: Status) -> list[RenderableType]:
    """The same for people."""
    names = ("topic", "partition", "next_offset", "lag", "age", "stream_time", "owner", "records", "dead", "rejected", "parked")
    counts = status.counts
    outbox = status.outbox
    parts: list[RenderableType] = [
        waits_table(status.waits),
        table("partitions", [n.replace("_", " ") for n in names], [[p[n] for n in names] for p in status.partitions]),
        _counts("records", counts["records"], [(n, counts[n]) for n in VERDICTS]),
        _counts("entities concerned", counts["concerned"], [(n, counts[n]) for n in (*OUTCOMES, "unrouted", "drained", "fired")]),
        *(_counts(f"door {name}", None, list(found.items())) for name, found in status.doors.items()),
        fields("outbox", [("unsent", outbox["unsent"]), ("oldest", outbox["oldest_age"]), ("relays", len(outbox["relays"]))]),
    ]
    if status.broker not in ("ok", "not asked"):
        parts.append(fields("", [("lag unknown", status.broker)]))
    if status.moved_by:
        parts.append(fields("clock", [("now", status.now), ("moved by", status.moved_by)]))
    parts += _lists(status)
    return parts


def _counts(title: str, whole: int | None, parts: Sequence[tuple[str, int]]) -> RenderableType:
    return fields(title, [("", ("" if whole is None else f"{whole:,} = ") + "  ".join(f"{name} {n:,}" for name, n in parts))])


def _lists(status: Status) -> list[RenderableType]:
    return [
        _list("timers", ("machine", "n", "due", "first"), status.timers),
        _list("waiting lines", ("machine", "outcome", "reason", "events", "entities", "oldest"), status.waiting),
        _list("dead letters", ("topic", "reason", "n", "oldest", "newest"), status.dead_letters),
        *([_list("owners not told", ("status", "owner", "n", "oldest", "error"), status.untold)] if status.untold else []),
        *([_held(held)] if (held := status.outbox["held"]) else []),
    ]


def _held(rows: Sequence[Row]) -> RenderableType:
    """In red: nothing of these keys leaves before somebody says what to do."""
    names = ("topic", "lines", "messages", "reasons", "oldest")
    red = [[Text(cell(row[n]).plain, style="red") for n in names] for row in rows]
    advice = [Text(f"stream outbox list --topic {safe(row['topic'])}; then retry or skip", style="red") for row in rows]
    return table("held messages", (*names, "what to do"), [[*row, say] for row, say in zip(red, advice, strict=True)])


def _list(title: str, names: Sequence[str], rows: Sequence[Row]) -> RenderableType:
    return table(title, names, [[row[n] for n in names] for row in rows])
