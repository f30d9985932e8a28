"""Planted bugs: each takes one protecting rule out of a process, by replacing a statement or a method. The suite must notice every one.

A statement is changed by taking words out of the real one, so that a bug stays the bug it is named after when the statement changes; where the
words are not there any more, planting fails.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.postgres import columns
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.adapters.postgres.statements import parse
from stream.adapters.postgres.store import PostgresStore, PostgresTransaction
from stream.core.codec import Codec
from stream.core.entity import Waiting
from stream.core.order import Claim, Decoded
from stream.core.outcome import Verdict
from stream.ports import Outgoing, Refusal, Round
from stream.runtime.relay import Relay

Plant = Callable[[pytest.MonkeyPatch], None]
BROKEN = parse((Path(__file__).parents[1] / "integration/postgres/broken.sql").read_text(encoding="utf-8"))
ODD = "odd"
"""The application name of the process whose keys are sorted the other way."""


def cut(patch: pytest.MonkeyPatch, name: str, words: str, instead: str = "") -> None:
    assert words in QUERIES[name], f"{name} does not say {words!r} any more"
    patch.setitem(QUERIES, name, QUERIES[name].replace(words, instead))


def no_fence(patch: pytest.MonkeyPatch) -> None:
    cut(patch, "claim_partitions", "where p.epoch = x.epoch and p.next_offset = x.start")
    cut(patch, "move_partitions", " and p.epoch = x.epoch and p.next_offset = x.start")


def no_gate(patch: pytest.MonkeyPatch) -> None:
    """Read from where the client stands, not from where the store does."""

    def unsought(self: aiokafka.AIOKafkaConsumer, place: aiokafka.TopicPartition, offset: int) -> None: ...

    patch.setattr(aiokafka.AIOKafkaConsumer, "seek", unsought)


def several_partitions_at_once(patch: pytest.MonkeyPatch) -> None:
    """One call for all partitions; what came for others is kept for their turn."""
    fetch = aiokafka.AIOKafkaConsumer.getmany
    kept: weakref.WeakKeyDictionary[object, dict[object, list[Any]]] = weakref.WeakKeyDictionary()

    async def getmany(self: aiokafka.AIOKafkaConsumer, *places: aiokafka.TopicPartition, **how: Any) -> dict[object, list[Any]]:
        mine = kept.setdefault(self, {})
        if not mine.get(places[0]):
            for place, records in (await fetch(self, **how)).items():
                mine.setdefault(place, []).extend(records)
        return {places[0]: mine.pop(places[0], [])}

    patch.setattr(aiokafka.AIOKafkaConsumer, "getmany", getmany)


def cursor_by_sequence(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(QUERIES, "read_shard", BROKEN["read_after_seq"])
    patch.setitem(QUERIES, "move_shard", BROKEN["move_after_seq"])


def unsorted_keys(patch: pytest.MonkeyPatch) -> None:
    """One of two processes sorts the other way."""
    odd = f"case when current_setting('application_name') = '{ODD}' then e.id end desc"
    cut(patch, "entities", "order by e.machine, e.id", f"order by e.machine, {odd}, e.id")


def position_before_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    publish: Any = vars(Relay)["_publish"]

    async def early(self: Relay, round: Round) -> None:
        await vars(self)["_outbox"].advance(round, ())
        await publish(self, round)

    patch.setattr(Relay, "_publish", early)


def timer_without_recheck(patch: pytest.MonkeyPatch) -> None:
    """What was due when it was read is fired, whatever became of it since."""
    cut(patch, "entities", "for update of e")
    cut(patch, "save_entities", " and e.version = x.expected")


def inbox_after_effect(patch: pytest.MonkeyPatch) -> None:
    """Identities are looked up within the transaction, and noted in one of their own after it."""
    begin = PostgresStore.transaction
    late: weakref.WeakKeyDictionary[Connection, list[tuple[bytes, bytes]]] = weakref.WeakKeyDictionary()

    async def looked_up(self: PostgresTransaction, seen: Sequence[tuple[bytes, bytes]]) -> list[Verdict]:
        connection: Connection = vars(self)["_connection"]
        rows = await connection.fetch("contents", [key.hex() for key, _ in seen])
        known = {row["key"].bytes for row in rows}
        late.setdefault(connection, []).extend(pair for pair in seen if pair[0] not in known)
        return [Verdict.DUPLICATE if key in known else Verdict.ADMITTED for key, _ in seen]

    @asynccontextmanager
    async def transaction(self: PostgresStore) -> AsyncGenerator[PostgresTransaction]:
        late.pop(self.connection, None)
        async with begin(self) as tx:
            yield tx
        noted = dict(late.pop(self.connection, []))
        await self.connection.fetch("first_sight", [key.hex() for key in noted], [content.hex() for content in noted.values()])

    patch.setattr(PostgresTransaction, "first_sight", looked_up)
    patch.setattr(PostgresStore, "transaction", transaction)


def swallowed_decode_error(patch: pytest.MonkeyPatch) -> None:
    decode = Codec.__call__

    def swallow(self: Codec, claim: Claim) -> Decoded:
        readable = [record for record in claim.records if not decode(self, replace(claim, records=[record])).changes.dead]
        return decode(self, replace(claim, records=readable))

    patch.setattr(Codec, "__call__", swallow)


def reused_failed_producer(patch: pytest.MonkeyPatch) -> None:
    publish, drop = KafkaPublisher.publish, vars(Relay)["_drop_publisher"]

    async def kept(self: object) -> None: ...

    async def kept_to_the_end(self: Relay) -> None:
        if vars(self)["_stop"]:
            await drop(self)

    async def again(self: KafkaPublisher, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        vars(self)["_dead"] = False
        return await publish(self, batch)

    patch.setattr(KafkaPublisher, "_replace", kept)
    patch.setattr(KafkaPublisher, "publish", again)
    patch.setattr(Relay, "_drop_publisher", kept_to_the_end)


def no_seek_back(patch: pytest.MonkeyPatch) -> None:
    def stays(self: KafkaLog, gate: object) -> None: ...

    patch.setattr(KafkaLog, "_rewind", stays)


def ignored_row_count(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks how many partition rows were claimed, or moved."""
    fetch, execute = Connection.fetch, Connection.execute

    async def claimed(self: Connection, name: str, *args: Any) -> list[Any]:
        rows: list[Any] = await fetch(self, name, *args)
        if name != "claim_partitions":
            return rows
        found = {(row["topic"], row["partition"]) for row in rows}
        missing = [place for place in zip(args[0], args[1], strict=True) if place not in found]
        return [*rows, *({"topic": topic, "partition": partition, "stream_time": None} for topic, partition in missing)]

    async def moved(self: Connection, name: str, *args: object) -> int:
        count = await execute(self, name, *args)
        return 1 << 30 if name == "move_partitions" else count

    patch.setattr(Connection, "fetch", claimed)
    patch.setattr(Connection, "execute", moved)


def parked_without_bytes(patch: pytest.MonkeyPatch) -> None:
    stored, value = columns.line_columns, -2

    def emptied(lines: Sequence[Waiting]) -> columns.Columns:
        found = list(stored(lines))
        found[value] = [b""] * len(lines)
        return found

    patch.setattr(columns, "line_columns", emptied)


def lease_without_epoch(patch: pytest.MonkeyPatch) -> None:
    anyone = "$2::bigint is not null and $3::text is not null"
    cut(patch, "read_shard", "epoch = $2 and owner = $3 and leased_until > clock_timestamp()", anyone)
    cut(patch, "move_shard", "epoch = $2 and owner = $3", anyone)


def unknown_commit_redone(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(QUERIES, "outcome", BROKEN["outcome_unasked"])


BUGS: Mapping[str, Plant] = {
    "no fence": no_fence,
    "no gate": no_gate,
    "several partitions in one getmany": several_partitions_at_once,
    "cursor by sequence": cursor_by_sequence,
    "unsorted keys": unsorted_keys,
    "position before acknowledgement": position_before_acknowledgement,
    "timer without re-check": timer_without_recheck,
    "inbox after effect": inbox_after_effect,
    "swallowed decode error": swallowed_decode_error,
    "reused failed producer": reused_failed_producer,
    "no seek back": no_seek_back,
    "ignored row count": ignored_row_count,
    "parked without bytes": parked_without_bytes,
    "lease without epoch": lease_without_epoch,
    "unknown COMMIT redone blindly": unknown_commit_redone,
}


def plant(bug: str) -> None:
    """For good, in a process of its own."""
    BUGS[bug](pytest.MonkeyPatch())
