"""A machine that changed under running work: what of the stored entities no longer fits it, and their way into states that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
from rich.console import RenderableType

from stream.core.errors import ConfigurationError
from stream.core.ladder import clock_of
from stream.core.machine import AnyMachine
from stream.core.order import Move
from stream.core.outcome import Outcome
from stream.core.record import Ref
from stream.ops.orders import Note, move_all
from stream.ops.queries import Questions, questions
from stream.ops.render import table
from stream.ops.site import Site

READ, NAMED = 2000, 5
"""Entities read at once, and how many of those whose data does not fit are named."""
Progress = Callable[[int], None]


class Finding(msgspec.Struct):
    """Something of `n` entities, or of `n` clocks. `what`: same, older, later_version, state_gone, clock_gone, clock_begins, after_gone, data_unfit.

    `trouble`: it keeps work from going on, and somebody should do something about it.
    """

    machine: str
    what: str
    about: str
    n: int
    means: str
    trouble: bool = False


async def plan(site: Site, machines: Sequence[AnyMachine], progress: Progress) -> list[Finding]:
    """What this program's machines make of what is stored. Reads every entity's data; locks nothing."""
    found: list[Finding] = []
    async with questions(site.postgres) as ask:
        states, timers = await ask.rows("entities_by_version"), await ask.rows("timers_by_name")
        for machine in machines:
            mine = [row for row in states if row["machine"] == machine.name]
            found += [_state(machine, row) for row in mine]
            found += _timers(machine, [row for row in timers if row["machine"] == machine.name], sum(row["n"] for row in mine))
            found += await _data(ask, machine, progress)
    return found


def _state(machine: AnyMachine, row: dict[str, Any]) -> Finding:
    version, state, n = row["machine_version"], row["state"], row["n"]
    about = f"{state!r}, version {version}"
    if version > machine.version:
        means = f"this program has version {machine.version}: it waits, and writes nothing over them"
        return Finding(machine.name, "later_version", about, n, means, trouble=True)
    if state not in machine.by_name:
        means = f"the state is no more: their events park, their clocks rest; stream machines apply {machine.name} --move {state!r}=STATE"
        return Finding(machine.name, "state_gone", about, n, means, trouble=True)
    if version < machine.version:
        return Finding(machine.name, "older", about, n, f"version {machine.version} from their next move on")
    return Finding(machine.name, "same", about, n, "go on as they are")


def _timers(machine: AnyMachine, rows: Sequence[dict[str, Any]], entities: int) -> Iterator[Finding]:
    stored = {row["name"]: row for row in rows}
    for name, row in stored.items():
        if clock := clock_of(name):
            if name not in machine.dials:
                yield Finding(machine.name, "clock_gone", repr(clock), row["n"], "declared no more: it ends without a word, at its next rung or move")
        elif name.startswith("after ") and _after_gone(machine, name):
            yield Finding(machine.name, "after_gone", repr(name), row["n"], "no such row any more: nothing happens when it falls due")
    for timer, dial in machine.dials.items():
        if dial.across and timer not in stored and entities:
            yield Finding(machine.name, "clock_begins", repr(dial.name), entities, "new: it begins with each one's next move into another state")


def _after_gone(machine: AnyMachine, name: str) -> bool:
    state, _, row = name.removeprefix("after ").rpartition(" ")
    return int(row) >= len(machine.afters.get(state, ()))


async def _data(ask: Questions, machine: AnyMachine, progress: Progress) -> list[Finding]:
    """Whether this program's class reads what is stored."""
    unfit, errors = 0, list[str]()
    async for id, data in _entities(ask, machine.name, progress):
        try:
            machine.decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            unfit += 1
            if len(errors) < NAMED:
                errors.append(f"{id}: {error}")
    if not unfit:
        return []
    told = "; ".join(errors) + ("; ..." if unfit > len(errors) else "")
    return [Finding(machine.name, "data_unfit", machine.data.__name__, unfit, f"their next event parks: {told}", trouble=True)]


async def _entities(ask: Questions, machine: str, progress: Progress) -> AsyncIterator[tuple[str, bytes]]:
    after = ""
    while rows := await ask.rows("data_of_entities", machine, after, READ):
        for row in rows:
            yield row["id"], row["data"]
        after = rows[-1]["id"]
        progress(len(rows))


def plan_table(found: Sequence[Finding]) -> RenderableType:
    """For people."""
    return table("plan", ("machine", "what", "about", "n", "means"), [(f.machine, f.what, f.about, f.n, f.means) for f in found])


# -- apply ---------------------------------------------------------------------------------------------------------------------------


class Applied(msgspec.Struct):
    """`moved` entities are in the new state. `left` are those that would not go: told by name, at most five, with the reason."""

    moved: int = 0
    left: int = 0
    why: list[str] = []


def check_move(machine: AnyMachine, old: str, new: str) -> None:
    """Raises `ConfigurationError` for a way that leads nowhere."""
    if new not in machine.by_name:
        raise ConfigurationError(f"{machine.name} has no state {new!r}; it has {', '.join(machine.by_name)}")
    if old == new:
        raise ConfigurationError(f"{old!r} to itself moves nobody")


async def apply(site: Site, machine: AnyMachine, way: tuple[str, str], order: Note, batch: int, progress: Progress) -> Applied:
    """Every entity of one state into another, as by `entities move`; `batch` of them in a transaction with its line in the audit.

    May be ended at any moment and begun again: whoever is moved is not in the old state any more.
    """
    (old, new), done, after = way, Applied(why=[]), ""
    while ids := await _resting(site, machine.name, old, after, batch):
        changes = await move_all(site, [Move(Ref(machine.name, id), old, new, order.actor, order.reason) for id in ids], order)
        moved = {
            one.ref.id for one in changes.handled if one.outcome is Outcome.APPLIED and one.to_state == new and one.envelope.type == "entity.moved"
        }
        refused = {one.ref.id: one.error for one in changes.handled if one.error}
        left = [id for id in ids if id not in moved]
        done.moved, done.left = done.moved + len(moved), done.left + len(left)
        done.why += [f"{id}: {refused.get(id, 'somebody else moved it meanwhile')}" for id in left][: NAMED - len(done.why)]
        progress(len(ids))
        after = ids[-1]
    return done


async def _resting(site: Site, machine: str, state: str, after: str, limit: int) -> list[str]:
    async with questions(site.postgres) as ask:
        return [entity.id for entity in await ask.entities(machine, state, Ref(machine, after), limit)]
