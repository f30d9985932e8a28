"""Who belongs to an owner, how one is told, and what a row with `by=` makes of it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from stream import App, Calendar, Clock, Data, DefinitionError, Event, Machine, Owner, Ref, Sla, State, Task, Topic, hours, opens, parse_owners
from stream.core.diagram import mermaid, text
from stream.core.directory import Channel, Directory
from stream.core.machine import AnyMachine
from tests.core.play import Play, at

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
        ('[owners.desk]\ncalendar = "night"', "'desk' names the calendar 'night', which is not under [calendars]"),
        ('[calendars.day]\nzone = "Mars/Base"\nhours = { mon = "08:00-09:00" }', "owners.toml: calendar 'day': Calendar 'day'"),
        ('[calendars.day]\nzone = "UTC"\nhours = {}', "owners.toml: calendar 'day': Calendar 'day'"),
        ('[calendars.day]\nzone = "UTC"\nhours = { mon = "08:00-09:00" }\nregion = "BY"', "has a region without a country"),
        ('[calendars.day]\nzone = "UTC"\nhours = { mon = "08:00-09:00" }\ncountry = "XX"', "owners.toml: calendar 'day': Calendar 'day'"),
        (
            '[calendars.day]\nzone = "UTC"\nhours = { mon = "08:00-09:00" }\nopen = { soon = "08:00-09:00" }',
            "owners.toml: calendar 'day': Invalid isoformat",
        ),
        ('[calendars.day]\nzone = "UTC"\nhours = { mon = "08:00-09:00" }\nopened = []', "owners.toml: Object contains unknown field `opened`"),
        ('[calendars.day]\nhours = { mon = "08:00-09:00" }', "owners.toml: Object missing required field `zone`"),
        ('[calendars." "]\nzone = "UTC"\nhours = { mon = "08:00-09:00" }', "owners.toml: calendar"),
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


HOURS = """
[calendars.day]
zone = "UTC"
hours = { mon-fri = "12:00-13:00" }
closed = [2026-03-03]
open = { 2026-03-07 = "12:00-13:00" }

[owners.desk]
calendar = "day"
"""


def watched(owners: str, sla: Sla[Door]) -> Play:
    """A door that was shut on Monday at noon."""
    shut, open = State[Door]("shut", owner=DESK, sla=sla), State[Door]("open", final=True)
    rows = (opens(Built, to=shut, then=build), shut.on(Opened, to=open))
    whole = (Clock[Door]("whole", hours(3), met=(open,)),)
    play = Play(
        App("house", machines=(Machine("door", data=Door, events=(DoorEvent,), transitions=rows, clocks=whole),), owners=parse_owners(owners))
    )
    play.send((Built(door="d"), 0, "b"))
    return play


def test_an_sla_counts_the_hours_of_whoever_has_the_turn() -> None:
    timers = watched(HOURS, Sla(hours(2))).entities[Ref("door", "d")].timers
    # Tuesday is closed; a clock across states is nobody's alone.
    assert timers == {"sla shut": at(2 * 24 * 60 + 60), "sla whole": at(180)}
    assert watched("", Sla(hours(2))).entities[Ref("door", "d")].timers["sla shut"] == at(120)


def test_an_sla_with_hours_of_its_own_keeps_them() -> None:
    always = Calendar("always", "UTC", {"mon-sun": "00:00-24:00"})
    assert watched(HOURS, Sla(hours(2), calendar=always)).entities[Ref("door", "d")].timers["sla shut"] == at(120)


def test_a_task_counts_the_hours_of_whoever_is_asked() -> None:
    shut, open = (
        State[Door]("shut", owner=LEAD, task=Task[Door]("Open?", answers=(Opened,), owner=DESK, within=hours(2))),
        State[Door]("open", final=True),
    )
    rows = (opens(Built, to=shut, then=build), shut.on(Opened, to=open))
    machine = Machine("door", data=Door, events=(DoorEvent,), transitions=rows)
    app = App("house", machines=(machine,), owners=parse_owners(HOURS))
    assert "  asks desk: Open? door.opened within 2 hours of day time\n" in text(app.machines[0])
    play = Play(app)
    play.send((Built(door="d"), 0, "b"))
    assert play.entities[Ref("door", "d")].timers == {"sla shut task": at(2 * 24 * 60 + 60)}
    # Another App with the same machine has hours, or none, of its own.
    assert all(dial.target.calendar is None for dial in machine.dials.values())


@pytest.mark.parametrize(("owners", "due"), [("", 120), (HOURS.replace("12:00-13:00", "12:00-14:00"), 120), (HOURS, 2 * 24 * 60 + 60)])
def test_a_machine_of_another_app_has_the_hours_of_this_one(owners: str, due: int) -> None:
    app = watched(HOURS, Sla(hours(2))).app
    play = Play(replace(app, owners=parse_owners(owners)))
    play.send((Built(door="d"), 0, "b"))
    assert play.entities[Ref("door", "d")].timers["sla shut"] == at(due)


def test_a_calendar_of_the_file_and_another_of_that_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two calendars are called 'day'"):
        App("house", machines=(of_two_calendars(),), owners=parse_owners(HOURS))


def of_two_calendars() -> AnyMachine:
    shut, ajar, open = (
        State[Door]("shut", owner=DESK, sla=Sla(hours(1))),
        State[Door]("ajar", sla=Sla(hours(1), calendar=OTHER)),
        State[Door]("open", final=True),
    )
    rows = (opens(Built, to=shut, then=build), shut.on(Opened, to=ajar), ajar.on(Opened, to=open))
    return Machine("door", data=Door, events=(DoorEvent,), transitions=rows)


OTHER = Calendar("day", "UTC", {"mon": "00:00-24:00"})
