"""Calls and the units sent to them, event by event; what an assignment says reaches its call at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fold.facts import Fact
from tests.fold.tally import Tally

PATIENCE = timedelta(days=1)
WATCHED = {"dispatched": (timedelta(minutes=3), ("dispatcher", "duty lead")), "at hospital": (timedelta(hours=1), ("crew", "duty lead"))}
TOLD = {
    "unit.dispatched": "assignment.opened",
    "unit.en_route": "assignment.underway",
    "unit.on_scene": "assignment.arrived",
    "unit.transport_started": "assignment.transporting",
    "unit.available": "assignment.freed",
}
OUT = ("received", "responding", "attended")


@dataclass
class Assignment:
    id: str
    state: str = ""
    since: datetime | None = None
    moved: datetime | None = None
    due: datetime | None = None
    late: datetime | None = None
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])


@dataclass
class Call:
    id: str
    state: str = ""
    moved: datetime | None = None
    busy: set[str] = field(default_factory=set[str])
    sent: bool = False
    underway: bool = False
    arrived: bool = False
    transported: bool = False
    disposition: str = ""
    closing: int = 1
    bill: int = 1
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])


class Dispatch:
    """The fold. Facts of one call must come in order."""

    def __init__(self) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.calls: dict[str, Call] = {}
        self.tally = Tally()

    def take(self, fact: Fact) -> None:
        if fact.type.startswith("unit."):
            self._take_unit(fact)
        else:
            self._take_call(fact)

    def wait(self, until: datetime) -> None:
        """Let time pass for all of them."""
        for one in self.assignments.values():
            self._pass(one, until)
        for call in self.calls.values():
            self._give_up(call, "call", until)

    def total(self) -> Tally:
        self.tally.states = {("assignment", a.id): a.state for a in self.assignments.values() if a.state}
        self.tally.states |= {("call", c.id): c.state for c in self.calls.values() if c.state}
        return self.tally

    # -- assignments

    def _take_unit(self, fact: Fact) -> None:
        id = f"{fact.body['call_id']}:{fact.body['unit_id']}"
        one = self.assignments.setdefault(id, Assignment(id))
        self._pass(one, fact.time)
        if not one.state and fact.type != "unit.dispatched":
            one.early.append((fact, fact.time + PATIENCE))
            return
        self._press(one, fact)
        early, one.early = one.early, []
        for waiting, _ in early:
            self._press(one, waiting)

    def _press(self, one: Assignment, fact: Fact) -> None:
        state = _stage(one.state, fact.type)
        if not state:
            self.tally.reject("assignment", one.state, fact.type, "no_transition")
            return
        self.tally.outcomes["assignment", "applied"] += 1
        if one.late is not None and fact.time < one.late:
            self.tally.withdraw("assignment", one.id, one.state, WATCHED[one.state][1], one.late, fact.time)
        one.moved = max(fact.time, one.moved or fact.time)
        one.state, one.since, one.late = state, one.moved, None
        one.due = one.moved + WATCHED[state][0] if state in WATCHED else None
        if said := TOLD.get(fact.type):
            body = {"call_id": fact.body["call_id"], "unit_id": fact.body["unit_id"]}
            self.tally.say("assignments", said, str(fact.body["call_id"]), body)
            self._take_call(Fact(fact.id, fact.time, said, body))

    def _pass(self, one: Assignment, until: datetime) -> None:
        if one.due is not None and one.since is not None and one.due <= until:
            self.tally.breach("assignment", one.id, one.state, WATCHED[one.state][1], (one.since, one.due))
            one.moved = max(one.due, one.moved or one.due)
            one.late, one.due = one.due, None
        self._give_up(one, "assignment", until)

    def _give_up(self, one: Assignment | Call, machine: str, until: datetime) -> None:
        for fact, limit in [early for early in one.early if early[1] <= until]:
            self.tally.expire(machine, one.id, (fact.id, fact.type), limit)
            one.early.remove((fact, limit))

    # -- calls

    def _take_call(self, fact: Fact) -> None:
        id = str(fact.body["call_id"])
        call = self.calls.setdefault(id, Call(id))
        self._give_up(call, "call", fact.time)
        if not call.state and fact.type != "call.received":
            call.early.append((fact, fact.time + PATIENCE))
            return
        self._hear(call, fact)
        early, call.early = call.early, []
        for waiting, _ in early:
            self._hear(call, waiting)

    def _hear(self, call: Call, fact: Fact) -> None:
        if not self._heard(call, fact, str(fact.body.get("unit_id", ""))):
            self.tally.reject("call", call.state, fact.type, "no_transition")
            return
        self.tally.outcomes["call", "applied"] += 1
        if call.state in OUT and call.sent and not call.busy:
            call.state = "closed"
            self.tally.say("calls", "call.closed", call.id, {"call_id": call.id, "closing": call.closing})
        if call.state == "closed" and call.transported and call.disposition in ("Code 2 Transport", "Code 3 Transport"):
            call.state = "billed"
            self._order("billing.prepare", call, call.bill, disposition=call.disposition)

    def _heard(self, call: Call, fact: Fact, unit: str) -> bool:
        """Whether it changed anything, or was at least to be expected."""
        match fact.type:
            case "call.received" if not call.state:
                call.state = "received"
            case "call.entered":
                pass
            case "call.disposed":
                self._dispose(call, str(fact.body["disposition"]))
            case "assignment.opened":
                self._send(call, unit)
            case _ if call.state not in OUT:
                return False
            case "assignment.underway":
                self._note_underway(call)
            case "assignment.arrived":
                self._note_arrival(call)
            case "assignment.transporting":
                call.transported = True
            case "assignment.freed":
                call.busy.discard(unit)
            case _:
                return False
        return True

    def _dispose(self, call: Call, disposition: str) -> None:
        if call.state == "billed" and not disposition.startswith(("Code 2 T", "Code 3 T")):
            self._order("billing.take_back", call, call.bill, reason=f"the disposition is now {disposition}")
            call.state, call.bill = "closed", call.bill + 1
        call.disposition = disposition

    def _send(self, call: Call, unit: str) -> None:
        if call.state not in OUT:
            self.tally.say("calls", "call.reopened", call.id, {"call_id": call.id, "closing": call.closing})
            call.closing += 1
            if call.state == "billed":
                self._order("billing.take_back", call, call.bill, reason="a unit was sent after the closing")
                call.bill += 1
            call.state = "attended" if call.arrived else "responding" if call.underway else "received"
        call.sent = True
        call.busy.add(unit)

    def _note_underway(self, call: Call) -> None:
        call.underway = True
        if call.state == "received":
            call.state = "responding"
            self.tally.say("customers", "customer.en_route", call.id, {"call_id": call.id})

    def _note_arrival(self, call: Call) -> None:
        if call.state != "attended":
            call.state, call.arrived = "attended", True
            self.tally.say("customers", "customer.arrived", call.id, {"call_id": call.id})

    def _order(self, type: str, call: Call, bill: int, **more: str) -> None:
        self.tally.say("billing", type, call.id, {"call_id": call.id, "bill_id": f"{call.id}/{bill}", **more})


def _stage(state: str, pressed: str) -> str:
    """The stage after a button was pressed; "" where that makes no sense."""
    match state, pressed:
        case "", "unit.dispatched":
            return "dispatched"
        case "dispatched", "unit.en_route":
            return "en route"
        case "dispatched" | "en route", "unit.on_scene":
            return "on scene"
        case "on scene", "unit.transport_started":
            return "transporting"
        case "transporting", "unit.arrived_hospital":
            return "at hospital"
        case "dispatched" | "en route" | "on scene" | "transporting" | "at hospital", "unit.available":
            return "available"
        case _:
            return ""
