"""Stored data of older versions is lifted before anything looks at it, and written back only together with what else happens."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import msgspec
import pytest

from stream import App, Data, DefinitionError, Event, Machine, Owner, Ref, Sla, State, hours, opens, upcast
from stream.core.entity import Entity
from stream.core.errors import outlined
from stream.core.ladder import begun, timer_of
from stream.core.machine import AnyMachine
from stream.core.order import Lift, Move
from stream.core.text import unsafe_text
from stream.core.upcast import Upcast
from tests.core.play import NOON, Play, at

ID = Ref("box", "b")


class BoxEvent(Event, topic="boxes", key="box"):
    box: str


class Packed(BoxEvent, type="box.packed"): ...


class Shaken(BoxEvent, type="box.shaken"): ...


class Looked(BoxEvent, type="box.looked"): ...


class Shipped(BoxEvent, type="box.shipped"): ...


class Box1(Data):
    box: str
    weight: str


class Box2(Data):
    box: str
    grams: int


class Box(Data):
    box: str
    milligrams: int
    shakes: int = 0


class Odd(Data):
    inner: Box1 | Box2


def pack(e: Packed) -> Box:
    return Box(box=e.box, milligrams=1)


def shake(b: Box, e: Shaken) -> None:
    b.shakes += 1


def to_grams(b: Box1) -> Box2:
    return Box2(box=b.box, grams=int(b.weight))


def to_milligrams(b: Box2) -> Box:
    if b.grams == 13:
        return b  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
    return Box(box=b.box, milligrams=b.grams * 1000 if b.grams != 14 else "many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def spoil(b: Box2) -> Box:
    return Box(box="\ud800", milligrams=1)


LIFTS = {1: upcast(Box1, Box2, to_grams), 3: upcast(Box2, Box, to_milligrams)}


def boxes(version: int = 4, upcasts: dict[int, Upcast] | None = None) -> AnyMachine:
    here, gone = State[Box]("here", owner=Owner("yard"), sla=Sla(hours(1)), ignores=(Looked,)), State[Box]("gone", final=True)
    rows = (opens(Packed, to=here, then=pack), here.on(Shaken, then=shake), here.on(Shipped, to=gone))
    return Machine("box", data=Box, events=(BoxEvent,), transitions=rows, version=version, upcasts=LIFTS if upcasts is None else upcasts)


def stored(version: int, data: dict[str, Any], machine: AnyMachine | None = None) -> Play:
    play = Play(App("yard", machines=(machine or boxes(),)))
    entity = play.entities[ID] = Entity(ID, 1, version, "here", json.dumps({"box": "b", **data}).encode(), NOON, NOON, 1, 1, b"x")
    dial = play.routes.machine("box").dials[timer_of("here")]
    entity.clocks, entity.timers = {dial.timer: begun(dial, hours(1), NOON)}, {dial.timer: at(60)}
    return play


@pytest.mark.parametrize(
    ("version", "data"),
    [(1, {"weight": "2"}), (2, {"grams": 2}), (3, {"grams": 2}), (4, {"milligrams": 2000}), (4, {"milligrams": 2000, "shakes": 0})],
)
def test_data_of_any_older_version_is_what_the_present_class_says(version: int, data: dict[str, Any]) -> None:
    play = stored(version, data)
    play.send((Shaken(box="b"), 1, "s"))
    assert play.data(ID) == {"box": "b", "milligrams": 2000, "shakes": 1}
    assert play.entities[ID].machine_version == 4


def test_a_row_that_reads_no_data_writes_the_layout_that_its_version_says() -> None:
    play = stored(1, {"weight": "2"})
    play.send((Shipped(box="b"), 1, "s"))
    assert (play.data(ID), play.entities[ID].machine_version) == ({"box": "b", "milligrams": 2000, "shakes": 0}, 4)


def test_what_nothing_happens_to_stays_as_it_was_written() -> None:
    play = stored(1, {"weight": "2"})
    changes = play.send((Looked(box="b"), 1, "s"))
    assert changes.entities == {}
    assert (play.data(ID), play.entities[ID].machine_version) == ({"box": "b", "weight": "2"}, 1)


@pytest.mark.parametrize(
    ("version", "data", "why"),
    [
        (1, {"weight": "heavy"}, "ValueError: invalid literal for int() with base 10: 'heavy'"),
        (1, {"mass": "2"}, "msgspec.ValidationError: Object missing required field `weight`"),
        (2, {"grams": 13}, "TypeError: Box2 was lifted to a Box2, not to a Box"),
        (2, {"grams": 14}, "msgspec.ValidationError: Expected `int`, got `str` - at `$.milligrams`"),
    ],
)
def test_what_cannot_be_lifted_parks_says_why_and_keeps_what_is_due(version: int, data: dict[str, Any], why: str) -> None:
    play = stored(version, data)
    before = play.entities[ID].data
    error = play.fire(ID, 90).stuck[ID]
    assert re.sub(r" \(\w+, line \d+\)", "", error) == f"its data, of version {version}, could not be lifted to Box: {why}"
    assert outlined(error).endswith(")")
    assert [one.error for one in play.order(Move(ID, "here", "gone", "ann", "x"), "desk").handled] == [error]
    play.send((Shaken(box="b"), 100, "s"))
    entity = play.entities[ID]
    assert [waiting.error for waiting in entity.line] == [error]
    assert (entity.data, entity.machine_version, play.said(), list(entity.timers)) == (before, version, [], ["sla here"])
    mended = Play(App("yard", machines=(boxes(upcasts={3: upcast(Box2, Box, lambda b: Box(box=b.box, milligrams=0))}, version=4),)))
    mended.entities = play.entities
    if version == 2:
        mended.retry(ID)
        assert (mended.data(ID)["shakes"], mended.said(), mended.entities[ID].line) == (1, ["sla.breached"], [])


def test_what_no_database_could_keep_is_not_lifted_to() -> None:
    play = stored(2, {"grams": 1}, boxes(2 + 1, {2: upcast(Box2, Box, spoil)}))
    play.send((Shaken(box="b"), 1, "s"))
    assert "could not be lifted to Box" in play.entities[ID].line[0].error


def test_whatever_an_error_says_can_be_stored_and_shown_and_is_short() -> None:
    def shout(b: Box1) -> Box:
        raise ValueError("\ud800\0" + "x" * 5000)

    play = stored(1, {"weight": "2"}, boxes(2, {1: upcast(Box1, Box, shout)}))
    (refused,) = play.order(Move(ID, "here", "gone", "ann", "x"), "desk").handled
    assert (refused.outcome, len(refused.error), unsafe_text(refused.error)) == ("rejected", 2000, "")


@pytest.mark.parametrize("end", [SystemExit(3), RecursionError(), MemoryError(), StopIteration()])
def test_a_function_that_would_end_the_program_bars_its_entity_alone(end: BaseException) -> None:
    def leave(b: Box1) -> Box:
        raise end

    play = stored(1, {"weight": "2"}, boxes(2, {1: upcast(Box1, Box, leave)}))
    play.send((Shaken(box="b"), 1, "s"), (Packed(box="c"), 1, "p"), (Shaken(box="c"), 2, "t"))
    assert (play.entities[ID].parked, play.entities[ID].machine_version) == (True, 1)
    assert (play.data(Ref("box", "c"))["shakes"], play.entities[Ref("box", "c")].machine_version) == (1, 2)


def test_what_is_only_refused_is_written_with_the_version_of_its_layout_too() -> None:
    play = stored(1, {"weight": "2"})
    play.send((Packed(box="b"), 1, "p"))
    assert play.outcomes() == [("rejected", "no_transition")]
    assert (play.data(ID), play.entities[ID].machine_version) == ({"box": "b", "milligrams": 2000, "shakes": 0}, 4)


def test_entities_of_a_batch_may_be_of_different_versions() -> None:
    play = stored(1, {"weight": "2"})
    for id, version, data in (("c", 3, b'{"box":"c","grams":3}'), ("d", 4, b'{"box":"d","milligrams":4}'), ("e", 1, b'{"box":"e","weight":"e"}')):
        play.entities[Ref("box", id)] = Entity(Ref("box", id), 1, version, "here", data, NOON, NOON, 1, 1, b"x")
    play.send(*((Shaken(box=id), n, f"s{n}") for n, id in enumerate("bcdeb")))
    found = {ref.id: (entity.machine_version, play.data(ref).get("milligrams")) for ref, entity in play.entities.items()}
    assert found == {"b": (4, 2000), "c": (4, 3000), "d": (4, 4), "e": (1, None)}


def test_data_that_grows_beyond_the_limit_is_not_lifted() -> None:
    def grow(b: Box1) -> Box:
        return Box(box=b.box + "x", milligrams=1)

    play = stored(1, {"weight": "2", "box": "b" * 999_900}, boxes(2, {1: upcast(Box1, Box, grow)}))
    play.send((Shipped(box="b"), 1, "s"))
    assert play.entities[ID].machine_version == 2
    play = stored(1, {"weight": "2", "box": "b" * 1_000_000}, boxes(2, {1: upcast(Box1, Box, grow)}))
    play.send((Shipped(box="b"), 1, "s"))
    assert "too_large" in play.entities[ID].line[0].error


def test_a_version_that_was_raised_alone_asks_whether_its_class_reads_the_data() -> None:
    play = stored(1, {"milligrams": 5, "colour": "red"}, boxes(2, {}))
    play.send((Shipped(box="b"), 1, "s"))
    assert play.data(ID) == {"box": "b", "milligrams": 5, "shakes": 0}
    play = stored(1, {"weight": "2"}, boxes(2, {}))
    play.send((Shipped(box="b"), 1, "s"))
    assert (play.state(ID), play.entities[ID].parked) == ("here", True)


def test_a_person_has_the_data_lifted_and_nothing_else_happens() -> None:
    play = stored(1, {"weight": "2"})
    play.now = at(5)
    play.order(Lift(ID, "ann", "version 1 goes"), "desk")
    entity, row = play.entities[ID], play.all.history[-1]
    assert (play.data(ID), entity.machine_version, entity.state, entity.since) == ({"box": "b", "milligrams": 2000, "shakes": 0}, 4, "here", NOON)
    assert (row.event_type, row.actor, row.reason, row.error, row.door) == ("entity.lifted", "ann", "manual", "version 1 goes", "desk")
    assert entity.timers == {"sla here": at(60)}
    again = play.order(Lift(ID, "ann", "version 1 goes"), "desk")
    assert (again.handled, again.entities) == ([], {})


def test_a_lift_is_no_event_of_business_time_so_one_on_its_way_finds_its_entity_as_it_was() -> None:
    play = stored(1, {"weight": "2"})
    play.now = at(90)
    play.order(Lift(ID, "ann", "x"), "desk")
    assert (play.entities[ID].timers, play.entities[ID].time, play.said()) == ({"sla here": at(60)}, NOON, [])
    play.send((Shipped(box="b"), 20, "s"))
    assert (play.state(ID), play.entities[ID].since, play.said()) == ("gone", at(20), [])
    assert [(row.event_type, row.time) for row in play.all.history] == [("entity.lifted", NOON), ("box.shipped", at(20))]


def test_a_lift_ordered_twice_in_one_batch_is_noted_once() -> None:
    play = stored(1, {"weight": "2"})
    play.orders([Lift(ID, "ann", "x"), Lift(ID, "ann", "x")], "desk")
    assert len(play.all.history) == 1


@pytest.mark.parametrize(
    ("version", "upcasts", "why"),
    [
        (1, {1: upcast(Box2, Box, to_milligrams)}, "data of version 1 is lifted, and the machine has version 1: raise it above"),
        (2, {0: upcast(Box2, Box, to_milligrams)}, "data of version 0 is lifted"),
        (3, {1: upcast(Box2, Box, to_milligrams), 2: upcast(Box2, Box, to_milligrams)}, "Box2 is lifted to Box, and what follows takes a Box2"),
        (2, {1: upcast(Box1, Box2, to_grams)}, "Box1 is lifted to Box2, and what follows takes a Box"),
        (2, {1: upcast(Packed, Shaken, lambda e: Shaken(box=e.box))}, "lifts no data: say upcasts={1: upcast(OldData, Box, function)}"),
        (2, {"1": upcast(Box2, Box, to_milligrams)}, "lifts no data"),
        (2, {1: to_milligrams}, "lifts no data"),
        (2, {True: upcast(Box2, Box, to_milligrams)}, "lifts no data"),
        (2, {1: upcast(Box2, Box, cast("Any", None))}, "lifts no data"),
        (2, {1: upcast(cast("Any", "Box2"), Box, to_milligrams)}, "lifts no data"),
        (2, cast("Any", (upcast(Box2, Box, to_milligrams),)), "does not say which version each of them lifts: say upcasts={1: upcast(OldData, Box"),
        (2, {1: upcast(Odd, Box, lambda b: Box(box="b", milligrams=1))}, "Odd cannot be read: If a type union contains multiple"),
        *((version, {}, f"version={version!r} is no whole number from 1 on") for version in cast("list[int]", [0, -1, True, "2", 1 << 31])),
    ],
)
def test_upcasters_that_lead_nowhere_are_refused_at_import(version: int, upcasts: dict[int, Upcast], why: str) -> None:
    with pytest.raises(DefinitionError) as error:
        boxes(version, upcasts)
    assert why in str(error.value)


def test_an_upcaster_of_data_does_not_stand_in_the_app() -> None:
    with pytest.raises(DefinitionError, match=r"of data it stands in Machine\(upcasts="):
        App("yard", machines=(boxes(),), upcasts=(upcast(Box2, Box, to_milligrams),))


def test_lifting_never_depends_on_how_often() -> None:
    once = stored(1, {"weight": "2"})
    once.send((Shaken(box="b"), 1, "s"), (Shaken(box="b"), 2, "t"))
    twice = stored(1, {"weight": "2"})
    twice.order(Lift(ID, "ann", "x"), "desk")
    twice.send((Shaken(box="b"), 1, "s"))
    twice.send((Shaken(box="b"), 2, "t"))
    assert msgspec.json.decode(once.entities[ID].data) == msgspec.json.decode(twice.entities[ID].data)
