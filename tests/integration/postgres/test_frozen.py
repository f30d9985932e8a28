"""A client that is frozen within a transaction lets go of its locks, wherever it was."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import UnavailableError
from tests.conformance.storage import JOB, look, tell


class Frozen(Connection):
    """One that can be left half-way through a statement."""

    async def prepare(self, text: str) -> None:
        await (await self._linked()).prepare(text)


@pytest.mark.parametrize("half_way", [False, True])
async def test_a_client_frozen_within_a_transaction_lets_go_of_what_it_locked(database: str, half_way: bool) -> None:
    settings = PostgresSettings(dsn=database, lock=0.5, idle=1.0)
    store = PostgresStore(settings)
    await look(store)
    # The idle one is ended by one limit, the other by the other: what would end both would hide which.
    frozen = Frozen(replace(settings, idle=600.0, transaction=1.5) if half_way else replace(settings, transaction=600.0))
    with pytest.raises(UnavailableError):
        await _freeze(frozen, store, half_way)
    await frozen.close()
    await store.close()


async def _freeze(frozen: Frozen, store: PostgresStore, half_way: bool) -> None:
    """Lock an entity, and stay there until another has moved it."""
    async with frozen.transaction():
        assert await frozen.fetch("entities", [JOB.machine], [JOB.id])
        if half_way:
            await frozen.prepare("select 1")
        with anyio.fail_after(30):
            while not await _told(store):
                pass
        await frozen.fetch("time")


async def _told(store: PostgresStore) -> bool:
    try:
        await tell(store)
    except UnavailableError:
        return False
    return True
