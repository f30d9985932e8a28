"""What is said about calls and the units sent to them: raw button presses, what assignments accepted, what became of the call."""

from __future__ import annotations

from stream import Event


class CallEvent(Event, topic="dispatch", key="call_id"):
    """The family of what the control room says about a call."""

    call_id: str


class CallReceived(CallEvent, type="call.received", natural_key=("call_id",)):
    """A customer called; once a call, whoever tells it: the control room and the telephone exchange both do, under ids of their own.

    `priority` as the control room writes it: 3 and E are urgent.
    """

    priority: str


class CallEntered(CallEvent, type="call.entered"):
    """The call taker has finished writing it down."""


class CallDisposed(CallEvent, type="call.disposed"):
    """How the call ended, in the control room's words; known late, and it may be corrected."""

    disposition: str


class UnitEvent(Event, topic="dispatch", key="call_id"):
    """The family of what crews press: keyed by the call, so that one partition has all of it in order, and about one unit sent to it."""

    call_id: str
    unit_id: str


class UnitDispatched(UnitEvent, type="unit.dispatched"):
    """The unit was sent."""


class UnitEnRoute(UnitEvent, type="unit.en_route"):
    """It is driving."""


class UnitOnScene(UnitEvent, type="unit.on_scene"):
    """It is there."""


class TransportStarted(UnitEvent, type="unit.transport_started"):
    """It took somebody on board."""


class ArrivedAtHospital(UnitEvent, type="unit.arrived_hospital"):
    """It brought them in."""


class UnitAvailable(UnitEvent, type="unit.available"):
    """It is free for another call."""


class AssignmentEvent(Event, topic="assignments", key="call_id"):
    """The family of what an assignment accepted, said to its call: the second hop."""

    call_id: str
    unit_id: str


class AssignmentOpened(AssignmentEvent, type="assignment.opened"):
    """A unit was sent."""


class AssignmentUnderway(AssignmentEvent, type="assignment.underway"):
    """It is on the way."""


class AssignmentArrived(AssignmentEvent, type="assignment.arrived"):
    """It has arrived."""


class AssignmentTransporting(AssignmentEvent, type="assignment.transporting"):
    """It has started a transport."""


class AssignmentFreed(AssignmentEvent, type="assignment.freed"):
    """It is available again: this assignment is over."""


class CallOutcome(Event, topic="calls", key="call_id"):
    """The family of what others may know about a call. `closing` counts a call's closings from 1."""

    call_id: str
    closing: int


class CallClosed(CallOutcome, type="call.closed", natural_key=("call_id", "closing")):
    """Every unit that was sent is available again."""


class CallReopened(CallOutcome, type="call.reopened", natural_key=("call_id", "closing")):
    """A unit was sent after all: that closing does not hold."""
