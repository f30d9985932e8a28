"""Migrations: once, in order, never changed, one migrator at a time; and what a start says about a schema that is not as it must be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import takewhile

import pytest

from stream.adapters.postgres import migrate
from stream.adapters.postgres.check import check
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from stream.core.errors import ConfigurationError, UnavailableError
from stream.core.ladder import Reading
from stream.core.record import Ref
from tests.conformance.storage import T0, Storage, closing, drain, in_postgres, look, message, tell
from tests.integration.postgres.races import begun, came_through


@pytest.fixture
def settings(database: str) -> PostgresSettings:
    """A schema beside the migrated one: nothing is in it yet."""
    return PostgresSettings(dsn=database, schema="Second flow")


async def test_concurrent_migrators_apply_each_migration_once(settings: PostgresSettings) -> None:
    done = await asyncio.gather(*(migrate.apply(settings) for _ in range(3)))
    assert sorted(map(len, done)) == [0, 0, len(migrate.known())]
    assert await migrate.pending(settings) == []


async def test_a_changed_migration_is_refused(settings: PostgresSettings) -> None:
    await migrate.apply(settings)
    first, *rest = migrate.known()
    with pytest.raises(ConfigurationError, match="0001_tables was changed"):
        await migrate.apply(settings, [replace(first, sql=first.sql + "\n-- a word more"), *rest])


async def test_a_failing_migration_leaves_nothing_behind(settings: PostgresSettings) -> None:
    broken = migrate.Migration(99, "0099_broken", "create table half (id integer); select no_such_function();")
    with pytest.raises(ConfigurationError):
        await migrate.apply(settings, [*migrate.known(), broken])
    assert len(await migrate.pending(settings)) == len(migrate.known())


async def test_the_printed_script_makes_the_same_schema(settings: PostgresSettings, worker_url: str, worker_login: tuple[str, str]) -> None:
    connection = Connection(settings)
    async with connection.transaction("begin_plain"):
        await connection.script('create schema "Second flow"')
        await connection.script(migrate.text(worker_login[0]))
    await connection.close()
    assert await migrate.pending(settings) == []
    await check(replace(settings, dsn=worker_url), app="a", group="g")


async def test_a_start_without_a_schema_says_what_to_do(settings: PostgresSettings) -> None:
    with pytest.raises(ConfigurationError, match="run `stream migrate`"):
        await check(settings, app="a", group="g")


async def test_a_start_with_an_old_schema_says_what_to_do(settings: PostgresSettings) -> None:
    await migrate.apply(settings, migrate.known()[:1])
    with pytest.raises(ConfigurationError, match=r"older than this program \(migration 1\): run `stream migrate`"):
        await check(settings, app="a", group="g")


async def test_a_start_with_a_newer_schema_says_what_to_do(settings: PostgresSettings) -> None:
    await migrate.apply(settings, [*migrate.known(), migrate.Migration(99, "0099_later", "select 1;")])
    with pytest.raises(ConfigurationError, match="newer than this program"):
        await check(settings, app="a", group="g")


async def test_a_schema_belongs_to_one_app_and_group(database: str, worker_url: str) -> None:
    settings = PostgresSettings(dsn=worker_url)
    await check(settings, app="a", group="g")
    await check(settings, app="a", group="g")
    with pytest.raises(ConfigurationError, match="belongs to app 'a', group 'g'"):
        await check(settings, app="a", group="other")


async def test_slas_under_way_become_clocks_that_go_on(settings: PostgresSettings) -> None:
    await migrate.apply(settings, list(takewhile(lambda migration: not migration.name.endswith("_clocks"), migrate.known())))
    connection = Connection(settings)
    await connection.script(
        """
        insert into entity (machine, id, version, state, since, time, fired, holds) values
            ('job', 'runs', 1, 'open', '2026-03-01 12:00Z', '2026-03-01 12:00Z', null, 1),
            ('job', 'late', 1, 'open', '2026-03-01 12:00Z', '2026-03-01 12:00Z', '{"open": "2026-03-01T16:00:00+00:00"}', 0);
        insert into timer values ('job', 'runs', 'sla open', '2026-03-01 16:00Z'), ('job', 'runs', 'after open 0', '2026-03-02 16:00Z');
        """
    )
    await connection.close()
    await migrate.apply(settings)
    store = PostgresStore(settings)
    runs, late = await look(store, Ref("job", "runs")), await look(store, Ref("job", "late"))
    await store.close()
    assert runs.clocks == {"sla open": Reading(timedelta(hours=4), 1, runs=T0)}
    assert runs.timers == {"sla open": T0 + timedelta(hours=4), "after open 0": T0 + timedelta(hours=28)}
    assert late.clocks == {"sla open": Reading(timedelta(hours=4), 2, runs=T0, breached=T0 + timedelta(hours=4))}
    assert late.timers == {}


SMALL = Ages(rows=10)


@pytest.fixture
async def small(settings: PostgresSettings) -> AsyncIterator[Storage]:
    """A schema whose partitions hold ten rows: the large ones that a migration makes are taken away first."""
    await migrate.apply(settings)
    connection = Connection(settings)
    await connection.script("drop table outbox_p0, outbox_p1; select make_partitions('outbox', 0, 10, 1)")
    await connection.close()
    storage = in_postgres(settings.dsn)
    storage.new_store, storage.new_timetable = (lambda: PostgresStore(settings)), (lambda: PostgresTimetable(settings, SMALL))
    async with closing(storage):
        yield storage


async def test_a_missing_partition_is_tried_again_and_never_blamed_on_the_data(small: Storage) -> None:
    store = small.store()
    await tell(store, *(message("k", n) for n in range(18)))
    with pytest.raises(UnavailableError, match="no partition"):
        await tell(store, message("k", 18), message("k", 19))


async def test_partitions_are_made_ahead_and_dropped_only_when_all_was_sent(small: Storage, settings: PostgresSettings) -> None:
    store, timetable = small.store(), small.timetable()
    small.new_outbox = lambda: PostgresOutbox(settings)
    outbox = small.outbox()
    await tell(store, *(message("k", n) for n in range(15)))
    assert not [done for done in await timetable.rotate() if done.startswith("dropped")]
    await drain(outbox, (await outbox.lease("r", timedelta(minutes=5))).shards)
    assert "dropped outbox_p0" in await timetable.rotate()
    await tell(store, *(message("k", n) for n in range(10)))
    assert await store.backlog() == 10


async def test_a_reader_that_has_the_outbox_is_not_held_up_by_the_drop_of_its_oldest_partition(small: Storage, settings: PostgresSettings) -> None:
    small.new_outbox = lambda: PostgresOutbox(settings)
    outbox, dropper, reader = small.outbox(), Connection(settings), Connection(replace(settings, lock=0.2))
    await tell(small.store(), *(message("k", n) for n in range(15)))
    await drain(outbox, (await outbox.lease("r", timedelta(minutes=5))).shards)
    async with reader.transaction("begin_plain"):
        await reader.script("lock table only outbox in access share mode")
        drop = await begun(settings.dsn, dropper.fetch("drop_outbox", SMALL.rows))
        await reader.script("select from outbox_p0")
    # It gives up after a second: only a reader that kept it so long is to blame.
    await came_through(drop, UnavailableError)
    for connection in (dropper, reader):
        await connection.close()


async def test_of_two_that_would_drop_the_same_partition_one_has_nothing_to_do(small: Storage, settings: PostgresSettings) -> None:
    small.new_outbox = lambda: PostgresOutbox(settings)
    outbox, one, other = small.outbox(), Connection(settings), Connection(settings)
    await tell(small.store(), *(message("k", n) for n in range(15)))
    await drain(outbox, (await outbox.lease("r", timedelta(minutes=5))).shards)
    async with one.transaction("begin_plain"):
        assert [row["done"] for row in await one.fetch("drop_outbox", SMALL.rows)] == [["dropped outbox_p0"]]
        second = await begun(settings.dsn, other.fetch("drop_outbox", SMALL.rows))
    assert [row["done"] for row in await second] == [[]]
    for connection in (one, other):
        await connection.close()
