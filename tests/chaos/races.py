"""The scene in which each planted bug must show: a race run in the order that loses it, or one failure at the step that the rule is there for.

Each scene gives what is wrong at its end; without the bug that is nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import aiokafka
import anyio
import asyncpg
import pytest
from aiokafka.errors import KafkaError

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import partition_of
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres.store import PostgresStore
from stream.core.order import Retry
from stream.core.record import Record, Ref, TopicPartition
from stream.ports import Outgoing, Publisher, Refusal
from stream.runtime.app import Parts, carrying
from stream.runtime.doors import Lines
from stream.runtime.waiting import Stop
from tests.chaos import pottery
from tests.chaos.bugs import ODD
from tests.chaos.cases import Building, watching
from tests.chaos.failpoints import Action, Fuse, Gate, arm
from tests.chaos.room import PATIENCE, Looks, Room, read
from tests.conformance.broker import kafka_world

RECORDS = pottery.COUNTS["records"]


@dataclass(frozen=True)
class Stage:
    """What a scene has: rooms, a way to put a fault into a client, and the lines that were logged."""

    building: Building
    patch: pytest.MonkeyPatch
    said: Sequence[Mapping[str, Any]]


def armed(room: Room, trip: Gate | Fuse, telemetry: MemoryTelemetry | None = None) -> Parts:
    return arm(room.parts(telemetry or MemoryTelemetry()), trip)


def rival(room: Room) -> Room:
    """A process that another group coordinator would have given the same partitions."""
    return replace(room, group=f"{room.group}-rival")


async def _by(look: Callable[[], Awaitable[bool]], what: str) -> None:
    with anyio.move_on_after(PATIENCE):
        while not await look():
            await Stop().pause(0.05)
        return
    raise AssertionError(f"never: {what}")


@asynccontextmanager
async def _prepared(stage: Stage, **how: Any) -> AsyncGenerator[tuple[Room, Looks]]:
    async with stage.building.room() as room:
        room = replace(room, **how)
        async with watching(room) as looks:
            yield room, looks


async def zombie(stage: Stage) -> list[str]:
    """A batch in hand, another owner takes the partition over and everything that is on it; then the first one goes on."""
    gate = Gate("begin:before", hit=4)
    async with _prepared(stage) as (room, looks):
        async with room.running(armed(room, gate)):
            await gate.reached.wait()
            async with rival(room).running():
                await looks.drained()
            gate.opened.set()
        return await looks.faults()


async def unheard(stage: Stage) -> list[str]:
    """A batch in hand, another owner adopts the partitions; the first one commits before the other one has read anything."""
    gate = Gate("begin:before", hit=4)
    async with _prepared(stage) as (room, looks):
        async with room.running(armed(room, gate)) as stop:
            await gate.reached.wait()
            store = room.parts(MemoryTelemetry()).store()
            for partition in range(pottery.PARTITIONS):
                await store.adopt(TopicPartition(room.pots, partition), owner="rival", generation=1, begin=0, partitions=pottery.PARTITIONS)
            await store.close()
            stop.set()
            gate.opened.set()
        async with rival(room).running():
            await looks.drained()
        return await looks.faults()


async def group_offset(stage: Stage) -> list[str]:
    """The group's own offsets, which only lag tools read, stand somewhere in the middle of the log."""
    async with _prepared(stage) as (room, looks):
        client = aiokafka.AIOKafkaConsumer(bootstrap_servers=room.kafka, group_id=room.group, enable_auto_commit=False)
        await client.start()
        places = [aiokafka.TopicPartition(room.pots, n) for n in range(pottery.PARTITIONS)]
        client.assign(places)
        await client.commit(dict.fromkeys(places, 10))
        await client.stop()
        async with room.running():
            await looks.until("passed", {"position": RECORDS, "due": 0, "unsent": 0})
        return await looks.faults()


async def broken_neighbour(stage: Stage) -> list[str]:
    """One partition begins with a batch that nobody can read; the pots of the other one must not notice, though nobody takes note of the batch."""
    mine = [pot for pot in pottery.TAKEN if partition_of(pot.encode(), pottery.PARTITIONS) == 0]
    async with _prepared(stage) as (room, looks), kafka_world(room.kafka) as forger:
        topic = f"{room.told}-pots"
        healthy, broken = TopicPartition(topic, 0), TopicPartition(topic, 1)
        load = await stage.building.shelf(topic, before=forger.append_broken(broken, 1))
        room = replace(room, pots=topic)
        wanted = sum(partition_of(row.key, pottery.PARTITIONS) == 0 for row in load)
        asked, through, empty, fetch = anyio.Event(), anyio.Event(), list[TopicPartition](), KafkaLog.fetch

        async def slow(log: KafkaLog, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
            """The broken one's reader is slow; so what the client has of it lies there while the healthy one is read to its end, and asked again."""
            if place == broken:
                asked.set()
                await through.wait()
                return ()
            found = await fetch(log, place, limit=limit, within=within)
            if place == healthy and asked.is_set() and not found:
                empty.append(place)
            return found

        def stuck() -> bool:
            return any(f"{topic}/0" in (line.get("place"), str(line.get("what")).removeprefix("reading ")) for line in stage.said)

        async def over() -> bool:
            return stuck() or (len(empty) > 1 and (await looks.rows("healthy"))[0]["position"] >= wanted)

        stage.patch.setattr(KafkaLog, "fetch", slow)
        async with room.running():
            await _by(over, "the healthy partition at its end, halted, or in trouble")
            through.set()
        taken = {row["id"]: json.loads(row["data"])["taken"] for row in await looks.rows("entities")}
        faults = [f"taken: {pot}: {taken.get(pot)} instead of {pottery.TAKEN[pot]}" for pot in mine if taken.get(pot) != pottery.TAKEN[pot]]
        return [*faults, *(["taken: no more is read of the healthy partition"] if stuck() else [])]


async def late_commit(stage: Stage) -> list[str]:
    """Messages are written and not committed; what the other lane writes later is committed and sent first."""
    gate = Gate("save messages:after")
    async with _prepared(stage, patient=True) as (room, looks):

        async def sent() -> bool:
            row = (await looks.rows("passed"))[0]
            return bool(row["sent"]) and row["unsent"] == 0 and row["furthest"] >= RECORDS // 3

        async with room.running(armed(room, gate)):
            await gate.reached.wait()
            await _by(sent, "the other lane's messages sent")
            gate.opened.set()
            await looks.until("passed", {"position": RECORDS, "due": 0, "unsent": 0})
        return await looks.faults()


async def opposite_locks(stage: Stage) -> list[str]:
    """Two tickers want the same pots, and one of these is locked for a while."""
    async with _prepared(stage, patient=True) as (room, looks), room.running(roles=("worker", "relay")):
        await looks.until("passed", {"position": RECORDS})
        link = await asyncpg.connect(room.dsn, server_settings={"search_path": "stream"})
        await link.execute("begin")
        await link.execute("select from entity where id = $1 for update", OVERDUE[1])
        async with room.running(roles=("ticker",)), replace(room, application=ODD).running(roles=("ticker",)):
            await looks.until("passed", {"waiting": 2})
            await link.close()
            await looks.until("passed", {"due": 0})
    return [f"deadlock: {line['error']}" for line in stage.said if "40P01" in str(line.get("error"))]


OVERDUE = sorted(pottery.OLD[2:])
"""Whose clocks only a ticker fires."""


async def two_tickers(stage: Stage) -> list[str]:
    """One has read what is due and stops there; another one fires it, if it can; then the first one goes on."""
    gate = Gate("timers/timers:after")
    async with _prepared(stage, patient=True) as (room, looks):
        async with room.running(roles=("worker", "relay")):
            await looks.until("passed", {"position": RECORDS})
            async with room.running(armed(room, gate), roles=("ticker",)):
                await gate.reached.wait()

                async def fired() -> bool:
                    row = (await looks.rows("passed"))[0]
                    return bool(row["due"] == 0 or row["waiting"] > 0)

                async with room.running(roles=("ticker",)):
                    await _by(fired, "the other ticker has fired, or waits")
                    gate.opened.set()
                    await looks.until("passed", {"due": 0})
            await looks.until("passed", {"unsent": 0})
        return await looks.faults()


async def failing(stage: Stage, point: str, action: Action, hit: int = 1) -> list[str]:
    """One step fails once, and the process goes on by itself."""
    async with _prepared(stage) as (room, looks):
        fuse = Fuse(point, action, stage.building.scraps / f"{room.told}.point", hit)
        async with room.running(armed(room, fuse)):
            await looks.until("passed", {"position": RECORDS, "due": 0, "unsent": 0})
        assert fuse.blown
        return await looks.faults()


async def unsent(stage: Stage) -> list[str]:
    return await failing(stage, "send:before", "raise", hit=2)


async def unnoted(stage: Stage) -> list[str]:
    return await failing(stage, "commit:after", "raise")


async def garbage(stage: Stage) -> list[str]:
    """A record that is no event must leave a letter and be counted; the load has one."""
    async with _prepared(stage) as (room, looks):
        async with room.running():
            await looks.until("passed", {"position": RECORDS, "due": 0, "unsent": 0})
        return await looks.faults()


async def refused(stage: Stage) -> list[str]:
    """The broker itself refuses a batch, for a message that is larger than its topic allows."""
    async with _prepared(stage, largest=1_000_000) as (room, looks):
        await stage.building.limit(room.told, 3_000)

        async def over() -> bool:
            stuck = any(line["event"] == "trouble" and line["what"] == "relay" for line in stage.said)
            row = (await looks.rows("passed"))[0]
            return stuck or (row["position"], row["due"], row["unsent"]) == (RECORDS, 0, 0)

        async with room.running():
            await _by(over, "everything sent, or the relay in trouble")
        return await looks.faults()


async def lost_position(stage: Stage) -> list[str]:
    """Records came, and the next question to the client fails."""
    position, calls = aiokafka.AIOKafkaConsumer.position, Counter[str]()

    async def failing_once(self: aiokafka.AIOKafkaConsumer, place: aiokafka.TopicPartition) -> int:
        calls["all"] += 1
        if calls["all"] == 3:
            raise KafkaError("planted")
        return await position(self, place)

    stage.patch.setattr(aiokafka.AIOKafkaConsumer, "position", failing_once)
    return await garbage(stage)


async def mended(stage: Stage) -> list[str]:
    """The handler is mended, and a person orders the parked line to be tried again."""
    async with _prepared(stage) as (room, looks):
        async with room.running():
            await looks.drained()
        stage.patch.setattr(pottery.repair, "done", True)
        parts = room.parts(MemoryTelemetry())
        store = parts.store()
        assert isinstance(store, PostgresStore)
        await carrying(room.app, room.settings, parts.sampling)(Lines([Retry(Ref("pot", pottery.SPOILED), "ann")]), store, "")
        await store.close()
        taken = {row["id"]: json.loads(row["data"])["taken"] for row in await looks.rows("entities")}[pottery.SPOILED]
        wanted = [0, pottery.BOOM, 14, 15]
        return [] if taken == wanted else [f"taken: {pottery.SPOILED}: {taken} instead of {wanted}"]


@dataclass
class Told(Publisher):
    """Keeps what it was last asked to send."""

    inner: Publisher
    last: list[Outgoing]

    async def start(self) -> None:
        await self.inner.start()

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        self.last[:] = batch
        return await self.inner.publish(batch)

    async def stop(self) -> None:
        await self.inner.stop()


async def late_relay(stage: Stage) -> list[str]:
    """A relay has sent a round and stays there until its leases are over and another one has sent everything; then it moves its position."""
    gate, last = Gate("relay/move:before"), list[Outgoing]()
    async with _prepared(stage, patient=True) as (room, looks):
        parts = armed(room, gate)
        plain = parts.publisher
        async with room.running(replace(parts, publisher=lambda: Told(plain(), last))) as stop:
            await gate.reached.wait()
            held = {value for row in last for name, value in row.headers if name == "ce_id"}
            async with room.running(roles=("relay",)):
                await looks.until("passed", {"position": RECORDS, "due": 0, "unsent": 0})
                gate.opened.set()
                stop.set()
        times = Counter([dict(record.headers)["ce_id"] or b"" async for record in read(room.kafka, room.told)])
        again = sorted(id for id, n in times.items() if n > 1 and id not in held)
        return [f"repeats: {len(again)} messages were sent again that no relay had in hand", *await looks.faults()] if again else await looks.faults()


async def lost_reply(stage: Stage) -> list[str]:
    """COMMIT is done, its answer does not come: the batch's spans must be handed over all the same."""
    telemetry = MemoryTelemetry()
    async with _prepared(stage) as (room, looks):
        fuse = Fuse("commit:after", "hang", stage.building.scraps / f"{room.told}.point", hit=2)
        async with room.running(armed(room, fuse, telemetry)):
            await looks.drained()
        seen = {
            (dict(span.shared).get("messaging.destination.partition.id"), span.attributes.get("messaging.kafka.offset"))
            for span in telemetry.spans
            if span.name == f"process {room.pots}"
        }
        faults = await looks.faults()
        # Repeats have no span; everything else has one.
        wanted = RECORDS - pottery.COUNTS["duplicate"]
        return faults if len(seen) == wanted else [f"traces: {len(seen)} records have a span, {wanted} should", *faults]
