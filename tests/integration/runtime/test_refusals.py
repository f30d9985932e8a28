"""What the database refuses, and what does not fit: one entity waits, the others go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.timetable import PostgresTimetable
from tests.integration.runtime.world import World, reaches, world

POTS = [f"pot {n}" for n in range(6)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


async def test_an_event_whose_effects_the_database_refuses_parks_its_entity_alone(pottery: World) -> None:
    unlucky = "machine <> 'pot' or entity_id <> 'pot 3' or position(convert_to('13', 'utf8') in value) = 0"
    await pottery.rows(f"alter table outbox add constraint unlucky check ({unlucky})")
    await pottery.make(POTS)
    await pottery.fill(POTS, range(20))
    wanted = {pot: list(range(13 if pot == "pot 3" else 20)) for pot in POTS}
    async with pottery.running():
        await reaches(pottery.told, wanted)
        await reaches(pottery.taken, wanted)
    counts = (await pottery.rows("select sum(records) as r, sum(admitted) as a, sum(applied) as p, sum(parked) as q from partition"))[0]
    assert [int(counts[name]) for name in "rapq"] == [126, 126, 119, 7]


async def test_a_clock_whose_effects_the_database_refuses_is_passed_over(pottery: World) -> None:
    await pottery.rows("alter table entity add constraint stuck check (id <> 'pot 3' or state <> 'closed')")
    timetable = PostgresTimetable(PostgresSettings(dsn=pottery.dsn))
    await pottery.make(POTS)
    with capture_logs() as lines:
        async with pottery.running():
            await reaches(pottery.taken, {pot: list[int]() for pot in POTS})
            await timetable.move_clock(timedelta(hours=2))
            await reaches(pottery.told, {pot: [-1] for pot in POTS if pot != "pot 3"})
    await timetable.close()
    assert [line["entity"] for line in lines if "passed over" in str(line["event"])] == ["pot 3"]


async def test_intake_pauses_while_the_outbox_is_too_full(pottery: World) -> None:
    settings = replace(pottery.settings, outbox_high=20, outbox_low=5, batch=10)
    await pottery.make(POTS)
    with capture_logs() as lines:
        async with pottery.running(settings=replace(settings, roles=("worker",))):
            await pottery.fill(POTS, range(5))

            async def paused() -> bool:
                return any(line["event"] == "intake paused" for line in lines)

            await reaches(paused, True)
            await pottery.fill(POTS, range(5, 20))
            async with pottery.running(settings=replace(settings, roles=("relay",))):
                await reaches(pottery.told, {pot: list(range(20)) for pot in POTS})
    assert any(line["event"] == "intake goes on" for line in lines)
