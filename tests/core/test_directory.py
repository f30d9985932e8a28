"""Who belongs to an owner, how one is told, and what a row with `by=` makes of it."""

from __future__ import annotations

import msgspec
import pytest

from stream import App, Data, DefinitionError, Event, Machine, Owner, Ref, State, Topic, opens, parse_owners
from stream.core.diagram import mermaid, text
from stream.core.directory import Channel, Directory
from stream.core.machine import AnyMachine
from tests.core.play import Play

OWNERS = """
[groups]
leads = ["bob", "ann"]

[owners.lead]
people = ["cleo", "ann"]
groups = ["leads"]
tell = [{ webhook = "https://hooks.example/lead?x=1", secret = "LEAD_HOOK" }, { topic = "leads" }, { log = true }]

[owners.desk]
people = ["eve"]
"""
DESK, LEAD = Owner("desk"), Owner("lead")


class DoorEvent(Event, topic="doors", key="door"):
    door: str


class Built(DoorEvent, type="door.built"): ...


class Opened(DoorEvent, type="door.opened"):
    wide: bool = False


class Door(Data):
    door: str


def build(e: Built) -> Door:
    return Door(door=e.door)


def is_wide(d: Door, e: Opened) -> bool:
    return e.wide


def doors(*by: Owner) -> AnyMachine:
    shut, ajar, open = State[Door]("shut", owner=DESK), State[Door]("ajar", owner=DESK), State[Door]("open", final=True)
    wide, narrow, rest = shut.on(Opened, to=open, when=is_wide, by=by), shut.on(Opened, to=ajar), ajar.on(Opened, to=open, by=by)
    return Machine("door", data=Door, events=(DoorEvent,), transitions=(opens(Built, to=shut, then=build), wide, narrow, rest))


def acted(by: tuple[Owner, ...], *told: tuple[str, bool]) -> Play:
    play = Play(App("house", machines=(doors(*by),), owners=parse_owners(OWNERS)))
    play.send((Built(door="d"), 0, "b"))
    for n, (actor, wide) in enumerate(told):
        record = play.record(Opened(door="d", wide=wide), n + 1, f"o{n}")
        play.take([msgspec.structs.replace(record, headers=[*record.headers, *([("ce_actor", actor.encode())] if actor else [])])])
    return play


def test_people_are_those_named_and_those_of_the_groups() -> None:
    found = parse_owners(OWNERS)
    assert found.people_of("lead") == ("ann", "bob", "cleo")
    assert [channel.kind for channel in found.channels_of("lead")] == ["webhook", "topic", "log"]
    assert (found.topics, found.secrets) == (frozenset({"leads"}), frozenset({"LEAD_HOOK"}))
    assert (found.may("bob", "lead"), found.may("eve", "lead")) == (True, False)


def test_everybody_may_act_for_an_owner_nobody_wrote_down() -> None:
    assert Directory().may("anybody", "somebody")
    assert not Directory().allows("anybody", (LEAD,))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[owners", "owners.toml: "),
        ("[owners.a]\npeoples = []", "unknown field `peoples`"),
        ('[owners.a]\ngroups = ["b"]', "'a' names the group 'b', which is not under [groups]"),
        ('[owners.a]\npeople = [""]', "has no name"),
        ('[owners.a]\npeople = ["a\\u0007"]', "cannot be typed"),
        ("[owners.a]\ntell = [{ }]", "one of webhook, topic and log"),
        ('[owners.a]\ntell = [{ topic = "t", log = true }]', "one of webhook, topic and log"),
        ('[owners.a]\ntell = [{ topic = "t", secret = "S" }]', "only a webhook"),
        ('[owners.a]\ntell = [{ webhook = "ftp://x/", secret = "S" }]', "no http or https address"),
        ('[owners.a]\ntell = [{ webhook = "https://u:p@x/", secret = "S" }]', "no http or https address"),
        ('[owners.a]\ntell = [{ webhook = "https://x:0x/", secret = "S" }]', "no http or https address"),
        ('[owners.a]\ntell = [{ webhook = "https://x y/", secret = "S" }]', "no http or https address"),
        ('[owners.a]\ntell = [{ webhook = "https://x/\\n", secret = "S" }]', "no http or https address"),
        ('[owners."a\\u202eb"]', "a name is one line of plain text"),
        ('[owners.""]', "owners.toml: owner '': a name is one line"),
        ('[owners.a]\ntell = [{ webhook = "https://x/" }]', "needs secret="),
        ('[owners.a]\ntell = [{ webhook = "https://x/", secret = "not a name" }]', "needs secret="),
    ],
)
def test_a_slip_in_owners_toml_is_told(text: str, why: str) -> None:
    with pytest.raises(DefinitionError) as told:
        parse_owners(text)
    assert why in str(told.value)
    assert str(told.value).startswith("owners.toml: ")


def test_a_row_is_for_those_it_names() -> None:
    assert acted((LEAD,), ("bob", True)).state(Ref("door", "d")) == "open"


def test_a_row_that_is_for_others_lets_the_next_one_have_it() -> None:
    assert acted((LEAD,), ("eve", True)).state(Ref("door", "d")) == "ajar"


@pytest.mark.parametrize(("actor", "who"), [("eve", "eve"), ("", "an event without an actor")])
def test_where_it_would_have_fitted_but_for_that_the_event_is_not_allowed(actor: str, who: str) -> None:
    play = acted((LEAD,), ("", False), (actor, False))
    assert play.outcomes()[-1] == ("rejected", "not_allowed")
    assert play.all.dead[-1].error == f"{who} does not belong to lead"
    assert play.state(Ref("door", "d")) == "ajar"
    assert play.balanced()


def test_a_row_for_people_needs_people() -> None:
    with pytest.raises(DefinitionError, match="a row of door is for 'boss' alone, but owners= names no people of that owner"):
        App("house", machines=(doors(Owner("boss")),), owners=parse_owners(OWNERS))
    with pytest.raises(DefinitionError, match="but a clock is nobody"):
        State[Door]("a").on(State[Door]("b").breached, by=(LEAD,))
    with pytest.raises(DefinitionError, match="is no tuple of owners"):
        State[Door]("a").on(Opened, by=LEAD)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_owners_are_not_told_on_a_topic_that_is_read() -> None:
    told = {"lead": parse_owners(OWNERS).owners["lead"]}
    told["lead"] = type(told["lead"])(("ann",), (), (Channel(topic="doors"),))
    with pytest.raises(DefinitionError, match="told on a topic that the App takes: 'doors'"):
        App("house", machines=(doors(LEAD),), topics=(Topic("doors"),), owners=Directory(told))


def test_what_each_row_wants_is_drawn() -> None:
    assert "  door.opened -> open, by lead, when is_wide\n" in text(doors(LEAD))
    assert "door.opened by lead [is_wide]" in mermaid(doors(LEAD))
