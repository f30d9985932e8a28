"""What the broker refuses for good holds its key alone; by a person's order it leaves, or is dropped, with the order of its key kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.held import PostgresHeldLines
from stream.core.topic import Topic
from stream.ports.held import Reply
from tests.integration.runtime.world import World, broker, child, reaches, world

POTS = [f"pot {n}" for n in range(6)]
# Noise, so that a message that names it stays too large when compressed.
LARGE = "".join(map(chr, random.Random(7).choices(range(0x4E00, 0x9FFF), k=500)))


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


@pytest.fixture
async def lines(database: str) -> AsyncIterator[PostgresHeldLines]:
    made = PostgresHeldLines(PostgresSettings(dsn=database))
    yield made
    await made.close()


@asynccontextmanager
async def admin(pottery: World) -> AsyncGenerator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=pottery.kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def limit(pottery: World, size: int) -> None:
    async with admin(pottery) as client:
        topic = ConfigResource(ConfigResourceType.TOPIC, f"told-{pottery.tag}", {"max.message.bytes": str(size)})
        await client.alter_configs([topic])


async def held(pottery: World) -> list[tuple[int, str, int, str]]:
    """Number, reason, attempts and status of the first message of each line."""
    rows = await pottery.rows(
        "select distinct on (topic, key) seq, reason, attempts, status from outbox_held where status in ('open', 'retrying') order by topic, key, seq"
    )
    return [(r["seq"], r["reason"], r["attempts"], r["status"]) for r in rows]


def refusals(found: list[tuple[int, str, int, str]]) -> list[tuple[str, int, str]]:
    return [row[1:] for row in found]


async def test_a_message_too_large_for_its_topic_holds_its_key_until_it_is_sent_again_in_order(pottery: World, lines: PostgresHeldLines) -> None:
    await limit(pottery, 900)
    pots = [*POTS, LARGE]
    await pottery.make(pots)
    await pottery.fill(pots, range(10))
    async with pottery.running():
        await reaches(pottery.told, {pot: list(range(10)) for pot in POTS})
        await reaches(lambda: refused(pottery), [("too_large", 1, "open")])
        first = (await held(pottery))[0][0]
        await lines.retry([first], "ann")
        await reaches(lambda: refused(pottery), [("too_large", 2, "open")])
        await pottery.fill(pots, range(10, 20))
        await reaches(pottery.told, {pot: list(range(20)) for pot in POTS})
        await limit(pottery, 1_000_000)
        assert await lines.retry([first], "ann") == {first: Reply.DONE}
        await pottery.fill(pots, range(20, 30))
        await reaches(pottery.told, {pot: list(range(30)) for pot in pots})
        assert await held(pottery) == []


async def refused(pottery: World) -> list[tuple[str, int, str]]:
    return refusals(await held(pottery))


async def test_messages_for_a_topic_that_is_gone_wait_until_it_is_back(pottery: World, lines: PostgresHeldLines) -> None:
    await pottery.make(POTS)
    async with admin(pottery) as client:
        await client.delete_topics([f"told-{pottery.tag}"])
    async with pottery.running():
        await pottery.fill(POTS, range(5))
        await reaches(lambda: refused(pottery), [("no_topic", 1, "open")] * len(POTS))
        await pottery.fill(POTS, range(5, 8))
        await reaches(pottery.taken, {pot: list(range(8)) for pot in POTS})
        async with KafkaAdmin(broker(pottery.kafka)) as kafka:
            await kafka.apply(plan([Topic(f"told-{pottery.tag}", partitions=4)], {}))
        await lines.retry([row[0] for row in await held(pottery)], "ann")
        await reaches(lambda: refused(pottery), [])
        await reaches(pottery.told, {pot: list(range(8)) for pot in POTS})


async def test_a_skipped_message_is_missing_and_nothing_else_is(pottery: World, lines: PostgresHeldLines) -> None:
    await limit(pottery, 900)
    await pottery.make([LARGE, "pot"])
    await pottery.fill([LARGE, "pot"], range(3))
    async with pottery.running():
        await reaches(lambda: refused(pottery), [("too_large", 1, "open")])
        for _ in range(3):
            await reaches(lambda: refused(pottery), [("too_large", 1, "open")])
            assert await lines.skip((await held(pottery))[0][0], "ann", "never fits") is Reply.DONE
        await limit(pottery, 1_000_000)
        await pottery.fill([LARGE, "pot"], range(3, 6))
        await reaches(pottery.told, {"pot": list(range(6)), LARGE: [3, 4, 5]})
    assert [r["reason"] for r in await pottery.rows("select reason from audit order by id")] == ["never fits"] * 3


async def test_a_relay_killed_while_a_line_is_on_its_way_loses_and_reorders_nothing(pottery: World, lines: PostgresHeldLines) -> None:
    async with admin(pottery) as client:
        await client.delete_topics([f"told-{pottery.tag}"])
    await pottery.make(POTS)
    await pottery.fill(POTS, range(30))
    async with pottery.running(settings=pottery.settings_of("worker")):
        async with child(pottery, "relay") as first:
            await reaches(lambda: refused(pottery), [("no_topic", 1, "open")] * len(POTS))
            async with admin(pottery) as client:
                await client.create_topics([NewTopic(f"told-{pottery.tag}", 4, 1)])
            waiting = asyncio.ensure_future(lines.retry([row[0] for row in await held(pottery)], "ann"))
            await pottery.fill(POTS, range(30, 60))
            await waiting
            first.kill()
        async with child(pottery, "relay"):
            await reaches(pottery.told, {pot: list(range(60)) for pot in POTS})
            await reaches(lambda: refused(pottery), [])
