"""The one look an operator takes first: how far, how much, what waits, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.console import RenderableType

from stream.adapters.kafka.admin import KafkaAdmin
from stream.core.errors import StreamError
from stream.core.record import TopicPartition
from stream.ops.queries import Questions, questions
from stream.ops.render import fields, table
from stream.ops.site import Site

Row = dict[str, Any]
VERDICTS = ("admitted", "duplicate", "conflict", "dead", "skipped")
OUTCOMES = ("applied", "ignored", "deferred", "rejected", "parked")
FRESH = timedelta(seconds=45)
"""An owner that was not seen for longer is taken for gone."""


class Status(msgspec.Struct):
    """`age` of a partition is how long ago, in database time, everything up to its position was known to be all there is; None: never.

    `lag` is None where the log was not asked, or the broker is away (`broker` then says why).
    """

    now: datetime
    moved_by: timedelta
    broker: str
    partitions: list[Row]
    counts: dict[str, int]
    doors: dict[str, dict[str, int]]
    outbox: Row
    timers: list[Row]
    waiting: list[Row]
    dead_letters: list[Row]


async def read_status(site: Site, *, lag: bool) -> Status:
    """One look at database and log; the log may be away."""
    async with questions(site.postgres) as ask:
        clock = (await ask.rows("clock_ahead"))[0]
        places = await ask.rows("partitions")
        bounds, broker = await _bounds(site, {p["topic"] for p in places}, lag)
        return Status(
            now=clock["now"],
            moved_by=clock["ahead"],
            broker=broker,
            partitions=[_partition(p, clock, bounds) for p in places],
            counts={
                name: sum(int(p[name]) for p in places) for name in ("records", *VERDICTS, "concerned", *OUTCOMES, "unrouted", "drained", "fired")
            },
            doors=_doors(await ask.rows("door_counts")),
            outbox=await _outbox(ask, clock["now"]),
            timers=await ask.rows("timers_of_machines"),
            waiting=await ask.rows("lines_of_machines"),
            dead_letters=await ask.rows("open_letters"),
        )


async def _bounds(site: Site, topics: set[str], lag: bool) -> tuple[Mapping[TopicPartition, tuple[int, int]], str]:
    if not lag:
        return {}, "not asked"
    try:
        async with KafkaAdmin(site.kafka) as admin:
            return await admin.bounds(topics), "ok"
    except StreamError as error:
        return {}, str(error)


def _partition(row: Row, clock: Row, bounds: Mapping[TopicPartition, tuple[int, int]]) -> Row:
    edge = bounds.get(TopicPartition(row["topic"], row["partition"]))
    fresh = row["owner"] and clock["clock"] - row["seen_at"] < FRESH
    return {
        "topic": row["topic"],
        "partition": row["partition"],
        "next_offset": row["next_offset"],
        "lag": max(0, edge[1] - max(edge[0], row["next_offset"])) if edge else None,
        "age": clock["now"] - row["drained_at"] if row["drained_at"] else None,
        "stream_time": row["stream_time"],
        "owner": row["owner"] if fresh else "",
        **{name: row[name] for name in ("records", *VERDICTS, "concerned", *OUTCOMES)},
    }


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
        *([_list("held messages", ("topic", "reason", "n", "oldest"), held)] if (held := status.outbox["held"]) else []),
    ]


def _list(title: str, names: Sequence[str], rows: Sequence[Row]) -> RenderableType:
    return table(title, names, [[row[n] for n in names] for row in rows])
