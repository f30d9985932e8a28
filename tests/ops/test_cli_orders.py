"""Orders of a person: retry, skip, replay; what they do, and what they leave in the audit."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg

from tests.ops.conftest import Stream, answer


def audit(dsn: str) -> list[tuple[str, str, str, str]]:
    async def read() -> list[tuple[str, str, str, str]]:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "stream"})
        try:
            found = await connection.fetch("select actor, action, target, reason from audit order by id")
        finally:
            await connection.close()
        return [(r[0], r[1], r[2], r[3]) for r in found]

    return asyncio.run(read())


def letters(stream: Stream, *words: str) -> dict[str, dict[str, Any]]:
    found = cast("list[dict[str, Any]]", answer(stream("dead-letters", "list", *words, "-o", "json")))
    return {letter["reason"]: letter for letter in found}


def test_a_retry_that_fails_again_is_a_no_and_is_audited(at_database: Stream, played: str, database: str) -> None:
    found = at_database("parked", "retry", "lamp", "l2")
    assert found.exit_code == 1
    assert "ZeroDivisionError" in found.stderr
    assert audit(database) == [("ann", "parked retry", "lamp/l2", "")]


def test_a_skip_rejects_the_head_and_lets_the_line_follow(at_database: Stream, played: str, database: str) -> None:
    found = cast("dict[str, Any]", answer(at_database("parked", "skip", "lamp", "l2", "--reason", "a broken lamp", "-o", "json")))
    assert found["outcomes"] == {"rejected": 1, "applied": 1}
    assert found["waiting"] == 0
    told = cast("dict[str, Any]", answer(at_database("entities", "show", "lamp", "l2", "-o", "json")))
    assert told["entity"]["state"] == "off"
    assert ("rejected", "ann") in {(m["outcome"], m["actor"]) for m in told["timeline"]}
    assert audit(database) == [("ann", "parked skip", "lamp/l2", "a broken lamp")]


def test_an_entity_that_is_not_parked_is_left_alone(at_database: Stream, played: str, database: str) -> None:
    found = at_database("parked", "retry", "lamp", "l1")
    assert (found.exit_code, found.stderr) == (1, "lamp 'l1' is not parked\n")
    assert audit(database) == []


def test_parked_entities_are_listed_with_what_they_stopped_at(at_database: Stream, played: str) -> None:
    (found,) = cast("list[dict[str, Any]]", answer(at_database("parked", "list", "-o", "json")))
    assert (found["entity_id"], found["event_type"], found["waiting"]) == ("l2", "lamp.hit", 2)
    assert "lamp.hit" in at_database("parked", "show", "lamp", "l2").stdout


def test_a_dead_letter_shows_its_bytes_as_they_came(at_database: Stream, played: str) -> None:
    id = letters(at_database)["undecodable"]["id"]
    found = cast("dict[str, Any]", answer(at_database("dead-letters", "show", str(id), "-o", "json")))
    assert found["value"] == "no json"
    assert ["ce_id", "e7"] in found["headers"]


def test_a_replay_refused_again_is_a_no_and_a_new_letter(at_database: Stream, played: str) -> None:
    id = letters(at_database)["no_transition"]["id"]
    found = at_database("dead-letters", "replay", str(id))
    assert found.exit_code == 1
    assert "refused again: no_transition" in found.stderr
    assert letters(at_database)["no_transition"]["id"] != id
    assert letters(at_database, "--status", "replayed")["no_transition"]["closed_by"] == "ann"


def test_a_letter_that_is_closed_is_not_replayed_and_not_audited(at_database: Stream, played: str, database: str) -> None:
    found = letters(at_database)
    closed, open = found["no_transition"]["id"], found["undecodable"]["id"]
    at_database("dead-letters", "replay", str(closed))
    before = audit(database)
    assert at_database("dead-letters", "replay", str(closed), str(open)).exit_code == 1
    assert audit(database) == before
    assert letters(at_database)["undecodable"]["id"] == open


def test_a_skipped_event_replayed_goes_to_its_entity_again(at_database: Stream, played: str) -> None:
    at_database("parked", "skip", "lamp", "l2", "--reason", "later")
    found = at_database("dead-letters", "replay", str(letters(at_database)["manual"]["id"]))
    assert found.exit_code == 1
    assert "'off' does not take lamp.hit" in found.stderr
