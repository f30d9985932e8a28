"""Moves after a time keep their meaning when rows change places, and those that an older program set by number keep theirs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from stream import App, Data, Event, Machine, Ref, State, days, hours, opens
from stream.core.machine import AnyMachine
from stream.core.own import AfterElapsed
from stream.core.row import Transition
from tests.core.play import Play, at

ID = Ref("lease", "l")


class LeaseEvent(Event, topic="leases", key="lease"):
    lease: str


class Signed(LeaseEvent, type="lease.signed"): ...


class Noted(LeaseEvent, type="lease.noted"): ...


class Renewed(LeaseEvent, type="lease.renewed"): ...


class Lease(Data):
    lease: str
    notes: int = 0


def sign(e: Signed) -> Lease:
    return Lease(lease=e.lease)


def note(lease: Lease, e: Noted) -> None:
    lease.notes += 1
    if lease.notes == 1:
        raise RuntimeError("no pen")


running, warned, over = State[Lease]("running"), State[Lease]("warned"), State[Lease]("over", final=True)
WARN, END, AGAIN = running.after(days(1), to=warned), running.after(days(2), to=over), running.after(hours(30), to=warned)


def lease(*rows: Transition[Lease]) -> AnyMachine:
    others: Sequence[Transition[Lease]] = (opens(Signed, to=running, then=sign), running.on(Noted, then=note), warned.on(Renewed, to=running))
    return Machine("lease", data=Lease, events=(LeaseEvent,), transitions=(*others, *rows, warned.after(days(9), to=over)))


def begun(machine: AnyMachine) -> Play:
    play = Play(App("house", machines=(machine,)))
    play.send((Signed(lease="l"), 0, "a"))
    return play


def taken_over(before: Play, machine: AnyMachine) -> Play:
    after = Play(App("house", machines=(machine,)))
    after.entities = before.entities
    return after


def test_timers_say_where_they_lead_and_two_to_one_state_are_told_apart() -> None:
    assert begun(lease(WARN, END, AGAIN)).entities[ID].timers == {
        "after running -> warned": at(24 * 60),
        "after running -> over": at(48 * 60),
        "after running -> warned (2)": at(30 * 60),
    }


def test_rows_may_change_places_under_running_entities() -> None:
    play = taken_over(begun(lease(WARN, END)), lease(END, WARN))
    play.fire(ID, 24 * 60)
    assert play.state(ID) == "warned"


@pytest.mark.parametrize(("number", "state"), [(0, "warned"), (1, "over")])
def test_a_timer_that_an_older_program_set_is_of_the_row_with_its_number(number: int, state: str) -> None:
    play = begun(lease(WARN, END))
    play.entities[ID].timers = {f"after running {number}": at(60)}
    play.fire(ID, 60)
    assert play.state(ID) == state


def test_a_timer_of_a_row_that_is_no_more_moves_nobody() -> None:
    play = begun(lease(WARN, END))
    play.entities[ID].timers = {"after running 7": at(60), "after running -> sold": at(61), "after running": at(62)}
    play.fire(ID, 70)
    assert (play.state(ID), play.entities[ID].timers) == ("running", {})


@pytest.mark.parametrize("old", [False, True])
def test_one_that_waits_in_a_line_is_of_its_row_too(old: bool) -> None:
    play = begun(lease(WARN, END))
    play.send((Noted(lease="l"), 1, "b"))
    play.take([play.record(Noted(lease="l"), 2, "c")], fault="the disk is full")
    play.fire(ID, 24 * 60)
    elapsed = play.entities[ID].line[-1]
    assert elapsed.event_type == "after.elapsed"
    if old:
        kept = AfterElapsed(state="running", row=0, due=at(24 * 60), entered=at(0))
        value = {name: told for name, told in msgspec.to_builtins(kept).items() if name != "timer"}
        elapsed.record = msgspec.structs.replace(elapsed.record, value=msgspec.json.encode(value))
    later = taken_over(play, lease(WARN, END) if old else lease(END, WARN))
    later.retry(ID, skip="no pen")
    while later.entities[ID].parked:
        later.retry(ID, skip="no pen")
    assert later.state(ID) == "warned"
