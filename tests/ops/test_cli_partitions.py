"""Halted partitions by command: what is shown, what can be chosen, and what a choice leaves behind."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import asyncpg
import pytest
from typer.testing import CliRunner

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.halt import HaltReason, Seen
from stream.core.record import TopicPartition
from stream.ops.cli import cli
from stream.ops.site import load_app
from tests.ops.conftest import Stream, answer

T = TypeVar("T")
SEEN = {
    HaltReason.UNREADABLE_BATCH: Seen(2, batch_start=2, batch_end=4, fault="bad checksum"),
    HaltReason.REFUSED: Seen(2, offset=2, fault="the database refused the data (22001)"),
}


@pytest.fixture
def at_work(at_database: Stream, kafka: str, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The command with a database, a broker, and six events on the lamps' topic."""
    monkeypatch.setenv("STREAM_KAFKA", kafka)
    assert at_database("topics", "apply").exit_code == 0
    for n in range(6):
        assert at_database("publish", "lamp.on", '{"lamp": "l1"}', "--id", f"e{n}").exit_code == 0
    return at_database


@pytest.fixture
def place(at_work: Stream, lamps: str) -> str:
    """The partition that has the six."""
    topic = next(iter(load_app(lamps).consumed))
    [found] = [n for n in range(2) if _end(at_work, f"{topic}/{n}", 0)]
    return f"{topic}/{found}"


def _end(stream: Stream, place: str, position: int) -> int:
    """Adopt it at a position, so that the command knows it; where its log ends."""
    at_store(lambda store: store.adopt(_named(place), owner="w1", generation=1, begin=position, partitions=2))
    return int(cast("dict[str, Any]", answer(stream("partitions", "show", place, "-o", "json")))["end"])


def at_store(ask: Callable[[PostgresStore], Awaitable[T]]) -> T:
    async def run() -> T:
        store = PostgresStore(PostgresSettings(dsn=os.environ["STREAM_DATABASE_URL"]))
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _named(place: str) -> TopicPartition:
    return TopicPartition(place.partition("/")[0], int(place.partition("/")[2]))


def halt(place: str, reason: HaltReason, position: int = 2) -> None:
    set_position(place, position)
    epoch = at_store(lambda store: store.adopt(_named(place), owner="w1", generation=1, begin=0, partitions=2)).epoch
    at_store(lambda store: store.halt(_named(place), epoch, reason, SEEN.get(reason, Seen(position, begin=0, end=6))))


def rows(sql: str, *args: object) -> list[asyncpg.Record]:
    async def read() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(os.environ["STREAM_DATABASE_URL"], server_settings={"search_path": "stream"})
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    return asyncio.run(read())


def set_position(place: str, position: int) -> None:
    rows(
        "update partition set next_offset = $3, last_offset = 1, fingerprint = 'f', topic_id = 't' where topic = $1 and partition = $2",
        *_named(place),
        position,
    )


def stands(place: str) -> dict[str, Any]:
    return dict(rows("select * from partition where topic = $1 and partition = $2", *_named(place))[0])


def test_a_halted_partition_is_listed_with_its_reason_lag_and_owner(at_work: Stream, place: str) -> None:
    halt(place, HaltReason.TRUNCATED)
    [row] = cast("list[dict[str, Any]]", answer(at_work("partitions", "list", "--halted", "-o", "json")))
    assert (f"{row['topic']}/{row['partition']}", row["halt_reason"], row["next_offset"], row["lag"], row["owner"]) == (
        place,
        "truncated",
        2,
        4,
        "w1",
    )
    assert row["halted_since"]
    assert len(cast("list[object]", answer(at_work("partitions", "list", "-o", "json")))) == 2
    assert "truncated" in at_work("partitions", "list").stdout


@pytest.mark.parametrize("reason", list(HaltReason))
def test_each_choice_that_is_shown_does_what_it_says_when_pasted(at_work: Stream, place: str, reason: HaltReason) -> None:
    halt(place, reason)
    told = cast("dict[str, Any]", answer(at_work("partitions", "show", place, "-o", "json")))
    assert (told["halt"]["reason"], told["begin"], told["end"]) == (reason, 0, 6)
    text = at_work("partitions", "show", place).stdout
    for choice in told["choices"]:
        assert choice["command"] in text
        words = [{"TEXT": "seen to", "OFFSET": "5"}.get(word, word) for word in shlex.split(choice["command"])]
        epoch = stands(place)["epoch"]
        assert at_work(*words[1:], "--yes").exit_code == 0
        now = stands(place)
        assert now["halted_since"] is None
        assert now["epoch"] == epoch + 1
        halt(place, reason)


def test_a_decision_leaves_a_new_epoch_a_position_and_a_line_in_the_audit(at_work: Stream, place: str) -> None:
    halt(place, HaltReason.UNREADABLE_BATCH)
    before = stands(place)
    found = cast(
        "dict[str, Any]", answer(at_work("partitions", "resume", place, "--at", "batch-end", "--reason", "disk lost", "--yes", "-o", "json"))
    )
    assert found["preview"] == {"before": 2, "after": 4, "skipped": 2, "again": 0, "gone": 0}
    now = stands(place)
    assert (now["epoch"], now["next_offset"]) == (before["epoch"] + 1, 4)
    # The same log: what was applied last still tells whether it is.
    assert (now["last_offset"], now["fingerprint"], now["topic_id"]) == (1, b"f", "t")
    [line] = rows("select actor, action, target, reason, before::text as before, after::text as after from audit")
    assert (line["actor"], line["action"], line["target"], line["reason"]) == ("ann", "partitions resume", place, "disk lost")
    assert '"batch_end": 4' in line["before"]
    assert '"position": 4' in line["after"]


def test_a_decision_on_another_log_forgets_the_record_that_was_known(at_work: Stream, place: str) -> None:
    halt(place, HaltReason.MADE_ANEW)
    assert at_work("partitions", "resume", place, "--at", "begin", "--reason", "on purpose", "--yes").exit_code == 0
    now = stands(place)
    assert (now["next_offset"], now["last_offset"], now["fingerprint"], now["topic_id"]) == (0, None, None, None)


def test_without_a_yes_the_effects_are_said_and_nothing_is_done(at_work: Stream, place: str) -> None:
    halt(place, HaltReason.UNREADABLE_BATCH)
    before = stands(place)
    for answered in ("n\n", ""):
        words = ["partitions", "resume", place, "--at", "end", "--reason", "why not"]
        found = CliRunner().invoke(cli, words, input=answered, prog_name="stream")
        assert found.exit_code == 1
        assert f"{place} is at 2 and goes on at 6" in found.stderr
        assert "4 offsets are skipped" in found.stderr
    assert stands(place) == before
    assert rows("select from audit") == []
    words = ["partitions", "resume", place, "--at", "end", "--reason", "why not"]
    assert CliRunner().invoke(cli, words, input="y\n", prog_name="stream").exit_code == 0
    assert stands(place)["next_offset"] == 6


@pytest.mark.parametrize(
    ("reason", "words", "said"),
    [
        (HaltReason.MADE_ANEW, (), "cannot go on as it stands"),
        (HaltReason.OVERRUN, ("--at", "batch-end"), "no batch is in the way"),
        (HaltReason.UNREADABLE_BATCH, ("--at", "begin"), "come to the same place again"),
        (HaltReason.REFUSED, ("--at", "7"), "the log holds offsets 0 up to 6"),
        (HaltReason.TRUNCATED, ("--at", "start"), "say begin, end, batch-end or an offset"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_and_nothing_is_done(
    at_work: Stream, place: str, reason: HaltReason, words: tuple[str, ...], said: str
) -> None:
    halt(place, reason)
    before = stands(place)
    found = at_work("partitions", "resume", place, *words, "--reason", "why not", "--yes")
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr
    assert stands(place) == before
    assert rows("select from audit") == []


def test_a_decision_without_a_reason_is_refused(at_work: Stream, place: str) -> None:
    halt(place, HaltReason.REFUSED)
    assert at_work("partitions", "resume", place, "--yes").exit_code == 2
    assert "say why" in at_work("partitions", "resume", place, "--reason", " ", "--yes").stderr


def test_a_partition_that_is_not_halted_or_not_known_or_no_partition_is_said_to_be_so(at_work: Stream, place: str) -> None:
    found = at_work("partitions", "resume", place, "--reason", "x", "--yes")
    assert (found.exit_code, found.stderr) == (1, f"{place} is not halted\n")
    assert at_work("partitions", "show", "lamps/99").exit_code == 1
    found = at_work("partitions", "show", "lamps")
    assert (found.exit_code, "say TOPIC/PARTITION" in found.stderr) == (2, True)


def test_nothing_is_decided_while_the_broker_does_not_say_what_its_log_holds(at_work: Stream, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    halt(place, HaltReason.MADE_ANEW)
    monkeypatch.setenv("STREAM_KAFKA", "127.0.0.1:1")
    shown = at_work("partitions", "show", place)
    assert (shown.exit_code, "log unknown" in shown.stdout) == (0, True)
    found = at_work("partitions", "resume", place, "--at", "begin", "--reason", "x", "--yes")
    assert found.exit_code == 1
    assert "what the log holds is not known" in found.stderr
    assert stands(place)["halted_since"]
