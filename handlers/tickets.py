"""A ticket at the service desk: from New to Closed, whose turn it is in each state, and when somebody is told that it rests too long."""

from __future__ import annotations

from datetime import timedelta

from schemas.customers import CustomerTold
from schemas.tickets import (
    Priority,
    TicketAnswered,
    TicketAsked,
    TicketBlocked,
    TicketClosed,
    TicketEvent,
    TicketFreed,
    TicketOpened,
    TicketReopened,
    TicketResolved,
    TicketStarted,
    TicketTakenOver,
    TicketTriaged,
)
from stream import Calendar, Cause, Clock, Data, Machine, Owner, Sla, SlaBreached, State, Task, any_of, days, hours, minutes, opens

DESK, LEAD, CUSTOMER, RESOLVER = Owner("service desk"), Owner("desk lead"), Owner("customer"), Owner("resolver group")

office = Calendar("office", "Europe/London", {"mon-fri": "08:00-18:00"}, holidays=("GB", "ENG"))
"""When the desk is there; both targets count its hours alone."""


class Ticket(Data):
    """What the desk knows of a ticket. `handovers` counts changes of the person working on it."""

    ticket_id: str
    title: str = ""
    priority: Priority = 3
    group: str = ""
    assignee: str = ""
    blocked_by: str = ""
    cause: str = ""
    handovers: int = 0
    reopened: int = 0
    opened_by: str | None = None


def response_target(t: Ticket) -> timedelta:
    """How long until somebody has it, by priority."""
    return {1: minutes(15), 2: hours(1), 3: hours(4), 4: hours(8)}[t.priority]


def resolution_target(t: Ticket) -> timedelta:
    """How long until it is resolved, by priority: half a day of ten hours up to ten days."""
    return {1: hours(4), 2: hours(10), 3: hours(50), 4: hours(100)}[t.priority]


def open_ticket(e: TicketOpened, cause: Cause) -> Ticket:
    """The usual birth."""
    return Ticket(ticket_id=e.ticket_id, title=e.title, priority=e.priority, opened_by=cause.actor)


def open_triaged(e: TicketTriaged, cause: Cause) -> Ticket:
    """Told by telephone and routed at once: the desk's log starts such tickets here."""
    return Ticket(ticket_id=e.ticket_id, group=e.group, opened_by=cause.actor)


def open_started(e: TicketStarted, cause: Cause) -> Ticket:
    """Somebody began before anybody wrote it down."""
    return Ticket(ticket_id=e.ticket_id, assignee=e.assignee, opened_by=cause.actor)


def open_elsewhere(e: TicketAsked, cause: Cause) -> Ticket:
    """Written down while it already waits for the customer."""
    return Ticket(ticket_id=e.ticket_id, opened_by=cause.actor)


def open_blocked(e: TicketBlocked, cause: Cause) -> Ticket:
    """Written down while it already waits for somebody outside."""
    return Ticket(ticket_id=e.ticket_id, blocked_by=e.by, opened_by=cause.actor)


def open_resolved(e: TicketResolved, cause: Cause) -> Ticket:
    """Solved on the telephone, written down afterwards."""
    return Ticket(ticket_id=e.ticket_id, cause=e.cause, opened_by=cause.actor)


def amend(t: Ticket, e: TicketOpened) -> None:
    """Title and priority may be corrected while it is New."""
    t.title = e.title or t.title
    t.priority = e.priority


def assign_group(t: Ticket, e: TicketTriaged) -> None:
    """Whose queue it is in."""
    t.group = e.group


def assign_person(t: Ticket, e: TicketStarted) -> None:
    """Who works on it; a change of hands is counted."""
    t.handovers += t.assignee not in ("", e.assignee)
    t.assignee = e.assignee


def is_passed_around(t: Ticket, e: TicketStarted) -> bool:
    """The fourth change of hands."""
    return t.handovers >= 3 and t.assignee not in ("", e.assignee)


def settle_hands(t: Ticket, e: TicketTakenOver | TicketStarted) -> None:
    """Somebody has it now; changes of hands are counted anew."""
    t.assignee, t.handovers = e.assignee, 0


def note_blocker(t: Ticket, e: TicketBlocked) -> None:
    """Who holds it up."""
    t.blocked_by = e.by


def note_cause(t: Ticket, e: TicketResolved) -> None:
    """What it was."""
    t.cause = e.cause


def count_reopening(t: Ticket, e: TicketReopened) -> None:
    """It came back."""
    t.reopened += 1


def take_up_again(t: Ticket, e: TicketStarted) -> None:
    """It came back, and somebody has it already."""
    t.reopened += 1
    assign_person(t, e)


def has_cause(t: Ticket, e: TicketResolved) -> bool:
    """Nothing is resolved without saying what it was."""
    return bool(e.cause)


def is_critical(t: Ticket, e: SlaBreached) -> bool:
    """The lead takes over what cannot wait."""
    return t.priority == 1


def ask_customer(t: Ticket, e: TicketAsked) -> CustomerTold | None:
    """Put the question; an unknown placeholder in it is an error of whoever wrote it, and parks the ticket."""
    text = e.question.format(ticket_id=t.ticket_id, title=t.title)
    return CustomerTold(ticket_id=t.ticket_id, text=text) if text else None


def say_resolved(t: Ticket, e: TicketResolved) -> CustomerTold:
    """Good news."""
    return CustomerTold(ticket_id=t.ticket_id, text=f"Solved: {e.cause}")


def remind_customer(t: Ticket, e: SlaBreached) -> CustomerTold:
    """They have three days left."""
    return CustomerTold(ticket_id=t.ticket_id, text="We still wait for your answer.")


def say_closed(t: Ticket, cause: Cause) -> CustomerTold:
    """Nobody answered."""
    return CustomerTold(ticket_id=t.ticket_id, text=f"Closed without an answer since {cause.since:%d %B %Y}.")


new = State[Ticket]("New", owner=DESK)
triaged = State[Ticket]("Triaged", owner=DESK)
waiting = State[Ticket]("Waiting on customer", owner=CUSTOMER, sla=Sla(days(2)))
working = State[Ticket]("In progress", owner=RESOLVER)
blocked = State[Ticket]("Blocked", owner=LEAD)


def urgency(t: Ticket) -> int:
    """A question about a ticket is as urgent as the ticket."""
    return t.priority


who_takes_it = Task[Ticket]("Passed around four times. Who takes it?", answers=(TicketTakenOver,), within=hours(4), priority=urgency)
disputed = State[Ticket]("Disputed", owner=LEAD, task=who_takes_it)
resolved = State[Ticket]("Resolved", owner=DESK)
closed = State[Ticket]("Closed", final=True)

response = Clock[Ticket](
    "response", within=response_target, met=(waiting, working, blocked, disputed, resolved, closed), calendar=office, escalate_to=LEAD
)
resolution = Clock[Ticket](
    "resolution",
    within=resolution_target,
    met=(resolved, closed),
    pauses=(waiting,),
    calendar=office,
    warn_at=0.75,
    escalate_to=LEAD,
    repeat=hours(50),
    reasons=("vendor", "parts", "workload"),
)

ticket = Machine[Ticket](
    "ticket",
    data=Ticket,
    events=(TicketEvent,),
    clocks=(response, resolution),
    transitions=(
        # born: the usual way, then the five other states in which the desk's log writes a ticket down for the first time
        opens(TicketOpened, to=new, then=open_ticket),
        opens(TicketTriaged, to=triaged, then=open_triaged),
        opens(TicketStarted, to=working, then=open_started),
        opens(TicketAsked, to=waiting, then=open_elsewhere),
        opens(TicketBlocked, to=blocked, then=open_blocked),
        opens(TicketResolved, to=resolved, then=open_resolved),
        # moves
        any_of(new, blocked).on(TicketTriaged, to=triaged, then=assign_group),
        any_of(new, triaged, waiting, working, blocked).on(TicketStarted, to=disputed, when=is_passed_around, then=assign_person),
        any_of(new, triaged, waiting, blocked).on(TicketStarted, to=working, then=assign_person),
        disputed.on(TicketTakenOver, to=working, then=settle_hands, by=(LEAD,)),
        disputed.on(TicketStarted, to=working, then=settle_hands),  # somebody took it before anybody answered
        any_of(new, triaged, waiting, working, blocked, disputed).on(TicketAsked, to=waiting, emit=ask_customer),
        # asked anew while they wait, their time begins anew
        waiting.on(TicketAnswered, to=working),
        waiting.on(waiting.breached, emit=remind_customer),
        waiting.after(days(5), to=closed, emit=say_closed),
        any_of(new, triaged, waiting, working, disputed).on(TicketBlocked, to=blocked, then=note_blocker),
        blocked.on(TicketFreed, to=working),
        any_of(new, triaged, waiting, working, blocked, disputed).on(TicketResolved, to=resolved, when=has_cause, then=note_cause, emit=say_resolved),
        resolved.on(TicketReopened, to=working, then=count_reopening),
        resolved.on(TicketStarted, to=working, then=take_up_again),
        resolved.on(TicketClosed, to=closed),
        any_of(new, triaged, working).on(resolution.breached, to=blocked, when=is_critical),
        # the desk repeats a state to change what it knows: the ticket stays, its clocks go on
        new.on(TicketOpened, then=amend),
        any_of(triaged, waiting, working, disputed).on(TicketTriaged, then=assign_group),
        working.on(TicketStarted, then=assign_person),
        blocked.on(TicketBlocked, then=note_blocker),
        resolved.on(TicketResolved, then=note_cause),
    ),
)
