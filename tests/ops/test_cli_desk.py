"""Events by hand and moves, on a real database: shown, asked, done once, noted, or refused with nothing done."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import asyncpg
import pytest

from stream.core.order import Move
from stream.core.record import Ref
from stream.ops.desk import OtherwiseError, perform, rehearse
from stream.ops.orders import Note
from stream.ops.site import read_site
from stream.runtime.doors import Desk
from tests.ops.conftest import Stream, answer


def told(stream: Stream, *words: str) -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("entities", *words, "--reason", "by phone", "--yes", "-o", "json")))


def shown(stream: Stream, id: str) -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("entities", "show", "lamp", id, "-o", "json")))


def orders(stream: Stream) -> list[tuple[str, ...]]:
    found = cast("list[dict[str, Any]]", answer(stream("audit", "list", "-o", "json")))
    return [(o["actor"], o["action"], o["target"], o["reason"]) for o in found]


def counted(database: str) -> list[tuple[Any, ...]]:
    async def go() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
        try:
            sizes = [
                (await connection.fetch(f"select count(*) from {name}"))[0][0] for name in ("history", "outbox", "dead_letter", "audit", "inbox")
            ]
            return [tuple(sizes), *map(tuple, await connection.fetch("select id, state, version, n from entity order by id"))]
        finally:
            await connection.close()

    return asyncio.run(go())


def yes(text: str, *, err: bool) -> bool:
    return True


def test_an_event_by_hand_moves_its_entity_and_names_who_said_it(at_database: Stream, played: str) -> None:
    found = told(at_database, "send", "lamp.on", '{"lamp":"l1"}')
    assert [(e["id"], e["outcome"], e["from_state"], e["to_state"]) for e in found["effects"]] == [("l1", "applied", "off", "on")]
    last = shown(at_database, "l1")["timeline"][-1]
    assert (last["event_type"], last["actor"], last["source"].endswith("/desk"), last["door"]) == ("lamp.on", "ann", True, "desk")
    assert orders(at_database) == [("ann", "entities send lamp.on", "lamp/l1", "by phone")]
    assert at_database("audit", "verify").exit_code == 0


def test_an_event_by_hand_is_taken_once(at_database: Stream, played: str, database: str) -> None:
    told(at_database, "send", "lamp.on", '{"lamp":"l1"}', "--id", "x1", "--time", "2026-03-01T10:00:00Z")
    before = counted(database)
    again = at_database("entities", "send", "lamp.on", '{"lamp":"l1"}', "--id", "x1", "--time", "2026-03-01T10:00:00Z", "--reason", "again", "--yes")
    assert (again.exit_code, "was said before" in again.stderr) == (1, True)
    assert counted(database) == before


def test_what_it_says_leaves_by_the_outbox(at_database: Stream, played: str) -> None:
    told(at_database, "send", "lamp.on", '{"lamp":"l1"}')
    (effect,) = told(at_database, "send", "lamp.off", '{"lamp":"l1"}')["effects"]
    assert (effect["says"], effect["clocks"]) == (["lamp.out"], ["on met"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "lamp.off", '{"lamp":"l1"}'), "lamp l1: lamp.off would be rejected: 'off' does not take lamp.off; taken in: 'on'"),
        (("send", "lamp.off", '{"lamp":"l2"}'), "lamp l2: lamp.off would be parked"),
        (("send", "lamp.off", '{"lamp":"l7"}'), "lamp l7: lamp.off would be deferred: unborn"),
        (("send", "lamp.on", '{"lamp":"l1"}', "--time", "2999-01-01T00:00:00Z"), "it would be a dead letter: 2999-01-01T00:00:00+00:00"),
        (("move", "lamp", "l1", "off"), "is in 'off' already"),
        (("move", "lamp", "l9", "off"), "there is no lamp 'l9'"),
    ],
)
def test_what_would_be_refused_is_not_done(at_database: Stream, played: str, database: str, words: tuple[str, ...], said: str) -> None:
    before = counted(database)
    found = at_database("entities", *words, "--reason", "by phone", "--yes")
    assert found.exit_code == 1
    assert said in found.stderr
    assert counted(database) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("send", "lamp.lit", "{}"), "the App takes no event of type 'lamp.lit'"),
        (("send", "lamp.hit", '{"lamp":"l1","force":"hard"}'), "not a lamp.hit"),
        (("send", "lamp.on", f'{{"lamp":"{"x" * 513}"}}'), "not a lamp.on: an entity's id must be 1 to 512 characters, not 513"),
        (("move", "lump", "l1", "on"), "the App has no machine 'lump'; it has lamp"),
        (("move", "lamp", "l1", "dim"), "lamp has no state 'dim'; it has on, off"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(at_database: Stream, played: str, words: tuple[str, ...], said: str) -> None:
    found = at_database("entities", *words, "--reason", "by phone", "--yes")
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\x00b", "a\x1b[31mb"])
def test_a_reason_is_plain_text(at_database: Stream, played: str, database: str, reason: str) -> None:
    before = counted(database)
    found = at_database("entities", "move", "lamp", "l1", "on", "--reason", reason, "--yes")
    assert (found.exit_code, "--reason" in found.stderr) == (2, True)
    assert counted(database) == before


def test_a_move_is_shown_and_done_when_a_person_says_so(at_database: Stream, played: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = counted(database)
    words = ("entities", "move", "lamp", "l1", "on", "--reason", "switched on again")
    found = at_database(*words)
    assert "lamp l1: entity.moved: off -> on" in found.stderr
    assert (found.exit_code, counted(database)) == (1, before)
    monkeypatch.setattr("typer.confirm", yes)
    assert at_database(*words).exit_code == 0
    told = shown(at_database, "l1")
    assert (told["entity"]["state"], told["timeline"][-1]["error"]) == ("on", "switched on again")
    assert orders(at_database) == [("ann", "entities move", "lamp/l1", "off -> on: switched on again")]


def test_a_parked_entity_is_moved_and_stays_parked(at_database: Stream, played: str) -> None:
    told(at_database, "move", "lamp", "l2", "off")
    found = shown(at_database, "l2")
    assert (found["entity"]["state"], [w["outcome"] for w in found["line"]]) == ("off", ["parked", "parked"])


def test_nothing_is_done_when_it_is_not_what_was_shown(at_database: Stream, played: str, database: str) -> None:
    door = Desk(orders=[Move(Ref("lamp", "l1"), "off", "on", "ann", "first")])

    async def race() -> None:
        site = read_site()
        seen = await rehearse(site, door)
        await perform(site, door, [Note("ann", "entities move", "lamp/l1", "first")], seen)
        with pytest.raises(OtherwiseError):
            await perform(site, door, [Note("ann", "entities move", "lamp/l1", "second")], seen)

    asyncio.run(race())
    assert [reason for *_, reason in orders(at_database)] == ["first"]
