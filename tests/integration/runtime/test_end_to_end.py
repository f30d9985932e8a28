"""Workers, relay and ticker on a real broker and a real database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.timetable import PostgresTimetable
from tests.integration.runtime.world import World, reaches, world

POTS = [f"pot {n}" for n in range(12)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


async def test_what_comes_in_is_applied_once_and_told_once_in_order(pottery: World) -> None:
    async with pottery.running():
        await pottery.make(POTS)
        await pottery.fill(POTS, range(10))
        wanted = {pot: list(range(10)) for pot in POTS}
        await reaches(pottery.taken, wanted)
        await reaches(pottery.told, wanted)


async def test_records_sent_twice_move_once(pottery: World) -> None:
    async with pottery.running():
        await pottery.make(POTS[:2])
        await pottery.say([("pot.filled", {"id": "pot 0", "n": n}) for n in range(5)], again=2)
        await pottery.fill(["pot 1"], [99])
        await reaches(pottery.told, {"pot 0": [0, 1, 2, 3, 4], "pot 1": [99]})
        assert await pottery.taken() == {"pot 0": [0, 1, 2, 3, 4], "pot 1": [99]}


async def test_a_worker_that_comes_and_one_that_goes_lose_and_double_nothing(pottery: World) -> None:
    await pottery.make(POTS)
    async with pottery.running() as first:
        await pottery.fill(POTS, range(20))
        async with pottery.running():
            await pottery.fill(POTS, range(20, 40))
            await reaches(pottery.taken, {pot: list(range(40)) for pot in POTS})
            first.set()
            await pottery.fill(POTS, range(40, 60))
            await reaches(pottery.taken, {pot: list(range(60)) for pot in POTS})
            await reaches(pottery.told, {pot: list(range(60)) for pot in POTS})
    counts = (await pottery.rows("select sum(records) as r, sum(admitted) as a, sum(applied) as p, sum(concerned) as c from partition"))[0]
    assert [int(counts[name]) for name in "rapc"] == [732] * 4


async def test_a_clock_fires_once_its_feeds_are_drained_past_it(pottery: World) -> None:
    timetable = PostgresTimetable(PostgresSettings(dsn=pottery.dsn))
    async with pottery.running():
        await pottery.make(POTS[:3])
        await reaches(pottery.taken, {pot: list[int]() for pot in POTS[:3]})
        await timetable.move_clock(timedelta(hours=2))
        await reaches(pottery.told, {pot: [-1] for pot in POTS[:3]})
    await timetable.close()
