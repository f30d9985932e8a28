"""A log that is not the one the stored positions speak of, and fences that name no partition: nothing is skipped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.partitioner import murmur2
from structlog.testing import capture_logs

from stream.adapters.kafka.log import KafkaLog
from stream.runtime import reader
from stream.runtime.app import Parts
from tests.integration.runtime.world import World, afresh, broker, reaches, world

POTS = [f"pot {n}" for n in range(6)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


@pytest.fixture
async def admin(kafka: str) -> AsyncGenerator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at every step, and not once a minute."""
    monkeypatch.setattr(reader, "LOOK", 0.0)


async def test_a_topic_made_anew_with_more_records_than_before_halts_where_anything_was_read(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    await pottery.fill(POTS, range(5))
    before = {pot: list(range(5)) for pot in POTS}
    async with pottery.running():
        await reaches(pottery.taken, before)
    positions = await _positions(pottery)
    async with _anew(pottery, admin) as again:
        await again.make(POTS)
        await again.fill(POTS, range(5, 25))
        halted = {place: "made_anew" for place, at in positions.items() if at}
        for _ in range(2):
            async with again.running():
                await reaches(again.halted, halted)
                assert await again.taken() == before
        assert await _positions(again) == positions


@pytest.mark.usefixtures("looking")
async def test_a_topic_made_anew_while_it_is_read_halts_where_anything_was_read(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running(_attentive(pottery)):
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        positions = await _positions(pottery)
        async with _anew(pottery, admin) as again:
            await reaches(again.halted, {place: "made_anew" for place, at in positions.items() if at})
    assert await _positions(pottery) == positions


async def test_a_topic_made_anew_on_purpose_is_read_once_somebody_says_so(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running():
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
    halted = {place: "made_anew" for place, at in (await _positions(pottery)).items() if at}
    async with _anew(pottery, admin) as again:
        await again.fill(POTS, range(10))
        async with again.running():
            await reaches(again.halted, halted)
            for place in halted:
                await again.decide(place, "begin")
            await reaches(again.taken, {pot: list(range(10)) for pot in POTS})
        await again.fill(POTS, [10])
        async with again.running():
            await reaches(again.taken, {pot: list(range(11)) for pot in POTS})
        assert await again.halted() == {}


async def test_records_deleted_before_they_were_read_halt_their_partitions_when_claimed(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running():
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
    await pottery.fill(POTS, range(5))
    ends = await _delete_all(pottery, admin)
    await pottery.fill(POTS, range(5, 10))
    async with pottery.running():
        await reaches(pottery.halted, {place: "overrun" for place, end in ends.items() if end})
        assert await pottery.taken() == {pot: [] for pot in POTS}
        for place in await pottery.halted():
            await pottery.decide(place, "begin")
        await reaches(pottery.taken, {pot: list(range(5, 10)) for pot in POTS})


@pytest.mark.usefixtures("looking")
async def test_records_deleted_before_they_were_read_halt_a_running_partition(pottery: World, admin: AIOKafkaAdminClient) -> None:
    settings = replace(pottery.settings, roles=("worker",), outbox_high=20, outbox_low=5, batch=10)
    await pottery.make(POTS)
    with capture_logs() as lines:
        async with pottery.running(settings=settings):
            await pottery.fill(POTS, range(5))

            async def paused() -> bool:
                return any(line["event"] == "intake paused" for line in lines)

            await reaches(paused, True)
            await pottery.fill(POTS, range(5, 20))
            ends = await _delete_all(pottery, admin)
            await reaches(pottery.halted, {place: "overrun" for place, end in ends.items() if end})
    said = [line for line in lines if str(line["event"]).startswith("partition halted")]
    assert said
    assert all(
        "deleted before they were read" in str(line["event"]) and line["choices"] == f"stream partitions show {line['place']}" for line in said
    )
    # What had been fetched before is kept, and is in order; nothing after a gap was taken.
    assert all(numbers == list(range(len(numbers))) and len(numbers) < 20 for numbers in (await pottery.taken()).values())


async def test_a_partition_added_to_a_known_topic_is_held_when_claimed_and_read_once_accepted(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running():
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        await reaches(lambda: _known(pottery), 4)
    await admin.create_partitions({f"pots-{pottery.tag}": NewPartitions(5)})
    held = f"pots-{pottery.tag}/4"
    moved = [f"moved {n}" for n in range(40)]
    async with afresh(pottery) as grown:
        await grown.make(moved)
        async with grown.running():
            await reaches(grown.halted, {held: "partition_added"})
            there = await _read_elsewhere(grown, moved)
            assert 0 < len(there) < len(moved)
            await grown.decide(held, "")
            await reaches(grown.taken, {pot: list[int]() for pot in [*POTS, *moved]})


async def test_a_partition_added_while_its_topic_is_read_is_held(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running(_attentive(pottery)):
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        await reaches(lambda: _known(pottery), 4)
        await admin.create_partitions({f"pots-{pottery.tag}": NewPartitions(6)})
        await reaches(pottery.halted, {f"pots-{pottery.tag}/{n}": "partition_added" for n in (4, 5)})
        await pottery.fill(POTS[:1], [1])


async def test_a_fence_on_an_entity_lets_go_of_the_batch_and_takes_it_again(pottery: World) -> None:
    await pottery.rows("create function unmoved() returns trigger language plpgsql as 'begin return null; end'")
    await pottery.rows("create trigger unmoved before update on entity for each row when (new.id = 'pot 3') execute function unmoved()")
    await pottery.make(POTS)
    with capture_logs() as lines:
        async with pottery.running():

            async def fenced() -> bool:
                return any(line["event"] == "fenced" for line in lines)

            await reaches(fenced, True)
            await pottery.rows("drop trigger unmoved on entity")
            await pottery.fill(POTS, range(5))
            await reaches(pottery.taken, {pot: list(range(5)) for pot in POTS})
    places = {place for line in lines if line["event"] == "fenced" for place in line["places"]}
    assert places <= {f"pots-{pottery.tag}/{n}" for n in range(4)}


def _attentive(pottery: World) -> Parts:
    """A client that looks twice a second which topics and partitions there are."""
    kafka = replace(broker(pottery.kafka), metadata=0.5)
    return replace(pottery.parts(), log=lambda: KafkaLog(kafka))


@asynccontextmanager
async def _anew(pottery: World, admin: AIOKafkaAdminClient) -> AsyncGenerator[World]:
    """The same world, its pots' topic deleted and made once more."""
    topic = f"pots-{pottery.tag}"
    await admin.delete_topics([topic])

    async def made() -> int:
        reply = await admin.create_topics([NewTopic(topic, 4, 1)])
        return int(reply.topic_errors[0][1])

    await reaches(made, 0)
    async with afresh(pottery) as again:
        yield again


async def _delete_all(pottery: World, admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Delete every record of the pots' topic; the ends by place."""
    places = [aiokafka.TopicPartition(f"pots-{pottery.tag}", n) for n in range(4)]
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=pottery.kafka)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(places)
    finally:
        await consumer.stop()
    await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items() if end})
    return {f"{place.topic}/{place.partition}": end for place, end in ends.items()}


async def _known(pottery: World) -> int:
    return len(await _positions(pottery))


async def _read_elsewhere(pottery: World, pots: Sequence[str]) -> list[str]:
    """Those of `pots` that are not on the held partition: all of them are taken when this returns."""
    elsewhere = [pot for pot in pots if (murmur2(pot.encode()) & 0x7FFFFFFF) % 5 != 4]

    async def taken() -> object:
        return {pot for pot in await pottery.taken() if pot in pots}

    await reaches(taken, set(elsewhere))
    return elsewhere


async def _positions(pottery: World) -> dict[str, int]:
    rows = await pottery.rows("select topic, partition, next_offset from partition where topic = $1", f"pots-{pottery.tag}")
    return {f"{row['topic']}/{row['partition']}": row["next_offset"] for row in rows}
