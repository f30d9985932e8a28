"""The role a stream runs as: enough for all its work, and refused at the start when it could do more."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from stream.adapters.postgres import migrate
from stream.adapters.postgres.check import check
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.core.errors import ConfigurationError
from tests.conftest import as_role
from tests.integration.postgres.races import came_through


@pytest.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    yield connection
    await connection.close()


@pytest.fixture
async def role(owner: asyncpg.Connection) -> AsyncIterator[str]:
    """A role of the test's own, without any rights; its password is its name."""
    name = f"role_{secrets.token_hex(4)}"
    await owner.execute(f"create role {name} login password '{name}'")
    yield name
    await owner.execute(
        f"alter schema stream owner to session_user; reassign owned by {name} to session_user; drop owned by {name}; drop role {name}"
    )


@pytest.fixture
def settings(database: str, role: str) -> PostgresSettings:
    return PostgresSettings(dsn=as_role(database, role, role))


async def start(settings: PostgresSettings) -> None:
    await check(settings, app="a", group="g")


async def test_a_role_without_rights_is_told_how_to_get_them(settings: PostgresSettings) -> None:
    with pytest.raises(ConfigurationError, match="`stream migrate --grant ROLE` as the schema's owner"):
        await start(settings)


async def test_a_role_that_was_granted_its_work_starts(database: str, settings: PostgresSettings, role: str) -> None:
    await migrate.grant(PostgresSettings(dsn=database), role)
    await start(settings)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("alter role {role} superuser", "is a superuser"),
        ("alter schema stream owner to {role}", "owns the schema"),
        ("grant {owner} to {role}", "owns the schema"),
        ("alter table waiting owner to {role}", "owns waiting"),
        ("grant create on schema stream to {role}", "may make tables in the schema"),
        ("grant update on history to {role}", "may change or delete what was written in history"),
        ("grant update (actor) on history to {role}", "may change or delete what was written in history"),
        ("grant delete on history_p0 to {role}", "may change or delete what was written in history"),
        ("grant truncate on outbox to {role}", "may change or delete what was written in outbox"),
        ("grant delete on audit to public", "may change or delete what was written in audit"),
    ],
)
async def test_a_role_that_may_do_more_is_refused(
    database: str, owner: asyncpg.Connection, settings: PostgresSettings, role: str, order: str, said: str
) -> None:
    await migrate.grant(PostgresSettings(dsn=database), role)
    (me,) = await owner.fetch("select current_user as name")
    await owner.execute(order.format(role=role, owner=me["name"]))
    with pytest.raises(ConfigurationError, match=f"the database role {said}, .*`stream migrate --grant stream_worker`") as refused:
        await start(settings)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "order",
    [
        "update history set actor = 'x'",
        "delete from history",
        "truncate history_p0",
        "delete from outbox",
        "update outbox set value = ''",
        "update audit set actor = 'x'",
        "delete from audit",
        "drop table history",
        "create table mine ()",
        "alter table entity add column mine text",
        "update clock set ahead = '1 day'",
        "select make_partitions('history', 0, 10, 1)",
        "select grant_worker(current_user)",
    ],
)
async def test_what_was_written_stays_as_it_was_written(worker_url: str, order: str) -> None:
    connection = Connection(PostgresSettings(dsn=worker_url))
    assert not await came_through(connection.script(order), ConfigurationError)
    await connection.close()


async def test_a_role_that_is_not_there_is_said_to_be_so(database: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no role 'nobody_here'"):
        await migrate.grant(PostgresSettings(dsn=database), "nobody_here")


async def test_whoever_had_rights_gets_those_on_what_a_migration_adds(database: str, owner: asyncpg.Connection, role: str) -> None:
    await migrate.grant(PostgresSettings(dsn=database), role)
    added = migrate.Migration(99, "0099_more", "create table more ();")
    await migrate.apply(PostgresSettings(dsn=database), [*migrate.known(), added])
    (found,) = await owner.fetch("select has_table_privilege($1, 'more', 'select') as may", role)
    assert found["may"]


def test_the_owner_has_an_address_of_its_own_and_without_one_everybody_is_the_owner() -> None:
    worker = PostgresSettings(dsn="postgresql://worker@localhost/x", password="worker's")
    assert worker.as_owner() == worker
    owned = replace(worker, owner_dsn="postgresql://owner@localhost/x").as_owner()
    assert (owned.dsn, owned.password) == ("postgresql://owner@localhost/x", "")
