"""Clocks run in business time: what is due before an event fires before it."""

from __future__ import annotations

import msgspec

from stream import App, Data, Event, Machine, Ref, SlaBreached, State, any_of, minutes, opens
from stream.core.outcome import Outcome, Reason
from tests.core.jobs import A, Job, JobDone, JobNoted, JobOpened, JobPaused, JobStarted, app, job
from tests.core.play import Play, at


def test_an_sla_breach_fires_before_a_later_event_and_is_told_once() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=2), 0, "1"), (JobStarted(job_id="a"), 30, "2"))
    assert [(h.event_type, h.time, h.door) for h in play.all.history][1] == ("sla.breached", at(20), "timers")
    assert play.said() == ["sla.breached"]
    message = play.all.messages[0]
    breach = msgspec.json.decode(message.value, type=SlaBreached)
    assert (message.topic, message.key, breach.due, breach.escalate_to, breach.owner) == ("alerts", b"a", at(20), "lead", "bench")
    assert (play.entities[A].version, play.counts["fired"], play.counts["applied"]) == (3, 1, 2)


def test_an_event_in_time_stops_the_clock() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=2), 0, "1"), (JobStarted(job_id="a"), 19, "2"))
    assert (play.said(), play.entities[A].timers) == ([], {})


def test_batches_of_one_and_one_batch_come_to_the_same() -> None:
    said = [
        (JobOpened(job_id="a", size=2), 0, "1"),
        (JobStarted(job_id="a"), 30, "2"),
        (JobPaused(job_id="a"), 40, "3"),
        (JobNoted(job_id="a", text="n"), 5000, "4"),
    ]
    one, many = Play(app), Play(app)
    one.send(*said)
    for each in said:
        many.send(each)
    assert [h.hash for h in one.all.history] == [h.hash for h in many.all.history]
    assert one.entities == many.entities
    assert one.state(A) == "closed"


def test_the_ticker_fires_what_is_due_and_nothing_twice() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=2), 0, "1"))
    play.fire(A, 19)
    assert play.said() == []
    play.fire(A, 20, marked=True)
    play.fire(A, 21)
    assert play.said() == ["sla.breached"]
    assert play.outcomes()[-1] == ("applied", "silent_feed")


def test_what_waits_in_a_line_meets_its_clocks_as_if_it_had_not_been_early() -> None:
    said = [(JobOpened(job_id="a", size=1), 0, "1"), (JobStarted(job_id="a"), 30, "2")]
    after, before = Play(app), Play(app)
    for each in said:
        after.send(each)
    for each in reversed(said):
        before.send(each)
    assert after.said() == before.said() == ["sla.breached"]
    assert [(h.event_type, h.time, h.clocks) for h in before.all.history] == [(h.event_type, h.time, h.clocks) for h in after.all.history]
    assert (before.entities[A].line, before.state(A)) == ([], "working")


class PulseEvent(Event, topic="pulses", key="id"):
    id: str


class PulseBegun(PulseEvent, type="pulse.begun"): ...


class PulseFelt(PulseEvent, type="pulse.felt"): ...


class Pulse(Data):
    id: str


def begin(e: PulseBegun) -> Pulse:
    return Pulse(id=e.id)


def test_timers_in_turns_before_an_event_that_waits_are_many_and_do_not_nest() -> None:
    up, down, felt = State[Pulse]("up"), State[Pulse]("down"), State[Pulse]("felt", final=True)
    rows = (
        *(opens(PulseBegun, to=up, then=begin), up.after(minutes(1), to=down), down.after(minutes(1), to=up)),
        any_of(up, down).on(PulseFelt, to=felt),
    )
    play, ref = Play(App("ward", machines=(Machine("pulse", data=Pulse, events=(PulseEvent,), transitions=rows),))), Ref("pulse", "p")
    play.send((PulseFelt(id="p"), 1000, "2"))
    play.send((PulseBegun(id="p"), 0, "1"))
    assert (play.state(ref), play.counts["fired"], play.entities[ref].time) == ("felt", 1000, at(1000))


def test_a_row_may_move_on_a_breach_and_an_after_row_moves_by_itself() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=9), 0, "1"), (JobStarted(job_id="a"), 1, "2"))
    play.fire(A, 61)
    assert play.state(A) == "late"
    other = Play(app)
    other.send((JobOpened(job_id="a"), 0, "1"), (JobPaused(job_id="a"), 1, "2"))
    other.fire(A, 2 * 24 * 60 + 1)
    assert (other.state(A), other.said(), other.entities[A].time) == ("closed", ["job.told"], at(2 * 24 * 60 + 1))


def test_a_late_event_that_was_in_time_takes_the_breach_back() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=2), 0, "1"))
    play.fire(A, 25)
    play.send((JobStarted(job_id="a"), 15, "2"))
    assert play.said() == ["sla.breached", "sla.withdrawn"]
    assert (play.state(A), play.entities[A].time, play.entities[A].clocks) == ("working", at(20), {})


def test_a_truly_late_event_takes_nothing_back() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=2), 0, "1"), (JobStarted(job_id="a"), 21, "2"))
    assert play.said() == ["sla.breached"]


def test_clocks_of_a_parked_entity_escalate_but_its_moves_join_the_line() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a", size=9), 0, "1"), (JobStarted(job_id="a"), 1, "2"), (JobNoted(job_id="a", text="boom"), 2, "3"))
    play.fire(A, 61)
    assert (play.state(A), play.said()) == ("checked", ["sla.breached"])
    assert [(w.event_type, w.outcome, w.reason) for w in play.entities[A].line] == [
        ("job.noted", Outcome.PARKED, Reason.HANDLER_FAILED),
        ("sla.breached", Outcome.PARKED, Reason.BEHIND),
    ]
    play.retry(A, skip="known fault")
    assert (play.state(A), play.entities[A].line, play.said()) == ("late", [], ["sla.breached"])


def test_an_after_of_a_parked_entity_waits_for_the_line_and_then_moves() -> None:
    play = Play(app)
    play.send((JobOpened(job_id="a"), 0, "1"), (JobPaused(job_id="a"), 1, "2"), (JobNoted(job_id="a", text="boom"), 2, "3"))
    play.fire(A, 60 * 24 * 3)
    assert (play.state(A), len(play.entities[A].line)) == ("paused", 2)
    play.retry(A, skip="known fault")
    assert (play.state(A), play.entities[A].line) == ("closed", [])


def test_what_a_person_released_first_makes_a_waiting_clock_void() -> None:
    play = Play(app)
    play.send(
        (JobOpened(job_id="a"), 0, "1"),
        (JobPaused(job_id="a"), 1, "2"),
        (JobNoted(job_id="a", text="boom"), 2, "3"),
        (JobStarted(job_id="a"), 3, "4"),
    )
    play.fire(A, 60 * 24 * 3)
    play.retry(A, skip="known fault")
    assert (play.state(A), play.entities[A].line) == ("working", [])
    play.send((JobDone(job_id="a"), 60 * 24 * 3, "5"))
    assert play.state(A) == "closed"


def test_an_after_that_the_machine_has_no_more_is_silent_in_a_line_too() -> None:
    play, waiting = Play(app), Play(app)
    for each in (play, waiting):
        each.send((JobOpened(job_id="a", size=100), 0, "1"), (JobPaused(job_id="a"), 1, "2"))
    waiting.take([waiting.record(JobNoted(job_id="a", text="n"), 2, "3")], fault="refused")
    waiting.fire(A, 60 * 48 + 1)
    assert [w.event_type for w in waiting.entities[A].line] == ["job.noted", "after.elapsed"]
    less = Machine("job", data=Job, events=job.events, transitions=[row for row in job.transitions if row.after is None])
    for before in (play, waiting):
        later = Play(App("shop", machines=(less,)))
        later.entities = before.entities
        later.fire(A, 60 * 48 + 1)
        later.retry(A)
        assert (later.state(A), later.entities[A].line, later.entities[A].timers) == ("paused", [], {})
