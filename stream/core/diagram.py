"""Diagrams of a machine, all from the one table: plain rows as values, text for a terminal, Mermaid for a page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from stream.core.event import wire_type
from stream.core.ladder import Dial, Mode, timer_of
from stream.core.machine import AnyMachine
from stream.core.row import State, Transition
from stream.core.task import types_of


class ClockShown(msgspec.Struct, frozen=True):
    """A clock as a reader meets it; durations are words, "" where there is none. `runs` are the states in which time passes.

    `calendar` names whose working time counts; "" for elapsed time.
    """

    name: str
    within: str
    calendar: str
    escalate_to: str
    warn_at: float | None
    repeat: str
    reasons: tuple[str, ...]
    runs: tuple[str, ...]
    met: tuple[str, ...]
    pauses: tuple[str, ...]
    void: tuple[str, ...]


class TaskShown(msgspec.Struct, frozen=True):
    """A task as a reader meets it; a question made by a function is that function's name. `within` is "" for whenever.

    `calendar` names whose working time counts; "" for elapsed time.
    """

    question: str
    answers: tuple[str, ...]
    owner: str
    within: str
    calendar: str
    escalate_to: str
    reasons: tuple[str, ...]
    priority: str


class StateShown(msgspec.Struct, frozen=True):
    """A state as a reader meets it; types are wire types. `sla` is met on leaving."""

    name: str
    owner: str
    sla: ClockShown | None
    task: TaskShown | None
    ignores: tuple[str, ...]
    defers: tuple[str, ...]
    final: bool


class RowShown(msgspec.Struct, frozen=True):
    """A row for one source state ("" for a birth). `target` equals `source` where it stays and `stays` is true. `on` is words."""

    source: str
    on: str
    target: str
    stays: bool
    when: str
    then: str
    emit: tuple[str, ...]
    by: tuple[str, ...]


class MachineShown(msgspec.Struct, frozen=True):
    """A machine, ready for JSON by `msgspec.to_builtins`; rows in table order, so an earlier one wins."""

    name: str
    version: int
    unborn: str
    states: tuple[StateShown, ...]
    clocks: tuple[ClockShown, ...]
    rows: tuple[RowShown, ...]


def shown(machine: AnyMachine) -> MachineShown:
    """The machine as values."""
    rows = tuple(_row(machine, row, source) for row in machine.transitions for source in _sources(machine, row))
    states = tuple(_state(machine, state) for state in machine.states)
    clocks = tuple(_clock(dial) for dial in machine.dials.values() if dial.across)
    return MachineShown(machine.name, machine.version, machine.unborn, states, clocks, rows)


def as_dict(machine: AnyMachine) -> dict[str, object]:
    """The machine as plain dicts, sequences and text."""
    plain: dict[str, object] = msgspec.to_builtins(shown(machine))
    return plain


def text(machine: AnyMachine) -> str:
    """One block a state: what it means to rest there, then the ways out."""
    found = shown(machine)
    lines = [f"{found.name}, version {found.version}; for one not yet born: {found.unborn}"]
    lines += [f"clock {clock.name}{_ladder(clock)}{_spans(clock)}" for clock in found.clocks]
    lines += [_line(row) for row in found.rows if not row.source]
    for state in found.states:
        lines += ["", _title(state), *(_line(row) for row in found.rows if row.source == state.name)]
        lines += [_asks(state.task)] if state.task else []
        lines += [f"  {word} {', '.join(types)}" for word, types in (("ignores", state.ignores), ("defers", state.defers)) if types]
    return "\n".join(lines) + "\n"


def mermaid(machine: AnyMachine) -> str:
    """A `stateDiagram-v2`. States are numbered, because Mermaid takes no spaces in their ids."""
    found = shown(machine)
    ids = {state.name: f"s{n}" for n, state in enumerate(found.states)}
    lines = ["stateDiagram-v2", *(f'    state "{_quoted(name)}" as {id}' for name, id in ids.items())]
    for row in found.rows:
        label = (
            row.on
            + (f" by {' or '.join(row.by)}" if row.by else "")
            + (f" [{row.when}]" if row.when else "")
            + (f" / {', '.join(row.emit)}" if row.emit else "")
        )
        lines.append(f"    {ids.get(row.source, '[*]')} --> {ids[row.target]}: {_quoted(label)}")
    lines += [f"    {ids[state.name]} --> [*]" for state in found.states if state.final]
    return "\n".join(lines) + "\n"


def _sources(machine: AnyMachine, row: Transition[Any]) -> list[str]:
    if row.opens:
        return [""]
    return [s.name for s in (row.sources if row.sources is not None else machine.states) if row.sources is not None or not s.final]


def _state(machine: AnyMachine, state: State[Any]) -> StateShown:
    owner = state.owner.name if state.owner else ""
    ignores, defers = (tuple(wire_type(kind) or kind.__name__ for kind in kinds) for kinds in (state.ignores, state.defers))
    sla = _clock(machine.dials[timer_of(state.name)]) if state.sla else None
    return StateShown(state.name, owner, sla, _task(machine, state), ignores, defers, state.final)


def _task(machine: AnyMachine, state: State[Any]) -> TaskShown | None:
    if (task := state.task) is None:
        return None
    question = task.question if isinstance(task.question, str) else _length(task.question)
    priority = str(task.priority) if isinstance(task.priority, int) else _length(task.priority)
    within, told = (_length(task.within), task.escalate_to) if task.within else ("", None)
    hours = machine.dials[timer_of(f"{state.name} task")].target.calendar if task.within else None
    return TaskShown(
        question,
        types_of(task),
        task.asked_of(state.owner),
        within,
        hours.name if hours else "",
        told.name if told else "",
        task.reasons,
        priority,
    )


def _clock(dial: Dial) -> ClockShown:
    target = dial.target
    to = target.escalate_to.name if target.escalate_to else ""
    repeat = _length(target.repeat) if target.repeat else ""
    runs, met, pauses, void = (
        tuple(s for s, mode in dial.modes.items() if mode is wanted) for wanted in (Mode.RUNS, Mode.MET, Mode.PAUSED, Mode.VOID)
    )
    calendar = target.calendar.name if target.calendar else ""
    return ClockShown(dial.name, _length(target.within), calendar, to, target.warn_at, repeat, target.reasons, runs, met, pauses, void)


def _row(machine: AnyMachine, row: Transition[Any], source: str) -> RowShown:
    when, then, _ = row.names
    target = row.to.name if row.to else source
    return RowShown(source, _on(row), target, row.to is None, when, then, tuple(wire_type(kind) for kind in row.says), tuple(o.name for o in row.by))


def _on(row: Transition[Any]) -> str:
    if row.event is not None:
        return f"{wire_type(row.event)} of {row.clock}" if row.clock else wire_type(row.event)
    return "settles" if row.after is None else f"after {_length(row.after)}"


def _length(within: object) -> str:
    """A duration in its largest whole unit; a function by its name."""
    if not isinstance(within, timedelta):
        return str(getattr(within, "__name__", "?"))
    for name, unit in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if within >= unit and within % unit == timedelta(0):
            return f"{within // unit} {name}{'s' if within // unit > 1 else ''}"
    return f"{within.total_seconds():g} seconds"


def _title(state: StateShown) -> str:
    owner = f", owner {state.owner}" if state.owner else ""
    sla = _ladder(state.sla) if state.sla else ""
    return f"{state.name}{owner}{sla}{' (final)' if state.final else ''}"


def _asks(task: TaskShown) -> str:
    working = f" of {task.calendar} time" if task.calendar else ""
    within = f" within {task.within}{working}" if task.within else ""
    to = f" else {task.escalate_to}" if task.escalate_to else ""
    reasons = f", with a reason: {', '.join(task.reasons)}" if task.reasons else ""
    return f"  asks {task.owner}: {task.question} {' or '.join(task.answers)}{within}{to}{reasons}"


def _ladder(clock: ClockShown) -> str:
    warned = f", warned at {clock.warn_at:.0%}" if clock.warn_at else ""
    to = f" else {clock.escalate_to}" if clock.escalate_to else ""
    again = f", again every {clock.repeat}" if clock.repeat else ""
    working = f" of {clock.calendar} time" if clock.calendar else ""
    return f", within {clock.within}{working}{to}{warned}{again}"


def _spans(clock: ClockShown) -> str:
    parts = (("met in", clock.met), ("stands still in", clock.pauses), ("void in", clock.void))
    return "".join(f", {word} {', '.join(states)}" for word, states in parts if states)


def _line(row: RowShown) -> str:
    move = "stays" if row.stays else f"-> {row.target}"
    when = f", when {row.when}" if row.when else ""
    emit = f", says {', '.join(row.emit)}" if row.emit else ""
    by = f", by {' or '.join(row.by)}" if row.by else ""
    return f"  {row.on} {move}{by}{when}{emit}"


def _quoted(label: str) -> str:
    """Mermaid ends a label at a quote, a semicolon or a line's end, and takes `#` for an entity."""
    return label.translate({ord("#"): "#35;", ord('"'): "#quot;", ord(";"): "#59;", ord(":"): "#58;", ord("\n"): " "})
