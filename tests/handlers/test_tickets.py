"""What the ticket machine says to single events; the rest is in `test_same_as_fold`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from handlers import app
from handlers.tickets import Ticket, ticket
from stream import Ref
from tests.fold.facts import Fact
from tests.handlers.in_memory import InMemory

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
Told = tuple[int, str, dict[str, str | int]]


def lived(*told: Told, upto: int = 0) -> InMemory:
    """Ticket T1 after `told`: minute, event, body. Then the ticker fires what is due up to minute `upto`."""
    engine = InMemory(app, NINE + timedelta(days=1))
    for n, (minute, type, body) in enumerate(told):
        engine.publish([Fact(f"e{n}", NINE + timedelta(minutes=minute), f"ticket.{type}", {"ticket_id": "T1", **body}, "ann")])
        engine.run()
    engine.tick(NINE + timedelta(minutes=upto))
    return engine


def known(engine: InMemory) -> Ticket:
    return ticket.decoder.decode(engine.entities[Ref("ticket", "T1")].data)


def said(engine: InMemory) -> Sequence[str]:
    return [message.type for message in engine.messages]


OPENED: Told = (0, "opened", {"title": "printer", "priority": 1})
STARTED: Told = (5, "started", {"assignee": "bob"})


def test_a_ticket_goes_from_new_to_closed() -> None:
    engine = lived(
        OPENED, (1, "triaged", {"group": "g"}), (2, "started", {"assignee": "bob"}), (3, "asked", {}), (4, "answered", {}),
        (5, "blocked", {"by": "vendor"}), (6, "freed", {}), (7, "resolved", {"cause": "toner"}), (8, "closed", {}),
    )  # fmt: skip
    moves = [(row.from_state, row.to_state) for row in engine.history]
    assert [to for _, to in moves] == [
        "New", "Triaged", "In progress", "Waiting on customer", "In progress", "Blocked", "In progress", "Resolved", "Closed",
    ]  # fmt: skip
    assert known(engine) == Ticket(
        ticket_id="T1", title="printer", priority=1, group="g", assignee="bob", blocked_by="vendor", cause="toner", opened_by="ann"
    )
    assert said(engine) == ["customer.told"]


def test_a_ticket_is_not_resolved_without_a_cause() -> None:
    engine = lived(OPENED, STARTED, (6, "resolved", {}))
    assert engine.history[-1].reason == "guard_refused"
    assert engine.entities[Ref("ticket", "T1")].state == "In progress"


def test_a_new_ticket_left_alone_is_escalated_once_after_its_target() -> None:
    assert said(lived(OPENED, upto=14)) == []
    assert said(lived(OPENED, upto=15)) == ["sla.breached"]
    assert said(lived(OPENED, (16, "opened", {}), STARTED, upto=600)).count("sla.breached") == 1


def test_a_target_follows_the_priority() -> None:
    assert said(lived(OPENED, (10, "opened", {"priority": 4}), upto=479)) == []
    assert said(lived((0, "opened", {"priority": 4}), (100, "opened", {"priority": 1}), upto=100)) == ["sla.breached"]


def test_nobody_is_late_while_the_office_is_closed() -> None:
    opened: Told = (8 * 60, "opened", {"priority": 3})  # an hour before it closes
    assert said(lived(opened, upto=26 * 60 - 1)) == []
    assert said(lived(opened, upto=26 * 60)) == ["sla.breached"]


def test_a_critical_ticket_that_is_not_resolved_in_time_goes_to_the_lead() -> None:
    late = lived(OPENED, STARTED, upto=240)
    assert said(late) == ["sla.warned", "sla.breached"]
    assert late.entities[Ref("ticket", "T1")].state == "Blocked"
    assert lived((0, "opened", {"priority": 2}), STARTED, upto=25 * 60).entities[Ref("ticket", "T1")].state == "In progress"


def test_the_resolution_clock_stands_still_while_the_customer_has_the_turn() -> None:
    asked: Told = (6, "asked", {})
    assert said(lived(OPENED, STARTED, asked, upto=24 * 60)) == []
    assert said(lived(OPENED, STARTED, asked, (106, "answered", {}), upto=339)) == ["sla.warned"]
    assert said(lived(OPENED, STARTED, asked, (106, "answered", {}), upto=340)) == ["sla.warned", "sla.breached"]


@pytest.mark.parametrize(("minute", "expected"), [(14, ["sla.breached", "sla.withdrawn"]), (15, ["sla.breached"])])
def test_a_breach_is_withdrawn_when_the_ticket_was_taken_before_the_due_instant(minute: int, expected: list[str]) -> None:
    assert said(lived(OPENED, (20, "opened", {}), (minute, "started", {"assignee": "bob"}))) == expected


def test_a_taken_over_ticket_counts_the_change_of_hands_and_a_reopened_one_the_return() -> None:
    engine = lived(OPENED, STARTED, (6, "started", {"assignee": "eve"}), (7, "resolved", {"cause": "c"}), (8, "reopened", {}))
    assert (known(engine).handovers, known(engine).reopened) == (1, 1)


def test_a_question_nobody_can_fill_in_parks_its_ticket_and_no_other() -> None:
    engine = lived(OPENED, STARTED, (6, "asked", {"question": "Which {colour}?"}), (7, "resolved", {"cause": "c"}))
    parked = engine.entities[Ref("ticket", "T1")]
    assert (parked.state, [waiting.reason for waiting in parked.line]) == ("In progress", ["handler_failed", "behind"])
    engine.publish([Fact("other", NINE, "ticket.opened", {"ticket_id": "T2"})])
    engine.run()
    assert engine.entities[Ref("ticket", "T2")].state == "New"


def test_a_question_is_put_with_its_names_filled_in() -> None:
    engine = lived(OPENED, STARTED, (6, "asked", {"question": "Is {title} of {ticket_id} still out?"}))
    assert engine.messages[-1].value == b'{"text":"Is printer of T1 still out?","ticket_id":"T1"}'


def test_a_customer_who_does_not_answer_is_reminded_after_two_days_and_the_ticket_closed_after_five() -> None:
    asked: Told = (6, "asked", {})
    told = lived(OPENED, STARTED, asked, upto=6 + 2 * 24 * 60 - 1)
    assert "customer.told" not in said(told)
    reminded = lived(OPENED, STARTED, asked, upto=6 + 5 * 24 * 60 - 1)
    assert reminded.messages[-1].value == b'{"text":"We still wait for your answer.","ticket_id":"T1"}'
    closed = lived(OPENED, STARTED, asked, upto=6 + 5 * 24 * 60)
    assert closed.entities[Ref("ticket", "T1")].state == "Closed"
    assert closed.messages[-1].value == b'{"text":"Closed without an answer since 02 March 2026.","ticket_id":"T1"}'


def test_a_customer_who_is_asked_anew_has_five_days_more() -> None:
    engine = lived(OPENED, STARTED, (6, "asked", {}), (24 * 60, "asked", {}), upto=6 * 24 * 60 - 1)
    assert engine.entities[Ref("ticket", "T1")].state == "Waiting on customer"
    assert said(engine).count("customer.told") == 1


def passed_around(*more: Told) -> InMemory:
    """Ann, bob, cem, dan and eve have it in turn, a minute each."""
    turns: list[Told] = [(n, "started", {"assignee": name}) for n, name in enumerate(("ann", "bob", "cem", "dan", "eve"), 1)]
    return lived(OPENED, *turns, *more)


def test_the_fourth_change_of_hands_asks_the_lead_who_takes_it() -> None:
    engine = passed_around()
    assert (engine.entities[Ref("ticket", "T1")].state, known(engine).assignee) == ("Disputed", "eve")
    (asked,) = [asked for changes in engine.changes for asked in changes.asked]
    assert (asked.owner, asked.question, asked.answers) == ("desk lead", "Passed around four times. Who takes it?", ("ticket.taken_over",))
    assert said(engine) == ["task.opened"]


def test_a_lead_says_who_has_it_and_hands_are_counted_anew() -> None:
    engine = passed_around((7, "taken_over", {"assignee": "fay"}))
    assert (engine.entities[Ref("ticket", "T1")].state, known(engine).assignee, known(engine).handovers) == ("In progress", "fay", 0)


def test_nobody_else_may_say_so() -> None:
    engine = passed_around()
    engine.publish([Fact("x", NINE + timedelta(minutes=7), "ticket.taken_over", {"ticket_id": "T1", "assignee": "fay"}, "eve")])
    engine.run()
    assert (engine.history[-1].reason, engine.history[-1].error) == ("not_allowed", "eve does not belong to desk lead")
    assert engine.entities[Ref("ticket", "T1")].state == "Disputed"


def test_a_dispute_that_is_not_answered_within_the_offices_four_hours_is_told() -> None:
    engine = passed_around()
    engine.tick(NINE + timedelta(minutes=5 + 240))
    assert "sla.breached" in said(engine)


def test_an_answer_before_the_birth_waits_for_it() -> None:
    engine = lived((3, "freed", {}), (1, "blocked", {"by": "vendor"}))
    assert [row.to_state for row in engine.history] == ["Blocked", "In progress"]
