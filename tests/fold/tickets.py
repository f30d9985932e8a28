"""Tickets, event by event. The table is written by event here, not by state, so that a slip in the other one cannot be copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fold.facts import Fact, instant
from tests.fold.tally import Tally, Thing
from tests.fold.watch import ALWAYS, NOTHING, OFFICE, Hours, Watch

TARGETS = {
    "response": {1: timedelta(minutes=15), 2: timedelta(hours=1), 3: timedelta(hours=4), 4: timedelta(hours=8)},
    "resolution": {1: timedelta(hours=4), 2: timedelta(hours=10), 3: timedelta(hours=50), 4: timedelta(hours=100)},
}
PATIENCE, REMINDED, GIVEN_UP, DECIDED = timedelta(days=1), timedelta(days=2), timedelta(days=5), timedelta(hours=4)
WAITS, DISPUTED = "Waiting on customer", "Disputed"
LEAD = ("ann", "bob")
WHO = "Passed around four times. Who takes it?"

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
        "Disputed": "Disputed",
    },
    "ticket.started": dict.fromkeys(("New", "Triaged", "Waiting on customer", "Blocked", "In progress", "Disputed", "Resolved"), "In progress"),
    "ticket.taken_over": {"Disputed": "In progress"},
    "ticket.asked": dict.fromkeys(("New", "Triaged", "In progress", "Blocked", "Disputed", "Waiting on customer"), "Waiting on customer"),
    "ticket.answered": {"Waiting on customer": "In progress"},
    "ticket.blocked": dict.fromkeys(("New", "Triaged", "Waiting on customer", "In progress", "Disputed", "Blocked"), "Blocked"),
    "ticket.freed": {"Blocked": "In progress"},
    "ticket.resolved": dict.fromkeys(("New", "Triaged", "Waiting on customer", "In progress", "Blocked", "Disputed", "Resolved"), "Resolved"),
    "ticket.reopened": {"Resolved": "In progress"},
    "ticket.closed": {"Resolved": "Closed"},
}


OWNERS = {
    "New": "service desk",
    "Triaged": "service desk",
    "Waiting on customer": "customer",
    "In progress": "resolver group",
    "Blocked": "desk lead",
    "Disputed": "desk lead",
}
RUNS = {"response": ("New", "Triaged"), "resolution": ("New", "Triaged", "In progress", "Blocked", "Disputed")}
TAKEN_OVER = ("New", "Triaged", "In progress")


@dataclass
class Ticket:
    """What decides about a ticket. `parked` once a handler failed. `here` is the clock of the state it rests in, `given_up` when a customer's time
    is over.
    """

    id: str
    state: str = ""
    since: datetime | None = None
    moved: datetime | None = None
    title: str = ""
    priority: int = 3
    assignee: str = ""
    handovers: int = 0
    watches: list[Watch] = field(default_factory=list[Watch])
    here: Watch | None = None
    given_up: datetime | None = None
    parked: bool = False
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])

    @property
    def thing(self) -> Thing:
        return Thing("ticket", self.id, self.state, OWNERS.get(self.state, "service desk"), "desk lead")


class Tickets:
    """The fold. Facts of one ticket must come in order. `hours` are those whose time counts."""

    def __init__(self, hours: Hours = OFFICE) -> None:
        self.hours = hours
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
                # Its birth may have been told late, and then time passed between the two.
                self._pass(ticket, waiting.time)
                self._meet(ticket, waiting)

    def wait(self, until: datetime) -> None:
        """Let time pass for all of them."""
        for ticket in self.tickets.values():
            self._pass(ticket, until)

    def total(self) -> Tally:
        self.tally.states = {("ticket", t.id): t.state for t in self.tickets.values() if t.state}
        self.tally.priorities = {("ticket", t.id): str(t.priority) for t in self.tickets.values() if t.state}
        return self.tally

    def _pass(self, ticket: Ticket, until: datetime) -> None:
        while alarms := list(_alarms(ticket, until)):
            due, _, watch = min(alarms, key=lambda alarm: alarm[:2])
            if watch is None:
                self._give_up(ticket, due)
            else:
                self._ring(ticket, watch, due)
        for fact, limit in [early for early in ticket.early if early[1] <= until]:
            self.tally.expire("ticket", ticket.id, (fact.id, fact.type), limit)
            ticket.early.remove((fact, limit))

    def _ring(self, ticket: Ticket, watch: Watch, at: datetime) -> None:
        breach, here = watch.rung == 1, watch is ticket.here
        self.tally.ring(_told_of(ticket, watch), ticket.since or at, watch.climb(at))
        ticket.moved = max(at, ticket.moved or at)
        if here and ticket.state == WAITS and ticket.parked:
            self.tally.outcomes["ticket", "parked"] += 1
        elif here and ticket.state == WAITS:
            self._tell(ticket, "We still wait for your answer.")
        elif breach and ticket.state in TAKEN_OVER:
            if ticket.parked:
                self.tally.outcomes["ticket", "parked"] += 1
            elif watch.name == "resolution" and ticket.priority == 1:
                self._shift(ticket, "Blocked", ticket.moved, ticket.moved)

    def _give_up(self, ticket: Ticket, at: datetime) -> None:
        ticket.given_up = None
        if ticket.parked:
            self.tally.outcomes["ticket", "parked"] += 1
            return
        self._tell(ticket, f"Closed without an answer since {ticket.since or at:%d %B %Y}.")
        ticket.moved = max(at, ticket.moved or at)
        self._shift(ticket, "Closed", ticket.moved, ticket.moved)

    def _tell(self, ticket: Ticket, text: str) -> None:
        self.tally.say("customers", "customer.told", ticket.id, {"ticket_id": ticket.id, "text": text})

    def _meet(self, ticket: Ticket, fact: Fact) -> None:
        if ticket.parked:
            self.tally.outcomes["ticket", "parked"] += 1
        elif not ticket.state:
            self._enter(ticket, fact, BORN[fact.type])
        elif ticket.state not in LEADS[fact.type]:
            self.tally.reject("ticket", ticket.state, fact.type, "no_transition")
        elif fact.type == "ticket.taken_over" and fact.actor not in LEAD:
            self.tally.reject("ticket", ticket.state, fact.type, "not_allowed")
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
            self._tell(ticket, text)
        self._enter(ticket, fact, LEADS[fact.type][ticket.state])

    def _enter(self, ticket: Ticket, fact: Fact, state: str) -> None:
        self.tally.outcomes["ticket", "applied"] += 1
        moved = ticket.moved = max(fact.time, ticket.moved or fact.time)
        if fact.type == "ticket.opened":
            ticket.title = str(fact.body.get("title", "")) or ticket.title
            ticket.priority = int(fact.body.get("priority", 3))
        if fact.type in ("ticket.started", "ticket.taken_over"):
            state = self._hand_over(ticket, fact, state)
        if not ticket.state:
            ticket.watches = [
                Watch("response", self.hours, NOTHING),
                Watch("resolution", self.hours, NOTHING, warns=True, repeat=timedelta(hours=50), reasons=("vendor", "parts", "workload")),
            ]
            for watch in ticket.watches:
                watch.start(moved)
        for watch in ticket.watches:
            watch.target = TARGETS[watch.name][ticket.priority]
        if state != ticket.state or fact.type == "ticket.asked":
            self._shift(ticket, state, fact.time, moved, answered=fact.type == "ticket.taken_over")

    def _hand_over(self, ticket: Ticket, fact: Fact, state: str) -> str:
        """Whose it is now, and where that leads: the fourth change of hands to a dispute, unless it comes back from Resolved."""
        before, ticket.assignee = ticket.assignee, str(fact.body["assignee"])
        if ticket.state == DISPUTED:
            ticket.handovers = 0
            return state
        changed = before not in ("", ticket.assignee)
        ticket.handovers += changed
        return DISPUTED if changed and ticket.handovers > 3 and ticket.state not in ("", "Resolved") else state

    def _shift(self, ticket: Ticket, state: str, when: datetime, moved: datetime, *, answered: bool = False) -> None:
        for watch in ticket.watches:
            if state in RUNS[watch.name]:
                watch.start(moved)
                continue
            word = "paused" if watch.name == "resolution" and state == WAITS else "met"
            self._stop(ticket, watch, word, when)
        if ticket.here is not None:
            self._stop(ticket, ticket.here, "void" if ticket.state == DISPUTED and not answered else "met", when)
        ticket.state, ticket.since, ticket.here, ticket.given_up = state, moved, None, None
        if state == WAITS:
            ticket.here, ticket.given_up = Watch(WAITS, ALWAYS, REMINDED), moved + GIVEN_UP
            ticket.here.start(moved)
        elif state == DISPUTED:
            ticket.here = Watch("Disputed task", self.hours, DECIDED)
            ticket.here.start(moved)
            told: dict[str, object] = {"machine": "ticket", "entity_id": ticket.id, "state": state, "owner": "desk lead"}
            due = ticket.here.due(moved)
            self.tally.say(
                "alerts",
                "task.opened",
                ticket.id,
                {**told, "task": "state Disputed", "question": WHO, "due": due and instant(due), "priority": ticket.priority},
            )

    def _stop(self, ticket: Ticket, watch: Watch, word: str, when: datetime) -> None:
        for note, breach in watch.stop(word, when):
            if breach is not None:
                self.tally.withdraw(_told_of(ticket, watch), watch.name, breach, when)
            else:
                self.tally.note("ticket", watch.name, note)


def _alarms(ticket: Ticket, until: datetime) -> Iterator[tuple[datetime, str, Watch | None]]:
    for watch in (*ticket.watches, *([ticket.here] if ticket.here else [])):
        if (due := watch.due(ticket.moved or until)) and due <= until:
            yield due, watch.name, watch
    if ticket.given_up and ticket.given_up <= until:
        yield ticket.given_up, "", None


def _told_of(ticket: Ticket, watch: Watch) -> Thing:
    """What a state's own clock says is for whoever has the turn there."""
    return ticket.thing._replace(escalate_to="") if watch is ticket.here else ticket.thing


def _text(ticket: Ticket, fact: Fact) -> str | None:
    """What the customer is told: "" for nothing, None where the desk wrote a placeholder that nobody can fill."""
    if fact.type == "ticket.resolved" and ticket.state != "Resolved":
        return f"Solved: {fact.body['cause']}"
    question = str(fact.body.get("question", "")) if fact.type == "ticket.asked" else ""
    text = question.replace("{ticket_id}", ticket.id).replace("{title}", ticket.title)
    return None if "{" in text else text
