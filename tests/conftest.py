"""The real parts a test may ask for. Each starts when the first test wants it and ends with the session.

`STREAM_TEST_KAFKA` and `STREAM_TEST_DATABASE_URL` (a superuser's) point at running ones instead.
"""

import os
import secrets
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import PostgresSettings
from stream.dev.jaeger import HOW_TO_GET, Jaeger, built
from stream.dev.ports import free_ports
from stream.dev.stack import Addresses, Part, Stack, memory_home, quiet, remove_home
from tests.integration.kafka.secured import Secured, secured

GIVEN = Addresses(kafka=os.environ.get("STREAM_TEST_KAFKA"), database_url=os.environ.get("STREAM_TEST_DATABASE_URL"))


@contextmanager
def started(part: Part) -> Generator[Stack]:
    """A stack of one part, in memory, gone afterwards."""
    home = memory_home()
    try:
        with Stack(home, profile="test", given=GIVEN, parts=(part,)) as stack:
            yield stack
    finally:
        remove_home(home)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap servers of a broker all tests share: use topics and groups of your own."""
    with started("kafka") as stack:
        yield stack.kafka


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that demands credentials, shared by all tests of them."""
    with secured(tmp_path_factory.mktemp("certificates")) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a superuser on a server all tests share: use `database` unless you need the server itself."""
    with started("postgres") as stack:
        yield stack.database_owner_url


@pytest.fixture(scope="session")
def jaeger() -> Iterator[Jaeger]:
    """A Jaeger all tests share: `.otlp` takes spans, `.api` serves the page and the API."""
    if built() is None:
        pytest.skip(HOW_TO_GET)
    home = memory_home()
    otlp_port, ui_port = free_ports(2)
    instance = Jaeger(home, otlp_port, ui_port, quiet)
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
        remove_home(home)


def named(dsn: str, database: str) -> str:
    """`dsn` with another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


async def order(dsn: str, sql: str) -> None:
    """Run a statement that cannot be in a transaction."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def as_role(dsn: str, role: str, password: str) -> str:
    """`dsn` for somebody else."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@pytest_asyncio.fixture(scope="session")
async def worker_login(postgres: str) -> AsyncIterator[tuple[str, str]]:
    """Name and password of the role that streams run as: it owns nothing, and has its rights in every `database`."""
    role, password = f"worker_{secrets.token_hex(6)}", secrets.token_hex(8)
    await order(postgres, f"create role {role} login password '{password}'")
    try:
        yield role, password
    finally:
        await order(postgres, f"drop role {role}")


@pytest_asyncio.fixture(scope="session")
async def template(postgres: str, worker_login: tuple[str, str]) -> AsyncIterator[str]:
    """The name of a migrated database nobody is connected to: copying it takes 15 ms, migrating 100."""
    name = f"template_{secrets.token_hex(6)}"
    await order(postgres, f"create database {name}")
    try:
        await migrate.apply(PostgresSettings(dsn=named(postgres, name)))
        await migrate.grant(PostgresSettings(dsn=named(postgres, name)), worker_login[0])
        yield name
    finally:
        await order(postgres, f"drop database {name} with (force)")


@pytest_asyncio.fixture
async def database(postgres: str, template: str) -> AsyncIterator[str]:
    """The DSN, its owner's, of a migrated, empty database of the test's own."""
    name = f"test_{secrets.token_hex(6)}"
    await order(postgres, f"create database {name} template {template} strategy file_copy")
    try:
        yield named(postgres, name)
    finally:
        await order(postgres, f"drop database {name} with (force)")


@pytest.fixture
def worker_url(database: str, worker_login: tuple[str, str]) -> str:
    """The DSN of `database` as streams run there; that of `database` itself is its owner's."""
    return as_role(database, *worker_login)
