"""Facts made up by a seed, for whoever does not have the real logs: mostly sensible, some early, some out of place, some on the minute."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain

from tests.fold.facts import Fact
from tests.fold.tickets import BORN, LEADS

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
PAUSES = (0, 1, 2, 5, 14, 15, 16, 60, 61, 240, 480, 700)
LONG = (2880, 2881, 2900, 3000, 7199, 7200, 9000)
LATE = (*PAUSES, 1440, 3000)
UNIT = ("dispatched", "en_route", "on_scene", "transport_started", "arrived_hospital", "available")
ENDINGS = ("Code 2 Transport", "Code 3 Transport", "Fire", "Cancelled")


def tickets(seed: int, count: int) -> list[Fact]:
    """The lives of `count` tickets, interleaved: facts of one ticket keep their order, and a few are told later than they happened."""
    chance = random.Random(seed)
    return _interleaved(chance, [list(_life(chance, f"T{n:05}")) for n in range(count)])


def calls(seed: int, count: int) -> list[Fact]:
    """`count` calls with their units, interleaved."""
    chance = random.Random(seed)
    return _interleaved(chance, [list(_call(chance, f"C{n:05}")) for n in range(count)])


def repeated(facts: list[Fact], seed: int, share: float) -> list[Fact]:
    """Some of them twice, the second time a little later; that a call was received, under an id of somebody else's."""
    chance = random.Random(seed)
    placed = [(n + chance.randint(1, 300), 1, _again(fact)) for n, fact in enumerate(facts) if chance.random() < share]
    return [fact for _, _, fact in sorted(chain(((n, 0, fact) for n, fact in enumerate(facts)), placed), key=lambda one: one[:2])]


def _again(fact: Fact) -> Fact:
    return fact._replace(id=f"exchange {fact.id}") if fact.type == "call.received" else fact


def _life(chance: random.Random, id: str) -> Iterator[Fact]:
    state, at, passed_around = "", BEGIN + timedelta(minutes=chance.randint(0, 600)), chance.random() < 0.1
    for n in range(chance.randint(1, 12)):
        sensible = [type for type, leads in LEADS.items() if state in leads] if state else ["ticket.opened"] * 6 + [*BORN]
        type = chance.choice(sensible if sensible and chance.random() < 0.85 else list(LEADS))
        if passed_around and state in ("New", "Triaged", "In progress"):
            type = "ticket.taken_over" if n > 4 and chance.random() < 0.3 else "ticket.started"
        at += timedelta(minutes=chance.choice(LONG if state == "Waiting on customer" and chance.random() < 0.3 else PAUSES))
        told = at - timedelta(minutes=chance.choice(LATE)) if chance.random() < 0.1 else at
        yield Fact(f"{id}-{n}", told, type, {"ticket_id": id, **_more(chance, type)}, chance.choice(("ann", "bob", "")))
        state = LEADS[type].get(state, state) if state else BORN.get(type, "")


def _more(chance: random.Random, type: str) -> dict[str, str | int]:
    match type:
        case "ticket.opened":
            return {"title": chance.choice(("printer", "mail")), "priority": chance.randint(1, 4)}
        case "ticket.triaged":
            return {"group": chance.choice("gh")}
        case "ticket.started" | "ticket.taken_over":
            return {"assignee": chance.choice("abc")}
        case "ticket.asked":
            return {"question": chance.choice(("", "Which {title}?", "Still {ticket_id}?", "Which {colour}?" if chance.random() < 0.1 else ""))}
        case "ticket.blocked":
            return {"by": "vendor"}
        case "ticket.resolved":
            return {"cause": chance.choice(("", "cable", "cable"))}
        case _:
            return {}


def _call(chance: random.Random, id: str) -> Iterator[Fact]:
    at = BEGIN + timedelta(minutes=chance.randint(0, 600))
    told = [_told(at, "call.received", priority=chance.choice("32E")), _told(at, "call.entered")]
    for unit in range(chance.randint(0, 4)):
        then = at + timedelta(minutes=chance.choice((-1, 0, 3, 3, 60)) if unit == 0 else chance.choice((1, 20, 120)))
        for stage in UNIT:
            if chance.random() < 0.9:
                told.append(_told(then, f"unit.{stage}", unit_id=f"U{unit}"))
            then += timedelta(minutes=chance.choice((-2, 0, 1, 2, 3, 4, 59, 60)))
    end = max(time for time, _, _ in told)
    told += [_told(end, "call.disposed", disposition=chance.choice(ENDINGS)) for _ in range(chance.randint(0, 2))]
    for n, (time, type, body) in enumerate(sorted(told, key=lambda one: one[0])):
        yield Fact(f"{id}-{n}", time, type, {"call_id": id, **body})


def _told(at: datetime, type: str, **body: str | int) -> tuple[datetime, str, dict[str, str | int]]:
    return at, type, body


def _interleaved(chance: random.Random, lives: list[list[Fact]]) -> list[Fact]:
    """By time where possible; within one life always in its own order."""
    placed = sorted((max(f.time for f in life[: n + 1]), chance.random(), k, n) for k, life in enumerate(lives) for n in range(len(life)))
    turns = [iter(life) for life in lives]
    return [next(turns[k]) for _, _, k, _ in placed]
