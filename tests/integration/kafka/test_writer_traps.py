"""What aiokafka does as a writer when the world is not as it should be; the numbers are those of `docs/design.md`, "Traps"."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from time import time_ns
from uuid import uuid4

import aiokafka
import aiokafka.errors
import pytest

from stream.adapters.kafka.publisher import KafkaPublisher
from stream.core.errors import UncertainError
from stream.core.record import TopicPartition
from stream.ports import Outgoing
from tests.conformance.broker import KafkaWorld, member
from tests.integration.kafka.asking import Asked, of, some


async def test_p3_p6_p7_p8_what_is_sent_is_idempotent_acknowledged_by_all_stamped_now_and_in_no_transaction(
    world: KafkaWorld, asked: list[Asked]
) -> None:
    place, publisher = TopicPartition(await world.topic(), 0), KafkaPublisher(world.settings)
    await publisher.start()
    began = time_ns() // 1_000_000
    assert not await publisher.publish([Outgoing(1, place.topic, b"k", b"v", [])])
    ended = time_ns() // 1_000_000
    await publisher.stop()
    assert {(sent["required_acks"], sent["transactional_id"]) for sent in of(asked, "ProduceRequest")} == {(-1, None)}
    assert {made["transactional_id"] for made in of(asked, "InitProducerIdRequest")} == {None}
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        [record] = await some(log, place)
    assert began <= record.timestamp <= ended


async def again(world: KafkaWorld, row: Outgoing) -> None:
    """What did not come through does, by a new publisher."""
    publisher = KafkaPublisher(world.settings)
    await publisher.start()
    assert not await publisher.publish([row])
    await publisher.stop()


async def test_p10_a_producer_whose_task_has_died_is_uncertain_and_a_new_one_sends(world: KafkaWorld) -> None:
    row, publisher = Outgoing(1, await world.topic(), b"k", b"v", []), KafkaPublisher(replace(world.settings, send=2, stop=1))
    await publisher.start()
    producer: object = vars(publisher)["_producer"]
    sender: object = vars(producer)["_sender"]
    task: asyncio.Task[None] = vars(sender)["_sender_task"]
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(30):
        with pytest.raises(UncertainError):
            await publisher.publish([row])
    with pytest.raises(UncertainError, match="make a new one"):
        await publisher.publish([row])
    await publisher.stop()
    await again(world, row)


FATAL = ["UnknownProducerId", "InvalidProducerIdMapping", "OutOfOrderSequenceNumber", "ProducerFenced", "UnknownError"]


@pytest.mark.parametrize("name", FATAL)
async def test_p1_p9_p12_a_producer_the_broker_does_not_know_any_more_is_thrown_away(
    world: KafkaWorld, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, publisher = Outgoing(1, await world.topic(), b"k", b"v", []), KafkaPublisher(world.settings)

    async def answered(*_: object, **__: object) -> Awaitable[object]:
        raise getattr(aiokafka.errors, name)

    await publisher.start()
    with monkeypatch.context() as patch:
        patch.setattr(aiokafka.AIOKafkaProducer, "send_batch", answered)
        with pytest.raises(UncertainError, match=name):
            await publisher.publish([row])
    # It would work again, and must not be used: what it had under way nobody knows.
    with pytest.raises(UncertainError, match="make a new one"):
        await publisher.publish([row])
    await publisher.stop()
    await again(world, row)
