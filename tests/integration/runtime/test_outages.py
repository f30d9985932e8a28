"""The database or the broker goes away and comes back: nothing is lost or doubled, and nobody has to do anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest
from structlog.testing import capture_logs

from stream.adapters.kafka.consumer import Consumer
from stream.adapters.kafka.log import KafkaLog
from tests.integration.kafka.wire import Wire, through
from tests.integration.runtime.world import World, broker, reaches, world

POTS = [f"pot {n}" for n in range(6)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


async def test_the_database_goes_away_and_comes_back(pottery: World) -> None:
    at = urlsplit(pottery.dsn)
    wire = Wire(f"{at.hostname}:{at.port}")
    await wire.start()
    user = at.netloc.rpartition("@")[0]
    parts = pottery.parts(dsn=urlunsplit(at._replace(netloc=f"{user}@127.0.0.1:{wire.port}")))
    await pottery.make(POTS)
    async with pottery.running(parts):
        await pottery.fill(POTS, range(10))
        await reaches(pottery.told, {pot: list(range(10)) for pot in POTS})
        wire.cut()
        await pottery.fill(POTS, range(10, 20))
        assert await pottery.taken() == {pot: list(range(10)) for pot in POTS}
        wire.mend()
        await reaches(pottery.told, {pot: list(range(20)) for pot in POTS})
        assert await pottery.taken() == {pot: list(range(20)) for pot in POTS}
    await wire.stop()


async def test_the_broker_goes_away_and_comes_back(pottery: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await pottery.make(POTS)
    await pottery.fill(POTS, range(20))
    wire = Wire(pottery.kafka)
    await wire.start()
    with monkeypatch.context() as patch:
        through(wire, patch)
        async with pottery.running(pottery.parts(quick=True)):
            await reaches(pottery.taken, {pot: list(range(20)) for pot in POTS})
            wire.cut()
            with capture_logs() as lines:
                await reaches(lambda: _given_up(lines), True)
            wire.mend()
            await pottery.fill(POTS, range(20, 30))
            await reaches(pottery.taken, {pot: list(range(30)) for pot in POTS})
            await reaches(pottery.told, {pot: list(range(30)) for pot in POTS})
    await wire.stop()


async def test_a_silent_broker_holds_everything_and_then_goes_on(pottery: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await pottery.make(POTS)
    wire = Wire(pottery.kafka)
    await wire.start()
    with monkeypatch.context() as patch:
        through(wire, patch)
        async with pottery.running(pottery.parts(quick=True)):
            await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
            wire.hold()
            with capture_logs() as lines:
                await reaches(lambda: _given_up(lines), True)
            wire.mend()
            await pottery.fill(POTS, range(10))
            await reaches(pottery.told, {pot: list(range(10)) for pot in POTS})
    await wire.stop()


async def test_a_client_whose_task_has_died_is_built_anew_and_the_log_says_why(pottery: World) -> None:
    parts, made = pottery.parts(), list[KafkaLog]()

    def log() -> KafkaLog:
        made.append(KafkaLog(broker(pottery.kafka)))
        return made[-1]

    await pottery.make(POTS)
    async with pottery.running(replace(parts, log=log)):
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        with capture_logs() as lines:
            tasks: dict[str, asyncio.Task[None]] = dict(vars(Consumer)["_tasks"](vars(made[0])["_consumer"]))
            tasks["fetching"].cancel()
            await reaches(lambda: _given_up(lines), True)
        await pottery.fill(POTS, range(5))
        await reaches(pottery.taken, {pot: list(range(5)) for pot in POTS})
    assert [line["reason"] for line in lines if "built anew" in str(line["event"])] == ["its task for fetching has died"]
    assert len(made) == 2


async def _given_up(lines: Sequence[Mapping[str, object]]) -> bool:
    return any("built anew" in str(line["event"]) for line in lines)
