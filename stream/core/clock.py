"""Owners, durations, and the clocks an author declares: `Sla` on a state, `Clock` across states; and the events these say when time runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from stream.core.calendar import Calendar
from stream.core.errors import DefinitionError
from stream.core.event import Data, Event
from stream.core.text import check_name

if TYPE_CHECKING:
    from stream.core.row import State

D = TypeVar("D", bound=Data)
E = TypeVar("E", bound=Event)

REPEATS = 100
"""How many times a clock escalates after its breach: a ladder ends, so what an outage holds up is bounded."""
FARTHEST = timedelta(days=7305)
"""No clock runs longer than twenty years: what is further off is a slip of the pen."""


def seconds(n: float) -> timedelta:
    """A duration of `n` seconds."""
    return timedelta(seconds=n)


def minutes(n: float) -> timedelta:
    """A duration of `n` minutes."""
    return timedelta(minutes=n)


def hours(n: float) -> timedelta:
    """A duration of `n` hours."""
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    """A duration of `n` times 24 hours."""
    return timedelta(days=n)


@dataclass(frozen=True)
class Owner:
    """Whose turn it is."""

    name: str

    def __post_init__(self) -> None:
        check_name("Owner", self.name)


class ClockEvent(Event):
    """What the events of a clock share. They go to the App's alerts topic under the entity's id; their own time is when the rung fell due.

    `owner` has the turn, `escalate_to` is told in the end. `level`: 0 warned, 1 breached, 2 and more escalated again. `due` is when the target
    is reached, `late` by how many seconds (of the clock's own time) it was passed. `entered` is when the present state was entered.
    """

    clock: str
    machine: str
    entity_id: str
    state: str
    owner: str
    escalate_to: str
    level: int
    due: datetime
    late: float
    entered: datetime


class SlaWarned(ClockEvent, type="sla.warned"):
    """The share of the target that `warn_at` names is used up."""


class SlaBreached(ClockEvent, type="sla.breached"):
    """The target is reached and was not met. `reasons` are the codes among which its cause is to be found, `reason` the one that a rule gave."""

    reasons: tuple[str, ...] = ()
    reason: str = ""


class SlaEscalated(ClockEvent, type="sla.escalated"):
    """It still is not met: told again."""


class SlaWithdrawn(Event, type="sla.withdrawn"):
    """A breach is taken back: the event that stopped the clock happened in time (`met`) and was only reported late."""

    clock: str
    machine: str
    entity_id: str
    state: str
    owner: str
    escalate_to: str
    due: datetime
    met: datetime


@dataclass(frozen=True)
class Trigger(Generic[E]):
    """An event of one clock: `working.breached` is the `SlaBreached` of that state only."""

    event: type[E]
    clock: str


@dataclass(frozen=True)
class Sla(Generic[D]):
    """How long an entity may rest in the state that carries this, in business time, before `escalate_to` is told.

    The target is measured once, on entering. `warn_at` is the share of it (0.75) after which the state's owner is warned; `repeat`: told again
    that long after the breach, and again, `REPEATS` times at most. `reasons`: codes for the cause of a breach, handed on with it;
    `reason` says which from the data, or "" where it cannot: then a person is asked.
    With a `calendar` only its working time counts, for all of these: `hours(8)` is then a day of eight hours, and `days(1)` three of them.
    """

    within: timedelta | Callable[[D], timedelta]
    escalate_to: Owner | None = None
    warn_at: float | None = None
    repeat: timedelta | None = None
    reasons: tuple[str, ...] = ()
    calendar: Calendar | None = None
    reason: Callable[[D], str] | None = None

    def __post_init__(self) -> None:
        _check("an Sla", self)


@dataclass(frozen=True)
class Clock(Generic[D]):
    """A target across states, in business time. It runs from birth, stands still in `pauses`, is met on entering a state of `met`, void on
    entering one of `void` or any other final one; when such a state is left again it goes on where it stood.

    The target follows the data: after each applied event `within` is asked again. The other words are those of `Sla`.
    """

    name: str
    within: timedelta | Callable[[D], timedelta]
    met: tuple[State[D], ...]
    pauses: tuple[State[D], ...] = ()
    void: tuple[State[D], ...] = ()
    escalate_to: Owner | None = None
    warn_at: float | None = None
    repeat: timedelta | None = None
    reasons: tuple[str, ...] = ()
    calendar: Calendar | None = None
    reason: Callable[[D], str] | None = None

    def __post_init__(self) -> None:
        check_name("Clock", self.name)
        if not self.met:
            raise DefinitionError(f"Clock {self.name!r}: it needs a state in which it is met")
        _check(f"Clock {self.name!r}", self)

    @property
    def warned(self) -> Trigger[SlaWarned]:
        """Its warning, for a row that moves on it."""
        return Trigger(SlaWarned, self.name)

    @property
    def breached(self) -> Trigger[SlaBreached]:
        """Its breach, for a row that moves on it."""
        return Trigger(SlaBreached, self.name)

    @property
    def escalated(self) -> Trigger[SlaEscalated]:
        """Each further escalation of it, for a row that moves on it."""
        return Trigger(SlaEscalated, self.name)


Target: TypeAlias = Sla[Any] | Clock[Any]


def checked_duration(span: object) -> timedelta:
    """Raises `ValueError` for what is no duration a clock could run."""
    if not isinstance(span, timedelta):
        raise ValueError(f"a duration is a timedelta, such as hours(4), not {span!r}; months and years have no fixed length")
    if not timedelta(0) < span <= FARTHEST:
        raise ValueError(f"a clock needs a positive duration of at most {FARTHEST.days} days, not {span!r}")
    return span


def check_owner(what: str, word: str, owner: object) -> None:
    """Raises `DefinitionError` for a name where an `Owner` is meant."""
    if not isinstance(owner, Owner | None):
        raise DefinitionError(f"{what}: {word}={owner!r} is no Owner: say Owner({str(owner)!r})")


def check_reasons(what: str, reasons: tuple[str, ...]) -> None:
    """Raises `DefinitionError` unless each of them is a code."""
    if isinstance(reasons, str):
        raise DefinitionError(f"{what}: reasons={reasons!r} is one text: say a tuple, ({reasons!r},)")
    for code in reasons:
        check_name(f"{what}: reason", code)
    if len(set(reasons)) < len(reasons):
        raise DefinitionError(f"{what}: each of its reasons is a code of its own")


def _check(what: str, target: Target) -> None:
    check_owner(what, "escalate_to", target.escalate_to)
    try:
        if not callable(target.within):
            checked_duration(target.within)
        if target.repeat is not None:
            checked_duration(target.repeat)
    except ValueError as error:
        raise DefinitionError(f"{what}: {error}") from None
    if target.warn_at is not None and not 0 < target.warn_at < 1:
        raise DefinitionError(f"{what}: warn_at={target.warn_at!r} is a share of the target, above 0 and below 1")
    check_reasons(what, target.reasons)
    if target.reason is not None and not (callable(target.reason) and target.reasons):
        raise DefinitionError(f"{what}: reason= is a function of the data that gives one of its reasons: say them, reasons=(...)")
