"""A process ends: killed, asked to, or asked twice."""

from __future__ import annotations

import signal
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.integration.runtime.world import World, child, reaches, world

POTS = [f"pot {n}" for n in range(8)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


async def says(process: Process, word: str) -> None:
    assert process.stderr is not None
    while word not in (line := (await process.stderr.readline()).decode()):
        assert line, f"ended without saying {word!r}"


async def test_a_killed_process_loses_and_doubles_nothing(pottery: World) -> None:
    await pottery.make(POTS)
    async with child(pottery) as first:
        await pottery.fill(POTS, range(10))
        await reaches(pottery.taken, {pot: list(range(10)) for pot in POTS})
        await pottery.fill(POTS, range(10, 110))
        first.kill()
        assert await first.wait() == -signal.SIGKILL
    async with pottery.running():
        await reaches(pottery.taken, {pot: list(range(110)) for pot in POTS})
        await reaches(pottery.told, {pot: list(range(110)) for pot in POTS})


async def test_a_process_that_is_asked_to_end_sends_what_it_committed_and_gives_its_leases_back(pottery: World) -> None:
    await pottery.make(POTS)
    async with child(pottery) as process:
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        await pottery.fill(POTS, range(100))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    taken = {pot: numbers for pot, numbers in (await pottery.taken()).items() if numbers}
    assert await pottery.told() == taken
    assert not await pottery.rows("select from outbox_position where owner <> ''")


async def test_a_second_signal_ends_at_once(pottery: World) -> None:
    await pottery.make(POTS)
    async with child(pottery) as process:
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
        link = await asyncpg.connect(pottery.dsn)
        await link.execute("begin")
        await link.execute("lock table stream.partition")
        await pottery.fill(POTS, [1])
        process.send_signal(signal.SIGTERM)
        await says(process, "ending")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        await link.close()
