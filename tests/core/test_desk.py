"""A person's order to move an entity: its clocks, who waits for it, and when nothing is done."""

from __future__ import annotations

import msgspec
import pytest

from stream.core.changes import Changes
from stream.core.ladder import Note
from stream.core.order import Move
from stream.core.record import Ref
from tests.core.jobs import A, JobDone, JobEvent, JobNoted, JobOpened, JobStarted, PartCame, app
from tests.core.play import Play, at

OPENED, STARTED, DONE = JobOpened(job_id="a", size=2), JobStarted(job_id="a"), JobDone(job_id="a")


def played(*events: JobEvent, minutes: float = 5) -> Play:
    play = Play(app)
    play.now = at(minutes)
    play.send(*((event, float(n), f"e{n}") for n, event in enumerate(events)))
    return play


def move(play: Play, seen: str, to: str, ref: Ref = A) -> Changes:
    changes = play.order(Move(ref, seen, to, "ann", "told by phone"), "desk")
    assert play.balanced()
    return changes


def test_a_move_is_a_row_of_the_history_with_who_and_why() -> None:
    play = played(OPENED)
    move(play, "new", "paused")
    assert play.state(A) == "paused"
    row = play.all.history[-1]
    assert (row.event_type, row.outcome, row.reason, row.error, row.actor, row.door) == (
        *("entity.moved", "applied", "manual", "told by phone", "ann", "desk"),
    )
    assert (row.from_state, row.to_state, row.time) == ("new", "paused", at(5))
    assert play.data(A)["size"] == 2


def test_the_clocks_of_the_state_that_is_left_end_and_those_of_the_new_one_begin() -> None:
    play = played(OPENED)
    move(play, "new", "paused")
    assert play.entities[A].timers == {"after paused -> closed": at(5 + 2 * 24 * 60)}
    (met,) = msgspec.json.decode(play.all.history[-1].clocks, type=list[Note])
    assert (met.clock, met.what, met.took) == ("new", "met", 300.0)
    move(play, "paused", "checked")
    assert play.entities[A].timers == {"sla checked": at(65)}


def test_what_is_due_comes_before_the_move() -> None:
    play = played(OPENED, minutes=30)
    move(play, "new", "working")
    assert [row.event_type for row in play.all.history] == ["job.opened", "sla.breached", "entity.moved"]


def test_events_that_waited_are_tried_in_the_new_state() -> None:
    play = played(OPENED, DONE)
    move(play, "new", "working")
    assert play.state(A) == "closed"
    assert play.entities[A].line == []


def test_a_state_that_settles_is_left_at_once() -> None:
    play = played(OPENED, PartCame(job_id="a", part="x"), PartCame(job_id="a", part="y"))
    move(play, "new", "working")
    assert play.state(A) == "checked"


def test_a_parked_line_stays_parked_and_is_retried_where_the_entity_then_is() -> None:
    play = played(OPENED, JobNoted(job_id="a", text="boom"), STARTED)
    move(play, "new", "paused")
    assert play.state(A) == "paused"
    assert play.entities[A].parked
    play.retry(A, skip="no")
    assert play.state(A) == "working"


def test_what_is_final_can_be_opened_again() -> None:
    play = played(OPENED, STARTED, DONE)
    move(play, "closed", "working")
    assert play.state(A) == "working"


@pytest.mark.parametrize(("seen", "to", "ref"), [("working", "paused", A), ("new", "nowhere", A), ("new", "paused", Ref("job", "z"))])
def test_nothing_is_done_unless_it_is_where_it_was_seen_and_the_state_is_there(seen: str, to: str, ref: Ref) -> None:
    play = played(OPENED)
    changes = move(play, seen, to, ref)
    assert (changes.history, changes.handled, changes.entities) == ([], [], {})
    assert play.state(A) == "new"


def test_a_target_that_cannot_be_asked_undoes_the_move() -> None:
    play = played(OPENED)
    play.entities[A].data = b'{"job_id":"a","size":-3}'
    changes = move(play, "new", "working")
    assert play.state(A) == "working"
    changes = move(play, "working", "new")
    assert play.state(A) == "working"
    (told,) = changes.handled
    assert (told.outcome, changes.history) == ("parked", [])
    assert "checked_duration" in told.error
