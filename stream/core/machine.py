"""A machine: the table of what may happen to one kind of entity, checked at import and looked up by (state, event)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args, get_origin

import msgspec

from stream.core.calendar import Calendar
from stream.core.clock import Clock, ClockEvent, SlaEscalated, SlaWarned
from stream.core.errors import DefinitionError
from stream.core.event import Data, Event, Fact
from stream.core.ladder import Dial, Mode
from stream.core.layout import LayoutError, check_layouts, lifted_data
from stream.core.own import OWN_EVENTS
from stream.core.row import Address, Concerns, State, Transition
from stream.core.text import check_name
from stream.core.upcast import Upcast

D = TypeVar("D", bound=Data)
Ids = Callable[[Any], str | Sequence[str]]


@dataclass(frozen=True, eq=False, repr=False)
class Machine(Generic[D]):
    """The first row whose guard holds wins. Raises `DefinitionError` for a table that cannot be meant.

    `unborn`: what becomes of an event for an entity that does not exist and that no `opens` row takes; a deferred one is rejected after
    `unborn_within` of business time. `events` says which entity an event is about.

    `order_by` names the field in which events of an entity are numbered 1, 2, 3 ...: what comes before its turn is held, after `gap_within` of
    business time the gap is told and passed over, and what comes after that is rejected as `late`. Events without the field come as they come.

    `version` is raised when an older program could not keep what this one writes; `upcasts` lift data by the last version that wrote it so.
    """

    name: str
    data: type[D]
    events: Sequence[Address]
    transitions: Sequence[Transition[D]]
    clocks: Sequence[Clock[D]] = ()
    unborn: Literal["defer", "reject", "ignore"] = "defer"
    unborn_within: timedelta = timedelta(days=1)
    order_by: str = ""
    gap_within: timedelta = timedelta(days=1)
    version: int = 1
    upcasts: Mapping[int, Upcast] = field(default_factory=dict[int, Upcast])
    states: tuple[State[D], ...] = field(init=False)
    rows: dict[tuple[str, type[Event]], tuple[Transition[D], ...]] = field(init=False, repr=False)
    settling: dict[str, tuple[Transition[D], ...]] = field(init=False, repr=False)
    afters: dict[str, dict[str, Transition[D]]] = field(init=False, repr=False)
    by_name: dict[str, State[D]] = field(init=False, repr=False)
    dials: dict[str, Dial] = field(init=False, repr=False)
    decoder: msgspec.json.Decoder[D] = field(init=False, repr=False)
    numbered: frozenset[type[Event]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_name = _states(self)
        _set(self, "by_name", by_name)
        _set(self, "states", tuple(by_name.values()))
        try:
            _set(self, "decoder", msgspec.json.Decoder(self.data))
        except (TypeError, NameError) as error:
            raise DefinitionError(f"{self.name}: {self.data.__name__} cannot be stored: {error}") from error
        _set(self, "rows", _rows(self))
        _set(self, "settling", _timed(self, lambda row: row.event is None and row.after is None))
        _set(self, "afters", _afters(_timed(self, lambda row: row.after is not None)))
        _set(self, "dials", _dials(self))
        _set(self, "numbered", _numbered(self))
        check_layouts(self.name, self.data, self.version, self.upcasts)
        _check_reach(self)
        for kind in self.takes:
            _check_event(self, kind)
        for found in self.rows.values():
            _check_order(self, found)
        for row in self.transitions:
            _check_trigger(self, row)
        for state in self.states:
            _check_task(self, state)

    def __repr__(self) -> str:
        return f"Machine({self.name!r})"

    @property
    def birth(self) -> str:
        """The state that the first `opens` row leads to."""
        return next(row.to.name for row in self.transitions if row.opens and row.to)

    @property
    def takes(self) -> frozenset[type[Event]]:
        """The event classes that some row, or some state's `ignores` or `defers`, names."""
        named = {row.event for row in self.transitions if row.event is not None}
        return frozenset(named.union(*(s.ignores + s.defers for s in self.states)))

    @property
    def emits(self) -> tuple[type[Fact], ...]:
        """What rows may say, in table order."""
        return tuple(dict.fromkeys(kind for row in self.transitions for kind in row.says))

    def ids_of(self, event: type[Event]) -> Ids | None:
        """The function that says which entities an event of this class is about; the first fitting entry of `events` wins."""
        for address in self.events:
            if isinstance(address, Concerns):
                if issubclass(event, address.event):
                    return address.ids
            elif issubclass(event, address):
                return _field_reader(address.__key__)
        return None

    def in_hours_of(self, calendar_of: Callable[[str], Calendar | None]) -> Machine[D]:
        """The machine, in which an SLA or a task without a calendar of its own counts the working time of whoever has the turn, if that is known."""
        # From the table itself: a machine that comes from another App has the hours of that one.
        dials = {timer: self._worked(dial, calendar_of) for timer, dial in _dials(self).items()}
        if all(dials[timer].target.calendar is dial.target.calendar for timer, dial in self.dials.items()):
            return self
        made = copy(self)
        _set(made, "dials", dials)
        return made

    def _worked(self, dial: Dial, calendar_of: Callable[[str], Calendar | None]) -> Dial:
        (state, *others), target = dial.modes, dial.target
        owner = dial.asks or (known.name if (known := self.by_name[state].owner) else "")
        calendar = None if others or dial.across or target.calendar else calendar_of(owner)
        return replace(dial, target=replace(target, calendar=calendar)) if calendar else dial

    def brought_up(self, version: int, stored: bytes) -> bytes:
        """Data that `version` of this machine wrote, in the present layout. Raises `LayoutError` where this program cannot, and says why."""
        if version > self.version:
            raise LayoutError(f"this {self.name} is of version {version}, and this program has version {self.version}: run one that is as new")
        return lifted_data(self.data, self.upcasts, version, stored) if version < self.version else stored

    def row_after(self, state: str, timer: str) -> Transition[D] | None:
        """The row that a timer of `state` is of; timers of older programs name it by its number. None: there is no such row any more."""
        rows = self.afters.get(state, {})
        number = timer.removeprefix(f"after {state} ")
        return rows.get(timer) or (tuple(rows.values())[int(number)] if number.isdecimal() and int(number) < len(rows) else None)


AnyMachine = Machine[Any]


def _field_reader(name: str) -> Ids:
    return lambda event: cast("str", getattr(event, name))


def _set(machine: AnyMachine, name: str, value: object) -> None:
    object.__setattr__(machine, name, value)


def _numbered(machine: AnyMachine) -> frozenset[type[Event]]:
    """The classes with the field that orders them; the others come as they come."""
    if not machine.order_by:
        return frozenset()
    fields = {kind: msgspec.structs.fields(kind) for kind in machine.takes if kind not in OWN_EVENTS}
    found = {kind: field.type for kind, known in fields.items() for field in known if field.name == machine.order_by}
    if not found:
        raise DefinitionError(f"{machine.name}: order_by={machine.order_by!r} is a field of no event that it takes")
    for kind, type_ in found.items():
        if (get_args(type_)[0] if get_origin(type_) is Annotated else type_) is not int:
            raise DefinitionError(f"{machine.name}: order_by={machine.order_by!r} is no int in {kind.__name__}")
    return frozenset(found)


def _sources(row: Transition[D], states: Sequence[State[D]]) -> Sequence[State[D]]:
    return row.sources if row.sources is not None else [s for s in states if not s.final]


def _states(machine: Machine[D]) -> dict[str, State[D]]:
    found: dict[str, State[D]] = {}
    for row in machine.transitions:
        for state in (*(row.sources or ()), *((row.to,) if row.to else ())):
            if found.setdefault(state.name, state) is not state:
                raise DefinitionError(f"{machine.name}: two states are called {state.name!r}")
    check_name("Machine", machine.name)
    for name in found:
        check_name(f"{machine.name}: State", name)
    if "/" in machine.name:
        raise DefinitionError(f"{machine.name!r}: a machine's name has no slash")
    return found


def _rows(machine: Machine[D]) -> dict[tuple[str, type[Event]], tuple[Transition[D], ...]]:
    found: dict[tuple[str, type[Event]], list[Transition[D]]] = {}
    for row in machine.transitions:
        if row.event is not None:
            for name in ("",) if row.opens else [s.name for s in _sources(row, machine.states)]:
                found.setdefault((name, row.event), []).append(row)
    return {key: tuple(rows) for key, rows in found.items()}


def _timed(machine: Machine[D], wanted: Callable[[Transition[D]], bool]) -> dict[str, tuple[Transition[D], ...]]:
    found: dict[str, list[Transition[D]]] = {}
    for row in machine.transitions:
        if wanted(row):
            for state in _sources(row, machine.states):
                found.setdefault(state.name, []).append(row)
    return {name: tuple(rows) for name, rows in found.items()}


def _afters(timed: dict[str, tuple[Transition[D], ...]]) -> dict[str, dict[str, Transition[D]]]:
    """Moves after a time by the names of their timers, which say where they lead: so rows may change places under running entities."""
    found: dict[str, dict[str, Transition[D]]] = {}
    for state, rows in timed.items():
        named = found[state] = dict[str, Transition[D]]()
        for row in rows:
            name = f"after {state} -> {row.to.name if row.to else state}"
            names = (name, *(f"{name} ({n})" for n in range(2, len(rows) + 2)))
            named[next(each for each in names if each not in named)] = row
    return found


def _check_reach(machine: Machine[D]) -> None:
    """Every state is reached from a birth, and every one that is not final is left."""
    reached = {row.to.name for row in machine.transitions if row.opens and row.to}
    if not reached:
        raise DefinitionError(f"{machine.name}: no opens() row brings one to life")
    edges = [(s.name, row.to.name) for row in machine.transitions if not row.opens and row.to for s in _sources(row, machine.states)]
    for _ in machine.states:
        reached |= {end for start, end in edges if start in reached}
    left = {start for start, end in edges if start != end}
    for state in machine.states:
        if state.name not in reached:
            raise DefinitionError(f"{machine.name}: nothing leads to {state.name!r}")
        if not state.final and state.name not in left:
            raise DefinitionError(f"{machine.name}: {state.name!r} is neither final nor left")
        if state.final and (state.name in left or state.sla or state.task):
            raise DefinitionError(f"{machine.name}: {state.name!r} is final, yet left, under an SLA or with a task")


def _check_event(machine: AnyMachine, kind: type[Event]) -> None:
    if not kind.__fact_type__ and any(row.event is kind for row in machine.transitions):
        raise DefinitionError(f"{machine.name}: {kind.__name__} has no type=; a row names one event, not a family")
    if kind not in OWN_EVENTS:
        if machine.ids_of(kind) is None:
            raise DefinitionError(f"{machine.name}: events= does not say which {machine.name} a {kind.__name__} is about")
    elif not issubclass(kind, ClockEvent):
        raise DefinitionError(f"{machine.name}: no row can take a {kind.__name__}")
    for address in machine.events:
        if not isinstance(address, Concerns) and not address.__key__:
            raise DefinitionError(f"{machine.name}: {address.__name__} has no key=; use about() to say which {machine.name} it is about")


def _check_task(machine: AnyMachine, state: State[Any]) -> None:
    """Every answer closes its task: the rows that take it leave the state."""
    for kind in state.task.answers if state.task else ():
        rows = machine.rows.get((state.name, kind), ())
        if not rows or any(row.to is None or row.to is state for row in rows):
            raise DefinitionError(f"{machine.name}: {kind.__name__} answers the task of {state.name!r}, so a row must take it there, and leave")


def _check_order(machine: AnyMachine, rows: Sequence[Transition[Any]]) -> None:
    for n, row in enumerate(rows):
        if row.event and any(before.when is None and not before.by and before.clock in ("", row.clock) for before in rows[:n]):
            raise DefinitionError(f"{machine.name}: a row on {row.event.__name__} can never fire: one without a guard stands before it")


def _dials(machine: Machine[D]) -> dict[str, Dial]:
    """Every clock of the machine by the name of its timer: the SLA of each state, and those across states."""
    dials = [Dial(state.name, state.sla, {state.name: Mode.RUNS}) for state in machine.states if state.sla]
    dials += [Dial(f"{s.name} task", s.task.limit, {s.name: Mode.RUNS}, s.task.asked_of(s.owner)) for s in machine.states if s.task and s.task.limit]
    dials += [Dial(clock.name, clock, _modes(machine, clock)) for clock in machine.clocks]
    names = [dial.name for dial in dials]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise DefinitionError(f"{machine.name}: two clocks are called {double[0]!r} (an SLA is called like its state)")
    return {dial.timer: dial for dial in dials}


def _modes(machine: Machine[D], clock: Clock[D]) -> dict[str, Mode]:
    modes = {state.name: Mode.VOID if state.final else Mode.RUNS for state in machine.states}
    named = [(state, mode) for mode, states in ((Mode.MET, clock.met), (Mode.PAUSED, clock.pauses), (Mode.VOID, clock.void)) for state in states]
    for n, (state, mode) in enumerate(named):
        if machine.by_name.get(state.name) is not state:
            raise DefinitionError(f"{machine.name}: clock {clock.name!r} names a state {state.name!r} that is not in the table")
        if any(state is other for other, _ in named[:n]) or (state.final and mode is Mode.PAUSED):
            raise DefinitionError(f"{machine.name}: clock {clock.name!r} cannot do what it says in {state.name!r}")
        modes[state.name] = mode
    if Mode.RUNS not in modes.values():
        raise DefinitionError(f"{machine.name}: clock {clock.name!r} runs in no state")
    return modes


def _check_trigger(machine: AnyMachine, row: Transition[Any]) -> None:
    """A row on a clock's event needs a clock that says it, and a state in which that clock runs."""
    if row.event is None or not issubclass(row.event, ClockEvent):
        return
    dials = [dial for dial in machine.dials.values() if row.clock in ("", dial.name)]
    said = [d for d in dials if (row.event is not SlaWarned or d.target.warn_at) and (row.event is not SlaEscalated or d.target.repeat)]
    if not any(dial.modes.get(state.name) is Mode.RUNS for dial in said for state in _sources(row, machine.states)):
        named = f"{row.clock!r}" if row.clock else "any clock"
        why = f"{named} says none where it stands" if dials else f"there is no clock {named}"
        raise DefinitionError(f"{machine.name}: a row on {row.event.__name__} can never fire: {why}")
