"""The desk: what a person says of entities, shown before it is done, and done only if it is still what was shown."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import msgspec
from rich.console import RenderableType

from stream.core.changes import Changes, Handled
from stream.core.errors import StreamError
from stream.core.ladder import Note as Said
from stream.core.outcome import Outcome
from stream.core.steering import MOVED
from stream.ops.orders import AgreedStore, Note, carry_out
from stream.ops.render import table
from stream.ops.site import Site
from stream.pipeline import Door


class Effect(msgspec.Struct, frozen=True):
    """What would come of it for one entity. `says` are the types of the messages it would cause; `clocks` what happens to its clocks."""

    machine: str
    id: str
    event: str
    outcome: str
    from_state: str
    to_state: str
    error: str
    says: tuple[str, ...]
    clocks: tuple[str, ...]


class OtherwiseError(StreamError):
    """What would be done is not what was shown, or not to be done: nothing was done."""


class _RehearsedError(Exception):
    """Ends a transaction that was only to be looked at."""


async def rehearse(site: Site, door: Door) -> list[Effect]:
    """What would come of it: all of it is done as it would be, and undone."""
    found: list[Effect] = []

    def look(changes: Changes) -> None:
        found.extend(effects(changes))
        raise _RehearsedError

    with suppress(_RehearsedError):
        await carry_out(site, door, [], AgreedStore(site.postgres, look))
    return found


async def perform(site: Site, door: Door, notes: list[Note], shown: list[Effect]) -> None:
    """Do it. Raises `OtherwiseError`, with nothing done, unless it comes to what was shown."""

    def same(changes: Changes) -> None:
        if effects(changes) != shown:
            raise OtherwiseError("meanwhile something else happened to it: nothing was done, look again")

    await carry_out(site, door, notes, AgreedStore(site.postgres, same))


def effects(changes: Changes) -> list[Effect]:
    """In the order in which they come about; the same entity may be met several times. First what would reach none, and why."""
    unread = [Effect("", "", one.event_type, "a dead letter", "", "", f"{one.error} ({one.reason})", (), ()) for one in changes.dead if not one.ref]
    return unread + [_effect(one) for one in changes.handled]


def _effect(one: Handled) -> Effect:
    says, clocks = tuple(m.type for m in one.messages), tuple(_clock(note, one.envelope.time) for note in one.clocks)
    return Effect(*one.ref, one.envelope.type, one.outcome.value, one.from_state, one.to_state, one.error or str(one.reason), says, clocks)


def _clock(note: Said, now: datetime) -> str:
    """Nothing of it changes between two looks at the same clock: not what hangs on how late it is."""
    due = "due at once" if note.due is not None and note.due <= now else f"due {_instant(note.due)}"
    return f"{note.clock} {note.what}" + (f": due {_instant(note.was)} -> {due}" if note.what == MOVED and note.due else "")


def _instant(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else "never"


def refused(shown: list[Effect]) -> str:
    """Why it is not to be done; empty where it is: a person's word must move something, and be refused by nobody."""
    if not shown:
        return "it would change nothing: it concerns nobody, was said before, or nobody is where it was seen"
    bad = [one for one in shown if one.outcome not in (Outcome.APPLIED, Outcome.IGNORED)]
    return "; ".join(f"{f'{one.machine} {one.id}: ' if one.machine else ''}{one.event or 'it'} would be {one.outcome}: {one.error}" for one in bad)


def completed(order: Note, shown: list[Effect]) -> Note:
    """The audit's line, with whom it concerns, and before and after: the state of each of them, or what the order says of clocks."""
    targets = ", ".join(dict.fromkeys(f"{one.machine}/{one.id}" for one in shown))
    before = {f"{one.machine}/{one.id}": one.from_state for one in reversed(shown)}
    after = {f"{one.machine}/{one.id}": one.to_state for one in shown}
    if order.before is not None:
        return replace(order, after={"clocks": [what for one in shown for what in one.clocks], "states": after})
    return replace(order, target=order.target or targets, before=before, after=after)


def effect_lines(shown: list[Effect]) -> list[str]:
    """For a person who is asked."""
    return [
        f"{e.machine} {e.id}: {e.event}: {e.from_state or 'unborn'} -> {e.to_state or 'unborn'}"
        + "".join(f"; {word} {', '.join(what)}" for word, what in (("says", e.says), ("clocks:", e.clocks)) if what)
        for e in shown
    ]


def effects_table(shown: list[Effect]) -> RenderableType:
    """For people."""
    names = ("machine", "id", "event", "outcome", "from", "to", "says", "clocks")
    rows = [(e.machine, e.id, e.event, e.outcome, e.from_state, e.to_state, ", ".join(e.says), ", ".join(e.clocks)) for e in shown]
    return table("effects", names, rows)
