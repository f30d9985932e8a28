"""What a database URL may say, and what is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stream.adapters.postgres.address import read_address
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.core.errors import ConfigurationError

FAR = "postgresql://me:hush@db.example:5432/x"


@pytest.mark.parametrize(
    ("url", "environ", "exposed"),
    [
        (FAR, {}, "db.example"),
        (FAR + "?sslmode=prefer", {}, "db.example"),
        (FAR + "?sslmode=disable", {"PGSSLMODE": "verify-full"}, "db.example"),
        (FAR, {"PGSSLMODE": "verify-full"}, ""),
        (FAR + "?sslmode=require", {}, ""),
        (FAR + "?sslmode=verify-full", {}, ""),
        ("postgresql://10.0.0.7/x", {}, "10.0.0.7"),
        ("postgresql://[2001:db8::1]:5432/x", {}, "2001:db8::1"),
        ("postgresql://localhost:1,127.0.0.2,[::1]:3,db.example/x", {}, "db.example"),
        ("postgresql://me@localhost:1,127.0.0.2,[::1]:3/x", {}, ""),
        ("postgresql:///x?host=/run/postgresql", {}, ""),
        ("postgresql:///x?host=db.example", {}, "db.example"),
        ("postgresql:///x", {"PGHOST": "db.example"}, "db.example"),
        ("postgresql:///x?service=prod", {}, "service prod"),
        ("postgresql:///x", {"PGSERVICE": "prod"}, "service prod"),
        ("postgresql:///x", {}, ""),
        ("postgresql://%2Frun%2Fpostgresql/x", {}, ""),
    ],
)
def test_plain_text_is_seen_wherever_the_host_is_named(url: str, environ: Mapping[str, str], exposed: str) -> None:
    assert read_address(url, environ).exposed == exposed


@pytest.mark.parametrize(
    "url",
    [
        "hush",
        "mysql://hush@h",
        "postgresql://h:hush/x",
        "postgresql://h/x?hush",
        "postgresql://[hush/x",
        FAR + "?sslmode=hush",
        "postgresql://me:p@hush@h/x",
    ],
)
def test_a_url_that_is_none_is_said_without_quoting_it(url: str) -> None:
    (fault,) = PostgresSettings(dsn=url).faults()
    assert fault.startswith("database_url: it ")
    assert "hush" not in fault


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    (fault,) = PostgresSettings(dsn=f"{FAR}?sslmode=verify-full&sslrootcert={tmp_path}/none").faults()
    assert fault == f"database_url: sslrootcert={tmp_path}/none is no file that can be read"


async def test_plain_text_beyond_this_machine_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match=r"db\.example is not this machine .* say sslmode=verify-full") as refused:
        await Connection(PostgresSettings(dsn=FAR)).fetch("time")
    assert "hush" not in str(refused.value)


def test_plain_text_beyond_this_machine_can_be_allowed() -> None:
    PostgresSettings(dsn=FAR, allow_insecure=True).check()
