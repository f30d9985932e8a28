"""The reference application comes to what the fold comes to, however its records are batched, repeated and overtaken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from handlers import app
from tests.fold import logs, made
from tests.fold.dispatch import Dispatch
from tests.fold.facts import Fact
from tests.fold.tally import Tally
from tests.fold.tickets import Tickets
from tests.handlers.in_memory import InMemory

AFTERWARDS = timedelta(hours=2)
WEEKS = timedelta(weeks=5)
"""From the made-up days of March over the change to summer time and Easter: time enough for every target in office hours."""


def folded(fold: Tickets | Dispatch, facts: Sequence[Fact], until: datetime) -> Tally:
    for fact in facts:
        fold.take(fact)
    fold.wait(until)
    return fold.total()


def moved(facts: Sequence[Fact], until: datetime, later: Sequence[Fact] = (), *, seed: int = 1, most: int = 200) -> Tally:
    engine = InMemory(app, until, seed=seed, most=most)
    for part in (facts, later):
        engine.publish(part)
        engine.run()
    engine.tick(until)
    return engine.total()


def end_of(facts: Sequence[Fact]) -> datetime:
    return max(fact.time for fact in facts)


@pytest.mark.parametrize("most", [1, 50, 1000])
def test_made_up_tickets_end_as_the_fold_says_in_batches_of_any_size(most: int) -> None:
    facts = made.tickets(seed=8, count=800)
    until = end_of(facts) + WEEKS
    expected = folded(Tickets(), facts, until)
    assert list(moved(made.repeated(facts, 3, 0.05), until, most=most).differences(expected)) == []
    assert min(expected.breached()["ticket", clock, priority] for clock in ("response", "resolution") for priority in "1234") >= 3
    assert expected.noted["ticket", "response", "withdrawn"] + expected.noted["ticket", "resolution", "withdrawn"] > 0
    assert min(expected.noted["ticket", "resolution", what] for what in ("warned", "escalated", "met", "met late")) > 3
    assert min(expected.noted["ticket", "Waiting on customer", what] for what in ("breached", "met", "met late")) > 3
    assert sum("Closed without" in text for _, _, _, text in expected.said) > 3
    assert min(expected.noted["ticket", "Disputed task", what] for what in ("breached", "met", "void")) > 0
    assert expected.rejected["ticket", "Disputed", "ticket.taken_over", "not_allowed"] > 0
    assert expected.outcomes["ticket", "rejected"] > 100
    assert expected.outcomes["ticket", "parked"] > 5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_made_up_calls_end_as_the_fold_says_however_the_two_hops_overtake_each_other(seed: int) -> None:
    # what becomes of a disposition may hang on what assignments said before it, so it is told when both hops are drained
    facts = made.calls(seed=seed, count=300)
    late = [fact for fact in facts if fact.type == "call.disposed"]
    early = [fact for fact in facts if fact.type != "call.disposed"]
    until = end_of(facts) + AFTERWARDS
    expected = folded(Dispatch(), [*early, *late], until)
    assert list(moved(made.repeated(early, 3, 0.05), until, late, seed=seed).differences(expected)) == []
    assert expected.breaches > 50
    assert min(expected.breached()["call", "first arrival", priority] for priority in "23E") > 3
    assert min(expected.noted["call", "first arrival", what] for what in ("met", "met late", "void")) > 3
    assert min(sum(n for key, n in expected.said.items() if key[1] == type) for type in ("billing.prepare", "billing.take_back", "call.reopened")) > 3


def test_the_desks_log_ends_as_the_fold_says() -> None:
    path = logs.data(logs.DESK)
    if path is None:
        pytest.skip(logs.ABSENT)
    facts = logs.read(path)
    until = end_of(facts) + AFTERWARDS
    expected = folded(Tickets(), facts, until)
    assert list(moved(facts, until, most=500).differences(expected)) == []
    assert (len(facts), expected.outcomes["ticket", "rejected"]) == (141_707, 8_304)


def test_the_dispatch_log_ends_as_the_fold_says() -> None:
    path = logs.data(logs.DISPATCH)
    if path is None:
        pytest.skip(logs.ABSENT)
    facts = logs.read(path)
    late = list(logs.dispositions(path, end_of(facts)))
    until = end_of(facts) + AFTERWARDS
    expected = folded(Dispatch(), [*facts, *late], until)
    assert list(moved(facts, until, late, most=500).differences(expected)) == []
    assert (len(facts), expected.outcomes["assignment", "rejected"]) == (40_634, 42)
