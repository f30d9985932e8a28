"""A client that lives but does not work is found out, says why in words, and is let go of for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import cast
from uuid import uuid4

import pytest

from stream.adapters.kafka.consumer import PAUSE, Consumer
from stream.adapters.kafka.log import KafkaLog
from stream.core.errors import UnavailableError
from stream.core.record import TopicPartition
from stream.runtime.waiting import Stop
from tests.conformance.broker import KafkaWorld, Watch, kafka_world, settings

SOON = timedelta(milliseconds=100)


@pytest.fixture
async def world(kafka: str) -> AsyncGenerator[KafkaWorld]:
    async with kafka_world(kafka) as made:
        yield made


@pytest.fixture
async def place(world: KafkaWorld) -> TopicPartition:
    return TopicPartition(await world.topic(), 0)


@pytest.fixture
async def log(kafka: str, place: TopicPartition) -> AsyncGenerator[KafkaLog]:
    """Joined and sought, with a session of two seconds."""
    made, watch = KafkaLog(replace(settings(kafka), session=2, heartbeat=0.3, answer=1, stop=1, silence=1)), Watch()
    await made.start([place.topic], uuid4().hex, watch)
    await watch.until(lambda: place in watch.owned)
    await made.seek(place, 0)
    yield made
    await made.stop()


def consumer_of(log: KafkaLog) -> Consumer:
    return cast(Consumer, vars(log)["_consumer"])


async def fails(log: KafkaLog, place: TopicPartition, why: str) -> None:
    """Fetch until it does so; nothing may come meanwhile."""
    async with asyncio.timeout(30):
        while True:
            try:
                assert not await log.fetch(place, limit=10, within=SOON)
            except UnavailableError as error:
                if why in str(error):
                    return


async def unwell(log: KafkaLog, why: str) -> None:
    async with asyncio.timeout(30):
        while why not in log.fault():
            await Stop().pause(0.05)


async def test_a_partition_that_goes_on_but_brings_nothing_is_a_fault(world: KafkaWorld, log: KafkaLog, place: TopicPartition) -> None:
    await world.append_vanishing(place)
    await fails(log, place, "nothing came of it")
    assert log.fault() == "" or "nothing of" in log.fault()
    await fails(log, place, "nothing came of it")
    assert f"nothing of {place.topic}/0 came for" in log.fault()
    assert "at offset 0 of 1" in log.fault()


async def test_nothing_is_taken_once_no_heartbeat_was_answered_for_the_session(world: KafkaWorld, log: KafkaLog, place: TopicPartition) -> None:
    async def unanswered() -> bool:
        return False

    vars(consumer_of(log))["_heartbeat"] = unanswered
    await unwell(log, "no heartbeat was answered for")
    await world.append(place, b"somebody else's")
    await fails(log, place, "nothing is taken: no heartbeat was answered for")
    assert await log.position(place) == 0


async def test_a_process_that_stood_still_beyond_its_session_takes_nothing_more(world: KafkaWorld, log: KafkaLog, place: TopicPartition) -> None:
    consumer = consumer_of(log)
    consumer.heard, consumer.tried = consumer.heard - 100, consumer.tried - 100
    await unwell(log, "the process stood still, a heartbeat was 100 s late, beyond its session of 2 s")
    await world.append(place, b"somebody else's")
    await fails(log, place, "nothing is taken: the process stood still")


@pytest.mark.parametrize("task", ["fetching", "the group", "metadata"])
async def test_a_task_of_the_client_that_has_died_is_a_fault(log: KafkaLog, task: str) -> None:
    assert log.fault() == ""
    tasks: dict[str, asyncio.Task[None]] = dict(vars(Consumer)["_tasks"](consumer_of(log)))
    tasks[task].cancel()
    await unwell(log, f"its task for {task} has died")


@pytest.mark.parametrize("patience", [30, 0.01])
async def test_a_client_whose_stop_does_not_end_leaves_the_group_all_the_same(
    kafka: str, log: KafkaLog, place: TopicPartition, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """Also when whoever stops it has less patience than the client is given."""
    stuck, stop = consumer_of(log), asyncio.Event()

    async def never() -> None:
        await stop.wait()

    monkeypatch.setattr(stuck, "stop", never)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await log.stop()
    async with asyncio.timeout(30):
        while not stuck.dead():
            await Stop().pause(0.05)
    later, watch = KafkaLog(settings(kafka)), Watch()
    await later.start([place.topic], vars(stuck)["_group_id"], watch)
    await watch.until(lambda: place in watch.owned)
    await later.stop()
    stop.set()
    monkeypatch.undo()


async def test_an_answer_that_was_on_its_way_before_is_no_word_that_there_is_no_more(
    world: KafkaWorld, log: KafkaLog, place: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, held = consumer_of(log).network(), list[asyncio.Event]()
    send = vars(type(client))["send"]

    async def late(node: int, request: object, **how: object) -> object:
        answer = await send(client, node, request, **how)
        if type(request).__name__ == "FetchRequest":
            held.append(asyncio.Event())
            await held[-1].wait()
        return answer

    async def reached(count: int) -> None:
        async with asyncio.timeout(30):
            while len(held) < count:
                await Stop().pause(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(client, "send", late)
        await reached(1)
        await world.append(place, b"here before")
        fetching = asyncio.create_task(log.fetch(place, limit=10, within=timedelta(0)))
        await asyncio.sleep(0)
        held[0].set()
        await reached(2)
        with pytest.raises(UnavailableError):
            await fetching
    held[1].set()
    async with asyncio.timeout(30):
        assert [r.value for r in await log.fetch(place, limit=10, within=timedelta(seconds=10))] == [b"here before"]


async def test_a_fetch_that_brought_nothing_is_not_repeated_without_a_pause(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)

    async def refused(*_: object) -> bool:
        return False

    async def found(*_: object) -> bool:
        return True

    consumer = consumer_of(log)
    ask = vars(Consumer)["_ask"]
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", slept)
        patch.setattr(consumer, "_fetch", refused)
        assert not await ask(consumer, object(), 0, object())
        patch.setattr(consumer, "_fetch", found)
        assert await ask(consumer, object(), 0, object())
    assert [0 < pause <= PAUSE for pause in pauses if pause] == [True]
