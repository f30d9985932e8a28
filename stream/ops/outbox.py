"""What waits in the outbox: unsent messages by topic and shard, and lines of held ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from stream.adapters.postgres.columns import message_headers
from stream.ops.queries import Questions, questions
from stream.ops.render import fields, table
from stream.ops.site import Site

Row = dict[str, Any]


class HeldLine(msgspec.Struct):
    """A line by its first message. `behind`: how many more wait in it; `retrying`: it was ordered to be sent again; `attempts`: how often refused."""

    seq: int
    shard: int
    topic: str
    key: bytes
    reason: str
    error: str
    attempts: int
    since: datetime
    retrying: bool
    behind: int


class Waiting(msgspec.Struct):
    """What is not on its topic: unsent by topic and by shard (`relay` "": nobody publishes it), and held. Ages in database time."""

    topics: list[Row]
    shards: list[Row]
    held: list[HeldLine]


class Told(msgspec.Struct):
    """One message. `status`: unsent | sent | open | retrying | dropped; the three in the middle of a held one only after it was refused."""

    seq: int
    shard: int
    topic: str
    key: bytes
    status: str
    reason: str
    error: str
    attempts: int
    written_at: datetime | None
    held_at: datetime | None
    settled_at: datetime | None
    headers: list[tuple[str, bytes]]
    value: bytes


async def held_lines(ask: Questions, topic: str | None, places: Sequence[tuple[str, bytes]] | None, limit: int) -> list[HeldLine]:
    """The longest waiting first."""
    named = ([t for t, _ in places], [k for _, k in places]) if places is not None else (None, None)
    return [HeldLine(**row) for row in await ask.rows("held_lines", topic, *named, limit)]


async def read_waiting(site: Site, topic: str | None, limit: int) -> Waiting:
    """One look: all topics and shards, the held lines of one topic or all."""
    async with questions(site.postgres) as ask:
        now = (await ask.rows("clock_ahead"))[0]["now"]
        unsent = await ask.rows("unsent_places")
        relays = {row["shard"]: row["relay"] for row in await ask.rows("shards")}
        held = await held_lines(ask, topic, None, limit)
    topics = sorted({row["topic"] for row in unsent})
    return Waiting(
        topics=[{"topic": name, **_sum((r for r in unsent if r["topic"] == name), now)} for name in topics],
        shards=[{"shard": n, "relay": relays[n], **_sum((r for r in unsent if r["shard"] == n), now)} for n in sorted(relays)],
        held=held,
    )


def _sum(rows: Iterable[Row], now: datetime) -> Row:
    found = list(rows)
    oldest: timedelta | None = max((now - row["oldest"] for row in found), default=None)
    return {"unsent": sum(row["n"] for row in found), "oldest_age": oldest}


def waiting_tables(waiting: Waiting) -> list[RenderableType]:
    """The same for people; shards that have a relay and nothing to send are left out."""
    shown = [s for s in waiting.shards if s["unsent"] or not s["relay"]]
    relays = {s["relay"] for s in waiting.shards if s["relay"]}
    return [
        fields("outbox", [("relays", len(relays)), ("shards without one", sum(not s["relay"] for s in waiting.shards) or None)]),
        table("unsent by topic", ("topic", "unsent", "oldest"), [(t["topic"], t["unsent"], t["oldest_age"]) for t in waiting.topics]),
        table("unsent by shard", ("shard", "relay", "unsent", "oldest"), [(s["shard"], _relay(s), s["unsent"], s["oldest_age"]) for s in shown]),
        held_table(waiting.held),
    ]


def _relay(shard: Row) -> object:
    return shard["relay"] or Text("none", style="red")


def held_table(lines: Sequence[HeldLine]) -> RenderableType:
    """Held lines, the first message of each."""
    names = ("seq", "topic", "key", "reason", "error", "refused", "since", "behind", "state")
    rows = [(h.seq, h.topic, h.key, h.reason, h.error, h.attempts, h.since, h.behind, "on its way" if h.retrying else "waits for you") for h in lines]
    return table("held", names, rows)


async def read_message(site: Site, seq: int) -> Told | None:
    """From the outbox, or from the held ones, which outlive it."""
    async with questions(site.postgres) as ask:
        written = await ask.rows("outbox_message", seq)
        held = await ask.rows("held_message", seq)
    if not written and not held:
        return None
    row: Row = {"written_at": None, "held_at": None, "settled_at": None, "reason": "", "error": "", "attempts": 0}
    for found in (*written, *held):
        row |= found
    passed = row.pop("passed", True)
    row.setdefault("status", "sent" if passed else "unsent")
    row["headers"] = message_headers(row["headers"])
    return Told(**row)


def message_tables(told: Told) -> list[RenderableType]:
    """The same for people."""
    names = ("topic", "key", "status", "reason", "error", "attempts", "written_at", "held_at", "settled_at", "shard")
    head = [(name.replace("_", " "), getattr(told, name)) for name in names]
    return [fields(f"message {told.seq}", [*head, ("bytes", len(told.value)), ("value", told.value)]), fields("headers", told.headers)]
