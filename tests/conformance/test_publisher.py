"""What every `Publisher` promises, in memory and on a real broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import confluent_kafka
import pytest

from stream.adapters.kafka.publisher import partition_of
from stream.core.errors import UncertainError
from stream.core.record import Record, TopicPartition
from stream.ports import Outgoing, Publisher
from tests.conformance.broker import MemoryWorld, World, kafka_world, member


@pytest.fixture(params=["memory", "kafka"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    async with kafka_world(request.getfixturevalue("kafka")) as world:
        yield world


@asynccontextmanager
async def started(world: World) -> AsyncGenerator[Publisher]:
    publisher = world.publisher()
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def everything(world: World, topic: str, partitions: int = 1) -> list[Record]:
    """All records of a topic, partition by partition."""
    records: list[Record] = []
    places = [TopicPartition(topic, n) for n in range(partitions)]
    async with member(world, [topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: len(watch.owned) == partitions)
        for place in places:
            await log.seek(place, 0)
            async with asyncio.timeout(30):
                while found := await log.fetch(place, limit=1000, within=timedelta(milliseconds=50)):
                    records += found
    return records


def rows(topic: str, keys: Sequence[str], *, first: int = 1) -> list[Outgoing]:
    return [Outgoing(seq, topic, key.encode(), b"%d" % seq, [("n", b"%d" % seq)]) for seq, key in enumerate(keys, first)]


async def test_what_is_published_is_read_back_unchanged_in_the_order_of_each_key(world: World) -> None:
    topic = await world.topic(3)
    batch = rows(topic, [f"k{n % 7}" for n in range(200)])
    async with started(world) as publisher:
        assert list(await publisher.publish(batch)) == []
    found = await everything(world, topic, 3)
    assert sorted(int(r.value or b"") for r in found) == [row.seq for row in batch]
    assert all(list(r.headers) == [("n", r.value)] for r in found)
    for key in {row.key for row in batch}:
        assert [r.value for r in found if r.key == key] == [row.value for row in batch if row.key == key]
        assert len({r.partition for r in found if r.key == key}) == 1


async def test_one_too_large_is_refused_with_later_ones_of_its_key_unsent_and_all_others_sent(world: World) -> None:
    topic = await world.topic()
    batch = rows(topic, ["a", "b", "a", "b", "a"])
    batch[2] = Outgoing(3, topic, b"a", b"x" * 1_000_001, [])
    async with started(world) as publisher:
        assert [(r.seq, r.reason) for r in await publisher.publish(batch)] == [(3, "too_large")]
        assert list(await publisher.publish(rows(topic, ["b"], first=9))) == []
    assert [r.value for r in await everything(world, topic)] == [b"1", b"2", b"4", b"9"]


async def test_a_topic_that_is_not_there_is_refused_and_the_others_are_sent(world: World) -> None:
    topic, missing = await world.topic(), f"missing-{uuid4().hex}"
    async with started(world) as publisher:
        refused = await publisher.publish([*rows(missing, ["a", "a"]), *rows(topic, ["a"], first=7)])
        assert [(r.seq, r.reason) for r in refused] == [(1, "no_topic")]
    assert [r.value for r in await everything(world, topic)] == [b"7"]


async def test_a_record_larger_than_a_batch_goes_alone(world: World) -> None:
    topic = await world.topic()
    big = Outgoing(2, topic, b"a", b"x" * 600_000, [])
    async with started(world) as publisher:
        assert list(await publisher.publish([*rows(topic, ["a"]), big, *rows(topic, ["a"], first=3)])) == []
    assert [len(r.value or b"") for r in await everything(world, topic)] == [1, 600_000, 1]


async def test_an_empty_batch_is_nothing(world: World) -> None:
    async with started(world) as publisher:
        assert list(await publisher.publish([])) == []


async def test_a_stopped_publisher_sends_no_more(world: World) -> None:
    topic = await world.topic()
    async with started(world) as publisher:
        await publisher.stop()
        with pytest.raises(UncertainError):
            await publisher.publish(rows(topic, ["a"]))


async def test_a_record_the_topic_refuses_is_found_among_many_and_only_its_key_waits(kafka: str) -> None:
    async with kafka_world(kafka) as world:
        topic = await world.topic(max_message_bytes="3000")
        batch = rows(topic, [f"k{n % 10}" for n in range(60)])
        # Noise, so that it stays too large when compressed.
        batch[33] = Outgoing(34, topic, b"k3", random.Random(7).randbytes(6_000), [])
        async with started(world) as publisher:
            assert [(r.seq, r.reason) for r in await publisher.publish(batch)] == [(34, "too_large")]
            assert list(await publisher.publish(rows(topic, ["k4"], first=100))) == []
        found = [int(r.value or b"") for r in await everything(world, topic)]
        assert found == [row.seq for row in batch if row.key != b"k3" or row.seq < 34] + [100]


@pytest.mark.parametrize("key", [b"", b"a", b"ab", b"ticket-7", "straße".encode(), bytes(range(256))])
async def test_a_key_lands_where_the_clients_of_others_put_it(kafka: str, key: bytes) -> None:
    async with kafka_world(kafka) as world:
        topic = await world.topic(7)
    foreign = confluent_kafka.Producer({"bootstrap.servers": kafka, "partitioner": "murmur2"})
    landed: list[int | None] = []
    foreign.produce(topic, b"v", key=key, on_delivery=lambda _, message: landed.append(message.partition()))
    assert await asyncio.to_thread(foreign.flush, 20) == 0
    assert landed == [partition_of(key, 7)]
