"""Partitions as an operator sees them: where each stands beside its log, why one is halted, and what a decision about it would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec
from rich.console import RenderableType
from rich.text import Text

from stream.adapters.kafka.admin import KafkaAdmin
from stream.adapters.postgres.partitions import halt_of
from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import ConfigurationError, StreamError, UnavailableError
from stream.core.halt import ANOTHER_LOG, COMPARED, MEANS, Choice, Decision, Halt, Preview, Stand, choices, preview, target
from stream.core.record import TopicPartition
from stream.ops.queries import Questions, questions
from stream.ops.render import fields, table
from stream.ops.site import Site, actor

Row: TypeAlias = dict[str, Any]
Bounds: TypeAlias = Mapping[TopicPartition, tuple[int, int]]
FRESH = timedelta(seconds=45)
"""An owner that was not seen for longer is taken for gone."""
ELSEWHERE = (
    "If the settings named another cluster or topic than before, nothing need be decided: correct them and start again.\n"
    "A partition whose last applied record is found again where it was goes on by itself."
)


async def ask_bounds(site: Site, topics: set[str], asked: bool) -> tuple[Bounds, str]:
    """Where each log begins and ends, and `ok`, or why that is not known."""
    if not asked:
        return {}, "not asked"
    try:
        async with KafkaAdmin(site.kafka) as admin:
            return await admin.bounds(topics), "ok"
    except StreamError as error:
        return {}, str(error)


class Clocks(msgspec.Struct):
    """The movable and the real clock of the database, and the processes that say they run."""

    now: datetime
    clock: datetime
    ahead: timedelta
    instances: list[Row]

    def runs(self, owner: str) -> bool:
        return any(one["owner"] == owner and one["fresh"] for one in self.instances)


async def read_clocks(ask: Questions) -> Clocks:
    instances = [{**row, "waits": msgspec.json.decode(row["waits"])} for row in await ask.rows("instances")]
    return Clocks(**(await ask.rows("clock_ahead"))[0], instances=instances)


def partition_row(row: Row, clocks: Clocks, bounds: Bounds) -> Row:
    """`lag` is None where the log is not known; `owner` is empty when it was not seen lately."""
    edge, halt = bounds.get(TopicPartition(row["topic"], row["partition"])), halt_of(row)
    fresh = row["owner"] and (clocks.runs(row["owner"]) or clocks.clock - row["seen_at"] < FRESH)
    return {
        "topic": row["topic"],
        "partition": row["partition"],
        "next_offset": row["next_offset"],
        "lag": max(0, edge[1] - max(edge[0], row["next_offset"])) if edge else None,
        "age": clocks.now - row["drained_at"] if row["drained_at"] else None,
        "stream_time": row["stream_time"],
        "owner": row["owner"] if fresh else "",
        "halted_since": halt.since if halt else None,
        "halt_reason": str(halt.reason) if halt else None,
    }


async def list_partitions(site: Site, *, lag: bool, halted: bool) -> list[Row]:
    async with questions(site.postgres) as ask:
        clocks = await read_clocks(ask)
        found = [row for row in await ask.rows("partitions") if not halted or row["halted_since"]]
    bounds, _ = await ask_bounds(site, {row["topic"] for row in found}, lag)
    return [partition_row(row, clocks, bounds) for row in found]


def partitions_table(rows: Sequence[Row]) -> RenderableType:
    """Halted ones in red."""
    names = ("topic", "partition", "owner", "next_offset", "lag", "halted_since", "halt_reason")
    shown = [[Text(str(row[n]), style="red") if row["halted_since"] and n == "halt_reason" else row[n] for n in names] for row in rows]
    return table("partitions", ["topic", "partition", "owner", "position", "lag", "halted since", "reason"], shown)


def named(text: str) -> TopicPartition:
    """TOPIC/PARTITION. Raises `ConfigurationError`."""
    topic, _, number = text.rpartition("/")
    if not topic or not (number.isascii() and number.isdigit()):
        raise ConfigurationError(f"{text!r} names no partition: say TOPIC/PARTITION, such as tickets/3")
    return TopicPartition(topic, int(number))


# -- one partition -------------------------------------------------------------------------------------------------------------------


class Told(msgspec.Struct):
    """One partition. `begin` and `end` are None where the broker did not say (`broker` says why)."""

    place: str
    row: Row
    broker: str
    begin: int | None
    end: int | None
    last_offset: int | None
    halt: Halt | None
    means: str
    choices: list[Row]


async def read_partition(site: Site, place: TopicPartition) -> Told | None:
    async with questions(site.postgres) as ask:
        clocks = await read_clocks(ask)
        found = await ask.rows("partition", *place)
    if not found:
        return None
    bounds, broker = await ask_bounds(site, {place.topic}, True)
    begin, end = bounds.get(place, (None, None))
    row, halt, name = found[0], halt_of(found[0]), f"{place.topic}/{place.partition}"
    offered = [{"command": _command(name, choice), "does": choice.text} for choice in choices(halt)] if halt else []
    said = MEANS[halt.reason] if halt else ""
    return Told(name, partition_row(row, clocks, bounds), broker, begin, end, row["last_offset"], halt, said, offered)


def _command(name: str, choice: Choice) -> str:
    return f"stream partitions resume {name} " + (f"--at {choice.at} " if choice.at else "") + "--reason TEXT"


def partition_tables(told: Told) -> list[RenderableType]:
    """The same for people, with the choices as commands to paste."""
    row, halt = told.row, told.halt
    where = [("position", row["next_offset"]), ("log begins", told.begin), ("log ends", told.end), ("lag", row["lag"])]
    last = [("last record applied", told.last_offset), ("stream time", row["stream_time"]), ("owner", row["owner"])]
    parts: list[RenderableType] = [fields(told.place, [*where, *last, ("log unknown", told.broker if told.begin is None else "")])]
    if halt is None:
        return [*parts, Text("not halted")]
    seen: Row = msgspec.to_builtins(halt.seen)
    reason = [("reason", Text(f"{halt.reason}: {told.means}", style="red")), ("since", halt.since), ("noticed by", halt.owner)]
    parts.append(fields("halted", [*reason, *((f"seen: {name.replace('_', ' ')}", value) for name, value in seen.items())]))
    parts.append(table("choices", ("command", "what it does"), [(choice["command"], choice["does"]) for choice in told.choices]))
    return [*parts, Text(ELSEWHERE)] if halt.reason in COMPARED else parts


# -- a decision ----------------------------------------------------------------------------------------------------------------------


class Plan(msgspec.Struct):
    """What was chosen, and what it would do."""

    decision: Decision
    preview: Preview


async def plan(site: Site, told: Told, halt: Halt, at: str, reason: str) -> Plan:
    """Raises `ConfigurationError` for what makes no sense, `UnavailableError` when the broker does not say what the log holds."""
    if told.begin is None or told.end is None:
        raise UnavailableError(f"what the log holds is not known ({told.broker})")
    stand = Stand(told.row["next_offset"], told.begin, told.end)
    after = target(halt, at, stand)
    decision = Decision(named(told.place), halt, stand.position, after, halt.reason in ANOTHER_LOG, actor(), reason)
    return Plan(decision, preview(halt.reason, stand, after))


async def carry_out(site: Site, decision: Decision) -> None:
    """Raises `FencedError` when the partition is not as it was looked at any more."""
    store = PostgresStore(site.postgres)
    try:
        await store.resume(decision)
    finally:
        await store.close()


def effects(plan: Plan) -> list[str]:
    """A line each, in offsets: some of them may hold no record."""
    decision, does = plan.decision, plan.preview
    lines = [f"{decision.place.topic}/{decision.place.partition} is at {does.before} and goes on at {does.after}"]
    if decision.forget:
        lines.append("the log is taken for one never read before: what it repeats of the old one is known by its events' identities and passed over")
    if does.gone:
        lines.append(f"{does.gone} offsets no longer exist: they are given up")
    if does.skipped:
        lines.append(f"{does.skipped} offsets are skipped: what they hold is not read")
    if does.again:
        lines.append(f"{does.again} offsets are read again: what was applied is known and passed over")
    return lines
