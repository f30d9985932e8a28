"""Events of an entity that carry a number: which one is due, which come too early or too late, and how a gap ends.

Numbers begin at 1 and have no holes. What comes before its turn is held in the line; what comes after it is rejected as late. A number is used up by
whatever became of its event (applied, ignored, rejected, deferred by a state), but not while the event is parked: the line stands at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stream.core.advance import Halt
from stream.core.entity import Entity, Waiting
from stream.core.event import Event
from stream.core.machine import AnyMachine
from stream.core.outcome import Outcome, Reason

_PASSED = frozenset({Reason.EARLY, Reason.UNBORN})
"""Why an event waits that had its turn before; one that failed had it where its number is used up."""


def number_of(machine: AnyMachine, event: Event) -> int | None:
    """The number by which this machine orders it; None for an event that has none."""
    return getattr(event, machine.order_by, None) if machine.order_by and type(event) in machine.numbered else None


def turn(entity: Entity, number: int | None, waiting: Waiting | None) -> Halt | None:
    """Why it is not an event's turn; None where it is."""
    if number is None or (waiting is not None and _had_it(entity, number, waiting)):
        return None
    if number <= entity.number:
        return Halt(Outcome.REJECTED, Reason.LATE, f"its number is {number}, and {entity.number} was seen")
    if number > entity.number + 1:
        return Halt(Outcome.DEFERRED, Reason.GAP, f"its number is {number}, and {entity.number + 1} is next")
    return None


def _had_it(entity: Entity, number: int, waiting: Waiting) -> bool:
    return waiting.reason in _PASSED or (waiting.reason is Reason.HANDLER_FAILED and number <= entity.number)


def held(entity: Entity) -> list[Waiting]:
    """Those that wait for an earlier number, by number."""
    return sorted((w for w in entity.line if w.reason is Reason.GAP), key=_place)


def candidates(machine: AnyMachine, entity: Entity) -> list[Waiting]:
    """Who may have a turn, in a line without a failure: the deferred one of the lowest number, then a held one that is due, or too late by now."""
    if not machine.order_by:
        return entity.line[:1]
    first = min((w for w in entity.line if w.reason is not Reason.GAP), key=_place, default=None)
    due = min((w for w in entity.line if w.reason is Reason.GAP and (w.number or 0) <= entity.number + 1), key=_place, default=None)
    return [w for w in (first, due) if w is not None]


def _place(w: Waiting) -> tuple[bool, int, int]:
    return w.number is None, w.number or 0, w.id or _LAST


def missing(entity: Entity) -> str:
    """The numbers before the first held one, in words; empty where none is held."""
    waits = held(entity)
    return spans([range(entity.number + 1, waits[0].number or 0)]) if waits else ""


def spans(ranges: Iterable[Sequence[int]]) -> str:
    """`4-6, 8`."""
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in ranges if r)


_LAST = 1 << 62
