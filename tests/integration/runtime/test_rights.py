"""A topic on which the relay has no right: that is a refusal, which holds the keys of this topic and nothing else, until it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import anyio
import pytest

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.held import PostgresHeldLines
from stream.core.record import TopicPartition
from stream.core.topic import Topic
from stream.ports import Outgoing
from tests.integration.kafka.secured import Secured
from tests.integration.runtime.world import World, broker, reaches, world

POTS = ["pot 1", "pot 2"]


@pytest.fixture
async def pottery(strict: Secured, database: str) -> AsyncIterator[World]:
    """On the broker that knows rights; whoever comes by this listener has all of them."""
    async with world(strict.plaintext, database) as made:
        yield made


@pytest.fixture
async def publisher(strict: Secured) -> AsyncIterator[KafkaPublisher]:
    """One that signs in as `ann`."""
    made = KafkaPublisher(strict.settings("scram"))
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("right", "reason", "said"),
    [("DESCRIBE", "no_right", "TopicAuthorizationFailedError"), ("ALTER_CONFIGS", "no_topic", "no right to see it")],
)
async def test_a_topic_without_the_right_is_refused_and_all_others_are_sent(
    strict: Secured, publisher: KafkaPublisher, right: str, reason: str, said: str
) -> None:
    closed, free = (f"{name}-{uuid4().hex}" for name in ("closed", "free"))
    async with KafkaAdmin(broker(strict.plaintext)) as admin:
        await admin.apply(plan([Topic(closed, partitions=1), Topic(free, partitions=1)], {}))
        strict.permit(closed, right)
        rows = [Outgoing(n, topic, key, b"v", []) for n, (topic, key) in enumerate([(closed, b"a"), (free, b"a"), (closed, b"b"), (closed, b"a")])]
        refused = await publisher.publish(rows)
        assert sorted((r.seq, r.reason) for r in refused) == [(0, reason), (2, reason)]
        assert all(said in r.error for r in refused)
        assert not await publisher.publish([Outgoing(5, free, b"a", b"v", [])])
        async with KafkaAdmin(strict.settings("scram")) as ours:
            assert await ours.hidden([closed, free]) == ([closed] if reason == "no_topic" else [])
        assert await admin.bounds([closed, free]) == {TopicPartition(closed, 0): (0, 0), TopicPartition(free, 0): (0, 2)}


async def test_messages_for_a_topic_without_the_right_wait_until_it_is_given_and_leave_in_order(strict: Secured, pottery: World) -> None:
    told, lines = f"told-{pottery.tag}", PostgresHeldLines(PostgresSettings(dsn=pottery.dsn))
    await anyio.to_thread.run_sync(strict.permit, told, "DESCRIBE")
    await pottery.make(POTS)
    await pottery.fill(POTS, range(3))
    async with pottery.running(replace(pottery.parts(), publisher=lambda: KafkaPublisher(strict.settings("scram")))):
        await reaches(lambda: held(pottery), [("no_right", 3), ("no_right", 3)])
        await pottery.fill(POTS, range(3, 5))
        await reaches(lambda: held(pottery), [("no_right", 5), ("no_right", 5)])
        assert await pottery.told() == {}
        await anyio.to_thread.run_sync(strict.permit, told, "")
        firsts = await pottery.rows("select min(seq) as seq from outbox_held group by key")
        await lines.retry([row["seq"] for row in firsts], "ann")
        await reaches(pottery.told, {pot: list(range(5)) for pot in POTS})
    await lines.close()
    assert await held(pottery) == []


async def held(pottery: World) -> list[tuple[str, int]]:
    """Of each line: why, and how many messages."""
    waiting = "select * from outbox_held where status in ('open', 'retrying')"
    rows = await pottery.rows(f"select max(reason) filter (where attempts > 0) as reason, count(*) as n from ({waiting}) h group by topic, key")
    return [(row["reason"], row["n"]) for row in rows]
