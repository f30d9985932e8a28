"""What assignments tell their call, and what the call tells others; the rest is in `test_same_as_fold`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from handlers import app
from stream import Ref
from tests.fold.facts import Fact
from tests.handlers.in_memory import InMemory

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
TRANSPORT = ("dispatched", "en_route", "on_scene", "transport_started", "arrived_hospital", "available")


class Room:
    """A control room: one call, told minute by minute, both hops drained after each word."""

    def __init__(self, priority: str = "3") -> None:
        self.engine = InMemory(app, NINE + timedelta(days=1))
        self.minute = 0
        self.say("call.received", priority=priority)

    def say(self, type: str, **body: str | int) -> None:
        self.minute += 1
        self.engine.publish([Fact(f"e{self.minute}", NINE + timedelta(minutes=self.minute), type, {"call_id": "C1", **body})])
        self.engine.run()

    def unit(self, unit_id: str, *stages: str) -> None:
        for stage in stages:
            self.say(f"unit.{stage}", unit_id=unit_id)

    @property
    def state(self) -> str:
        return self.engine.entities[Ref("call", "C1")].state

    @property
    def said(self) -> list[str]:
        return [message.type for message in self.engine.messages if message.emitter.machine == "call"]

    def breaches(self, key: str) -> list[tuple[str, str]]:
        """(clock, whom it tells) of what was said of breaches."""
        told = [json.loads(m.value) for m in self.engine.messages if m.type == "sla.breached" and m.key == key.encode()]
        return [(body["clock"], body["escalate_to"]) for body in told]

    def bills(self) -> list[tuple[str, str]]:
        orders = [message for message in self.engine.messages if message.topic == "billing"]
        return [(message.type, message.value.decode().split('"bill_id":"')[1].split('"')[0]) for message in orders]


def test_the_customer_is_told_once_however_many_units_come() -> None:
    room = Room()
    room.unit("A", "dispatched", "en_route")
    room.unit("B", "dispatched", "en_route", "on_scene")
    room.unit("A", "on_scene")
    assert room.said == ["customer.en_route", "customer.arrived"]


def test_a_call_is_billed_once_when_all_three_prerequisites_hold() -> None:
    room = Room()
    room.unit("A", *TRANSPORT[:-1])
    room.say("call.disposed", disposition="Code 2 Transport")
    assert room.bills() == []
    room.unit("A", "available")
    room.say("call.disposed", disposition="Code 3 Transport")
    assert (room.state, room.bills()) == ("billed", [("billing.prepare", "C1/1")])


@pytest.mark.parametrize(("stages", "disposition"), [(("dispatched", "on_scene", "available"), "Code 2 Transport"), (TRANSPORT, "Fire")])
def test_a_call_without_a_transport_or_with_another_disposition_is_not_billed(stages: tuple[str, ...], disposition: str) -> None:
    room = Room()
    room.unit("A", *stages)
    room.say("call.disposed", disposition=disposition)
    assert (room.state, room.bills()) == ("closed", [])


def test_a_billed_call_that_reopens_takes_its_bill_back_and_makes_another_at_its_end() -> None:
    room = Room()
    room.unit("A", *TRANSPORT)
    room.say("call.disposed", disposition="Code 2 Transport")
    room.unit("B", "dispatched")
    assert (room.state, room.said[-2:]) == ("attended", ["call.reopened", "billing.take_back"])
    room.unit("B", "available")
    assert room.bills() == [("billing.prepare", "C1/1"), ("billing.take_back", "C1/1"), ("billing.prepare", "C1/2")]


def test_a_corrected_disposition_takes_the_bill_back_and_a_second_correction_makes_another() -> None:
    room = Room()
    room.unit("A", *TRANSPORT)
    for disposition in ("Code 2 Transport", "Cancelled", "Code 3 Transport"):
        room.say("call.disposed", disposition=disposition)
    assert room.bills() == [("billing.prepare", "C1/1"), ("billing.take_back", "C1/1"), ("billing.prepare", "C1/2")]


def test_the_call_sees_what_an_assignment_accepted_and_not_every_button() -> None:
    room = Room()
    room.unit("A", "dispatched", "transport_started", "arrived_hospital", "available")
    room.say("call.disposed", disposition="Code 2 Transport")
    assert [row.event_type for row in room.engine.history if row.outcome == "rejected"] == ["unit.transport_started", "unit.arrived_hospital"]
    assert (room.state, room.bills()) == ("closed", [])


@pytest.mark.parametrize(("priority", "allowed"), [("3", 10), ("E", 10), ("2", 25)])
def test_the_duty_lead_is_told_of_a_call_that_nobody_reached_in_time(priority: str, allowed: int) -> None:
    room = Room(priority)
    room.unit("A", "dispatched", "en_route")
    room.engine.tick(NINE + timedelta(minutes=1 + allowed, seconds=-1))
    assert room.breaches("C1") == []
    room.engine.tick(NINE + timedelta(minutes=1 + allowed))
    assert room.breaches("C1") == [("first arrival", "duty lead")]


@pytest.mark.parametrize("last", ["on_scene", "available"])
def test_nobody_is_told_of_a_call_that_was_reached_or_that_all_units_left(last: str) -> None:
    room = Room()
    room.unit("A", "dispatched", "en_route", last)
    room.engine.tick(NINE + timedelta(minutes=59))
    assert room.breaches("C1") == []


def test_a_unit_that_does_not_start_driving_is_escalated() -> None:
    room = Room()
    room.unit("A", "dispatched")
    room.engine.tick(NINE + timedelta(minutes=5))
    assert [message.key for message in room.engine.messages if message.type == "sla.breached"] == [b"C1:A"]


@pytest.mark.parametrize(("priority", "word"), [("3", "duplicate"), ("E", "conflict")])
def test_a_call_told_under_a_second_id_is_received_once(priority: str, word: str) -> None:
    room = Room("3")
    room.say("unit.dispatched", unit_id="A")
    room.say("call.received", priority=priority)
    last = room.engine.changes[-1]
    assert (last.counts.popitem()[1][word], last.handled) == (1, [])
    assert [letter.reason for letter in last.dead] == (["id_conflict"] if word == "conflict" else [])
    assert (room.state, len(room.said)) == ("received", 0)


@pytest.mark.parametrize(("days", "reasons"), [(14, []), (15, ["too_old"])])
def test_a_word_older_than_what_is_remembered_is_a_letter(days: int, reasons: list[str]) -> None:
    room = Room()
    said = Fact("found", NINE + timedelta(minutes=1) - timedelta(days=days), "call.entered", {"call_id": "C1"})
    room.engine.publish([said])
    room.engine.run()
    assert [letter.reason for letter in room.engine.changes[-1].dead] == reasons
