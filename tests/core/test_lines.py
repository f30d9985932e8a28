"""Lines: early events wait and go in order; a failed one holds the entity until a person says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stream import App, Data, Event, Machine, Ref, State, hours, opens
from stream.core import booking, decide
from stream.core.booking import put_back
from stream.core.entity import Waiting
from stream.core.order import Retry
from stream.core.outcome import Outcome, Reason
from tests.core import jobs
from tests.core.jobs import A, JobDone, JobNoted, JobOpened, JobPaused, JobStarted, PartCame, app
from tests.core.play import Play, at


def test_an_event_for_an_entity_not_yet_born_waits_for_its_birth() -> None:
    play = Play(app)
    play.send((PartCame(job_id="a", part="x"), 5, "2"), (PartCame(job_id="a", part="y"), 4, "3"))
    assert ([w.reason for w in play.entities[A].line], play.entities[A].version) == ([Reason.UNBORN, Reason.UNBORN], 0)
    play.send((JobOpened(job_id="a"), 6, "1"))
    assert (play.data(A)["parts"], play.entities[A].line, play.entities[A].version) == (["x", "y"], [], 3)
    assert (play.counts["deferred"], play.counts["drained"], play.counts["applied"]) == (2, 2, 1)
    assert play.balanced()


def test_birth_in_the_same_batch_drains_at_once() -> None:
    play = Play(app)
    changes = play.send((PartCame(job_id="a", part="x"), 5, "2"), (JobOpened(job_id="a"), 6, "1"))
    assert (changes.lines, changes.drop_lines, play.entities[A].version) == ([], [], 2)


def test_what_a_state_defers_is_tried_when_the_state_is_left() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"), (JobDone(job_id="a"), 1, "2"))
    assert [(w.outcome, w.reason, w.until) for w in play.entities[A].line] == [(Outcome.DEFERRED, Reason.EARLY, at(121))]
    play.send((JobStarted(job_id="a"), 2, "3"))
    assert (play.state(A), play.entities[A].line) == ("closed", [])


def test_what_still_does_not_fit_keeps_later_ones_behind_it() -> None:
    play = Play(app)
    play.send(
        (JobOpened(job_id="a"), 0, "1"), (JobDone(job_id="a"), 1, "2"), (JobPaused(job_id="a"), 2, "3"), (PartCame(job_id="a", part="x"), 3, "4")
    )
    assert [w.event_id for w in play.entities[A].line] == ["2", "4"]
    play.send((JobStarted(job_id="a"), 4, "5"))
    assert play.state(A) == "closed"
    assert [(d.event_id, d.reason) for d in play.all.dead] == [("4", Reason.NO_TRANSITION)]


def test_at_birth_too_the_first_that_does_not_fit_keeps_the_rest_in_order() -> None:
    play = Play(app)
    play.send((JobDone(job_id="a"), 1, "2"), (JobNoted(job_id="a", text="fine"), 2, "3"), (JobOpened(job_id="a"), 0, "1"))
    assert ([w.event_id for w in play.entities[A].line], play.data(A)["notes"]) == (["2", "3"], [])


def test_a_deferred_event_past_its_limit_is_rejected_and_told() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=100), 0, "1"), (JobDone(job_id="a"), 1, "2"))
    play.fire(A, 121)
    assert play.outcomes()[-1] == ("rejected", "deferred_too_long")
    assert (play.said(), play.entities[A].line) == (["wait.expired"], [])
    assert "limit" not in play.entities[A].timers


def test_an_event_whose_entity_is_never_born_is_rejected_and_told() -> None:
    play = Play(app)
    play.send((JobStarted(job_id="a"), 0, "1"))
    play.fire(A, 60 * 24)
    assert (play.outcomes(), play.said()) == ([("rejected", "unborn")], ["wait.expired"])
    assert [d.reason for d in play.all.dead] == [Reason.UNBORN]


@pytest.mark.parametrize(("unborn", "outcome"), [("reject", "rejected"), ("ignore", "ignored")])
def test_a_machine_may_refuse_or_ignore_the_unborn(unborn: str, outcome: str) -> None:
    machine = Machine(
        "job",
        data=jobs.Job,
        events=jobs.job.events,
        transitions=jobs.job.transitions,
        unborn="reject" if unborn == "reject" else "ignore",
    )
    play = Play(App("shop", machines=(machine,)))
    play.send((JobStarted(job_id="a"), 0, "1"))
    assert play.counts[outcome] == 1
    assert play.balanced()


def test_everything_behind_a_parked_event_waits_in_order() -> None:
    play = parked()
    play.send((JobNoted(job_id="a", text="one"), 3, "4"), (JobDone(job_id="a"), 4, "5"))
    assert [(w.event_id, w.reason) for w in play.entities[A].line] == [("3", "handler_failed"), ("4", "behind"), ("5", "behind")]
    assert (play.state(A), play.counts["parked"]) == ("working", 3)
    assert play.balanced()


def parked() -> Play:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"), (JobStarted(job_id="a"), 1, "2"), (JobNoted(job_id="a", text="boom"), 2, "3"))
    return play


def test_a_retry_that_fails_again_counts_and_keeps_the_line() -> None:
    play = parked()
    play.send((JobDone(job_id="a"), 4, "5"))
    changes = play.retry(A)
    assert [(w.event_id, w.attempts) for w in play.entities[A].line] == [("3", 2), ("5", 0)]
    assert [w.event_id for w in changes.retried] == ["3"]


def test_a_long_line_whose_head_fails_again_is_put_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    play, put = Play(app), list[int]()
    notes = [(JobNoted(job_id="a", text="boom" if n == 0 else "fine"), n, f"n{n}") for n in range(50)]
    play.send((JobOpened(job_id="a", size=100), 0, "1"), *notes)

    def counted(line: list[Waiting], taken: Sequence[Waiting]) -> None:
        put.append(len(taken))
        put_back(line, taken)

    for module in (booking, decide):
        monkeypatch.setattr(module, "put_back", counted)
    play.retry(A)
    assert [w.event_id for w in play.entities[A].line] == [f"n{n}" for n in range(50)]
    assert put == [1, 49]


def test_a_skip_rejects_the_head_by_name_and_lets_the_rest_go() -> None:
    play = parked()
    play.send((JobNoted(job_id="a", text="one"), 3, "4"), (JobDone(job_id="a"), 4, "5"))
    play.retry(A, skip="duplicate paper")
    assert (play.state(A), play.entities[A].line, play.data(A)["notes"]) == ("closed", [], ["one"])
    skipped = next(h for h in play.all.history if h.reason == "manual")
    assert (skipped.actor, skipped.error, skipped.outcome) == ("ann", "duplicate paper", Outcome.REJECTED)


def test_a_second_failure_in_the_line_stops_there() -> None:
    play = parked()
    play.send((JobNoted(job_id="a", text="one"), 3, "4"), (JobNoted(job_id="a", text="boom"), 4, "5"), (JobDone(job_id="a"), 5, "6"))
    play.retry(A, skip="x")
    assert [(w.event_id, w.reason) for w in play.entities[A].line] == [("5", "handler_failed"), ("6", "behind")]
    assert play.data(A)["notes"] == ["one"]


def test_a_failure_while_draining_parks_that_event_at_its_place() -> None:
    play = Play(app)
    play.send((JobNoted(job_id="a", text="boom"), 1, "2"), (JobNoted(job_id="a", text="fine"), 2, "3"), (JobOpened(job_id="a"), 0, "1"))
    line = play.entities[A].line
    assert [(w.event_id, w.outcome) for w in line] == [("2", Outcome.PARKED), ("3", Outcome.DEFERRED)]
    play.retry(A, skip="x")
    assert (play.data(A)["notes"], play.entities[A].line) == (["fine"], [])


def test_a_retry_of_an_entity_that_is_not_parked_changes_nothing() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"))
    assert play.retry(A).entities == {}


class StepEvent(Event, topic="steps", key="id"):
    id: str


class StepOpened(StepEvent, type="step.opened"): ...


class StepTurned(StepEvent, type="step.turned"): ...


class StepEnded(StepEvent, type="step.ended"): ...


class StepNoted(StepEvent, type="step.noted"): ...


class Walk(Data):
    id: str
    noted: int = 0


def begin(e: StepOpened) -> Walk:
    return Walk(id=e.id)


def note(w: Walk, e: StepNoted) -> None:
    w.noted += 1


def test_when_the_head_of_a_line_expires_those_behind_it_go() -> None:
    first = State[Walk]("first", defers=(StepEnded, StepNoted), defers_within=hours(2))
    second = State[Walk]("second", defers=(StepEnded,), defers_within=hours(2))
    last = State[Walk]("last", final=True)
    rows = (
        opens(StepOpened, to=first, then=begin),
        first.on(StepTurned, to=second),
        second.on(StepNoted, then=note),
        second.on(StepTurned, to=last),
    )
    play, ref = Play(App("walks", machines=(Machine("walk", data=Walk, events=(StepEvent,), transitions=rows),))), Ref("walk", "w")
    play.send((StepOpened(id="w"), 0, "1"), (StepEnded(id="w"), 1, "2"), (StepNoted(id="w"), 2, "3"), (StepTurned(id="w"), 3, "4"))
    assert [w.event_id for w in play.entities[ref].line] == ["2", "3"]
    play.fire(ref, 121)
    assert (play.entities[ref].line, play.data(ref)["noted"]) == ([], 1)


def test_an_order_meant_for_another_head_does_nothing() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"))
    play.take([play.record(JobStarted(job_id="a"), 1, "2")], fault="refused")
    (head,) = play.entities[A].line
    play.order(Retry(A, "ann", "a mistake", head.id + 1), "replay")
    assert play.entities[A].parked
    play.order(Retry(A, "ann", "a mistake", head.id), "replay")
    assert not play.entities[A].parked
