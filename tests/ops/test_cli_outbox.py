"""What waits in the outbox, and orders about what the broker refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from tests.conformance.storage import drain, message, tell
from tests.ops.conftest import Stream, answer

Relay = Callable[..., list[str]]


@pytest.fixture
def relay(database: str) -> Relay:
    """One turn of a relay whose broker refuses the messages named; the ids that were sent. It is a relay no more afterwards."""

    async def turn(*refuse: str) -> list[str]:
        async with opened(database) as (_, outbox):
            sent = await drain(outbox, (await outbox.lease("r", timedelta(minutes=1))).shards, refuse=refuse)
            await outbox.release("r")
        return sent

    return lambda *refuse: asyncio.run(turn(*refuse))


@asynccontextmanager
async def opened(database: str) -> AsyncGenerator[tuple[PostgresStore, PostgresOutbox]]:
    store, outbox = PostgresStore(PostgresSettings(dsn=database)), PostgresOutbox(PostgresSettings(dsn=database))
    try:
        yield store, outbox
    finally:
        await store.close()
        await outbox.close()


@pytest.fixture
def written(database: str) -> None:
    """Three messages of one key, and one of another, in this order: m-1 to m-4, with these numbers."""

    async def write() -> None:
        async with opened(database) as (store, _):
            await tell(store, *(message("k", n) for n in (1, 2, 3)), message("other", 4))

    asyncio.run(write())


def rows(database: str, sql: str) -> list[tuple[object, ...]]:
    async def read() -> list[tuple[object, ...]]:
        link = await asyncpg.connect(database, server_settings={"search_path": "stream"})
        try:
            return [tuple(row) for row in await link.fetch(sql)]
        finally:
            await link.close()

    return asyncio.run(read())


def listed(stream: Stream, *words: str) -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("outbox", "list", *words, "-o", "json")))


def test_what_is_unsent_is_counted_by_topic_and_by_shard(at_database: Stream, written: None) -> None:
    found = listed(at_database)
    assert [(t["topic"], t["unsent"]) for t in found["topics"]] == [("out", 4)]
    assert sum(s["unsent"] for s in found["shards"]) == 4
    assert {s["relay"] for s in found["shards"]} == {""}
    assert found["held"] == []
    shown = at_database("outbox", "list")
    assert "shards without one" in shown.stdout


def test_a_held_line_is_listed_by_its_first_message(at_database: Stream, written: None, relay: Relay) -> None:
    assert relay("m-1") == ["m-4"]
    (line,) = listed(at_database)["held"]
    assert {name: line[name] for name in ("seq", "topic", "key", "reason", "attempts", "behind", "retrying")} == {
        "seq": 1,
        "topic": "out",
        "key": "k",
        "reason": "too_large",
        "attempts": 1,
        "behind": 2,
        "retrying": False,
    }
    assert "larger than the topic takes" in at_database("outbox", "list").stdout
    assert listed(at_database, "--topic", "elsewhere")["held"] == []


def test_status_says_what_is_held_and_what_to_do(at_database: Stream, written: None, relay: Relay) -> None:
    relay("m-1")
    (held,) = cast("dict[str, Any]", answer(at_database("status", "--no-lag", "-o", "json")))["outbox"]["held"]
    assert {name: held[name] for name in ("topic", "lines", "messages", "reasons")} == {
        "topic": "out",
        "lines": 1,
        "messages": 3,
        "reasons": "too_large",
    }
    assert "stream outbox list --topic out" in at_database("status", "--no-lag").stdout


@pytest.mark.parametrize(("seq", "status"), [(1, "open"), (2, "open"), (4, "sent"), (5, "unsent")])
def test_a_message_is_shown_with_what_became_of_it(at_database: Stream, database: str, written: None, relay: Relay, seq: int, status: str) -> None:
    relay("m-1")

    async def another() -> None:
        async with opened(database) as (store, _):
            await tell(store, message("third", 5))

    asyncio.run(another())
    told = cast("dict[str, Any]", answer(at_database("outbox", "show", str(seq), "-o", "json")))
    assert (told["status"], told["headers"], told["value"]) == (status, [["ce_id", f"m-{seq}"]], "{}")
    assert "ce_id" in at_database("outbox", "show", str(seq)).stdout


def test_a_message_nobody_knows_is_a_no(at_database: Stream) -> None:
    assert at_database("outbox", "show", "7").exit_code == 1


@pytest.mark.parametrize("words", [("2",), ("out", "k"), ("--topic", "out")])
def test_a_retry_is_left_for_the_relay_and_noted(at_database: Stream, database: str, written: None, relay: Relay, words: tuple[str, ...]) -> None:
    relay("m-1")
    told = cast("dict[str, Any]", answer(at_database("outbox", "retry", *words, "--wait", "0", "-o", "json")))
    assert (told["ordered"], told["on_their_way"]) == ([1], 1)
    assert rows(database, "select actor, action, target, reason from audit") == [("ann", "outbox retry", "message 1", "")]
    assert relay() == ["m-1", "m-2", "m-3"]
    assert listed(at_database)["held"] == []
    assert cast("dict[str, Any]", answer(at_database("outbox", "show", "1", "-o", "json")))["status"] == "sent"


def test_an_order_nobody_can_carry_out_is_a_no_and_stands(at_database: Stream, written: None, relay: Relay) -> None:
    relay("m-1")
    found = at_database("outbox", "retry", "1")
    assert found.exit_code == 1
    assert "stream run --role relay" in found.stderr
    assert "on its way" in at_database("outbox", "list").stdout
    assert relay() == ["m-1", "m-2", "m-3"]


def test_a_skip_drops_the_first_and_what_is_behind_it_goes(at_database: Stream, database: str, written: None, relay: Relay) -> None:
    relay("m-1")
    assert "the first is 1" in at_database("outbox", "skip", "3", "--reason", "wrong one", "--wait", "0").stderr
    assert at_database("outbox", "skip", "1", "--reason", "told by phone", "--wait", "0").exit_code == 0
    assert rows(database, "select actor, action, target, reason from audit") == [("ann", "outbox skip", "message 1", "told by phone")]
    assert relay() == ["m-2", "m-3"]
    assert cast("dict[str, Any]", answer(at_database("outbox", "show", "1", "-o", "json")))["status"] == "dropped"


def test_what_was_ordered_or_settled_takes_no_second_order_and_no_second_note(
    at_database: Stream, database: str, written: None, relay: Relay
) -> None:
    orders: list[tuple[str, ...]] = [("retry", "2"), ("skip", "1", "--reason", "x"), ("retry", "out", "k"), ("retry", "--topic", "out")]
    relay("m-1")
    at_database("outbox", "retry", "1", "--wait", "0")
    for words in orders[:2]:
        found = at_database("outbox", *words)
        assert (found.exit_code, "on its way already" in found.stderr) == (1, True)
    relay()
    for words in orders:
        found = at_database("outbox", *words)
        assert (found.exit_code, "held" in found.stderr) == (1, True)
    assert len(rows(database, "select from audit")) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retry",), "say which"),
        (("retry", "1", "--topic", "out"), "say which"),
        (("retry", "a", "b", "c"), "say which"),
        (("retry", "out"), "--topic out"),
        (("skip", "1", "--reason", " "), "say why"),
    ],
)
def test_an_order_that_does_not_say_what_it_means_is_wrong_use(stream: Stream, words: tuple[str, ...], said: str) -> None:
    found = stream("outbox", *words)
    assert (found.exit_code, said in found.stderr) == (2, True)
