"""Tasks: opened on entering a state, closed on leaving it, answered once; and the one that asks why a clock was breached."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stream import App, Data, DefinitionError, Event, Machine, Owner, Ref, Sla, State, Task, any_of, minutes, opens, parse_owners
from stream.core.changes import Changes
from stream.core.ladder import Note
from stream.core.order import Answer, Move, Order
from stream.core.outcome import Outcome
from stream.core.own import SlaExplained
from stream.core.task import Closed, Open
from tests.core.play import NOON, Play, at

DESK, BOSS = Owner("desk"), Owner("boss")
ID = Ref("refund", "r1")


class RefundEvent(Event, topic="refunds", key="refund"):
    refund: str


class Asked(RefundEvent, type="refund.asked"):
    amount: int = 10


class Granted(RefundEvent, type="refund.granted"):
    note: str = ""


class Denied(RefundEvent, type="refund.denied"): ...


class Dropped(RefundEvent, type="refund.dropped"): ...


class Again(RefundEvent, type="refund.again"): ...


class Refund(Data):
    refund: str
    amount: int


def ask(e: Asked) -> Refund:
    return Refund(refund=e.refund, amount=e.amount)


def question(r: Refund) -> str:
    if r.amount == 13:
        raise ValueError("unlucky")
    return f"Refund {r.amount}?"


def is_polite(r: Refund, e: Granted) -> bool:
    return e.note != "rude"


def urgency(r: Refund) -> int:
    return {10: 1, 99: 6, 98: True}.get(r.amount, 4)


decide = Task[Refund](
    question, answers=(Granted, Denied), owner=BOSS, within=minutes(60), escalate_to=DESK, reasons=("goodwill", "fault"), priority=urgency
)
asked = State[Refund]("asked", owner=DESK, task=decide)
granted = State[Refund]("granted", owner=DESK, sla=Sla(minutes(30), reasons=("bank", "us"), escalate_to=BOSS))
denied = State[Refund]("denied", owner=DESK)
gone = State[Refund]("gone", final=True)

refund = Machine[Refund](
    "refund",
    data=Refund,
    events=(RefundEvent,),
    transitions=(
        opens(Asked, to=asked, then=ask),
        asked.on(Granted, to=granted, when=is_polite),
        asked.on(Denied, to=denied),
        any_of(granted, denied).on(Again, to=asked),
        any_of(asked, granted, denied).on(Dropped, to=gone),
    ),
)


@pytest.fixture
def play() -> Play:
    play = Play(App("money", machines=(refund,)))
    play.now = at(20)
    play.send((Asked(refund="r1"), 0, "a"))
    return play


def answered(play: Play, event: Event, task: int = 1, *, actor: str = "ann", reason: str = "fault", comment: str = "") -> Changes:
    return play.order(Answer(ID, task, event, actor, reason, comment), "desk")


def ends(play: Play) -> list[tuple[str, Closed | None]]:
    return [(asked.name, end) for asked, end in play.tasks.values()]


def told(changes: Changes) -> list[tuple[Outcome, str]]:
    return [(one.outcome, one.error) for one in changes.handled]


def test_entering_a_state_asks_its_question_of_its_owner(play: Play) -> None:
    (known, end), *others = play.tasks.values()
    assert (known.name, known.question, known.owner, known.opened, end, others) == ("state asked", "Refund 10?", "boss", NOON, None, [])
    assert play.said() == ["task.opened"]
    assert b'"due":"2026-03-02T13:00:00Z"' in play.all.messages[0].value


@pytest.mark.parametrize(("amount", "priority"), [(10, 1), (11, 4)])
def test_a_task_is_as_urgent_as_the_data_says(amount: int, priority: int) -> None:
    play = Play(App("money", machines=(refund,)))
    play.send((Asked(refund="r1", amount=amount), 0, "a"))
    assert [asked.priority for asked, _ in play.tasks.values()] == [priority]
    assert b'"priority":%d' % priority in play.all.messages[0].value


@pytest.mark.parametrize("amount", [98, 99])
def test_what_is_no_priority_parks_the_event(amount: int) -> None:
    play = Play(App("money", machines=(refund,)))
    play.send((Asked(refund="r1", amount=amount), 0, "a"))
    assert "a priority is 1 (first) to 5, not" in play.entities[ID].line[0].error


@pytest.mark.parametrize("priority", [0, 6, True, "high"])
def test_a_priority_that_is_none_is_refused_at_import(priority: Any) -> None:
    with pytest.raises(DefinitionError, match=r"a priority is 1 \(first\) to 5"):
        Task[Refund]("Well?", answers=(Granted,), priority=priority)


def test_an_answer_moves_the_entity_and_names_the_person_and_the_reason(play: Play) -> None:
    answered(play, Granted(refund="r1"), comment="sorry")
    assert play.state(ID) == "granted"
    row = play.all.history[-1]
    assert (row.actor, row.reason, row.error, row.door, row.time) == ("ann", "fault", "sorry", "desk", at(20))
    assert ends(play) == [("state asked", Closed(ID, "state asked", "refund.granted", "ann", at(20), "fault", "sorry"))]


def test_a_second_answer_changes_nothing(play: Play) -> None:
    answered(play, Granted(refund="r1"))
    before = len(play.all.history)
    assert told(answered(play, Denied(refund="r1"))) == []
    assert (play.state(ID), len(play.all.history)) == ("granted", before)


@pytest.mark.parametrize(
    ("event", "reason", "why"),
    [
        (Dropped(refund="r1"), "fault", "refund.dropped is no answer to it: say refund.granted or refund.denied"),
        (Granted(refund="r1"), "", "it needs a reason, one of goodwill, fault"),
        (Granted(refund="r1"), "mood", "it needs a reason, one of goodwill, fault"),
        (Granted(refund="r1", note="rude"), "fault", "every guard on refund.granted in 'asked' refused"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_task_stays(play: Play, event: Event, reason: str, why: str) -> None:
    assert told(answered(play, event, reason=reason)) == [(Outcome.REJECTED, why)]
    assert (play.state(ID), len(play.all.history), ends(play)) == ("asked", 1, [("state asked", None)])


def test_what_somebody_has_claimed_nobody_else_answers(play: Play) -> None:
    play.entities[ID].tasks[1] = Open(1, "state asked", ("refund.granted",), (), "boss", "eve")
    assert told(answered(play, Granted(refund="r1"))) == [(Outcome.REJECTED, "eve has claimed it")]
    answered(play, Granted(refund="r1"), actor="eve")
    assert play.state(ID) == "granted"


def test_an_answer_that_what_was_due_has_overtaken_is_refused() -> None:
    resting = State[Refund]("asked", owner=DESK, task=Task("Refund?", answers=(Granted,)))
    rows = (opens(Asked, to=resting, then=ask), resting.on(Granted, to=END), resting.after(minutes(10), to=gone))
    play = Play(App("money", machines=(Machine("refund", data=Refund, events=(RefundEvent,), transitions=rows),)))
    play.now = at(0)
    play.send((Asked(refund="r1"), 0, "a"))
    play.now = at(20)
    late = "what was due came first, and now it does not fit"
    assert told(answered(play, Granted(refund="r1"))) == [(Outcome.APPLIED, ""), (Outcome.REJECTED, late)]
    assert (play.state(ID), [row.actor for row in play.all.history], ends(play)[0][1]) == (
        "gone",
        ["", ""],
        Closed(ID, "state asked", None, "/money/refund", at(10)),
    )


def test_a_move_that_what_was_due_has_overtaken_is_refused() -> None:
    hasty = State[Refund]("asked", owner=DESK)
    rows = (opens(Asked, to=hasty, then=ask), hasty.on(Granted, to=END), hasty.after(minutes(10), to=gone))
    play = Play(App("money", machines=(Machine("refund", data=Refund, events=(RefundEvent,), transitions=rows),)))
    play.now = at(0)
    play.send((Asked(refund="r1"), 0, "a"))
    play.now = at(20)
    (_, moved) = told(play.order(Move(ID, "asked", "end", "ann", "because"), "desk"))
    assert (moved[0], play.state(ID)) == (Outcome.REJECTED, "gone")


def test_who_no_longer_belongs_to_whom_it_asks_does_not_answer() -> None:
    play = Play(App("money", machines=(refund,), owners=parse_owners("[owners.boss]\npeople = ['eve']")))
    play.now = at(20)
    play.send((Asked(refund="r1"), 0, "a"))
    assert told(answered(play, Granted(refund="r1"))) == [(Outcome.REJECTED, "ann does not belong to 'boss', who is asked")]
    answered(play, Granted(refund="r1"), actor="eve")
    assert play.state(ID) == "granted"


def test_the_same_event_from_elsewhere_answers_it_too(play: Play) -> None:
    play.send((Denied(refund="r1"), 5, "b"))
    assert ends(play) == [("state asked", Closed(ID, "state asked", "refund.denied", "/test", at(5)))]


def test_leaving_otherwise_closes_it_unanswered(play: Play) -> None:
    play.send((Dropped(refund="r1"), 5, "b"))
    assert ends(play) == [("state asked", Closed(ID, "state asked", None, "/test", at(5)))]


def test_a_state_entered_again_asks_again_also_within_one_batch(play: Play) -> None:
    play.send((Denied(refund="r1"), 5, "b"), (Again(refund="r1"), 6, "c"), (Dropped(refund="r1"), 7, "d"))
    assert [(name, end and end.answer, end and end.at) for name, end in ends(play)] == [
        ("state asked", "refund.denied", at(5)),
        ("state asked", None, at(7)),
    ]


def test_a_person_who_moves_it_there_has_it_asked(play: Play) -> None:
    play.order(Move(ID, "asked", "denied", "eve", "because"), "desk")
    play.order(Move(ID, "denied", "asked", "eve", "because"), "desk")
    assert [end and end.by for _, end in ends(play)] == ["eve", None]


def test_a_question_that_cannot_be_put_parks_its_entity() -> None:
    play = Play(App("money", machines=(refund,)))
    play.send((Asked(refund="r1", amount=13), 0, "a"))
    assert (play.entities[ID].parked, play.tasks) == (True, {})
    assert "unlucky" in play.entities[ID].line[0].error


def test_nobody_answers_for_an_entity_whose_line_is_parked(play: Play) -> None:
    play.take([play.record(Granted(refund="r1"), 1, "b")], fault="no")
    assert told(answered(play, Denied(refund="r1"))) == [(Outcome.REJECTED, "an event of refund r1 is parked: that comes first")]


def test_its_clock_tells_whom_it_names_that_it_is_the_turn_of_the_one_asked(play: Play) -> None:
    play.fire(ID, 60)
    assert play.said() == ["task.opened", "sla.breached"]
    assert b'"clock":"asked task"' in play.all.messages[-1].value
    assert b'"owner":"boss"' in play.all.messages[-1].value
    play.now = at(70)
    answered(play, Denied(refund="r1"))
    assert '"what":"met"' in play.all.history[-1].clocks
    assert '"owner":"boss"' in play.all.history[-1].clocks


@pytest.mark.parametrize(("event", "word"), [(Denied(refund="r1"), "met"), (Dropped(refund="r1"), "void")])
def test_its_clock_is_met_by_an_answer_alone(play: Play, event: Event, word: str) -> None:
    play.send((event, 15, "b"))
    (note,) = msgspec.json.decode(play.all.history[-1].clocks, type=list[Note])
    assert (note.clock, note.what, note.took) == ("asked task", word, 900.0)


# -- why a clock was breached ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def late(play: Play) -> Play:
    """Granted at minute 5, and breached at 35; task 2 asks why."""
    play.send((Granted(refund="r1"), 5, "b"))
    play.fire(ID, 35)
    play.now = at(100)
    return play


def test_a_breach_asks_whoever_is_told_of_it_for_its_reason(late: Play) -> None:
    known, end = late.tasks[2]
    assert (known.name, known.question, known.owner, known.reasons, end) == (
        "reason granted",
        "Why was granted breached?",
        "boss",
        ("bank", "us"),
        None,
    )


def test_the_reason_is_noted_whatever_has_become_of_the_entity(late: Play) -> None:
    late.send((Dropped(refund="r1"), 40, "c"))
    answered(late, SlaExplained(clock="granted", reason="bank"), 2, reason="bank")
    assert late.all.history[-1].clocks == '[{"clock":"granted","what":"explained","reason":"bank"}]'
    assert (late.state(ID), late.tasks[2][1]) == ("gone", Closed(ID, "reason granted", "sla.explained", "ann", at(100), "bank"))


def test_a_reason_is_taken_once_within_a_batch_too(late: Play) -> None:
    orders: list[Order] = [Answer(ID, 2, SlaExplained(clock="granted", reason=why), "ann", why) for why in ("bank", "us")]
    changes = late.orders(orders, "desk")
    assert [row.reason for row in changes.history] == ["bank"]
    assert late.tasks[2][1] == Closed(ID, "reason granted", "sla.explained", "ann", at(100), "bank")


def test_a_breach_that_is_withdrawn_needs_no_reason(late: Play) -> None:
    late.send((Again(refund="r1"), 20, "c"))
    assert late.said()[-2:] == ["task.opened", "sla.withdrawn"]
    assert late.tasks[2][1] == Closed(ID, "reason granted", None, "/test", at(20))


def test_one_question_about_a_clock_is_enough(late: Play) -> None:
    late.send((Again(refund="r1"), 40, "c"), (Granted(refund="r1"), 41, "d"))
    late.fire(ID, 90)
    assert [name for name, end in ends(late) if end is None] == ["reason granted"]


# -- import ---------------------------------------------------------------------------------------------------------------------------


END = State[Refund]("end", final=True)


def table(task: Task[Refund], leaves: type[Event], stays: type[Event] | None = None, owner: Owner | None = DESK) -> Machine[Refund]:
    state = State[Refund]("asked", owner=owner, task=task)
    rows = (opens(Asked, to=state, then=ask), state.on(leaves, to=END), *((state.on(stays),) if stays else ()))
    return Machine("refund", data=Refund, events=(RefundEvent,), transitions=rows)


def test_an_answer_must_lead_out() -> None:
    with pytest.raises(DefinitionError, match="Granted answers the task of 'asked', so a row must take it there, and leave"):
        table(Task("Well?", answers=(Granted,)), Denied)
    with pytest.raises(DefinitionError, match="and leave"):
        table(Task("Well?", answers=(Granted,)), Denied, stays=Granted)


def test_somebody_must_be_asked_something_answerable() -> None:
    with pytest.raises(DefinitionError, match="nobody would be asked"):
        table(Task("Well?", answers=(Granted,)), Granted, owner=None)
    wrongs: tuple[dict[str, Any], ...] = (
        *({"question": ""}, {"answers": ()}, {"question": "a\nb"}, {"question": "x" * 1001}),
        *({"escalate_to": BOSS}, {"reasons": ("a", "a")}),
    )
    for wrong in wrongs:
        known: dict[str, Any] = {"question": "Well?", "answers": (Granted,), **wrong}
        with pytest.raises(DefinitionError):
            Task[Refund](**known)


def test_a_final_state_asks_nobody() -> None:
    end = State[Refund]("end", final=True, owner=DESK, task=Task("Well?", answers=(Granted,)))
    with pytest.raises(DefinitionError, match="with a task"):
        Machine("refund", data=Refund, events=(RefundEvent,), transitions=(opens(Asked, to=end, then=ask),))


def test_a_breach_whose_move_waits_in_a_line_asks_under_an_id_of_its_own() -> None:
    def fail(r: Refund, e: Granted) -> None:
        raise ValueError("not ready")

    waits = State[Refund]("waits", owner=DESK, sla=Sla(minutes(10)))
    chased = State[Refund]("chased", owner=BOSS, task=Task("And now?", answers=(Dropped,)))
    rows = (opens(Asked, to=waits, then=ask), waits.on(Granted, then=fail), waits.on(waits.breached, to=chased), chased.on(Dropped, to=gone))
    owners = parse_owners("[owners.desk]\ntell = [{ log = true }]\n[owners.boss]\ntell = [{ log = true }]\n")
    play = Play(App("money", machines=(Machine[Refund]("refund", data=Refund, events=(RefundEvent,), transitions=rows),), owners=owners))
    play.send((Asked(refund="r1"), 0, "a"), (Granted(refund="r1"), 5, "b"))
    play.fire(ID, 20)
    play.retry(ID, skip="known fault")
    assert (play.state(ID), [m.type for m in play.all.messages]) == ("chased", ["sla.breached", "task.opened"])
    assert len({m.id for m in play.all.messages}) == 2
    assert len({notice.key for notice in play.all.notices}) == 2
