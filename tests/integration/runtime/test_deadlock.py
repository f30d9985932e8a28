"""A deadlock provoked on purpose: the batch that lost it is done again, as a whole, and has its effects once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import combinations

import asyncpg
import pytest
from structlog.testing import capture_logs

from stream.adapters.kafka.publisher import partition_of
from tests.integration.runtime.world import World, reaches, world


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


FIRST, LAST = next(pair for pair in combinations([f"pot {n}" for n in range(5)], 2) if len({partition_of(pot.encode(), 4) for pot in pair}) == 1)
"""Of one partition, so of one batch; locked in this order."""


@asynccontextmanager
async def rival(pottery: World) -> AsyncGenerator[asyncpg.Connection]:
    """One who never looks whether it is in a deadlock, so that the other is the one to lose it."""
    link = await asyncpg.connect(pottery.dsn, server_settings={"search_path": "stream", "deadlock_timeout": "10min"})
    await link.execute("begin")
    try:
        yield link
    finally:
        await link.close()


async def lock(link: asyncpg.Connection, pot: str) -> None:
    assert await link.fetch("select from entity where id = $1 for update", pot)


async def waiting(pottery: World) -> bool:
    sql = "select from pg_stat_activity where datname = current_database() and application_name = 'stream' and wait_event_type = 'Lock'"
    return bool(await pottery.rows(sql))


def lost(lines: Sequence[Mapping[str, object]]) -> bool:
    return any("40P01" in str(line.get("error")) for line in lines)


async def test_a_batch_that_lost_a_deadlock_is_done_again_and_has_its_effects_once(pottery: World) -> None:
    rounds = 0
    await pottery.make([FIRST, LAST])
    with capture_logs() as lines:
        async with pottery.running():
            await reaches(pottery.taken, {FIRST: list[int](), LAST: list[int]()})
            # Whoever waits looks for a deadlock once, after a second: on a busy machine the rival may come too late for that.
            while not lost(lines) and rounds < 20:
                async with rival(pottery) as link:
                    await lock(link, LAST)
                    await pottery.fill([FIRST, LAST], [rounds])
                    await reaches(lambda: waiting(pottery), True)
                    await lock(link, FIRST)
                rounds += 1
                await reaches(pottery.taken, {pot: list(range(rounds)) for pot in (FIRST, LAST)})
    assert lost(lines)
    assert {line.get("what") for line in lines if "40P01" in str(line.get("error"))} <= {"lane 0", "lane 1"}
    [counts] = await pottery.rows(
        "select sum(records)::int as r, sum(admitted)::int as a, sum(applied)::int as p, sum(duplicate)::int as d from partition"
    )
    assert tuple(counts) == (2 + 2 * rounds,) * 3 + (0,)
    [history] = await pottery.rows("select count(*)::int as n from history where event_type = 'pot.filled'")
    assert history["n"] == 2 * rounds
