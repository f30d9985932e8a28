"""What asyncpg does when the world is not as it should be; the numbers are those of `docs/design.md`, "Traps"."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import pytest

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.failures import classify
from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import ConfigurationError, StreamError, UnavailableError, UnstorableError
from stream.ops.queries import STATEMENTS
from tests.conformance.storage import look, tell
from tests.conftest import order
from tests.integration.kafka.wire import Wire


@asynccontextmanager
async def by_wire(database: str) -> AsyncGenerator[tuple[Wire, PostgresSettings]]:
    """A way to the server that can be held, so that nobody answers and nobody hangs up."""
    at = urlsplit(database)
    wire = Wire(f"{at.hostname}:{at.port}")
    await wire.start()
    try:
        way = at._replace(netloc=f"{at.netloc.rpartition('@')[0]}@127.0.0.1:{wire.port}")
        yield wire, PostgresSettings(dsn=urlunsplit(way), statement=0.5, lock=0.5, connect=2.0)
    finally:
        await wire.stop()


async def test_g1_a_server_that_falls_silent_is_waited_for_only_so_long(database: str) -> None:
    async with by_wire(database) as (wire, settings):
        connection = Connection(settings)
        await connection.fetch("time")
        wire.hold()
        with anyio.fail_after(30):
            with pytest.raises(UnavailableError):
                await connection.fetch("time")
            with pytest.raises(UnavailableError):
                await connection.fetch("time")
        wire.mend()
        assert await connection.fetch("time")
        await connection.close()


async def test_g1_a_transaction_that_is_cancelled_before_a_silent_server_ends(database: str) -> None:
    async with by_wire(database) as (wire, settings):
        store = PostgresStore(settings)
        await tell(store)

        async def work() -> None:
            async with store.transaction() as tx:
                await tx.claim_timers(())
                wire.hold()
                asked.set()
                await store.connection.script("select pg_sleep(60)")

        asked = anyio.Event()
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work)
                await asked.wait()
                tasks.cancel_scope.cancel()
            await store.close()
        wire.mend()
        assert (await look(store)).version == 1
        await store.close()


async def test_g1_a_connection_is_given_up_before_a_silent_server(database: str) -> None:
    async with by_wire(database) as (wire, settings):
        connection = Connection(settings)
        await connection.fetch("time")
        wire.hold()
        with anyio.fail_after(30):
            await connection.close()


def test_g3_the_real_error_is_found_behind_those_that_hide_it() -> None:
    hidden = asyncpg.InterfaceError("cannot use Transaction.__aexit__")
    hidden.__context__ = asyncpg.DataError("hush")
    hidden.__context__.sqlstate = "22021"
    assert isinstance(classify(hidden), UnstorableError)
    assert isinstance(classify(asyncpg.InternalClientError("got result for unknown protocol state")), UnavailableError)


class Inspected(Connection):
    async def options(self, *names: str) -> dict[str, int]:
        """The TCP options of our end."""
        wire = (await self._linked()).wire()
        assert wire is not None
        return {name: wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}

    async def kept_alive(self) -> bool:
        wire = (await self._linked()).wire()
        return wire is not None and wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


async def test_g4_both_ends_notice_that_the_other_is_gone(database: str) -> None:
    ask = {"limits": "select current_setting('tcp_keepalives_idle') as idle, current_setting('tcp_user_timeout') as unanswered"}
    connection = Inspected(PostgresSettings(dsn=database), ask)
    assert await connection.kept_alive()
    assert await connection.options("TCP_KEEPIDLE", "TCP_USER_TIMEOUT") == {"TCP_KEEPIDLE": 30, "TCP_USER_TIMEOUT": 15_000}
    (theirs,) = await connection.fetch("limits")
    assert (theirs["idle"], theirs["unanswered"]) == ("30", "15000")
    await connection.close()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *((state, UnavailableError) for state in ("40P01", "40001", "55P03", "57014", "25006", "57P01", "53300", "0A000", "XX000")),
        *((state, UnstorableError) for state in ("22P05", "22021", "22P02", "54001", "54000", "23505")),
        *((state, ConfigurationError) for state in ("42501", "42P01", "42703")),
    ],
)
async def test_g6_g7_what_a_server_says_is_tried_again_or_blamed_on_the_data_and_never_quoted(
    database: str, state: str, kind: type[StreamError]
) -> None:
    connection = Connection(PostgresSettings(dsn=database))
    with pytest.raises(kind) as raised:
        await connection.script(f"do $$ begin raise exception 'hush' using errcode = '{state}', detail = 'hush', hint = 'hush'; end $$")
    assert "hush" not in f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert await connection.fetch("time")
    await connection.close()


async def test_g8_nothing_from_outside_is_stored_as_json_which_would_change_it(database: str) -> None:
    ask = {"json": "select table_name, column_name from information_schema.columns where table_schema = 'stream' and data_type like 'json%'"}
    connection = Connection(PostgresSettings(dsn=database), ask)
    # What we say ourselves of a halt, a decision and a wait: offsets, hashes and words of ours.
    ours = {("partition", "halt_seen"), ("audit", "before"), ("audit", "after"), ("instance", "waits")}
    assert {tuple(row) for row in await connection.fetch("json")} == ours
    await connection.close()


async def test_g9_of_several_hosts_the_one_that_takes_writes_is_found(database: str) -> None:
    at = urlsplit(database)
    user, _, place = at.netloc.rpartition("@")
    connection = Connection(PostgresSettings(dsn=urlunsplit(at._replace(netloc=f"{user}@127.0.0.1:1,{place}"))))
    assert await connection.fetch("time")
    await connection.close()


async def test_g12_a_column_that_changes_under_a_running_stream_costs_one_attempt(database: str) -> None:
    store = PostgresStore(PostgresSettings(dsn=database))
    await tell(store)
    await order(database, "alter table stream.entity alter column state type varchar(100)")
    with pytest.raises(UnavailableError):
        await tell(store)
    await tell(store)
    assert (await look(store)).version == 2
    await store.close()


async def test_g13_a_connection_and_what_was_set_on_it_stay_with_whoever_made_it(database: str) -> None:
    ask = {**QUERIES, "me": "select pg_backend_pid() as pid, current_setting('lock_timeout') as lock, current_setting('search_path') as path"}
    connection = Connection(PostgresSettings(dsn=database, lock=1.5), ask)
    seen: set[tuple[object, ...]] = set()
    for _ in range(3):
        async with connection.transaction("begin_plain"):
            seen.add(tuple((await connection.fetch("me"))[0]))
    assert [row[1:] for row in seen] == [("1500ms", '"stream"')]
    await connection.close()


@pytest.mark.parametrize("word", ["listen", "notify", "pg_notify", "copy", "pg_advisory_lock"])
def test_g14_g16_no_statement_leans_on_what_a_lost_connection_loses(word: str) -> None:
    said = {name: re.sub(r"--.*", "", text).lower() for name, text in {**QUERIES, **STATEMENTS}.items()}
    assert len(said) > 50
    assert [name for name, text in said.items() if re.search(rf"\b{word}\b", text)] == []
