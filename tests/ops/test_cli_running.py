"""The whole way by commands alone: migrate, topics, publish, run, look."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from stream.ops.queries import STATEMENTS
from tests.ops.conftest import Stream, answer

ROOT = Path(__file__).parents[2]


@contextmanager
def running(*words: str) -> Generator[subprocess.Popen[str]]:
    """`stream run` in a process of its own; killed at the end if it still is there."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "STREAM_LOG_FORMAT": "json"}
    process = subprocess.Popen([sys.executable, "-m", "stream", "run", *words], env=environ, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], word: str) -> str:
    """The first line of its log that holds the word, waited for half a minute."""
    assert process.stderr is not None
    while select.select([process.stderr], [], [], 30)[0] and (line := process.stderr.readline()):
        if word in line:
            return line
    raise AssertionError(f"it never said {word!r}")


@pytest.fixture
def at_work(at_database: Stream, kafka: str, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The command with a database and a broker, both ready."""
    monkeypatch.setenv("STREAM_KAFKA", kafka)
    monkeypatch.setenv("STREAM_GROUP", os.environ["STREAM_APP"].partition(":")[0])
    assert at_database("topics", "apply").exit_code == 0
    return at_database


def test_topics_are_made_as_declared_and_only_once(at_work: Stream) -> None:
    found = cast("list[dict[str, Any]]", answer(at_work("topics", "list", "-o", "json")))
    assert {t["state"] for t in found} == {"as declared"}
    assert answer(at_work("topics", "apply", "-o", "json")) == {"steps": []}
    assert at_work("health").exit_code == 0


def test_an_event_that_is_no_such_event_is_not_published(at_work: Stream) -> None:
    found = at_work("publish", "lamp.on", '{"lamp": 3}')
    assert found.exit_code == 2
    assert "Expected `str`, got `int`" in found.stderr
    assert "it knows lamp.hit, lamp.off, lamp.on" in at_work("publish", "lamp.gone", "{}").stderr


def test_what_is_published_says_under_which_flow_it_is_found(at_work: Stream) -> None:
    told = cast("dict[str, Any]", answer(at_work("publish", "lamp.on", '{"lamp": "l7"}', "-o", "json")))
    assert len(told["correlation_id"]) == 32
    assert "correlation id  flow-7" in at_work("publish", "lamp.on", '{"lamp": "l7"}', "--correlation-id", "flow-7").stdout


def test_what_is_published_moves_the_entity_once(at_work: Stream) -> None:
    for words in (("lamp.on", "e1"), ("lamp.on", "e1"), ("lamp.off", "e2")):
        assert at_work("publish", words[0], '{"lamp": "l1"}', "--id", words[1], "--correlation-id", "flow-9").exit_code == 0
    with running("--role", "worker", "--role", "relay") as process:
        said(process, '"running"')
        while cast("dict[str, Any]", answer(at_work("status", "--no-lag", "-o", "json")))["counts"]["records"] < 3:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    counts = cast("dict[str, Any]", answer(at_work("status", "-o", "json")))
    assert (counts["counts"]["admitted"], counts["counts"]["duplicate"], counts["counts"]["applied"]) == (2, 1, 2)
    assert {p["lag"] for p in counts["partitions"]} == {0}
    assert counts["outbox"]["unsent"] == 0
    assert "lamp.out" in at_work("trace", "flow-9").stdout


def test_a_run_with_an_old_schema_is_one_line(at_work: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_SCHEMA", "elsewhere")
    with running() as process:
        assert process.wait(30) == 2
        assert process.stderr is not None
        assert process.stderr.read().rstrip("\n").endswith("run `stream migrate`")


def test_a_run_without_its_topics_is_one_line(at_database: Stream, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_KAFKA", kafka)
    with running() as process:
        assert process.wait(60) == 2
        assert process.stderr is not None
        assert "make them with `stream topics apply`" in process.stderr.read().splitlines()[-1]


def test_another_groups_schema_is_refused(at_work: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_work("health").exit_code == 0
    monkeypatch.setenv("STREAM_GROUP", "another")
    found = at_work("health")
    assert found.exit_code == 1
    assert "choose another schema" in found.stdout


def test_migrations_are_printed_or_applied(at_work: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "create table partition" in at_work("migrate", "--print").stdout
    monkeypatch.setenv("STREAM_SCHEMA", "second")
    assert len(cast("dict[str, Any]", answer(at_work("migrate", "-o", "json")))["applied"]) > 2
    assert cast("dict[str, Any]", answer(at_work("migrate", "-o", "json")))["applied"] == []


def test_every_statement_is_asked_by_somebody() -> None:
    code = "".join(path.read_text() for path in (ROOT / "stream" / "ops").glob("*.py"))
    assert [name for name in STATEMENTS if f'"{name}"' not in code] == []
