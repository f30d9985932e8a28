"""Clocks on a calendar: every rung, pause, meeting and withdrawal counts on working time; and a calendar that is changed under running clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from stream import App, Calendar, Clock, DefinitionError, Machine, Sla, State, days, hours, minutes, opens
from stream.core.diagram import shown, text
from stream.core.ladder import Note
from tests.core import visits
from tests.core.play import Play, at
from tests.core.test_clocks import notes, solving
from tests.core.visits import V, tell

# The tests' day begins at noon of Monday, 2 March 2026.
MINE = {"mon-fri": "08:00-12:00, 13:00-17:00"}
TUESDAY = 24 * 60
OFFICE = Calendar("office", "UTC", MINE)


def machine(clock: Clock[visits.Visit]) -> Machine[visits.Visit]:
    return Machine[visits.Visit]("visit", data=visits.Visit, events=(visits.VisitEvent,), clocks=(clock,), transitions=visits.visit.transitions)


def play(calendar: Calendar = OFFICE) -> Play:
    return Play(App("visits", machines=(machine(replace(visits.solving, calendar=calendar)),)))


def played(*told: tuple[float, str] | tuple[float, str, int]) -> Play:
    found = play()
    tell(found, *told)
    return found


def test_every_rung_is_due_on_working_time_alone() -> None:
    found = played((0, "booked"), (10, "begun"), (TUESDAY + 200, "fire"))
    assert solving(found) == [("warned", 180), ("breached", 300), ("escalated", TUESDAY - 120), ("escalated", TUESDAY), ("escalated", TUESDAY + 180)]


@pytest.mark.parametrize("steps", [[TUESDAY], range(0, TUESDAY + 1, 7)])
def test_after_an_outage_every_rung_fires_once_and_in_order(steps: list[int]) -> None:
    found = played((0, "booked"), (10, "begun"), *((step, "fire") for step in steps), (TUESDAY, "fire"))
    assert solving(found) == [("warned", 180), ("breached", 300), ("escalated", TUESDAY - 120), ("escalated", TUESDAY)]


def test_a_pause_takes_working_time_off_and_a_night_is_no_pause_more() -> None:
    found = played((0, "booked"), (10, "begun"), (100, "asked"), (1000, "begun"), (TUESDAY, "fire"))
    assert solving(found) == [("warned", 1280), ("breached", 1400)]


def test_a_clock_met_notes_working_time() -> None:
    found = played((0, "booked"), (10, "begun"), (TUESDAY + 90, "solved"))
    assert notes(found)[-1] == Note("solving", "met", "desk", took=8.5 * 3600, late=4.5 * 3600)


def test_what_was_left_before_a_withdrawn_breach_is_left_after_it() -> None:
    found = played((0, "booked"), (10, "begun"), (400, "fire"), (290, "asked"), (500, "begun"), (1300, "fire"))
    assert solving(found) == [("warned", 180), ("breached", 300), ("withdrawn", 290), ("breached", 1210)]


def test_a_late_event_out_of_hours_met_the_clock_with_all_that_was_left_by_then() -> None:
    # It stood still since 17:10, and now turns out to have been solved at 12:30, within the break: nothing was used up by then.
    found = played((0, "booked"), (10, "begun"), (310, "asked"), (30, "solved"), (1200, "failed"), (TUESDAY + 60, "fire"))
    assert solving(found) == [("warned", 180), ("breached", 300), ("withdrawn", 30), ("breached", TUESDAY)]


def test_an_sla_counts_on_a_calendar_too() -> None:
    new = State[visits.Visit]("new", sla=Sla(hours(5), calendar=OFFICE))
    done = State[visits.Visit]("done", final=True)
    rows = (opens(visits.Booked, to=new, then=visits.book), new.on(visits.Begun), new.on(visits.Ended, to=done))
    found = Play(App("visits", machines=(Machine[visits.Visit]("visit", data=visits.Visit, events=(visits.VisitEvent,), transitions=rows),)))
    tell(found, (0, "booked"))
    assert found.entities[V].timers == {"sla new": at(21 * 60)}


def test_a_changed_calendar_counts_from_the_entitys_next_event() -> None:
    found, later = played((0, "booked"), (10, "begun")), play(Calendar("office", "UTC", MINE, closed=(date(2026, 3, 2),)))
    later.entities = found.entities
    assert later.entities[V].timers == {"sla solving": at(180)}
    tell(later, (60, "rated", 4))
    assert later.entities[V].timers == {"sla solving": at(TUESDAY - 120)}


def test_a_calendar_that_gained_hours_is_late_at_once_and_never_before_the_event() -> None:
    found, later = played((0, "booked"), (10, "begun")), play(Calendar("office", "UTC", {"mon-sun": "00:00-24:00"}))
    later.entities = found.entities
    tell(later, (170, "rated", 4), (400, "fire"))
    assert solving(later) == [("warned", 170), ("breached", 240), ("escalated", 360)]


def test_an_unchanged_calendar_writes_no_row_anew() -> None:
    found = played((0, "booked"), (10, "begun"))
    assert found.send((visits.event("rated", 4), 60, "same")).set_timers == []


def test_a_target_beyond_all_reach_never_rings() -> None:
    rare = Calendar("rare", "UTC", {"sun": "08:00-08:01"})
    found = Play(App("visits", machines=(machine(replace(visits.solving, within=days(7000), calendar=rare)),)))
    tell(found, (0, "booked"), (10, "begun"))
    assert (found.state(V), found.entities[V].timers) == ("working", {})


def test_an_app_has_one_calendar_of_a_name() -> None:
    other = Calendar("office", "UTC", MINE)
    booked = State[visits.Visit]("booked", sla=Sla(minutes(40), calendar=other))
    rows = (opens(visits.Booked, to=booked, then=visits.book), booked.on(visits.Solved, to=visits.solved), visits.solved.on(visits.Failed, to=booked))
    two = Machine[visits.Visit](
        "visit", data=visits.Visit, events=(visits.VisitEvent,), transitions=rows,
        clocks=(Clock[visits.Visit]("solving", within=hours(1), met=(visits.solved,), calendar=OFFICE),),
    )  # fmt: skip
    with pytest.raises(DefinitionError, match="visits: two calendars are called 'office'"):
        App("visits", machines=(two,))


def test_a_diagram_names_whose_time_counts() -> None:
    found = machine(replace(visits.solving, calendar=OFFICE))
    assert "clock solving, within target of office time else lead" in text(found)
    calendars: Mapping[str, str] = {clock.name: clock.calendar for clock in shown(found).clocks}
    assert calendars == {"solving": "office"}
