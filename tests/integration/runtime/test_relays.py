"""Several relays in processes of their own: they share the shards, and what one leaves is sent by the others, in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from tests.integration.runtime.world import World, child, reaches, world

POTS = [f"pot {n}" for n in range(16)]


@pytest.fixture
async def pottery(kafka: str, database: str) -> AsyncGenerator[World]:
    async with world(kafka, database) as made:
        yield made


async def held(pottery: World) -> list[int]:
    """How many shards each relay has, the most first."""
    rows = await pottery.rows("select count(*) as n from outbox_position where leased_until > clock_timestamp() group by owner order by n desc")
    return [row["n"] for row in rows]


async def leases(pottery: World) -> list[tuple[int, str, int]]:
    return [(r["shard"], r["owner"], r["epoch"]) for r in await pottery.rows("select shard, owner, epoch from outbox_position order by shard")]


@pytest.mark.parametrize(("relays", "shares", "left"), [(2, [8, 8], [16]), (3, [6, 5, 5], [8, 8])])
async def test_relays_share_and_one_that_is_killed_is_replaced_without_loss_or_reorder(
    pottery: World, relays: int, shares: list[int], left: list[int]
) -> None:
    async with AsyncExitStack() as ending:
        processes = [await ending.enter_async_context(child(pottery, "relay")) for _ in range(relays)]
        await ending.enter_async_context(pottery.running(settings=pottery.settings_of("worker")))
        await reaches(lambda: held(pottery), shares)
        await pottery.make(POTS)
        await pottery.fill(POTS, range(20))
        await reaches(pottery.told, {pot: list(range(20)) for pot in POTS})
        before = await leases(pottery)
        await pottery.fill(POTS, range(20, 60))
        processes[0].kill()
        await pottery.fill(POTS, range(60, 70))
        await reaches(pottery.told, {pot: list(range(70)) for pot in POTS})
        await reaches(lambda: held(pottery), left)
        after = await leases(pottery)
        # Only what the killed one had has changed hands.
        lost = {row[1] for row in before} - {row[1] for row in after}
        assert len(lost) == 1
        assert [row for row in before if row[1] not in lost] == [row for row in after if row in before]


async def test_a_relay_that_comes_later_is_given_its_share_and_one_that_ends_gives_it_back(pottery: World) -> None:
    await pottery.make(POTS)
    async with pottery.running(settings=pottery.settings_of("worker", "relay")):
        await reaches(lambda: held(pottery), [16])
        await pottery.fill(POTS, range(10))
        async with pottery.running(settings=pottery.settings_of("relay")):
            await reaches(lambda: held(pottery), [8, 8])
            await pottery.fill(POTS, range(10, 40))
            await reaches(pottery.told, {pot: list(range(40)) for pot in POTS})
        await reaches(lambda: held(pottery), [16])
        await pottery.fill(POTS, range(40, 50))
        await reaches(pottery.told, {pot: list(range(50)) for pot in POTS})
    assert not await pottery.rows("select from relay")
