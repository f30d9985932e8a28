"""The broker falls silent or goes away: every wait ends, says so, and goes on by itself afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import UnavailableError, UncertainError
from stream.core.record import TopicPartition
from stream.ports import Outgoing
from tests.conformance.broker import Watch, kafka_world, settings
from tests.integration.kafka.wire import Wire, through

LONG = timedelta(seconds=20)


@pytest.fixture
async def place(kafka: str) -> TopicPartition:
    async with kafka_world(kafka) as world:
        place = TopicPartition(await world.topic(), 0)
        await world.append(place, b"0")
        return place


@pytest.fixture
async def wire(kafka: str, place: TopicPartition, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Wire]:
    wire = Wire(kafka)
    await wire.start()
    through(wire, monkeypatch)
    yield wire
    await wire.stop()


@pytest.fixture
def quick(kafka: str) -> KafkaSettings:
    return replace(settings(kafka), start=1, answer=1, send=1, stop=1, silence=0.5, request=2)


async def test_a_silent_broker_is_no_empty_log_and_reading_goes_on_afterwards(wire: Wire, place: TopicPartition, quick: KafkaSettings) -> None:
    log, watch = KafkaLog(replace(quick, start=10, request=8, rebalance=6)), Watch()
    await log.start([place.topic], uuid4().hex, watch)
    await watch.until(lambda: place in watch.owned)
    await log.seek(place, 0)
    assert [r.value for r in await log.fetch(place, limit=10, within=LONG)] == [b"0"]
    wire.hold()
    # An answer that was on its way may still say "no more"; from then on nobody says it.
    await _attempt(log, place)
    with pytest.raises(UnavailableError, match="no word from Kafka"):
        await log.fetch(place, limit=10, within=timedelta(milliseconds=10))
    assert await log.position(place) == 1
    with pytest.raises(UnavailableError):
        await log.bounds(place)
    assert "no word about" in log.fault()
    wire.mend()
    await log.seek(place, 0)
    async with asyncio.timeout(30):
        while not (found := await _attempt(log, place)):
            pass
    assert found == [b"0"]
    assert log.fault() == ""
    await log.stop()


async def _attempt(log: KafkaLog, place: TopicPartition) -> list[bytes | None]:
    try:
        return [r.value for r in await log.fetch(place, limit=10, within=timedelta(milliseconds=100))]
    except UnavailableError:
        return []


async def test_a_log_and_a_publisher_started_without_a_broker_say_so_and_new_ones_start_later(
    wire: Wire, place: TopicPartition, quick: KafkaSettings
) -> None:
    wire.cut()
    log, publisher = KafkaLog(quick), KafkaPublisher(quick)
    with pytest.raises(UnavailableError):
        await log.start([place.topic], uuid4().hex, Watch())
    with pytest.raises(UnavailableError):
        await publisher.start()
    wire.mend()
    log, publisher, watch = KafkaLog(replace(quick, start=10)), KafkaPublisher(replace(quick, start=10)), Watch()
    await log.start([place.topic], uuid4().hex, watch)
    await publisher.start()
    await watch.until(lambda: place in watch.owned)
    await publisher.stop()
    await log.stop()


async def test_a_send_that_the_client_gives_up_is_uncertain_and_no_end_of_the_relay(
    place: TopicPartition, quick: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = KafkaPublisher(replace(quick, start=10, send=10))
    await publisher.start()
    monkeypatch.setattr(AIOKafkaProducer, "send_batch", _given_up)
    with pytest.raises(UncertainError, match="gave up"):
        await publisher.publish([Outgoing(1, place.topic, b"k", b"v", [])])
    await publisher.stop()


async def _given_up(*_: object, **__: object) -> None:
    raise asyncio.CancelledError


async def test_an_unacknowledged_send_is_uncertain_and_ends_the_publisher(wire: Wire, place: TopicPartition, quick: KafkaSettings) -> None:
    row = Outgoing(1, place.topic, b"k", b"v", [])
    publisher = KafkaPublisher(replace(quick, start=10, send=10))
    await publisher.start()
    assert list(await publisher.publish([row])) == []
    await publisher.stop()

    publisher = KafkaPublisher(replace(quick, start=10))
    await publisher.start()
    wire.hold()
    with pytest.raises(UncertainError):
        await publisher.publish([row])
    wire.mend()
    with pytest.raises(UncertainError, match="make a new one"):
        await publisher.publish([row])
    await publisher.stop()

    publisher = KafkaPublisher(replace(quick, start=10, send=10))
    await publisher.start()
    assert list(await publisher.publish([row])) == []
    await publisher.stop()
