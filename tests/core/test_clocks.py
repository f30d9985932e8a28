"""Clocks across states and their ladders: when each rung is told, what stands still, what is met, and what is taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from stream import App, Machine, SlaBreached, SlaEscalated, SlaWarned, days
from stream.core.chain import link
from stream.core.clock import REPEATS
from stream.core.ladder import Mode, Note
from stream.core.outcome import Outcome, Reason
from tests.core import visits
from tests.core.play import Play, at
from tests.core.visits import V, played, tell, visit

PLAIN = [row for row in visit.transitions if not row.clock]
BARE = App(
    "visits",
    machines=(
        Machine("visit", data=visits.Visit, events=(visits.VisitEvent,), transitions=[*PLAIN, visits.asking.after(days(900), to=visits.stuck)]),
    ),
)
Rung = tuple[str, str, float]


def rungs(play: Play, clock: str = "") -> list[Rung]:
    """(clock, what, minute) of everything said about clocks, in order."""
    said = [(m.type.removeprefix("sla."), msgspec.json.decode(m.value, type=dict[str, Any]), dict(m.headers)["ce_time"]) for m in play.all.messages]
    return [(body["clock"], type, minute(time)) for type, body, time in said if clock in ("", body["clock"])]


def minute(time: str) -> float:
    return (datetime.fromisoformat(time) - at(0)).total_seconds() / 60


def solving(play: Play) -> list[tuple[str, float]]:
    return [(type, when) for _, type, when in rungs(play, "solving")]


def notes(play: Play) -> list[Note]:
    return [note for row in play.all.history if row.clocks for note in msgspec.json.decode(row.clocks, type=list[Note])]


def test_a_clock_runs_across_states_and_tells_each_rung_before_a_later_event() -> None:
    play = played((0, "booked"), (10, "begun"), (500, "ended"))
    assert solving(play) == [("warned", 120), ("breached", 240), ("escalated", 360), ("escalated", 480)]
    assert [h.event_type for h in play.all.history] == [
        "visit.booked", "visit.begun", "sla.warned", "sla.breached", "sla.escalated", "sla.escalated", "visit.ended",
    ]  # fmt: skip


def test_a_rung_says_clock_state_owners_level_due_and_how_late() -> None:
    play = played((0, "booked"), (10, "begun"), (400, "fire"))
    bodies = [m.value for m in play.all.messages]
    warned = msgspec.json.decode(bodies[0], type=SlaWarned)
    breached = msgspec.json.decode(bodies[1], type=SlaBreached)
    again = msgspec.json.decode(bodies[2], type=SlaEscalated)
    assert breached == SlaBreached(
        clock="solving", machine="visit", entity_id="v", state="working", owner="desk", escalate_to="lead", level=1, due=at(240), late=0.0,
        entered=at(10), reasons=("parts", "weather"),
    )  # fmt: skip
    assert [(e.level, e.due, e.late) for e in (warned, again)] == [(0, at(240), 0.0), (2, at(240), 7200.0)]
    assert {(m.topic, m.key) for m in play.all.messages} == {("alerts", b"v")}


@pytest.mark.parametrize("steps", [[500], [120, 240, 360, 480, 500], list(range(1, 501))])
def test_after_an_outage_every_rung_fires_once_and_in_order(steps: list[float]) -> None:
    play = played((0, "booked"), (10, "begun"), *((step, "fire") for step in steps))
    assert solving(play) == [("warned", 120), ("breached", 240), ("escalated", 360), ("escalated", 480)]
    assert [n.what for n in notes(play) if n.clock == "solving"] == ["warned", "breached", "escalated", "escalated"]


def test_an_sla_on_a_state_has_the_same_ladder() -> None:
    play = played((0, "booked"), (85, "begun"), (100, "ended"))
    assert rungs(play) == [("booked", "warned", 30), ("booked", "breached", 40), ("booked", "escalated", 60), ("booked", "escalated", 80)]


def test_a_ladder_ends() -> None:
    play = played((0, "booked", 1), (10, "begun"), (60 * 24 * 365, "fire"))
    last = solving(play)[-1]
    assert (len(solving(play)), last) == (2 + REPEATS, ("escalated", 60 + REPEATS * 120))
    assert play.entities[V].timers == {}


def test_a_clock_stands_still_in_a_pause() -> None:
    play = played((0, "booked"), (10, "begun"), (100, "asked"), (1000, "begun"), (2000, "ended"))
    assert solving(play)[:2] == [("warned", 1020), ("breached", 1140)]


def test_a_clock_that_stands_still_has_a_row_without_an_instant() -> None:
    play = played((0, "booked"), (10, "begun"), (100, "asked"))
    assert (play.entities[V].timers, play.entities[V].clocks["sla solving"].stands) == ({}, Mode.PAUSED)


def test_a_clock_met_in_time_tells_nobody_and_notes_how_long_it_took() -> None:
    play = played((0, "booked"), (10, "begun"), (20, "asked"), (60, "begun"), (100, "solved"), (5000, "fire"))
    assert rungs(play) == []
    assert notes(play) == [Note("booked", "met", "desk", took=600.0), Note("solving", "met", "desk", took=3600.0)]


def test_a_clock_met_late_notes_by_how_much() -> None:
    play = played((0, "booked", 1), (10, "begun"), (75, "solved"))
    assert notes(play)[-1] == Note("solving", "met", "lead", took=4500.0, late=900.0)
    assert [type for type, _ in solving(play)] == ["warned", "breached"]


def test_a_clock_goes_on_where_it_stood_after_a_reopening() -> None:
    play = played((0, "booked"), (10, "begun"), (230, "solved"), (1000, "failed"), (1100, "solved"))
    assert solving(play) == [("warned", 120), ("breached", 1010)]
    assert [n.took for n in notes(play) if n.clock == "solving" and n.what == "met"] == [230 * 60.0, 330 * 60.0]


def test_a_clock_that_became_void_says_nothing_and_goes_on_when_that_is_undone() -> None:
    play = played((0, "booked"), (10, "begun"), (100, "dropped"), (3000, "failed"), (3200, "ended"))
    assert solving(play) == [("warned", 3020), ("breached", 3140)]
    assert [n.what for n in notes(play) if n.clock == "solving"] == ["void", "warned", "breached", "void"]


def test_an_entity_at_its_end_holds_no_clock() -> None:
    play = played((0, "booked"), (10, "begun"), (500, "ended"))
    assert (play.entities[V].timers, play.entities[V].clocks) == ({}, {})


def test_a_shorter_target_is_due_at_once_and_never_before_the_change() -> None:
    play = played((0, "booked", 8), (10, "begun"), (200, "rated", 2), (300, "fire"))
    assert solving(play) == [("warned", 200), ("breached", 200), ("escalated", 240)]


def test_a_longer_target_gives_more_time() -> None:
    play = played((0, "booked"), (10, "begun"), (230, "rated", 8), (479, "fire"))
    assert solving(play) == [("warned", 120)]
    tell(play, (480, "fire"))
    assert solving(play)[-1] == ("breached", 480)


def test_a_longer_target_after_a_breach_takes_nothing_back_and_tells_nothing_twice() -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "rated", 4), (400, "fire"))
    assert solving(play) == [("warned", 60), ("breached", 120), ("escalated", 360)]


def test_a_target_that_changes_while_the_clock_stands_still_counts_when_it_goes_on() -> None:
    play = played((0, "booked"), (10, "begun"), (100, "asked"), (110, "rated", 2), (200, "begun"), (230, "fire"))
    assert solving(play) == [("warned", 200), ("breached", 220)]


def test_a_row_moves_on_the_breach_of_a_clock_and_only_where_its_guard_holds() -> None:
    assert played((0, "booked", 1), (10, "begun"), (60, "fire")).state(V) == "stuck"
    assert played((0, "booked", 2), (10, "begun"), (120, "fire")).state(V) == "working"


def test_rows_take_warnings_and_escalations_as_well() -> None:
    play = played((0, "booked"), (10, "begun"), (500, "fire"))
    assert (play.data(V)["hurried"], play.counts["fired"]) == (3, 4)


@pytest.mark.parametrize("stops", ["solved", "dropped", "asked"])
def test_a_breach_is_withdrawn_when_a_late_event_stopped_the_clock_before_it(stops: str) -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "fire"), (110, stops))
    assert solving(play) == [("warned", 60), ("breached", 120), ("withdrawn", 110)]
    body = msgspec.json.decode(play.all.messages[-1].value, type=dict[str, str])
    assert (body["due"], body["met"], body["owner"], body["escalate_to"]) == ("2026-03-02T14:00:00Z", "2026-03-02T13:50:00Z", "desk", "lead")
    assert notes(play)[-1 if stops == "asked" else -2] == Note("solving", "withdrawn", "desk", due=at(120))


def test_an_event_at_the_due_instant_is_too_late_to_withdraw() -> None:
    assert solving(played((0, "booked", 2), (10, "begun"), (130, "fire"), (120, "solved")))[-1] == ("breached", 120)


def test_what_was_left_before_a_withdrawn_breach_is_left_after_it() -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "fire"), (110, "asked"), (500, "begun"), (600, "fire"))
    assert solving(play) == [("warned", 60), ("breached", 120), ("withdrawn", 110), ("breached", 510)]


def test_a_late_event_that_met_the_clock_while_it_stood_still_withdraws_too() -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "asked"), (110, "solved"), (200, "failed"), (209, "fire"))
    assert solving(play) == [("warned", 60), ("breached", 120), ("withdrawn", 110)]
    tell(play, (210, "fire"))
    assert solving(play)[-1] == ("breached", 210)


def test_a_breach_told_at_once_for_a_shorter_target_and_withdrawn_leaves_what_was_left() -> None:
    play = played((0, "booked", 8), (10, "begun"), (200, "rated", 2), (210, "asked"), (90, "solved"), (300, "failed"), (329, "fire"))
    assert solving(play) == [("warned", 200), ("breached", 200), ("withdrawn", 90)]
    tell(play, (330, "fire"))
    assert solving(play)[-1] == ("breached", 330)


def test_a_pause_between_the_late_event_and_the_breach_is_no_time_of_the_clock() -> None:
    play = played((0, "booked", 2), (10, "begun"), (100, "asked"), (200, "begun"), (230, "fire"), (80, "solved"), (300, "failed"), (400, "fire"))
    assert solving(play) == [("warned", 60), ("breached", 220), ("withdrawn", 80), ("breached", 340)]
    assert [n.took for n in notes(play) if n.clock == "solving" and n.what == "met"] == [80 * 60.0]


def test_a_clock_once_met_is_not_void_at_its_end_and_is_met_once() -> None:
    play = played((0, "booked"), (10, "begun"), (100, "solved"), (200, "ended"))
    assert [n.what for n in notes(play) if n.clock == "solving"] == ["met"]


def test_a_late_end_from_before_the_breach_withdraws_it_though_the_clock_was_met_since() -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "solved"), (110, "ended"))
    assert solving(play) == [("warned", 60), ("breached", 120), ("withdrawn", 110)]


def test_a_second_breach_withdrawn_is_reckoned_from_where_the_first_one_was_taken_back_to() -> None:
    play = played((0, "booked", 2), (10, "begun"), (130, "asked"), (90, "solved"), (200, "failed"), (240, "fire"), (80, "solved"))
    assert solving(play) == [("warned", 60), ("breached", 120), ("withdrawn", 90), ("breached", 230), ("withdrawn", 80)]
    assert [n.took for n in notes(play) if n.clock == "solving" and n.what == "met"] == [90 * 60.0, 80 * 60.0]


def test_clocks_of_a_parked_entity_ring_and_the_move_they_cause_joins_the_line() -> None:
    play = played((0, "booked", 1), (10, "begun"), (20, "rated", 13), (70, "fire"))
    assert ([type for type, _ in solving(play)], play.state(V)) == (["warned", "breached"], "working")
    line = play.entities[V].line
    assert [(w.event_type, w.outcome, w.reason) for w in line] == [
        ("visit.rated", Outcome.PARKED, Reason.HANDLER_FAILED),
        ("sla.warned", Outcome.PARKED, Reason.BEHIND),
        ("sla.breached", Outcome.PARKED, Reason.BEHIND),
    ]
    play.retry(V, skip="known fault")
    assert (play.state(V), play.entities[V].line) == ("stuck", [])


def test_a_breach_in_a_line_is_void_once_what_stood_before_it_met_the_clock() -> None:
    play = played((0, "booked", 1), (10, "begun"), (20, "rated", 13), (30, "solved"), (70, "fire"))
    play.retry(V, skip="known fault")
    assert (play.state(V), play.entities[V].line) == ("solved", [])
    assert [type for type, _ in solving(play)] == ["warned", "breached", "withdrawn"]


def test_a_warning_in_a_line_is_void_once_what_stood_before_it_met_the_clock() -> None:
    play = played((0, "booked", 1), (10, "begun"), (20, "rated", 13), (25, "solved"), (40, "fire"))
    assert len(play.entities[V].line) == 3
    play.retry(V, skip="known fault")
    assert (play.state(V), play.entities[V].line, play.data(V)["hurried"]) == ("solved", [], 0)


def test_a_clock_declared_later_begins_with_the_next_move() -> None:
    play = Play(BARE)
    tell(play, (0, "booked"), (10, "begun"))
    later = played()
    later.entities = play.entities
    tell(later, (20, "rated", 2), (30, "asked"), (40, "begun"), (160, "fire"))
    assert solving(later) == [("warned", 100), ("breached", 160)]


def test_a_clock_that_is_declared_no_more_is_silent() -> None:
    play = played((0, "booked"), (10, "begun"))
    later = Play(BARE)
    later.entities = play.entities
    tell(later, (500, "fire"), (510, "solved"))
    assert (rungs(later), later.entities[V].timers, later.entities[V].clocks) == ([], {}, {})


def test_the_hash_chain_covers_what_is_noted_of_clocks() -> None:
    row = next(row for row in played((0, "booked"), (10, "begun")).all.history if row.clocks)
    assert link(b"", row) != link(b"", msgspec.structs.replace(row, clocks=row.clocks.replace("met", "void")))
