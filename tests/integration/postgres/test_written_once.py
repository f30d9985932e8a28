"""History and audit bind their owner too: nothing changes a row, and only whole partitions go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from stream.core.errors import ConfigurationError
from tests.conformance.storage import tell
from tests.conftest import as_role

ORDERS = [
    "update {history} set actor = 'x'",
    "update {history} set actor = actor where id > 0",
    "delete from {history}",
    "truncate {history}",
    "truncate timer, {history}",
]


async def written(settings: PostgresSettings) -> None:
    """A row of history, by a connection that takes ids of its own, and one of audit."""
    store = PostgresStore(settings)
    await tell(store)
    await store.close()
    connection = Connection(settings)
    await connection.script("insert into audit (actor, action, target) values ('ann', 'look', 'here')")
    await connection.close()


async def refused(owner: asyncpg.Connection, *tables: str) -> None:
    for order in (order.format(history=table) for table in tables for order in ORDERS):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is written once, and never changed") as error:
            await owner.execute(order)
        assert "drop_history" in str(vars(error.value)["hint"])


@pytest.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    yield connection
    await connection.close()


async def test_the_owner_changes_no_row_of_history_or_audit(database: str, owner: asyncpg.Connection) -> None:
    await written(PostgresSettings(dsn=database))
    before = [await owner.fetch(f"select * from {table}") for table in ("history", "audit")]
    await refused(owner, "history", "history_p0", "audit")
    assert all(before)
    assert [await owner.fetch(f"select * from {table}") for table in ("history", "audit")] == before


async def test_an_empty_partition_is_not_truncated_either(owner: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="history_p1 is written once"):
        await owner.execute("truncate history_p1")


async def test_whoever_was_given_the_right_to_is_refused_all_the_same(
    database: str, owner: asyncpg.Connection, worker_login: tuple[str, str]
) -> None:
    worker = PostgresSettings(dsn=as_role(database, *worker_login))
    await written(worker)
    for order in ("update history set actor = 'x'", "delete from audit", "truncate history", "truncate audit"):
        connection = Connection(worker)
        with pytest.raises(ConfigurationError):
            await connection.script(order)
        await owner.execute(f"grant all on history, audit to {worker_login[0]}")
        with pytest.raises(ConfigurationError, match="a right is missing"):
            await connection.script(order)
        await owner.execute(f"revoke update, delete, truncate on history, audit from {worker_login[0]}")
        await connection.close()


async def test_old_history_goes_by_whole_partitions_and_new_ones_are_bound(
    database: str, worker_login: tuple[str, str], owner: asyncpg.Connection
) -> None:
    await owner.execute("drop table history_p0, history_p1; select make_partitions('history', 0, 1000, 1)")
    worker = PostgresSettings(dsn=as_role(database, *worker_login))
    timetable = PostgresTimetable(worker, Ages(rows=1000, history=timedelta(0)))
    done: list[str] = []
    for _ in range(3):
        await written(worker)
        done += await timetable.rotate()
    await timetable.close()
    assert {"made history_p2", "made history_p3", "dropped history_p0"} <= set(done)
    await refused(owner, "history_p2")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="history_p3 is written once"):
        await owner.execute("truncate history_p3")
    assert [row["id"] for row in await owner.fetch("select id from history order by id")] == [1001, 2001]


async def test_a_schema_of_before_is_bound_by_its_next_migration(database: str) -> None:
    settings = PostgresSettings(dsn=database, schema="second")
    await migrate.apply(settings, [m for m in migrate.known() if not m.name.endswith("_written_once")])
    await written(settings)
    await migrate.apply(settings)
    owner = await asyncpg.connect(database, server_settings={"search_path": "second"})
    await refused(owner, "history", "history_p0", "audit")
    await owner.close()


async def test_nothing_runs_for_a_row_that_is_written(owner: asyncpg.Connection) -> None:
    on_insert = "select tgname from pg_trigger where not tgisinternal and tgtype & 4 <> 0"
    assert await owner.fetch(on_insert) == []
    assert len(await owner.fetch("select 1 from pg_trigger where not tgisinternal")) == 2 * 4
