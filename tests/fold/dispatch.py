"""Calls and the units sent to them, event by event; what an assignment says reaches its call at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fold.facts import Fact, instant
from tests.fold.tally import Tally, Thing
from tests.fold.watch import ALWAYS, Watch

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
ARRIVES = {"3": timedelta(minutes=10), "E": timedelta(minutes=10)}
OWNERS = {"received": "dispatcher", "responding": "crew", "attended": "crew", "closed": "billing", "billed": "billing"}
MEANS = {"attended": "met", "closed": "void", "billed": "void"}


@dataclass
class Assignment:
    id: str
    state: str = ""
    since: datetime | None = None
    moved: datetime | None = None
    due: datetime | None = None
    late: datetime | None = None
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])

    @property
    def thing(self) -> Thing:
        return Thing("assignment", self.id, self.state, *WATCHED[self.state][1])


@dataclass
class Call:
    id: str
    state: str = ""
    since: datetime | None = None
    moved: datetime | None = None
    priority: str = ""
    arrival: Watch = field(default_factory=lambda: Watch("first arrival", ALWAYS, timedelta(minutes=25)))
    busy: set[str] = field(default_factory=set[str])
    sent: bool = False
    underway: bool = False
    arrived: bool = False
    transported: bool = False
    disposition: str = ""
    closing: int = 1
    bill: int = 1
    early: list[tuple[Fact, datetime]] = field(default_factory=list[tuple[Fact, datetime]])

    @property
    def thing(self) -> Thing:
        return Thing("call", self.id, self.state, OWNERS[self.state], "duty lead")


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
            self._pass_call(call, until)

    def total(self) -> Tally:
        self.tally.states = {("assignment", a.id): a.state for a in self.assignments.values() if a.state}
        self.tally.states |= {("call", c.id): c.state for c in self.calls.values() if c.state}
        self.tally.priorities = {("call", c.id): c.priority for c in self.calls.values() if c.state}
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
            self._pass(one, waiting.time)
            self._press(one, waiting)

    def _press(self, one: Assignment, fact: Fact) -> None:
        state = _stage(one.state, fact.type)
        if not state:
            self.tally.reject("assignment", one.state, fact.type, "no_transition")
            return
        self.tally.outcomes["assignment", "applied"] += 1
        if one.state in WATCHED and one.since is not None:
            if one.late is not None and fact.time < one.late:
                self.tally.withdraw(one.thing, one.state, one.late, fact.time)
            took_too_long = fact.time - one.since > WATCHED[one.state][0]
            self.tally.note("assignment", one.state, "met late" if took_too_long else "met")
        one.moved = max(fact.time, one.moved or fact.time)
        one.state, one.since, one.late = state, one.moved, None
        one.due = one.moved + WATCHED[state][0] if state in WATCHED else None
        if said := TOLD.get(fact.type):
            body = {"call_id": fact.body["call_id"], "unit_id": fact.body["unit_id"]}
            self.tally.say("assignments", said, str(fact.body["call_id"]), body)
            self._take_call(Fact(fact.id, fact.time, said, body))

    def _pass(self, one: Assignment, until: datetime) -> None:
        if one.due is not None and one.since is not None and one.due <= until:
            said = {"clock": one.state, "level": 1, "due": instant(one.due), "late": 0.0, "reason": "", "reasons": ()}
            self.tally.ring(one.thing, one.since, said)
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
        self._pass_call(call, fact.time)
        if not call.state and fact.type != "call.received":
            call.early.append((fact, fact.time + PATIENCE))
            return
        self._hear(call, fact)
        early, call.early = call.early, []
        for waiting, _ in early:
            self._pass_call(call, waiting.time)
            self._hear(call, waiting)

    def _pass_call(self, call: Call, until: datetime) -> None:
        if (due := call.arrival.due(call.moved or until)) is not None and due <= until:
            self.tally.ring(call.thing, call.since or due, call.arrival.climb(due))
            call.moved = max(due, call.moved or due)
        self._give_up(call, "call", until)

    def _go(self, call: Call, state: str, when: datetime) -> None:
        """Into a state, by a fact of `when`; the move itself is never before the last."""
        moved = max(when, call.moved or when)
        for note, breach in call.arrival.stop(MEANS[state], when) if state in MEANS else ():
            if breach is not None:
                self.tally.withdraw(call.thing, call.arrival.name, breach, when)
            else:
                self.tally.note("call", call.arrival.name, note)
        if state not in MEANS:
            call.arrival.start(moved)
        call.state, call.since = state, moved

    def _hear(self, call: Call, fact: Fact) -> None:
        if not self._heard(call, fact, str(fact.body.get("unit_id", ""))):
            self.tally.reject("call", call.state, fact.type, "no_transition")
            return
        self.tally.outcomes["call", "applied"] += 1
        if call.state in OUT and call.sent and not call.busy:
            self._go(call, "closed", fact.time)
            self.tally.say("calls", "call.closed", call.id, {"call_id": call.id, "closing": call.closing})
        if call.state == "closed" and call.transported and call.disposition in ("Code 2 Transport", "Code 3 Transport"):
            self._go(call, "billed", fact.time)
            self._order("billing.prepare", call, call.bill, disposition=call.disposition)
        call.moved = max(fact.time, call.moved or fact.time)

    def _heard(self, call: Call, fact: Fact, unit: str) -> bool:
        """Whether it changed anything, or was at least to be expected."""
        match fact.type:
            case "call.received" if not call.state:
                call.priority = str(fact.body["priority"])
                call.arrival.target = ARRIVES.get(call.priority, call.arrival.target)
                self._go(call, "received", fact.time)
            case "call.entered":
                pass
            case "call.disposed":
                self._dispose(call, str(fact.body["disposition"]), fact.time)
            case "assignment.opened":
                self._send(call, unit, fact.time)
            case _ if call.state not in OUT:
                return False
            case "assignment.underway":
                self._note_underway(call, fact.time)
            case "assignment.arrived":
                self._note_arrival(call, fact.time)
            case "assignment.transporting":
                call.transported = True
            case "assignment.freed":
                call.busy.discard(unit)
            case _:
                return False
        return True

    def _dispose(self, call: Call, disposition: str, when: datetime) -> None:
        if call.state == "billed" and not disposition.startswith(("Code 2 T", "Code 3 T")):
            self._order("billing.take_back", call, call.bill, reason=f"the disposition is now {disposition}")
            self._go(call, "closed", when)
            call.bill += 1
        call.disposition = disposition

    def _send(self, call: Call, unit: str, when: datetime) -> None:
        if call.state not in OUT:
            self.tally.say("calls", "call.reopened", call.id, {"call_id": call.id, "closing": call.closing})
            call.closing += 1
            if call.state == "billed":
                self._order("billing.take_back", call, call.bill, reason="a unit was sent after the closing")
                call.bill += 1
            self._go(call, "attended" if call.arrived else "responding" if call.underway else "received", when)
        call.sent = True
        call.busy.add(unit)

    def _note_underway(self, call: Call, when: datetime) -> None:
        call.underway = True
        if call.state == "received":
            self._go(call, "responding", when)
            self.tally.say("customers", "customer.en_route", call.id, {"call_id": call.id})

    def _note_arrival(self, call: Call, when: datetime) -> None:
        if call.state != "attended":
            self._go(call, "attended", when)
            call.arrived = True
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
