"""A customer's call: what its assignments accepted, what the customer is told, when it is closed, and when it may be billed."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from schemas.billing import PrepareBilling, TakeBackBilling
from schemas.customers import CustomerArrived, CustomerEnRoute
from schemas.dispatch import (
    AssignmentArrived,
    AssignmentEvent,
    AssignmentFreed,
    AssignmentOpened,
    AssignmentTransporting,
    AssignmentUnderway,
    CallClosed,
    CallDisposed,
    CallEntered,
    CallEvent,
    CallReceived,
    CallReopened,
)
from stream import Clock, Data, Machine, Owner, State, any_of, minutes, opens

DISPATCHER, CREW, BILLING, DUTY = Owner("dispatcher"), Owner("crew"), Owner("billing"), Owner("duty lead")
URGENT = frozenset({"3", "E"})
BILLABLE = frozenset({"Code 2 Transport", "Code 3 Transport"})


class Call(Data):
    """What is known of a call. `busy` are the units sent and not available again; `closing` and `bill` number the present or next one."""

    call_id: str
    priority: str
    busy: set[str] = msgspec.field(default_factory=set[str])
    sent: int = 0
    underway: bool = False
    arrived: bool = False
    transports: int = 0
    disposition: str = ""
    closing: int = 1
    bill: int = 1


def bill_id(c: Call, number: int) -> str:
    """Every bill of a call has a number of its own, so none is prepared twice and each can be named when it is taken back."""
    return f"{c.call_id}/{number}"


def arrival_target(c: Call) -> timedelta:
    """How long a customer may wait for the first unit."""
    return minutes(10 if c.priority in URGENT else 25)


def receive(e: CallReceived) -> Call:
    """The birth."""
    return Call(call_id=e.call_id, priority=e.priority)


def add_unit(c: Call, e: AssignmentOpened) -> None:
    """One more to wait for."""
    c.busy.add(e.unit_id)
    c.sent += 1


def mark_underway(c: Call, e: AssignmentUnderway) -> None:
    """The fact of which the customer is told once."""
    c.underway = True


def mark_arrived(c: Call, e: AssignmentArrived) -> None:
    """The fact of which the customer is told once."""
    c.arrived = True


def count_transport(c: Call, e: AssignmentTransporting) -> None:
    """Something to bill."""
    c.transports += 1


def free_unit(c: Call, e: AssignmentFreed) -> None:
    """One less to wait for."""
    c.busy.discard(e.unit_id)


def note_disposition(c: Call, e: CallDisposed) -> None:
    """The latest word holds."""
    c.disposition = e.disposition


def say_en_route(c: Call, e: AssignmentUnderway) -> CustomerEnRoute:
    """First unit on the way."""
    return CustomerEnRoute(call_id=c.call_id)


def say_arrived(c: Call, e: AssignmentArrived) -> CustomerArrived:
    """First unit there."""
    return CustomerArrived(call_id=c.call_id)


def everyone_is_free(c: Call) -> bool:
    """The first prerequisite of a bill. Not so before anybody was sent."""
    return c.sent > 0 and not c.busy


def may_be_billed(c: Call) -> bool:
    """The other two: somebody was transported, and the disposition says so."""
    return c.transports > 0 and c.disposition in BILLABLE


def not_to_be_billed(c: Call, e: CallDisposed) -> bool:
    """The correction takes a prerequisite away."""
    return e.disposition not in BILLABLE


def had_arrived(c: Call, e: AssignmentOpened) -> bool:
    """A reopened call goes on where it was."""
    return c.arrived


def was_underway(c: Call, e: AssignmentOpened) -> bool:
    """A reopened call goes on where it was."""
    return c.underway


def announce_closing(c: Call) -> CallClosed:
    """Nobody is out any more."""
    return CallClosed(call_id=c.call_id, closing=c.closing)


def prepare_billing(c: Call) -> PrepareBilling:
    """All prerequisites hold."""
    return PrepareBilling(call_id=c.call_id, bill_id=bill_id(c, c.bill), disposition=c.disposition)


def reopen(c: Call, e: AssignmentOpened) -> None:
    """The closing that was announced is behind us."""
    c.closing += 1
    add_unit(c, e)


def reopen_billed(c: Call, e: AssignmentOpened) -> None:
    """So is the bill."""
    c.bill += 1
    reopen(c, e)


def correct_disposition(c: Call, e: CallDisposed) -> None:
    """The bill is behind us, the closing holds."""
    c.bill += 1
    note_disposition(c, e)


def announce_reopening(c: Call, e: AssignmentOpened) -> CallReopened:
    """Names the closing that does not hold."""
    return CallReopened(call_id=c.call_id, closing=c.closing - 1)


def take_back_reopened(c: Call, e: AssignmentOpened) -> tuple[CallReopened, TakeBackBilling]:
    """Names the closing that does not hold, and the bill with it."""
    return announce_reopening(c, e), TakeBackBilling(call_id=c.call_id, bill_id=bill_id(c, c.bill - 1), reason="a unit was sent after the closing")


def take_back_corrected(c: Call, e: CallDisposed) -> TakeBackBilling:
    """Names the bill that lost its reason."""
    return TakeBackBilling(call_id=c.call_id, bill_id=bill_id(c, c.bill - 1), reason=f"the disposition is now {e.disposition}")


received = State[Call]("received", owner=DISPATCHER)
responding = State[Call]("responding", owner=CREW)
attended = State[Call]("attended", owner=CREW)
closed = State[Call]("closed", owner=BILLING)  # not final: units are sent afterwards, and the disposition comes late
billed = State[Call]("billed", owner=BILLING)
everywhere = any_of(received, responding, attended, closed, billed)
underway = any_of(received, responding, attended)

first_arrival = Clock[Call]("first arrival", within=arrival_target, met=(attended,), void=(closed, billed), escalate_to=DUTY)

call = Machine[Call](
    "call",
    data=Call,
    events=(CallEvent, AssignmentEvent),
    clocks=(first_arrival,),
    transitions=(
        opens(CallReceived, to=received, then=receive),
        everywhere.on(CallEntered),  # comes by another topic than what units do, so there is no order between the two
        underway.on(AssignmentOpened, then=add_unit),
        # said once a call: the move into the state is the fact
        received.on(AssignmentUnderway, to=responding, then=mark_underway, emit=say_en_route),
        any_of(responding, attended).on(AssignmentUnderway, then=mark_underway),
        any_of(received, responding).on(AssignmentArrived, to=attended, then=mark_arrived, emit=say_arrived),
        attended.on(AssignmentArrived),
        underway.on(AssignmentTransporting, then=count_transport),
        underway.on(AssignmentFreed, then=free_unit),
        underway.settles(to=closed, when=everyone_is_free, emit=announce_closing),
        # billing
        any_of(received, responding, attended, closed).on(CallDisposed, then=note_disposition),
        closed.settles(to=billed, when=may_be_billed, emit=prepare_billing),
        billed.on(CallDisposed, to=closed, when=not_to_be_billed, then=correct_disposition, emit=take_back_corrected),
        billed.on(CallDisposed, then=note_disposition),
        # reopening: it goes on where it was
        closed.on(AssignmentOpened, to=attended, when=had_arrived, then=reopen, emit=announce_reopening),
        closed.on(AssignmentOpened, to=responding, when=was_underway, then=reopen, emit=announce_reopening),
        closed.on(AssignmentOpened, to=received, then=reopen, emit=announce_reopening),
        billed.on(AssignmentOpened, to=attended, then=reopen_billed, emit=take_back_reopened),  # no bill without a transport: somebody was there
    ),
)
