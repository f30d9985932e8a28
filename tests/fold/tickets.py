"""Tickets, event by event. The table is written by event here, not by state, so that a slip in the other one cannot be copied."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fold.facts import Fact
from tests.fold.tally import Tally

ALLOWED = {1: timedelta(minutes=15), 2: timedelta(hours=1), 3: timedelta(hours=4), 4: timedelta(hours=8)}
PATIENCE = timedelta(days=1)

BORN: dict[str, str] = {
    "ticket.opened": "New",
    "ticket.triaged": "Triaged",
    "ticket.started": "In progress",
    "ticket.asked": "Waiting on customer",
    "ticket.blocked": "Blocked",
    "ticket.resolved": "Resolved",
}
LEADS: dict[str, dict[str, str]] = {
    "ticket.opened": {"New": "New"},
    "ticket.triaged": {
        "New": "Triaged",
        "Blocked": "Triaged",
        "Triaged": "Triaged",
        "Waiting on customer": "Waiting on customer",
        "In progress": "In progress",
    },
    "ticket.started": dict.fromkeys(("New", "Triaged", "Waiting on customer", "Blocked", "In progress", "Resolved"), "In progress"),
    "ticket.asked": dict.fromkeys(("New", "Triaged", "In progress", "Blocked", "Waiting on customer"), "Waiting on customer"),
    "ticket.answered": {"Waiting on customer": "In progress"},
    "ticket.blocked": dict.fromkeys(("New", "Triaged", "Waiting on customer", "In progress", "Blocked"), "Blocked"),
    "ticket.freed": {"Blocked": "In progress"},
    "ticket.resolved": dict.fromkeys(("New", "Triaged", "Waiting on customer", "In progress", "Blocked", "Resolved"), "Resolved"),
    "ticket.reopened": {"Resolved": "In progress"},
    "ticket.closed": {"Resolved": "Closed"},
}


@dataclass
class Ticket:
    """What decides about a ticket. `due` while its rest in New is watched, `late` once that was too long, `parked` once a handler failed."""

    id: str
    state: str = ""
    since: datetime | None = None
    moved: datetime | None = None
    title: str = ""
    due: datetime | None = None
    late: datetime | None = None
    parked: bool = False
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])


class Tickets:
    """The fold. Facts of one ticket must come in order."""

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self.tally = Tally()

    def take(self, fact: Fact) -> None:
        id = str(fact.body["ticket_id"])
        ticket = self.tickets.setdefault(id, Ticket(id))
        self._pass(ticket, fact.time)
        if not ticket.state and fact.type not in BORN:
            ticket.early.append((fact, fact.time + PATIENCE))
            return
        newborn = not ticket.state
        self._meet(ticket, fact)
        if newborn and ticket.state:
            early, ticket.early = ticket.early, []
            for waiting, _ in early:
                self._meet(ticket, waiting)

    def wait(self, until: datetime) -> None:
        """Let time pass for all of them."""
        for ticket in self.tickets.values():
            self._pass(ticket, until)

    def total(self) -> Tally:
        self.tally.states = {("ticket", t.id): t.state for t in self.tickets.values() if t.state}
        return self.tally

    def _pass(self, ticket: Ticket, until: datetime) -> None:
        if ticket.due is not None and ticket.since is not None and ticket.due <= until:
            self.tally.breach("ticket", ticket.id, "New", ("service desk", "desk lead"), (ticket.since, ticket.due))
            ticket.moved = max(ticket.due, ticket.moved or ticket.due)
            ticket.late, ticket.due = ticket.due, None
        for fact, limit in [early for early in ticket.early if early[1] <= until]:
            self.tally.expire("ticket", ticket.id, (fact.id, fact.type), limit)
            ticket.early.remove((fact, limit))

    def _meet(self, ticket: Ticket, fact: Fact) -> None:
        if ticket.parked:
            self.tally.outcomes["ticket", "parked"] += 1
        elif not ticket.state:
            self._enter(ticket, fact, BORN[fact.type])
        elif ticket.state not in LEADS[fact.type]:
            self.tally.reject("ticket", ticket.state, fact.type, "no_transition")
        elif fact.type == "ticket.resolved" and ticket.state != "Resolved" and not fact.body.get("cause"):
            self.tally.reject("ticket", ticket.state, fact.type, "guard_refused")
        else:
            self._move(ticket, fact)

    def _move(self, ticket: Ticket, fact: Fact) -> None:
        text = _text(ticket, fact)
        if text is None:
            ticket.parked = True
            self.tally.outcomes["ticket", "parked"] += 1
            return
        if text:
            self.tally.say("customers", "customer.told", ticket.id, {"ticket_id": ticket.id, "text": text})
        self._enter(ticket, fact, LEADS[fact.type][ticket.state])

    def _enter(self, ticket: Ticket, fact: Fact, state: str) -> None:
        self.tally.outcomes["ticket", "applied"] += 1
        if fact.type == "ticket.opened":
            ticket.title = str(fact.body.get("title", "")) or ticket.title
        ticket.moved = max(fact.time, ticket.moved or fact.time)
        if state == ticket.state:
            return
        if ticket.late is not None and fact.time < ticket.late:
            self.tally.withdraw("ticket", ticket.id, ticket.state, ("service desk", "desk lead"), ticket.late, fact.time)
        ticket.state, ticket.since, ticket.late = state, ticket.moved, None
        ticket.due = ticket.moved + ALLOWED[int(fact.body.get("priority", 3))] if state == "New" else None


def _text(ticket: Ticket, fact: Fact) -> str | None:
    """What the customer is told: "" for nothing, None where the desk wrote a placeholder that nobody can fill."""
    if fact.type == "ticket.resolved" and ticket.state != "Resolved":
        return f"Solved: {fact.body['cause']}"
    question = str(fact.body.get("question", "")) if fact.type == "ticket.asked" else ""
    text = question.replace("{ticket_id}", ticket.id).replace("{title}", ticket.title)
    return None if "{" in text else text
