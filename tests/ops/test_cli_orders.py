"""Orders of a person: retry, skip, replay; what they do, and what they leave in the audit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import asyncpg
import pytest

from stream.core.errors import UnavailableError
from stream.core.record import Ref
from stream.ops import cli_orders, orders
from stream.ops.queries import Waits, questions
from stream.ops.site import Site, load_app, read_site
from tests.conftest import order
from tests.ops.conftest import Stream, answer, play, record


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


def test_an_order_that_comes_too_late_does_nothing_and_is_not_audited(
    at_database: Stream, played: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asyncio.run(line_of(Ref("lamp", "l2")))

    def stale(site: Site, ref: Ref) -> list[Waits]:
        return before

    assert at_database("parked", "skip", "lamp", "l2", "--reason", "first").exit_code == 0
    monkeypatch.setattr(cli_orders, "_line", stale)
    found = at_database("parked", "skip", "lamp", "l2", "--reason", "second")
    assert (found.exit_code, found.stderr) == (1, "somebody else dealt with it meanwhile: nothing was done, look again\n")
    assert [reason for *_, reason in audit(database)] == ["first"]


async def line_of(ref: Ref) -> list[Waits]:
    async with questions(read_site().postgres) as ask:
        return await ask.line(ref)


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


@pytest.fixture
async def refused(database: str, lamps: str) -> None:
    """A parked lamp with six events behind, of which the database refuses what the fifth causes."""
    hits = [("lamp.hit", b'{"lamp":"l3","force":%d}' % force, f"h{n}") for n, force in enumerate([0, 1, 2, 5, 1])]
    begin, *end = [(f"lamp.{what}", b'{"lamp":"l3"}', id) for what, id in (("on", "o1"), ("off", "x1"), ("on", "o2"))]
    topic, start = next(iter(load_app(lamps).consumed)), datetime.now(UTC) - timedelta(hours=1)
    await play(database, lamps, [record(topic, n, *one, start + timedelta(minutes=n)) for n, one in enumerate([begin, *hits, *end])])
    await order(database, "alter table stream.history add constraint stuck check (to_state <> 'off')")


def line(stream: Stream) -> list[tuple[str, str, str]]:
    found = cast("list[dict[str, Any]]", answer(stream("parked", "show", "lamp", "l3", "-o", "json")))
    return [(waits["event_type"], waits["reason"], waits["error"]) for waits in found]


REFUSED = "the database refused the data (23514)"


def test_an_order_goes_as_far_as_the_database_takes_it_and_parks_there(at_database: Stream, refused: None, database: str) -> None:
    assert len(line(at_database)) == 7
    found = at_database("parked", "skip", "lamp", "l3", "--reason", "a broken lamp")
    assert found.exit_code == 1
    assert found.stderr.endswith(f"lamp 'l3' is parked at lamp.off: {REFUSED}\n")
    assert line(at_database) == [("lamp.off", "handler_failed", REFUSED), ("lamp.on", "behind", "")]
    told = cast("dict[str, Any]", answer(at_database("entities", "show", "lamp", "l3", "-o", "json")))
    assert [m["outcome"] for m in told["timeline"]].count("applied") == 5
    assert audit(database) == [("ann", "parked skip", "lamp/l3", "a broken lamp")]

    assert at_database("parked", "retry", "lamp", "l3").exit_code == 1
    assert line(at_database) == [("lamp.off", "handler_failed", REFUSED), ("lamp.on", "behind", "")]

    asyncio.run(order(database, "alter table stream.history drop constraint stuck"))
    last = cast("dict[str, Any]", answer(at_database("parked", "retry", "lamp", "l3", "-o", "json")))
    assert (last["outcomes"], last["waiting"]) == ({"applied": 2}, 0)


def test_an_order_whose_line_is_busy_while_it_is_looked_through_is_tried_again(
    at_database: Stream, refused: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, busy = vars(orders)["_up_to"], [True, True]

    async def busy_at_first(*what: object) -> object:
        if busy:
            busy.pop()
            raise UnavailableError("somebody has its lock")
        return await look(*what)

    monkeypatch.setattr(orders, "_up_to", busy_at_first)
    assert "is parked at lamp.off" in at_database("parked", "skip", "lamp", "l3", "--reason", "a broken lamp").stderr
    assert len(line(at_database)) == 2


@pytest.mark.parametrize(("words", "refuse"), [(("retry",), "id > 0"), (("skip", "--reason", "a broken lamp"), "outcome = 'rejected'")])
def test_an_order_of_which_nothing_can_be_booked_is_refused_as_a_whole(
    at_database: Stream, refused: None, database: str, words: tuple[str, ...], refuse: str
) -> None:
    before = line(at_database)
    asyncio.run(order(database, f"alter table stream.history add constraint no_more check (not ({refuse})) not valid"))
    found = at_database("parked", words[0], "lamp", "l3", *words[1:])
    assert found.exit_code != 0
    assert REFUSED in found.stderr
    assert line(at_database) == before
    assert audit(database) == []
