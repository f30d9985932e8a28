"""TLS to a server that speaks it: the certificate and its name are checked, and what is wrong is one line that names the setting."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import ConfigurationError
from stream.dev.child import other_account
from stream.dev.ports import HOST, free_ports
from stream.dev.postgres import Server
from stream.dev.stack import memory_home, quiet, remove_home
from tests.certificates import Authority, Pair
from tests.conformance.storage import look, tell

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
ELSEWHERE = "0.0.0.0"
"""Leads to this machine, and does not say so."""
PROTECTED = {"protected": "select ssl from pg_stat_ssl where pid = pg_backend_pid()"}


@dataclass(frozen=True)
class Guarded:
    """A server with a certificate for its address alone. `stranger` vouches for somebody else."""

    url: str
    authority: Path
    stranger: Path

    def dsn(self, host: str = HOST, **said: object) -> str:
        at = urlsplit(self.url)
        query = "&".join(f"{name}={value}" for name, value in said.items())
        return urlunsplit(at._replace(netloc=at.netloc.replace(HOST, host), query=query))


def handed_over(home: Path, pair: Pair) -> dict[str, str]:
    """The settings of a server that shows this certificate, whose key is in nobody's hands but its own."""
    home.mkdir(parents=True)
    account = other_account()
    for name, file in (("cert", pair.cert), ("key", pair.key)):
        copy = Path(shutil.copy(file, home / f"server.{name}"))
        copy.chmod(0o600)
        if account:
            os.chown(copy, account.user, account.group)
    return {"ssl_cert_file": str(home / "server.cert"), "ssl_key_file": str(home / "server.key")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if not (PROGRAMS / "postgres").exists():
        pytest.skip(f"no PostgreSQL in {PROGRAMS}, and the one that comes as a package speaks no TLS")
    folder, home = tmp_path_factory.mktemp("certificates"), memory_home()
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    settings = {"ssl": "on"}
    server = Server(home / "postgres", free_ports(1)[0], "test", quiet, settings)
    settings |= handed_over(server.home, authority.signed("server", HOST))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAM_PG_BINDIR", str(PROGRAMS))
        server.start()
    try:
        yield Guarded(server.url(), authority.file, stranger.file)
    finally:
        server.stop()
        remove_home(home)


async def protected(dsn: str, *, allow_insecure: bool = False) -> bool:
    connection = Connection(PostgresSettings(dsn=dsn, allow_insecure=allow_insecure), PROTECTED)
    try:
        return bool((await connection.fetch("protected"))[0]["ssl"])
    finally:
        await connection.close()


async def test_a_store_works_over_a_way_that_was_checked(guarded: Guarded) -> None:
    dsn = guarded.dsn(sslmode="verify-full", sslrootcert=guarded.authority)
    assert await protected(dsn)
    settings = PostgresSettings(dsn=dsn)
    await migrate.apply(settings)
    store = PostgresStore(settings)
    await tell(store)
    assert (await look(store)).version == 1
    await store.close()


@pytest.mark.parametrize(
    ("host", "authority", "said"),
    [
        (HOST, "stranger", "is not trusted (.*): sslrootcert in database_url must hold the authority that signed it"),
        ("localhost", "authority", "is for another name .*'localhost'.*: say the name in database_url that its certificate has"),
    ],
)
async def test_a_certificate_of_somebody_else_ends_with_the_setting_that_is_wrong(guarded: Guarded, host: str, authority: str, said: str) -> None:
    dsn = guarded.dsn(host, sslmode="verify-full", sslrootcert=getattr(guarded, authority))
    with pytest.raises(ConfigurationError, match=f"the database's certificate {said}") as refused:
        await protected(dsn)
    assert len(str(refused.value).splitlines()) == 1
    assert (urlsplit(guarded.url).password or "") not in str(refused.value)


async def test_whoever_asks_for_tls_gets_it_or_is_told(guarded: Guarded, database: str) -> None:
    assert await protected(guarded.dsn(sslmode="require"))
    assert await protected(guarded.dsn())
    if "ssl" in os.environ.get("STREAM_TEST_DATABASE_URL", ""):
        pytest.skip("the server given for tests speaks TLS")
    with pytest.raises(ConfigurationError, match="does not speak TLS: turn it on there, or say another sslmode in database_url"):
        await protected(f"{database}?sslmode=require")


@pytest.mark.parametrize("said", [{}, {"sslmode": "disable"}, {"sslmode": "prefer"}])
async def test_plain_text_beyond_this_machine_needs_leave(guarded: Guarded, said: dict[str, str]) -> None:
    dsn = guarded.dsn(ELSEWHERE, **said)
    with pytest.raises(ConfigurationError, match=f"database_url: {ELSEWHERE} is not this machine .* say sslmode=verify-full"):
        await protected(dsn)
    assert await protected(dsn, allow_insecure=True) is (said.get("sslmode") != "disable")


async def test_a_way_that_is_protected_needs_no_leave(guarded: Guarded) -> None:
    assert await protected(guarded.dsn(ELSEWHERE, sslmode="verify-ca", sslrootcert=guarded.authority))
