"""A log that is not the one the stored positions speak of, and fences that name no partition: nothing is skipped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from structlog.testing import capture_logs

from stream.adapters.kafka.publisher import KafkaPublisher
from stream.runtime import reader
from tests.integration.runtime.world import World, broker, reaches, world

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
        with capture_logs() as lines:
            async with again.running():
                await reaches(_halted(lines), {place for place, at in positions.items() if at})
                assert await again.taken() == before
        assert await _positions(again) == positions
    assert all("made anew" in line["event"] and line["choices"] for line in _halts(lines))


async def test_a_topic_made_anew_on_purpose_is_read_after_its_positions_were_set_back(pottery: World, admin: AIOKafkaAdminClient) -> None:
    await pottery.make(POTS)
    async with pottery.running():
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
    async with _anew(pottery, admin) as again:
        await again.fill(POTS, range(10))
        await again.rows("update partition set next_offset = 0, last_offset = null, fingerprint = null")
        async with again.running():
            await reaches(again.taken, {pot: list(range(10)) for pot in POTS})


async def test_records_deleted_before_they_were_read_halt_a_running_partition(
    pottery: World, admin: AIOKafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOOK", 0.0)
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
            await reaches(_halted(lines), {place for place, end in ends.items() if end})
    assert all("deleted before they were read" in line["event"] and line["choices"] for line in _halts(lines))
    # What had been fetched before is kept, and is in order; nothing after a gap was taken.
    assert all(numbers == list(range(len(numbers))) and len(numbers) < 20 for numbers in (await pottery.taken()).values())


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


@asynccontextmanager
async def _anew(pottery: World, admin: AIOKafkaAdminClient) -> AsyncGenerator[World]:
    """The same world, its pots' topic deleted and made once more."""
    topic = f"pots-{pottery.tag}"
    await admin.delete_topics([topic])

    async def made() -> int:
        reply = await admin.create_topics([NewTopic(topic, 4, 1)])
        return int(reply.topic_errors[0][1])

    await reaches(made, 0)
    publisher = KafkaPublisher(broker(pottery.kafka))
    await publisher.start()
    try:
        yield replace(pottery, publisher=publisher)
    finally:
        await publisher.stop()


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


async def _positions(pottery: World) -> dict[str, int]:
    rows = await pottery.rows("select topic, partition, next_offset from partition where topic = $1", f"pots-{pottery.tag}")
    return {f"{row['topic']}/{row['partition']}": row["next_offset"] for row in rows}


def _halts(lines: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in line.items()} for line in lines if str(line["event"]).startswith("partition halted")]


def _halted(lines: Sequence[Mapping[str, object]]) -> Callable[[], Awaitable[object]]:
    async def look() -> object:
        return {line["place"] for line in _halts(lines)}

    return look
