"""A stack is one thing: found while it runs, refused twice, and gone with its launcher."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from stream.core.errors import ConfigurationError
from stream.dev.postgres import stand_in
from stream.dev.stack import Addresses, Stack, memory_home, remove_home, running, stop_running

LAUNCH = """
import signal
import sys
from pathlib import Path
from stream.dev.postgres import stand_in
from stream.dev.stack import Stack
# Whoever ends it at once may be quicker than hold().
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with Stack(Path(sys.argv[1]), profile="test", parts=("kafka", "postgres", "jaeger")) as stack:
    print("ready", flush=True)
    stack.hold()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    folder = memory_home()
    yield folder
    remove_home(folder)


@pytest.fixture
def launcher(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that holds a whole stack."""
    with subprocess.Popen([sys.executable, "-c", LAUNCH, str(home)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def children(home: Path) -> list[psutil.Process]:
    found = running(home)
    assert found is not None
    return [psutil.Process(pid) for pid in found.children.values()]


def test_nothing_is_left_when_the_launcher_is_killed(home: Path, launcher: subprocess.Popen[str]) -> None:
    started = children(home)
    assert len(started) >= 2
    launcher.kill()
    launcher.wait()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
    assert running(home) is None


def test_a_stack_is_ended_from_another_process(home: Path, launcher: subprocess.Popen[str]) -> None:
    started = children(home)
    assert stop_running(home)
    assert launcher.wait(30) == 0
    assert psutil.wait_procs(started, timeout=0)[1] == []
    assert not stop_running(home)


def test_a_home_serves_one_stack_at_a_time(home: Path) -> None:
    with Stack(home, profile="test", parts=()), pytest.raises(ConfigurationError, match="already runs"):
        Stack(home, profile="test", parts=()).start()


def test_a_configured_address_starts_nothing_of_our_own(home: Path) -> None:
    given = Addresses.of({"STREAM_KAFKA": "k:1", "STREAM_DATABASE_URL": "postgresql://p/d", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:1"})
    with Stack(home, profile="test", given=given) as stack:
        assert stack.children == {}
        assert (stack.kafka, stack.database_url, stack.otlp) == ("k:1", "postgresql://p/d", "http://o:1")


def test_data_of_a_server_is_there_at_the_next_start(home: Path) -> None:
    seen: list[list[str]] = []
    for _ in range(2):
        with Stack(home, profile="test", parts=("postgres",)) as stack:
            seen.append([url.split("@")[0] for url in (stack.database_url, stack.database_owner_url)])
    assert seen[0] == seen[1]


async def _may(url: str) -> tuple[str, bool]:
    connection = await asyncpg.connect(url)
    try:
        (row,) = await connection.fetch("select rolname, rolsuper or rolcreaterole or rolcreatedb as much from pg_roles where rolname = current_user")
        return row["rolname"], row["much"]
    finally:
        await connection.close()


def test_a_stream_finds_a_role_that_owns_nothing_also_on_data_from_before_there_was_one(home: Path) -> None:
    with Stack(home, profile="test", parts=("postgres",)) as stack:
        (stack.home / "postgres" / "password.worker").unlink(missing_ok=True)
    with Stack(home, profile="test", parts=("postgres",)) as stack:
        assert asyncio.run(_may(stack.database_url)) == ("worker", False)
        assert asyncio.run(_may(stack.database_owner_url)) == ("stream", True)


def test_a_home_that_another_user_cannot_enter_still_works(home: Path) -> None:
    home.chmod(0o700)
    with Stack(home, profile="test", parts=("postgres",)) as stack:
        assert stack.database_url
    remove_home(home)
    assert not stand_in(home / "postgres").exists()


def test_a_part_that_cannot_start_leaves_the_home_free(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_PG_BINDIR", str(home / "nothing"))
    with pytest.raises(ConfigurationError, match="STREAM_PG_BINDIR"):
        Stack(home, profile="test", parts=("postgres",)).start()
    assert running(home) is None
    with Stack(home, profile="test", parts=()):
        assert running(home) is not None
