"""What the database's failures become, and that work goes on afterwards on the same store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import asyncpg
import pytest

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.changes import Changes
from stream.core.errors import ConfigurationError, UnavailableError, UnstorableError
from stream.core.record import Ref
from tests.conformance.storage import applied, look, tell
from tests.integration.postgres.races import begun


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(PostgresSettings(dsn=database, lock=0.2))
    yield store
    await store.close()


async def order(database: str, sql: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(sql)
    await connection.close()


async def test_a_misspelt_parameter_of_the_url_is_for_a_person_and_not_tried_for_ever(database: str) -> None:
    connection = Connection(PostgresSettings(dsn=f"{database}{'&' if '?' in database else '?'}sslmod=verify-full"))
    with pytest.raises(ConfigurationError, match="names a parameter"):
        await connection.fetch("time")


@pytest.mark.parametrize("id", ["secret\x00", "secret\ud800"])
async def test_data_that_cannot_be_stored_is_said_to_be_so_and_never_quoted(store: PostgresStore, id: str) -> None:
    with pytest.raises(UnstorableError) as refused:
        await tell(store, ref=Ref("job", id))
    assert "secret" not in str(refused.value)
    await tell(store)


async def test_a_number_beyond_its_column_is_data_that_cannot_be_stored(store: PostgresStore) -> None:
    async def overflow() -> None:
        async with store.transaction() as tx:
            await tx.claim_timers(())
            entity = (await tx.load([Ref("job", "j")]))[Ref("job", "j")]
            entity.machine_version = 2**40
            await tx.save(applied(Changes(), entity))

    with pytest.raises(UnstorableError):
        await overflow()


async def test_a_terminated_connection_is_made_anew(store: PostgresStore, database: str) -> None:
    await tell(store)
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    async def cut() -> None:
        async with store.transaction() as tx:
            await tx.claim_timers(())
            await order(database, others)
            await tx.load([Ref("job", "j-9")])

    with pytest.raises(UnavailableError):
        await cut()
    await tell(store)
    assert (await look(store)).version == 2


async def test_a_lock_that_cannot_be_had_is_tried_again_later(store: PostgresStore, database: str) -> None:
    await tell(store)
    async with store.transaction() as tx:
        await tx.claim_timers(())
        await tx.load([Ref("job", "j-1")])
        other = PostgresStore(PostgresSettings(dsn=database, lock=0.2))
        rival = await begun(database, look(other))
        with pytest.raises(UnavailableError):
            await rival
    assert (await look(other)).version == 1
    await other.close()


async def test_a_server_that_takes_no_writes_is_not_held_on_to(store: PostgresStore, database: str) -> None:
    await tell(store)
    name = database.rpartition("/")[2]
    await order(database, f"alter database {name} set default_transaction_read_only = on")

    async def write_on_a_standby() -> None:
        await store.connection.script("set default_transaction_read_only = on")
        await tell(store)

    for _ in range(2):
        with pytest.raises(UnavailableError):
            await write_on_a_standby()
    await order(database, f"begin read write; alter database {name} set default_transaction_read_only = off; commit")
    await tell(store)


async def test_a_wrong_password_and_a_missing_database_say_so(database: str) -> None:
    store = PostgresStore(PostgresSettings(dsn=database + "_gone"))
    with pytest.raises(ConfigurationError, match="no such database"):
        await store.now()


async def test_asking_what_became_of_a_commit_can_be_cut_short(database: str) -> None:
    never = {**QUERIES, "commit": "select pg_terminate_backend(pg_backend_pid())", "outcome": "select 'in progress' as status where $1 <> ''"}
    connection = Connection(PostgresSettings(dsn=database), never)
    with anyio.CancelScope() as scope:
        async with connection.transaction("begin_plain") as work:
            work.xid = "1"
            scope.cancel()
    assert scope.cancelled_caught
    await connection.close()


async def test_a_commit_itself_is_not_cut_short(store: PostgresStore) -> None:
    with anyio.CancelScope() as scope:
        async with store.connection.transaction("begin_plain"):
            await store.connection.script("create table stream.kept ()")
            scope.cancel()
    assert await store.connection.script("table stream.kept") == "SELECT 0"
