"""A machine that changed under running work: what of the stored entities no longer fits it, and their way into states and layouts that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from rich.console import RenderableType

from stream.core.changes import Changes
from stream.core.coverage import Covered, Taken, coverage
from stream.core.errors import ConfigurationError, UnstorableError
from stream.core.ladder import clock_of
from stream.core.layout import LayoutError, layout_of
from stream.core.machine import AnyMachine
from stream.core.order import Lift, Move
from stream.core.outcome import Outcome
from stream.core.record import Ref
from stream.core.text import safe
from stream.ops.audit import PATIENCE
from stream.ops.orders import Note, order_all
from stream.ops.queries import Questions, questions
from stream.ops.render import table
from stream.ops.site import Site

READ, NAMED = 2000, 5
"""Entities read at once, and how many of those whose data does not fit are named."""
WEIGHT = 4 << 20
"""Bytes of data read, or lifted, at once; one entity's may be more."""
Progress = Callable[[int], None]


class Finding(msgspec.Struct):
    """Something of `n` entities, or of `n` clocks. `what`: same, older, later_version, state_gone, clock_gone, clock_begins, after_gone,
    data_older, data_unfit.

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


async def resting_in(site: Site, machine: AnyMachine, state: str) -> int:
    """How many of its entities are in that state, there or no more."""
    async with questions(site.postgres) as ask:
        rows = await ask.rows("entities_by_version")
    return sum(row["n"] for row in rows if (row["machine"], row["state"]) == (machine.name, state))


async def older_versions(site: Site, machine: AnyMachine) -> Counter[int]:
    """How many of its entities each older version wrote last."""
    found = Counter[int]()
    async with questions(site.postgres) as ask:
        for row in await ask.rows("entities_by_version"):
            if row["machine"] == machine.name and row["machine_version"] < machine.version:
                found[row["machine_version"]] += row["n"]
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
        elif name.startswith("after ") and not any(machine.row_after(state, name) for state in machine.afters):
            yield Finding(
                machine.name,
                "after_gone",
                repr(name),
                row["n"],
                "no such row any more: nothing happens when it falls due; of a state that is no more, it stays due",
            )
    for timer, dial in machine.dials.items():
        if dial.across and timer not in stored and entities:
            yield Finding(machine.name, "clock_begins", repr(dial.name), entities, "new: it begins with each one's next move into another state")


async def _data(ask: Questions, machine: AnyMachine, progress: Progress) -> list[Finding]:
    """Whether this program reads what is stored: each is lifted as its next event would, and dropped."""
    older, unfit, errors = Counter[int](), 0, list[str]()
    async for id, version, data in _entities(ask, machine.name, progress):
        if version > machine.version:
            continue
        try:
            machine.decoder.decode(machine.brought_up(version, data))
            older[version] += any(written >= version for written in machine.upcasts)
        except (LayoutError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            unfit += 1
            if len(errors) < NAMED:
                errors.append(safe(f"{id}: {error}"))
    found = [_older(machine, version, n) for version, n in sorted(older.items()) if n]
    if unfit:
        told = "; ".join(errors) + ("; ..." if unfit > len(errors) else "")
        found.append(
            Finding(machine.name, "data_unfit", machine.data.__name__, unfit, f"their events park, what is due stays due: {told}", trouble=True)
        )
    return found


def _older(machine: AnyMachine, version: int, n: int) -> Finding:
    name = layout_of(machine.data, machine.upcasts, version).__name__
    means = f"lifted to {machine.data.__name__} by their next move, or all at once: stream machines apply {machine.name} --data"
    return Finding(machine.name, "data_older", f"{name}, version {version}", n, means)


async def _entities(ask: Questions, machine: str, progress: Progress) -> AsyncIterator[tuple[str, int, bytes]]:
    after = ""
    while rows := await ask.rows("data_of_entities", machine, after, READ, WEIGHT):
        for row in rows:
            yield row["id"], row["machine_version"], row["data"]
        after = rows[-1]["id"]
        progress(len(rows))


def plan_table(found: Sequence[Finding]) -> RenderableType:
    """For people."""
    return table("plan", ("machine", "what", "about", "n", "means"), [(f.machine, f.what, f.about, f.n, f.means) for f in found])


async def read_coverage(site: Site, machines: Sequence[AnyMachine], since: datetime | None) -> dict[str, list[Covered]]:
    """For each machine its rows, and how often the history since then has each. Reads all of the history that is kept."""
    patient = replace(site.postgres, statement=PATIENCE)
    async with questions(patient) as ask:
        return {machine.name: coverage(machine, await _taken(ask, machine, since)) for machine in machines}


async def _taken(ask: Questions, machine: AnyMachine, since: datetime | None) -> list[Taken]:
    rows = await ask.rows("moves_taken", machine.name, since)
    return [Taken(row["from_state"], row["event_type"], row["to_state"], row["n"]) for row in rows]


def coverage_table(found: Mapping[str, Sequence[Covered]]) -> RenderableType:
    """For people: what was never taken says so."""
    rows = [
        (machine, c.row.source or "unborn", c.row.on, "stays" if c.row.stays else c.row.target, c.row.when, c.n or "never", c.shared or "")
        for machine, all_rows in found.items()
        for c in all_rows
    ]
    return table("rows", ("machine", "in", "on", "to", "when", "taken", "of these shared"), rows)


# -- apply ---------------------------------------------------------------------------------------------------------------------------


class Applied(msgspec.Struct):
    """`done` entities are as ordered. `left` are those that would not go: told by name, at most five, with the reason."""

    done: int = 0
    left: int = 0
    why: list[str] = []


def check_move(machine: AnyMachine, old: str, new: str) -> None:
    """Raises `ConfigurationError` for a way that leads nowhere."""
    if new not in machine.by_name:
        raise ConfigurationError(f"{machine.name} has no state {new!r}; it has {', '.join(machine.by_name)}")
    if old == new:
        raise ConfigurationError(f"{old!r} to itself moves nobody")


Orders = Sequence[Move | Lift]


@dataclass(frozen=True)
class Batches:
    """How many in a transaction, who hears how far it is, and how one is carried: by `order_all`, or by `rehearse_all` for a dry run."""

    size: int
    progress: Progress
    carry: Callable[[Site, Orders, Note], Awaitable[Changes]] = order_all


async def move_all(site: Site, machine: AnyMachine, way: tuple[str, str], order: Note, by: Batches) -> Applied:
    """Every entity of one state into another, as by `entities move`; each batch with its line in the audit.

    May be ended at any moment and begun again: whoever is moved is not in the old state any more.
    """
    old, new = way

    async def resting(after: str) -> Orders:
        async with questions(site.postgres) as ask:
            found = await ask.entities(machine.name, old, Ref(machine.name, after), by.size)
        return [Move(Ref(machine.name, entity.id), old, new, order.actor, order.reason) for entity in found]

    return await _in_batches(site, resting, "entity.moved", order, by)


async def lift_all(site: Site, machine: AnyMachine, order: Note, by: Batches) -> Applied:
    """The data of every entity that an older version wrote into the present layout, final ones too; batches and ends as in `move_all`.

    Whatever lifts one meanwhile does it as well. Afterwards no entity needs the upcasters any more, unless an older program still writes.
    """

    async def older(after: str) -> Orders:
        async with questions(site.postgres) as ask:
            rows = await ask.rows("entities_of_older_versions", machine.name, machine.version, after, by.size, WEIGHT)
        return [Lift(Ref(machine.name, row["id"]), order.actor, order.reason) for row in rows]

    return await _in_batches(site, older, "entity.lifted", order, by)


async def _in_batches(site: Site, following: Callable[[str], Awaitable[Orders]], event: str, order: Note, by: Batches) -> Applied:
    """`following` gives the next orders after an id, and `event` is what each comes to."""
    done, after = Applied(why=[]), ""
    while orders := await following(after):
        left = await _left(lambda some: by.carry(site, some, order), orders, event)
        done.done, done.left = done.done + len(orders) - len(left), done.left + len(left)
        done.why += [f"{id}: {why}" for id, why in left.items()][: NAMED - len(done.why)]
        by.progress(len(orders))
        after = orders[-1].ref.id
    return done


async def _left(carry: Callable[[Orders], Awaitable[Changes]], orders: Orders, event: str) -> dict[str, str]:
    """Carries them out, in halves where the database refuses what they cause. Who would not go, by id, and why."""
    try:
        handled = (await carry(orders)).handled
    except UnstorableError as error:
        if len(orders) == 1:
            return {orders[0].ref.id: f"the database refuses it: {error}"}
        middle = len(orders) // 2
        return {**await _left(carry, orders[:middle], event), **await _left(carry, orders[middle:], event)}
    went = {one.ref.id for one in handled if one.outcome is Outcome.APPLIED and one.envelope.type == event}
    refused = {one.ref.id: one.error for one in handled if one.error}
    # Nothing is said of one that somebody's event lifted meanwhile: it is as ordered.
    stayed = [one.ref.id for one in orders if one.ref.id not in went and (one.ref.id in refused or isinstance(one, Move))]
    return {id: refused.get(id, "somebody else changed it meanwhile") for id in stayed}
