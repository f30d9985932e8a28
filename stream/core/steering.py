"""What a person does to a clock: put its breach off or forward, hold it, let it go on, take it away. Its entity stays where it is.

Only the breach is moved, and with it the warning, which is a share of the target, and the repetitions after it. It is kept beside the target, so
that a target which follows the data keeps it. What was told stays told; so a clock that was breached is not moved any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from stream.core.advance import Halt, Step
from stream.core.clock import FARTHEST
from stream.core.entity import Entity
from stream.core.ladder import BREACH, CANCELLED, HELD, Dial, Mode, Note, Reading, after, between, breach_of, due_of, shifted, spent_by, timer_of
from stream.core.machine import AnyMachine
from stream.core.outcome import Outcome, Reason
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused
from stream.core.winding import owner_of

MOVED = "moved"


def same(reading: Reading, seen: Reading) -> bool:
    """Whether a clock stands as it was seen, but for rungs that were told since."""
    return replace(reading, level=BREACH, breached=None) == replace(seen, level=BREACH, breached=None)


def steered(machine: AnyMachine, entity: Entity, order: ClockOrder, at: datetime) -> Step | Halt:
    """The entity after an order at `at` on a clock that it has; refused where that would mean nothing."""
    timer = timer_of(order.clock)
    dial, reading = machine.dials[timer], entity.clocks[timer]
    found = _after(dial, reading, order, entity.state, at)
    if isinstance(found, str):
        return Halt(Outcome.REJECTED, Reason.MANUAL, found)
    timers = {name: due for name, due in entity.timers.items() if name not in (timer, "limit")}
    if (due := due_of(dial, found, at)) is not None:
        timers[timer] = due
    owner, reached = dial.asks or owner_of(machine, entity.state), _reached(dial, found, at)
    note = Note(order.clock, _word(order), owner, due=reached, was=_reached(dial, reading, at))
    return Step(entity.state, entity.data, [], timers=timers, clocks={**entity.clocks, timer: found}, notes=[note])


def _word(order: ClockOrder) -> str:
    return type(order).__fact_type__.removeprefix("clock.")


def _reached(dial: Dial, reading: Reading, at: datetime) -> datetime | None:
    """When the target is reached, or was; None while nothing runs towards it."""
    return breach_of(dial, reading, at if reading.runs is None else reading.runs)


def _after(dial: Dial, reading: Reading, order: ClockOrder, state: str, at: datetime) -> Reading | str:
    """The reading, or why not."""
    if reading.stands in (Mode.MET, Mode.VOID, CANCELLED):
        return f"the clock {dial.name!r} is {reading.stands}"
    held = reading.stands == HELD
    if isinstance(order, ClockMoved):
        return _moved(dial, reading, order, at)
    if isinstance(order, ClockPaused):
        return f"the clock {dial.name!r} is paused already" if held else _stilled(dial, reading, HELD, at)
    if isinstance(order, ClockCancelled):
        return _stilled(dial, reading, CANCELLED, at)
    if not held:
        return f"the clock {dial.name!r} was not paused by anybody: nothing is to be resumed"
    return shifted(dial, replace(reading, stands=""), dial.modes.get(state, Mode.RUNS), at, at)[0]


def _stilled(dial: Dial, reading: Reading, stands: str, at: datetime) -> Reading:
    runs = reading.runs
    stood = reading.stood if runs is None else max(runs, at)
    return replace(reading, spent=spent_by(dial, reading, at), runs=None, stands=stands, stood=stood)


def _moved(dial: Dial, reading: Reading, order: ClockMoved, at: datetime) -> Reading | str:
    """Nothing before what is used up now: what lies in the past is due at once."""
    if reading.level > BREACH:
        return f"the clock {dial.name!r} was breached already: pause it or cancel it, or leave it to ring"
    spent, far = spent_by(dial, reading, at), f"the clock {dial.name!r} would run for more than {FARTHEST.days} days"
    if abs(order.by) > FARTHEST.total_seconds() or (order.at and order.at - at > FARTHEST):
        return far
    if order.at is None:
        aim = reading.aim + timedelta(seconds=order.by)
    elif reading.runs is None:
        return f"the clock {dial.name!r} stands still: no instant can be said, only by how much"
    elif order.at <= at:
        aim = spent
    else:
        aim = reading.spent + between(dial.target, reading.runs, order.at)
        if after(dial.target, reading.runs, aim - reading.spent) != order.at:
            hours = dial.target.calendar.name if dial.target.calendar else ""
            return f"{order.at.isoformat()} is not within the working time of {hours!r}, which the clock {dial.name!r} counts"
    if aim > FARTHEST:
        return far
    return replace(reading, moved=max(aim, spent) - reading.target or None)
