"""Rows of a machine's table, and the words that make them: `opens`, `any_of`, `anytime`, `State.on`, `after`, `settles`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar, cast, get_args

import msgspec

from stream.core.clock import Owner, Sla, SlaBreached, SlaEscalated, SlaWarned, Trigger, check_owner
from stream.core.errors import DefinitionError
from stream.core.event import Command, Data, Event, Fact, Says
from stream.core.record import Ref
from stream.core.task import Task

D = TypeVar("D", bound=Data)
E = TypeVar("E", bound=Event)


class Cause(msgspec.Struct, frozen=True):
    """What brought us here. A handler takes it as its last argument, or not at all.

    `time` and `since` (when the present state was entered) are business time; `state` is the one before this event, "" before birth.
    """

    id: str
    source: str
    time: datetime
    actor: str | None
    correlation_id: str
    entity: Ref
    state: str
    since: datetime


When: TypeAlias = Callable[[D, E], bool] | Callable[[D, E, Cause], bool]
Then: TypeAlias = Callable[[D, E], None] | Callable[[D, E, Cause], None]
Emit: TypeAlias = Callable[[D, E], Says] | Callable[[D, E, Cause], Says]
Make: TypeAlias = Callable[[E], D] | Callable[[E, Cause], D]
Tell: TypeAlias = Callable[[D], Says] | Callable[[D, Cause], Says]
Within: TypeAlias = timedelta | Callable[[D], timedelta]


@dataclass(frozen=True, eq=False)
class Transition(Generic[D]):
    """One row. `sources` None: every state that is not final. `to` None: stays, and clocks go on. `says`: what `emit` may return.

    `clock`: only an event of this clock, or of the SLA of this state.

    The functions are stored in their widest form, with the cause: (data, event, cause); `opens` makes data from (event, cause).
    """

    sources: tuple[State[D], ...] | None
    event: type[Event] | None
    to: State[D] | None
    opens: bool = False
    after: timedelta | Callable[[D], timedelta] | None = None
    clock: str = ""
    when: Callable[..., bool] | None = None
    then: Callable[..., Any] | None = None
    emit: Callable[..., Says] | None = None
    says: tuple[type[Fact], ...] = ()
    names: tuple[str, str, str] = ("", "", "")
    by: tuple[Owner, ...] = ()


@dataclass(frozen=True, eq=False)
class From(Generic[D]):
    """Some states, about to get rows. Made by `any_of` and `anytime`."""

    sources: tuple[State[D], ...] | None

    def on(
        self,
        event: type[E] | Trigger[E],
        *,
        to: State[D] | None = None,
        when: When[D, E] | None = None,
        then: Then[D, E] | None = None,
        emit: Emit[D, E] | None = None,
        by: tuple[Owner, ...] = (),
    ) -> Transition[D]:
        """On `event`, if `when` holds: `then` changes the data, the entity moves `to` (omitted: stays), `emit` speaks, seeing the changed data.

        `by`: only when the event's actor belongs to one of these owners, as the App's directory says.
        """
        kind, clock = (event.event, event.clock) if isinstance(event, Trigger) else (event, "")
        if clock and by:
            raise DefinitionError(f"a row on {kind.__name__} of {clock!r} has by=, but a clock is nobody")
        return Transition(
            self.sources,
            kind,
            to,
            clock=clock,
            when=_widened(when, 3),
            then=_widened(then, 3),
            emit=_widened(emit, 3),
            says=_says(emit),
            names=(_name(when), _name(then), _name(emit)),
            by=_owners(by),
        )

    def after(self, within: Within[D], *, to: State[D], emit: Tell[D] | None = None) -> Transition[D]:
        """Move by itself after resting that long, in business time. No SLA: nobody is late."""
        if isinstance(within, timedelta) and within <= timedelta(0):
            raise DefinitionError(f"after({within}): the duration must be positive")
        return Transition(self.sources, None, to, after=within, emit=_told(emit), says=_says(emit), names=("", "", _name(emit)))

    def settles(self, *, to: State[D], when: Callable[[D], bool], emit: Tell[D] | None = None) -> Transition[D]:
        """Move as soon as what is known makes `when` true; looked at after each applied event, on the changed data."""
        return Transition(self.sources, None, to, when=when, emit=_told(emit), says=_says(emit), names=(_name(when), "", _name(emit)))


@dataclass(frozen=True, eq=False)
class State(Generic[D]):
    """What resting here means: whose turn it is, for how long, what people are asked, and which events are silently ignored or kept for later.

    A deferred event is rejected when it has waited `defers_within` of business time.
    """

    name: str
    owner: Owner | None = None
    sla: Sla[D] | None = None
    task: Task[D] | None = None
    ignores: tuple[type[Event], ...] = ()
    defers: tuple[type[Event], ...] = ()
    defers_within: timedelta = timedelta(days=1)
    final: bool = False

    def __post_init__(self) -> None:
        owner, sla = cast("object", self.owner), cast("object", self.sla)
        check_owner(f"State {self.name!r}", "owner", owner)
        if not isinstance(sla, Sla | None):
            raise DefinitionError(f"State {self.name!r}: sla={sla!r} is no Sla: say Sla(hours(4))")
        if self.task is not None and not self.task.asked_of(self.owner):
            raise DefinitionError(f"State {self.name!r}: its task has no owner, and neither has the state: nobody would be asked")

    def on(
        self,
        event: type[E] | Trigger[E],
        *,
        to: State[D] | None = None,
        when: When[D, E] | None = None,
        then: Then[D, E] | None = None,
        emit: Emit[D, E] | None = None,
        by: tuple[Owner, ...] = (),
    ) -> Transition[D]:
        """As `any_of(self).on(...)`."""
        return any_of(self).on(event, to=to, when=when, then=then, emit=emit, by=by)

    def after(self, within: Within[D], *, to: State[D], emit: Tell[D] | None = None) -> Transition[D]:
        """As `any_of(self).after(...)`."""
        return any_of(self).after(within, to=to, emit=emit)

    def settles(self, *, to: State[D], when: Callable[[D], bool], emit: Tell[D] | None = None) -> Transition[D]:
        """As `any_of(self).settles(...)`."""
        return any_of(self).settles(to=to, when=when, emit=emit)

    @property
    def warned(self) -> Trigger[SlaWarned]:
        """The warning of this state's own SLA, for a row that moves on it."""
        return Trigger(SlaWarned, self.name)

    @property
    def breached(self) -> Trigger[SlaBreached]:
        """The breach of this state's own SLA, for a row that moves on it."""
        return Trigger(SlaBreached, self.name)

    @property
    def escalated(self) -> Trigger[SlaEscalated]:
        """Each further escalation of this state's own SLA, for a row that moves on it."""
        return Trigger(SlaEscalated, self.name)


def any_of(*states: State[D]) -> From[D]:
    """Rows that leave from any of these states."""
    return From(states)


def anytime(event: type[E] | Trigger[E], *, then: Then[D, E], emit: Emit[D, E] | None = None, by: tuple[Owner, ...] = ()) -> Transition[D]:
    """In every state that is not final, and without leaving it: corrections, replies."""
    return From[D](None).on(event, then=then, emit=emit, by=by)


def opens(
    event: type[E], *, to: State[D], then: Make[E, D], when: Callable[[E], bool] | None = None, emit: Emit[D, E] | None = None
) -> Transition[D]:
    """The row that brings an entity to life: `then` makes its data."""
    names = (_name(when), _name(then), _name(emit))
    return Transition((), event, to, opens=True, when=when, then=_widened(then, 2), emit=_widened(emit, 3), says=_says(emit), names=names)


@dataclass(frozen=True)
class Concerns:
    """Which entities an event is about. Made by `about`."""

    event: type[Event]
    ids: Callable[[Any], str | Sequence[str]]


def about(event: type[E], ids: Callable[[E], str | Sequence[str]]) -> Concerns:
    """Which entity, or entities, of this machine an event (or a family) is about."""
    return Concerns(event, ids)


Address: TypeAlias = type[Event] | Concerns
"""A family alone: the field named by its `key=` is the entity's id."""


def _owners(by: object) -> tuple[Owner, ...]:
    if not isinstance(by, tuple):
        raise DefinitionError(f"by={by!r} is no tuple of owners: say by=(DESK,)")
    found: list[Owner] = []
    for owner in cast("tuple[object, ...]", by):
        if not isinstance(owner, Owner):
            raise DefinitionError(f"by={by!r}: {owner!r} is no Owner: say Owner({str(owner)!r})")
        found.append(owner)
    return tuple(found)


def _name(fn: Callable[..., Any] | None) -> str:
    return "" if fn is None else str(getattr(fn, "__name__", type(fn).__name__))


def _widened(fn: Callable[..., Any] | None, count: int) -> Callable[..., Any] | None:
    """Hand the cause over only to a function that asks for it; settled here once, at import."""
    if fn is None:
        return None
    asked = len(inspect.signature(fn).parameters)
    if asked == count:
        return fn
    if asked != count - 1:
        raise DefinitionError(f"{_name(fn)} takes {asked} arguments; {count - 1} or {count} (with the cause) are on offer")
    return _two(fn) if count == 3 else _one(fn)


def _two(fn: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def without_cause(data: Any, event: Any, cause: Any) -> Any:
        return fn(data, event)

    return without_cause


def _one(fn: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def without_cause(first: Any, cause: Any) -> Any:
        return fn(first)

    return without_cause


def _told(fn: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A timed or settling row has no event of the author's: its emit takes (data) or (data, cause)."""
    wide = _widened(fn, 2)
    if wide is None:
        return None
    given = wide

    def without_event(data: Any, event: Any, cause: Any) -> Any:
        return given(data, cause)

    return without_event


def _says(fn: Callable[..., Any] | None) -> tuple[type[Fact], ...]:
    """Topics, diagrams and rights need to know what is said before it is said: the return annotation names it."""
    if fn is None:
        return ()
    try:
        found = _facts_in(inspect.signature(fn, eval_str=True).return_annotation)
    except NameError as error:
        raise DefinitionError(f"{_name(fn)}: its annotations name what is not there: {error}") from error
    if not found:
        raise DefinitionError(f"{_name(fn)}: name in its return annotation the events or commands it emits")
    for kind in found:
        if not (kind.__topic__ and kind.__key__ and kind.__fact_type__):
            raise DefinitionError(f"{_name(fn)} emits {kind.__name__}, which has no topic=, no key= or no type=")
    return tuple(found)


def _facts_in(annotation: Any) -> list[type[Fact]]:
    mine: list[type[Fact]] = [annotation] if isinstance(annotation, type) and issubclass(annotation, (Event, Command)) else []
    return mine + [fact for part in get_args(annotation) for fact in _facts_in(part)]
