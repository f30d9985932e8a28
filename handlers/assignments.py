"""One unit sent to one call: what the crew pressed, in the order that makes sense, told on to the call."""

from __future__ import annotations

from schemas.dispatch import (
    ArrivedAtHospital,
    AssignmentArrived,
    AssignmentFreed,
    AssignmentOpened,
    AssignmentTransporting,
    AssignmentUnderway,
    TransportStarted,
    UnitAvailable,
    UnitDispatched,
    UnitEnRoute,
    UnitEvent,
    UnitOnScene,
)
from stream import Data, Machine, Owner, Sla, State, about, any_of, hours, minutes, opens

DISPATCHER, CREW, DUTY = Owner("dispatcher"), Owner("crew"), Owner("duty lead")


class Assignment(Data):
    """Which unit, to which call."""

    call_id: str
    unit_id: str


def assignment_of(e: UnitEvent) -> str:
    """An assignment is a unit on a call: `call:unit`."""
    return f"{e.call_id}:{e.unit_id}"


def assign(e: UnitDispatched) -> Assignment:
    """The birth."""
    return Assignment(call_id=e.call_id, unit_id=e.unit_id)


def tell_opened(a: Assignment, e: UnitDispatched) -> AssignmentOpened:
    """The call has one more unit to wait for."""
    return AssignmentOpened(call_id=a.call_id, unit_id=a.unit_id)


def tell_underway(a: Assignment, e: UnitEnRoute) -> AssignmentUnderway:
    """The customer may be told."""
    return AssignmentUnderway(call_id=a.call_id, unit_id=a.unit_id)


def tell_arrived(a: Assignment, e: UnitOnScene) -> AssignmentArrived:
    """The customer may be told."""
    return AssignmentArrived(call_id=a.call_id, unit_id=a.unit_id)


def tell_transporting(a: Assignment, e: TransportStarted) -> AssignmentTransporting:
    """There will be something to bill."""
    return AssignmentTransporting(call_id=a.call_id, unit_id=a.unit_id)


def tell_freed(a: Assignment, e: UnitAvailable) -> AssignmentFreed:
    """The call has one unit less to wait for."""
    return AssignmentFreed(call_id=a.call_id, unit_id=a.unit_id)


dispatched = State[Assignment]("dispatched", owner=DISPATCHER, sla=Sla(minutes(3), escalate_to=DUTY))
en_route = State[Assignment]("en route", owner=CREW)
on_scene = State[Assignment]("on scene", owner=CREW)
transporting = State[Assignment]("transporting", owner=CREW)
at_hospital = State[Assignment]("at hospital", owner=CREW, sla=Sla(hours(1), escalate_to=DUTY))
available = State[Assignment]("available", final=True)

assignment = Machine[Assignment](
    "assignment",
    data=Assignment,
    events=(about(UnitEvent, assignment_of),),
    transitions=(
        opens(UnitDispatched, to=dispatched, then=assign, emit=tell_opened),
        dispatched.on(UnitEnRoute, to=en_route, emit=tell_underway),
        any_of(dispatched, en_route).on(UnitOnScene, to=on_scene, emit=tell_arrived),
        on_scene.on(TransportStarted, to=transporting, emit=tell_transporting),
        transporting.on(ArrivedAtHospital, to=at_hospital),
        any_of(dispatched, en_route, on_scene, transporting, at_hospital).on(UnitAvailable, to=available, emit=tell_freed),
    ),
)
