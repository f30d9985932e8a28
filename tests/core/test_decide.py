"""decide: one event, one move, and nothing kept of what failed."""

from __future__ import annotations

import pytest

from stream import App
from stream.core.chain import link
from stream.core.outcome import Outcome, Reason
from stream.core.trace import parse_traceparent
from tests.core.jobs import A, JobDone, JobEvent, JobNoted, JobOpened, JobStarted, JobViewed, Merged, PartCame, app, ref
from tests.core.play import Play, at


def started(size: int = 1) -> Play:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=size), 0, "1"))
    return play


def test_an_event_moves_the_entity_it_is_about() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 1, "2"))
    entity = play.entities[A]
    assert (entity.state, entity.version, entity.n, entity.since, entity.time) == ("working", 2, 2, at(1), at(1))
    assert play.data(A)["opened_by"] == "1"
    assert play.balanced()


def test_a_batch_delivered_twice_moves_once() -> None:
    play = started()
    play.send((JobOpened(job_id="a"), 0, "1"), (JobStarted(job_id="a"), 1, "2"), (JobStarted(job_id="a"), 1, "2"))
    assert play.entities[A].version == 2
    assert (play.counts["duplicate"], play.counts["admitted"]) == (2, 2)
    assert play.balanced()


def test_one_id_with_other_content_is_a_conflict_and_a_letter() -> None:
    play = started()
    play.send((JobOpened(job_id="a", size=3), 0, "1"))
    assert [d.reason for d in play.all.dead] == [Reason.ID_CONFLICT]
    assert play.balanced()


def test_one_entity_met_many_times_in_a_batch_carries_on() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"), (PartCame(job_id="a", part="x"), 1, "2"), (PartCame(job_id="a", part="y"), 2, "3"))
    assert (play.data(A)["parts"], play.entities[A].version) == (["x", "y"], 3)


def test_the_first_row_whose_guard_holds_wins_and_no_guard_is_a_refusal() -> None:
    assert [moved(9), moved(1), moved(4)] == ["checked", "working", "new"]
    play = started(4)
    play.send((JobStarted(job_id="a"), 1, "2"))
    assert play.outcomes()[-1] == ("rejected", "guard_refused")
    assert play.all.dead[0].ref == A
    assert play.all.dead[0].admitted


def moved(size: int) -> str:
    play = started(size)
    play.send((JobStarted(job_id="a"), 1, "2"))
    return play.state(A)


def test_what_no_row_allows_now_is_rejected_and_names_both_sides() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 1, "2"), (JobStarted(job_id="a"), 2, "3"))
    assert play.outcomes()[-1] == ("rejected", "no_transition")
    assert "'working' does not take job.started; taken in: 'new', 'paused'" in play.all.dead[0].error
    assert play.state(A) == "working"


def test_what_a_state_ignores_is_only_counted() -> None:
    play = started()
    changes = play.send((JobViewed(job_id="a"), 1, "2"))
    assert (changes.entities, changes.history, play.counts["ignored"]) == ({}, [], 1)
    assert play.balanced()


def test_one_event_moves_many_entities_each_once() -> None:
    play = Play(app)
    play.send(*((JobOpened(job_id=i), 0, i) for i in "abc"))
    play.send((Merged(into="a", gone=("b", "c", "b")), 1, "m"))
    assert [play.entities[ref(i)].version for i in "abc"] == [2, 2, 2]
    assert play.counts["concerned"] == 6


def test_settling_looks_at_the_changed_data() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 1, "2"), (PartCame(job_id="a", part="x"), 2, "3"), (PartCame(job_id="a", part="y"), 3, "4"))
    assert (play.state(A), play.entities[A].since) == ("checked", at(3))


@pytest.mark.parametrize("text", ["boom", "exit", "wrong type", "surrogate", "bad message"])
def test_a_handler_that_fails_leaves_no_trace_of_its_half(text: str) -> None:
    play = started()
    before = play.entities[A].data
    play.send((JobNoted(job_id="a", text=text), 1, "2"))
    entity = play.entities[A]
    assert (entity.data, entity.version, entity.state, play.all.messages) == (before, 1, "new", [])
    assert [(w.outcome, w.reason) for w in entity.line] == [(Outcome.PARKED, Reason.HANDLER_FAILED)]
    assert play.outcomes()[-1] == ("parked", "handler_failed")
    assert play.balanced()


def test_data_of_a_wrong_type_is_found_even_where_nobody_reads_it_again() -> None:
    play = started()
    play.send((PartCame(job_id="a", part="wrong type"), 1, "2"))
    assert play.entities[A].parked


def test_the_same_failure_does_not_touch_other_entities_of_the_batch() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"), (JobOpened(job_id="b"), 0, "2"))
    play.send((JobNoted(job_id="a", text="boom"), 1, "3"), (JobNoted(job_id="b", text="fine"), 1, "4"))
    assert (play.data(ref("b"))["notes"], play.entities[A].parked) == (["fine"], True)


def test_what_the_database_refused_parks_with_its_error() -> None:
    play = started()
    play.take([play.record(JobStarted(job_id="a"), 1, "2")], fault="22003: out of range")
    assert [(w.reason, w.error) for w in play.entities[A].line] == [(Reason.HANDLER_FAILED, "22003: out of range")]


def test_messages_carry_final_headers_and_count_per_emitter_topic_and_key() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 1, "2"), (JobNoted(job_id="a", text="n"), 2, "3"), (JobDone(job_id="a"), 3, "4"))
    headers = [dict(m.headers) for m in play.all.messages]
    assert [h["ce_sequence"] for h in headers] == [f"{n:020d}" for n in (1, 2, 3)]
    assert {h["ce_emitter"] for h in headers} == {"job/a"}
    last = headers[-1]
    assert (last["ce_source"], last["ce_subject"], last["ce_causationid"], last["ce_time"]) == ("/shop/job", "a", "4", "2026-03-02T12:03:00Z")
    assert len({h["ce_id"] for h in headers}) == 3
    assert parse_traceparent(last["traceparent"])


def test_a_retry_of_the_same_batch_says_the_same_bytes() -> None:
    one, two = started(), started()
    for play in (one, two):
        play.send((JobNoted(job_id="a", text="n"), 2, "3"))
    assert one.all.messages == two.all.messages
    assert one.all.history == two.all.history


def test_an_entitys_time_never_goes_back() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 9, "2"), (JobNoted(job_id="a", text="old"), 3, "3"))
    assert (play.entities[A].time, play.all.history[-1].time) == (at(9), at(9))


def test_the_history_is_a_chain_in_which_a_changed_row_shows() -> None:
    play = started()
    play.send((JobStarted(job_id="a"), 1, "2"), (JobStarted(job_id="a"), 2, "3"))
    before = b""
    for row in play.all.history:
        before = link(before, row)
        assert before == row.hash
    play.all.history[1].reason = "other"
    assert link(play.all.history[0].hash, play.all.history[1]) != play.all.history[1].hash
    assert [h.n for h in play.all.history] == [1, 2, 3]


def test_an_event_that_concerns_nobody_is_counted_unrouted() -> None:
    class Stray(JobEvent, type="job.stray"): ...

    play = Play(App("shop", machines=app.machines))
    play.send((Stray(job_id="a"), 0, "1"))
    assert (play.counts["unrouted"], play.counts["admitted"], play.counts["concerned"]) == (1, 1, 0)


def test_stream_time_is_the_newest_business_time_of_the_batch() -> None:
    play = Play(app)
    changes = play.send((JobOpened(job_id="a"), 5, "1"), (JobOpened(job_id="b"), 0, "2"))
    assert list(changes.stream_times.values()) == [at(5)]
