"""Numbered events on a real database: held with their number, named by why, released by hand, or ended by their limit, whichever is first."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from stream.adapters.postgres.store import PostgresStore
from stream.core.order import Release
from stream.core.record import Ref
from stream.ops.desk import OtherwiseError, perform, rehearse
from stream.ops.orders import Note
from stream.ops.site import load_app, read_site
from stream.ports import Slice
from stream.runtime.app import carrying
from stream.runtime.doors import Desk, Partitions
from stream.runtime.settings import Settings
from tests.ops.conftest import Stream, answer, record

METERS = """
import msgspec
from stream import App, Data, Event, Machine, Owner, State, hours, opens

class MeterEvent(Event, topic="meters_{token}", key="meter"):
    meter: str
    number: int
class Fitted(MeterEvent, type="meter.fitted"): ...
class Read(MeterEvent, type="meter.read"):
    fails: bool = False
class Removed(MeterEvent, type="meter.removed"): ...
class Meter(Data):
    meter: str
    read: int = 0

def fit(e: Fitted) -> Meter:
    return Meter(meter=e.meter)
def count(m: Meter, e: Read) -> None:
    if e.fails:
        raise RuntimeError("unlucky")
    m.read += 1

running, gone = State[Meter]("running", owner=Owner("grid")), State[Meter]("gone", final=True)
meter = Machine[Meter]("meter", data=Meter, events=(MeterEvent,), order_by="number", gap_within=hours(4), transitions=(
    opens(Fitted, to=running, then=fit), running.on(Read, then=count), running.on(Removed, to=gone)))
app = App("grid", machines=(meter,), alerts="alerts_{token}")
"""
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
M = Ref("meter", "m")


@pytest.fixture
def meters(at_database: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    name = f"meters_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text(METERS.replace("{token}", name))
    monkeypatch.setenv("STREAM_APP", f"{name}:app")
    return at_database


def told(*numbers: int, failing: int = 0, minutes: dict[int, int] | None = None) -> None:
    """Events of these numbers, in this order, as a worker takes them; the first is the fitting. `minutes`: when, if not as numbered."""

    async def go() -> None:
        site = read_site()
        topic = next(iter(load_app(site.settings.app).consumed))
        store = PostgresStore(site.postgres)
        try:
            place = record(topic, 0, "x", b"", "x", START).place
            position = await store.adopt(place, owner="w", generation=1, begin=0, partitions=1)
            first = position.next_offset
            kinds = ["meter.fitted" if number == 1 else "meter.read" for number in numbers]
            events = [
                record(topic, first + n, kind, body(number, failing), f"e{number}", START + timedelta(minutes=(minutes or {}).get(number, number)))
                for n, (kind, number) in enumerate(zip(kinds, numbers, strict=True))
            ]
            carry = carrying(site.app, Settings(app=site.settings.app), lambda trace_id: False)
            await carry(Partitions([Slice(place, position.epoch, first, first + len(events), events)]), store, "")
        finally:
            await store.close()

    asyncio.run(go())


def body(number: int, failing: int) -> bytes:
    return b'{"meter":"m","number":%d,"fails":%s}' % (number, b"true" if number == failing else b"false")


def shown(stream: Stream) -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("entities", "show", "meter", "m", "-o", "json")))


def test_held_events_are_listed_with_their_numbers_and_why_names_the_missing_ones(meters: Stream) -> None:
    told(1, 5, 4)
    found = shown(meters)
    assert ([w["number"] for w in found["line"]], found["entity"]["number"], found["entity"]["data"]) == ([5, 4], 1, {"meter": "m", "read": 0})
    why = cast("dict[str, Any]", answer(meters("why", "meter", "m", "-o", "json")))
    assert why["cause"] == "gap"
    assert "it waits for number 2-3 of its events since" in why["sentence"]
    assert "4, 5 came already; passed over at" in why["sentence"]
    told(3, 2)
    assert (shown(meters)["line"], shown(meters)["entity"]["number"], shown(meters)["entity"]["data"]["read"]) == ([], 5, 4)


def test_why_names_the_instant_of_whichever_has_waited_longest(meters: Stream) -> None:
    told(1, 8, 4, minutes={8: 2, 4: 30})
    why = cast("dict[str, Any]", answer(meters("why", "meter", "m", "-o", "json")))
    assert f"passed over at {START + timedelta(hours=4, minutes=2):%Y-%m-%d %H:%M:%S} UTC" in why["sentence"]


def test_a_number_that_failed_is_the_cause_and_not_a_gap(meters: Stream) -> None:
    told(1, 3)
    told(2, failing=2)
    why = cast("dict[str, Any]", answer(meters("why", "meter", "m", "-o", "json")))
    assert (why["cause"], "it stands at event meter.read (e2), which failed" in why["sentence"]) == ("parked", True)
    unknown = meters("entities", "release", "meter", "nobody", "--reason", "x", "--yes")
    assert (unknown.exit_code, unknown.stderr) == (1, "there is no meter 'nobody'\n")
    found = meters("entities", "release", "meter", "m", "--reason", "x", "--yes")
    assert (found.exit_code, "it would change nothing" in found.stderr) == (1, True)


def test_a_person_goes_on_without_and_it_is_in_the_audit(meters: Stream) -> None:
    told(1, 3)
    words = ("entities", "release", "meter", "m", "--reason", "never sent")
    asked = meters(*words)
    assert (asked.exit_code, "meter m: gap.passed" in asked.stderr) == (1, True)
    assert meters(*words, "--yes").exit_code == 0
    assert (shown(meters)["line"], shown(meters)["entity"]["data"]["read"]) == ([], 1)
    again = meters(*words, "--yes")
    assert (again.exit_code, "it would change nothing" in again.stderr) == (1, True)
    (order,) = cast("list[dict[str, Any]]", answer(meters("audit", "list", "-o", "json")))
    assert (order["action"], order["target"], order["reason"]) == ("entities release", "meter/m", "never sent")
    told(2)
    letters = cast("list[dict[str, Any]]", answer(meters("dead-letters", "list", "-o", "json")))
    assert [letter["reason"] for letter in letters] == ["late"]
    assert meters("audit", "verify").exit_code == 0


def test_what_is_missing_arrives_before_the_order_is_done(meters: Stream) -> None:
    told(1, 3)
    site, door = read_site(), Desk(orders=[Release(M, "ann", "x")])
    seen = asyncio.run(rehearse(site, door))
    told(2)
    with pytest.raises(OtherwiseError):
        asyncio.run(perform(site, door, [Note("ann", "entities release", "meter/m")], seen))
    assert shown(meters)["entity"]["data"]["read"] == 2


def test_only_what_is_ordered_is_released(at_database: Stream, played: str) -> None:
    found = at_database("entities", "release", "lamp", "l1", "--reason", "x", "--yes")
    assert (found.exit_code, "it has no order_by=" in found.stderr) == (2, True)
