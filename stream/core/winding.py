"""What a step does to the clocks of an entity: which start, stand still or are met, and when each is due next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from stream.core.clock import checked_duration
from stream.core.entity import Entity
from stream.core.event import Event
from stream.core.ladder import CANCELLED, Dial, Mode, Note, Reading, begun, due_of, shifted, stopped
from stream.core.machine import AnyMachine


@dataclass(frozen=True, slots=True)
class Turn:
    """A step of an entity over the states of `path` (none: it stays), by `event`, which leaves it with `data`.

    `at` is the time of the move; `when` is the event's own, which alone says whether it met a clock in time.
    """

    machine: AnyMachine
    entity: Entity
    event: Event
    path: Sequence[str]
    data: bytes
    at: datetime
    when: datetime


class Wound(NamedTuple):
    """All readings and the due instants of clocks that run, both by timer, and what is to be noted."""

    clocks: dict[str, Reading]
    dues: dict[str, datetime]
    notes: Sequence[Note]


def wind(turn: Turn) -> Wound | None:
    """The clocks after a step; None where all of it is as before.

    Raises what the author's functions raise, and `ValueError` for a target that no clock could run.
    """
    machine, entity, path = turn.machine, turn.entity, turn.path
    clocks, notes = dict[str, Reading](), list[Note]()
    for timer, dial in machine.dials.items():
        before = entity.clocks.get(timer)
        reading, told = _across(turn, dial, before) if dial.across else _resting(turn, dial, before)
        notes += told
        if reading is not None:
            clocks[timer] = reading
    if path and machine.by_name[path[-1]].final:
        clocks.clear()
    dues = _dues(turn, clocks)
    if not path and clocks == entity.clocks and all(entity.timers.get(timer) == due for timer, due in dues.items()):
        return None
    owner = owner_of(machine, entity.state or path[0])
    return Wound(clocks, dues, [replace(note, owner=note.owner or owner) for note in notes])


def owner_of(machine: AnyMachine, state: str) -> str:
    """Whose turn it is in a state; empty where nobody is named."""
    known = machine.by_name.get(state)
    return known.owner.name if known is not None and known.owner else ""


def length_of(machine: AnyMachine, within: object, data: bytes) -> timedelta:
    """A duration, or what a function says of the data. Raises `ValueError` for one that no clock could run."""
    return checked_duration(within(machine.decoder.decode(data)) if callable(within) else within)


def _across(turn: Turn, dial: Dial, before: Reading | None) -> tuple[Reading | None, list[Note]]:
    """A clock across states. One that was declared after the entity's birth begins with its next move."""
    reading, notes = before, list[Note]()
    if reading is None:
        if not turn.path:
            return None, notes
        reading = begun(dial, length_of(turn.machine, dial.target.within, turn.data), turn.at)
    elif turn.data != turn.entity.data and callable(dial.target.within):
        span = length_of(turn.machine, dial.target.within, turn.data)
        reading = reading if span == reading.target else replace(reading, target=span)
    for state in turn.path:
        reading, told = shifted(dial, reading, dial.modes[state], turn.when, turn.at)
        notes += told
    return reading, notes


def _resting(turn: Turn, dial: Dial, before: Reading | None) -> tuple[Reading | None, list[Note]]:
    """The SLA of a state: met on leaving it, begun anew on entering it. A task's is met by an answer alone, and void where there was none."""
    if not turn.path:
        return before, []
    mode = Mode.MET if not dial.asks or _answers(turn) else Mode.VOID
    notes = stopped(dial, before, mode, turn.when)[1] if before is not None and before.stands != CANCELLED else []
    notes = [replace(note, owner=dial.asks) for note in notes]
    if turn.path[-1] not in dial.modes:
        return None, notes
    return begun(dial, length_of(turn.machine, dial.target.within, turn.data), turn.at), notes


def _answers(turn: Turn) -> bool:
    known = turn.machine.by_name.get(turn.entity.state)
    return known is not None and known.task is not None and isinstance(turn.event, known.task.answers)


def _dues(turn: Turn, clocks: dict[str, Reading]) -> dict[str, datetime]:
    """An instant of what has not changed stays as it is; another is never before the move that caused it.

    A calendar may have been changed meanwhile, so what it decides is asked again: the same answer where it was not.
    """
    found = dict[str, datetime]()
    for timer, reading in clocks.items():
        dial = turn.machine.dials[timer]
        unchanged = turn.entity.clocks.get(timer) == reading and dial.target.calendar is None
        due = turn.entity.timers.get(timer) if unchanged else due_of(dial, reading, turn.at)
        if due is not None:
            found[timer] = due
    return found
