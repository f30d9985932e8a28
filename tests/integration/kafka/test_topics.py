"""Topics are made and changed as declared, and nothing else about them is touched."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from stream.adapters.kafka.admin import KafkaAdmin, plan, require
from stream.core.errors import ConfigurationError
from stream.core.record import TopicPartition
from stream.core.topic import Topic
from tests.conformance.broker import kafka_world, settings


async def test_topics_are_made_as_declared_and_a_second_time_nothing_is_left_to_do(kafka: str) -> None:
    declared = [Topic(uuid4().hex, partitions=3, retention=timedelta(days=3)), Topic(uuid4().hex, partitions=1)]
    names = [topic.name for topic in declared]
    async with KafkaAdmin(settings(kafka)) as admin:
        steps = plan(declared, await admin.topics(names))
        assert [step.action for step in steps] == ["create", "create"]
        await admin.apply(steps)
        there = await admin.topics(names)
        assert (there[names[0]].partitions, there[names[0]].retention) == (3, timedelta(days=3))
        assert plan(declared, there) == []


async def test_growing_and_keeping_longer_leaves_other_settings_of_the_topic_alone(kafka: str) -> None:
    async with kafka_world(kafka) as world, KafkaAdmin(settings(kafka)) as admin:
        name = await world.topic(2, max_message_bytes="4321")
        steps = plan([Topic(name, partitions=4, retention=timedelta(hours=5))], await admin.topics([name]))
        assert [step.action for step in steps] == ["grow", "retain"]
        await admin.apply(steps)
        there = (await admin.topics([name]))[name]
        assert (there.partitions, there.retention, there.overrides["max.message.bytes"]) == (4, timedelta(hours=5), "4321")


async def test_fewer_partitions_are_refused_before_anything_is_done(kafka: str) -> None:
    async with kafka_world(kafka) as world, KafkaAdmin(settings(kafka)) as admin:
        name, other = await world.topic(3), uuid4().hex
        with pytest.raises(ConfigurationError, match="cannot take partitions away"):
            await admin.apply(plan([Topic(other), Topic(name, partitions=2)], await admin.topics([name, other])))
        assert await admin.topics([other]) == {}


async def test_what_the_broker_refuses_is_said_with_its_reason(kafka: str) -> None:
    async with KafkaAdmin(settings(kafka)) as admin:
        with pytest.raises(ConfigurationError, match="no/slash"):
            await admin.apply(plan([Topic("no/slash")], {}))


async def test_bounds_are_given_for_every_partition_of_the_topics_that_exist(kafka: str) -> None:
    async with kafka_world(kafka) as world, KafkaAdmin(settings(kafka)) as admin:
        name = await world.topic(2)
        await world.append(TopicPartition(name, 1), b"v")
        assert await admin.bounds([name, uuid4().hex]) == {TopicPartition(name, 0): (0, 0), TopicPartition(name, 1): (0, 1)}


def test_missing_topics_are_named_with_the_command_that_makes_them() -> None:
    require(["a"], ["a", "b"])
    with pytest.raises(ConfigurationError, match=r"c, d.*stream topics apply"):
        require(["d", "a", "c"], ["a"])
