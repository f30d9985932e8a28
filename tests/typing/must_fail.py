"""Lines that both type checkers must refuse: each is marked `# F<n>`. Never imported, only checked."""

# ruff: noqa: F821

from __future__ import annotations

from typing import Literal

from stream import Cause, Clock, Data, Event, Machine, Owner, Sla, State, Task, about, any_of, anytime, days, hours, opens, upcast

Priority = Literal[1, 2, 3, 4]


class TicketEvent(Event, topic="tickets", key="ticket_id"):
    ticket_id: str


class TicketOpened(TicketEvent, type="ticket.opened"):
    priority: Priority = 3


class TicketTriaged(TicketEvent, type="ticket.triaged"):
    group: str


class TicketResolved(TicketEvent, type="ticket.resolved"):
    cause: str = ""


class CustomerTold(Event, type="customer.told", topic="customers", key="ticket_id"):
    ticket_id: str


class CallReceived(Event, type="call.received", topic="calls", key="call_id"):
    call_id: str


class Ticket(Data):
    ticket_id: str
    priority: Priority
    group: str = ""


class Call(Data):
    call_id: str


def open_ticket(e: TicketOpened, cause: Cause) -> Ticket:
    return Ticket(ticket_id=e.ticket_id, priority=e.priority)


def receive(e: CallReceived) -> Call:
    return Call(call_id=e.call_id)


def assign(t: Ticket, e: TicketTriaged) -> None:
    t.group = e.group


def has_cause(t: Ticket, e: TicketResolved) -> bool:
    return bool(e.cause)


def mark(c: Call, e: CallReceived) -> None:
    c.call_id = e.call_id


def say_resolved(t: Ticket, e: TicketResolved) -> CustomerTold:
    return CustomerTold(ticket_id=t.ticket_id)


def is_quiet(c: Call) -> bool:
    return not c.call_id


def four(t: Ticket, e: TicketTriaged, c: Cause, x: int) -> None: ...
def says_text(t: Ticket, e: TicketTriaged) -> str:
    return ""


LEAD = Owner("lead")
new, triaged, closed = State[Ticket]("new"), State[Ticket]("triaged"), State[Ticket]("closed", final=True)
attended = State[Call]("attended")


# What follows up to the marked lines must pass: it is the same shape, said rightly.
def is_critical(t: Ticket, e: Event) -> bool:
    return t.priority == 1


resolution = Clock[Ticket]("resolution", within=lambda t: hours(t.priority), met=(closed,), pauses=(new,), warn_at=0.75, escalate_to=LEAD)
good = Machine[Ticket](
    "ticket",
    data=Ticket,
    events=(TicketEvent,),
    clocks=(resolution,),
    transitions=(
        opens(TicketOpened, to=new, then=open_ticket),
        new.on(TicketTriaged, to=triaged, then=assign),
        triaged.on(resolution.breached, to=new, when=is_critical),
        any_of(new, triaged).on(TicketResolved, to=closed, when=has_cause, emit=say_resolved),
    ),
)


def bad_field(t: Ticket, e: TicketTriaged) -> None:
    t.gruop = e.group  # F1


def bad_type(t: Ticket, e: TicketTriaged) -> None:
    t.priority = "high"  # F2


def bad_event_field(t: Ticket, e: TicketTriaged) -> None:
    t.group = e.team  # F3


def assign_event(t: Ticket, e: TicketTriaged) -> None:
    e.group = "x"  # F4


new.on(TicketTriaged, to=triaged, when=has_cause)  # F5
new.on(TicketTriaged, to=triaged, then=mark)  # F6
new.on(TicketTriaged, to=triaged, emit=say_resolved)  # F7
new.on(TicketTriaged, to=attended)  # F8
any_of(new, attended).on(TicketTriaged, to=triaged)  # F9
opens(CallReceived, to=new, then=receive)  # F10
opens(CallReceived, to=new, then=open_ticket)  # F11
triaged.settles(to=closed, when=is_quiet)  # F12
new.on(new.breached, to=triaged, when=has_cause)  # F13
State[Ticket]("x", sla=Sla(lambda t: t.prio))  # F14
about(CallReceived, lambda e: e.call)  # F15
Machine[Ticket]("m", data=Call, events=(), transitions=())  # F16
Machine[Ticket]("m", data=Ticket, events=(), transitions=(attended.on(CallReceived),))  # F17
new.on(TicketTriaged, to="triaged")  # F18
new.on("ticket.triaged", to=triaged)  # F19
TicketOpened(ticket_id="x", priority=9)  # F20
TicketTriaged(ticket_id="x")  # F21
new.on(TicketTriaged, to=triaged, then=four)  # F22
new.on(TicketTriaged, to=triaged, emit=says_text)  # F23
new.on(TicketTriaged, to=traiged)  # F24
State[Ticket]("x", owner="lead")  # F25
TicketTriaged("x", "y")  # F26
Ticket("x", 3)  # F27
new.after(5, to=closed)  # F28
anytime(TicketTriaged, then=mark)  # F29
State[Ticket]("x", sla=Sla(hours(1), escalate_to="lead"))  # F30
State[Ticket]("x", defers=("ticket.triaged",))  # F31
Machine[Ticket]("m", data=Ticket, events=(TicketEvent,), transitions=(), unborn="wait", unborn_within=days(1))  # F32
Clock[Ticket]("c", within=hours(1), met=(attended,))  # F33
Clock[Ticket]("c", within=hours(1), met=(closed,), pauses=(attended,))  # F34
Clock[Ticket]("c", within=lambda t: t.prio, met=(closed,))  # F35
Clock[Ticket]("c", within="P1M", met=(closed,))  # F36
new.on(resolution.breached, to=triaged, when=has_cause)  # F37
new.on(resolution.warned, to=triaged, then=assign)  # F38
new.on(resolution.met, to=triaged)  # F39
Clock[Ticket]("c", within=hours(1), met=(closed,), escalate_to="lead")  # F40
Clock[Ticket]("c", within=hours(1), met=(closed,), calendar="office")  # F42
Machine[Call]("m", data=Call, events=(), transitions=(), clocks=(resolution,))  # F41
upcast(TicketTriaged, TicketResolved, lambda e: e.group)  # F47
Task[Ticket]("Who?", answers=("ticket.triaged",))  # F48
Task[Ticket](four, answers=(TicketTriaged,))  # F49
State[Call]("x", task=Task[Ticket]("Who?", answers=(TicketTriaged,)))  # F50
