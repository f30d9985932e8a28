"""`stream why`: one cause, the first that holds, on a real database; and what it makes of facts that take long to bring about."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest

from stream.ops.queries import EntityNow, Waits
from stream.ops.site import load_app
from stream.ops.timeline import Told
from stream.ops.why import Facts, unread, why
from tests.core.lamps import LAMP
from tests.ops.conftest import Stream, answer, play, record

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def change(database: str, statement: str) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(go())


def asked(stream: Stream, id: str) -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("why", "lamp", id, "-o", "json")))


@pytest.fixture
def shining(database: str, lamps: str) -> str:
    """A lamp that shines since a moment, and an event for one that was never lit."""
    told = [("lamp.on", b'{"lamp":"l4"}', "e14"), ("lamp.off", b'{"lamp":"l3"}', "e13")]
    topic = next(iter(load_app(lamps).consumed))
    asyncio.run(play(database, lamps, [record(topic, n, *one, datetime.now(UTC)) for n, one in enumerate(told)]))
    return lamps


def test_a_parked_entity_stands_at_its_failed_event(at_database: Stream, played: str) -> None:
    found = asked(at_database, "l2")
    assert found["cause"] == "parked"
    assert "lamp.hit (e5)" in found["sentence"]
    assert "ZeroDivisionError" in found["sentence"]
    assert "1 more wait behind it" in found["sentence"]
    assert found["command"].startswith("stream parked retry lamp l2")


def test_a_rejected_event_is_the_cause_while_it_is_the_latest(at_database: Stream, played: str) -> None:
    found = asked(at_database, "l1")
    assert found["cause"] == "rejected"
    assert "lamp.off (e3)" in found["sentence"]
    assert "in off: no row takes it there" in found["sentence"]


def test_a_message_that_is_unsent_for_long_is_the_cause(at_database: Stream, played: str, database: str) -> None:
    change(database, "update clock set ahead = interval '1 hour'")
    found = asked(at_database, "l1")
    assert (found["cause"], found["command"]) == ("message_unsent", "stream outbox list")
    assert "lamp.out" in found["sentence"]


def test_a_message_the_broker_refused_is_the_cause(at_database: Stream, played: str, database: str) -> None:
    change(
        database,
        "insert into outbox_held (seq, shard, topic, key, value, headers, reason, error, status, held_at)"
        " select seq, shard, topic, key, value, headers, 'too_large', 'MESSAGE_TOO_LARGE', 'open', stream_now() from outbox",
    )
    found = asked(at_database, "l1")
    assert found["cause"] == "message_held"
    assert "too_large: MESSAGE_TOO_LARGE" in found["sentence"]


def test_a_halted_partition_of_its_topics_is_the_cause(at_database: Stream, played: str, database: str) -> None:
    change(database, "update partition set halted_since = stream_now(), halted_by = 'x', halt_reason = 'overrun', halt_seen = '{\"position\": 0}'")
    found = asked(at_database, "l1")
    assert found["cause"] == "partition_halted"
    assert found["command"] == f"stream partitions show {played}/0"


def test_an_event_for_one_that_is_not_born_waits_for_what_opens_it(at_database: Stream, shining: str) -> None:
    found = asked(at_database, "l3")
    assert found["cause"] == "unborn"
    assert "for one of lamp.on; until" in found["sentence"]


def test_one_that_rests_waits_for_events_and_a_clock(at_database: Stream, shining: str) -> None:
    found = asked(at_database, "l4")
    assert found["cause"] == "rests"
    assert "it rests in on and waits for lamp.hit or lamp.off; it is the turn of house; the clock 'on' (breached) falls due" in found["sentence"]
    assert "nothing is wrong" in at_database("why", "lamp", "l4").stdout


def test_a_clock_that_a_person_holds_is_named_with_the_way_to_let_it_go(at_database: Stream, shining: str) -> None:
    assert at_database("clocks", "pause", "lamp", "l4", "on", "--reason", "x", "--yes").exit_code == 0
    found = asked(at_database, "l4")
    assert found["sentence"].endswith("it is the turn of house; a person holds the clock 'on'")
    assert found["command"] == "stream clocks resume lamp l4 on"


def test_a_clock_that_did_not_fire_is_the_cause(at_database: Stream, shining: str, database: str) -> None:
    change(database, "update clock set ahead = interval '3 hours'")
    assert asked(at_database, "l4")["cause"] == "timer_overdue"


def test_one_that_nobody_knows_is_a_no(at_database: Stream, played: str) -> None:
    found = at_database("why", "lamp", "l9")
    assert (found.exit_code, found.stderr) == (1, "there is no lamp 'l9': no event ever referred to it\n")


def test_a_machine_that_is_misspelt_is_named(at_database: Stream, played: str) -> None:
    assert "no machine 'lump' in lamps, only lamp" in at_database("why", "lump", "l1").stderr


def test_what_was_rejected_before_birth_says_so(at_database: Stream, played: str, database: str) -> None:
    change(database, "insert into entity (machine, id) values ('lamp', 'l8')")
    found = asked(at_database, "l8")
    assert (found["cause"], "lamp.on would open it" in found["sentence"]) == ("unborn", True)


def facts(state: str = "On", **more: Any) -> Facts:
    entity = EntityNow("lamp", "a", 2, 1, state, {}, NOW, NOW, 2, 2, 0)
    return Facts(Told(entity, "porter", {}, [], [], [], []), LAMP, None, [], NOW, **more)


def behind(lag: int, owner: str = "", age: timedelta | None = None) -> dict[str, Any]:
    return {"topic": "lamps", "partition": 1, "lag": lag, "owner": owner, "age": age, "halted_since": None, "halt_reason": None}


def test_of_one_that_is_not_there_it_is_said_what_was_not_read() -> None:
    assert unread([behind(0)]) == ""
    assert unread([behind(70), behind(0), behind(1)]) == " of those that were read; 71 records of lamps wait to be read (`stream status`)"


def test_a_partition_that_lags_is_the_cause_and_says_who_has_it() -> None:
    found = facts()
    found.partitions = [behind(3, "host:1"), behind(70, "")]
    told = why(found)
    assert (told.cause, told.command) == ("partition_lags", "stream run --role worker")
    assert "lags by 70 records; nobody has it" in told.sentence
    found.partitions = [behind(70, "host:1", timedelta(seconds=5))]
    assert why(found).cause == "rests"


def test_an_early_event_waits_for_what_its_state_takes() -> None:
    found = facts()
    found.told.line.append(Waits(1, "deferred", "early", "e1", "lamp.lit", "c", NOW, NOW + timedelta(days=1), 0, "", "lamps", 0, 1, b"{}"))
    told = why(found)
    assert told.cause == "deferred"
    assert "in On it waits for lamp.billed.v2; until 2026-03-02 12:00:00 UTC" in told.sentence


def test_one_that_is_done_is_done() -> None:
    assert why(facts("Out")).cause == "final"


def test_an_entity_of_another_app_says_so() -> None:
    found = facts()
    found.machine = None
    assert why(found).cause == "unknown_machine"
