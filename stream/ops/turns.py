"""Whose turn it is: the entities of each state by who owns it, and how long the oldest has rested there."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from rich.console import RenderableType

from stream.core.app import App
from stream.ops.queries import questions
from stream.ops.render import table
from stream.ops.site import Site
from stream.ops.timeline import owner_of


class Turn(msgspec.Struct):
    """`n` entities rest in a state. `oldest`: since when the first of them does, in business time; `age` is that against the database's.

    `people` belong to the owner, `told` are the ways it is told, and `calendar` says when it works (""), as the App's directory has it.
    """

    owner: str
    machine: str
    state: str
    n: int
    oldest: datetime
    age: timedelta
    people: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    calendar: str = ""


async def read_turns(site: Site, owner: str | None, machine: str | None) -> list[Turn]:
    """By owner, then the oldest first. Final states are nobody's turn and stay out; "" is a state without an owner."""
    async with questions(site.postgres) as ask:
        now: datetime = (await ask.rows("clock_ahead"))[0]["now"]
        rows = await ask.rows("turns")
    found = [
        Turn(owner_of(site.app, row["machine"], row["state"]), row["machine"], row["state"], row["n"], row["oldest"], now - row["oldest"])
        for row in rows
        if not _final(site.app, row["machine"], row["state"])
    ]
    for turn in found:
        turn.people = site.app.owners.people_of(turn.owner)
        calendar = site.app.owners.calendar_of(turn.owner)
        turn.calendar = calendar.name if calendar else ""
        turn.told = tuple(channel.shown for channel in site.app.owners.channels_of(turn.owner))
    asked = [turn for turn in found if owner in (None, turn.owner) and machine in (None, turn.machine)]
    return sorted(asked, key=lambda turn: (turn.owner, turn.oldest))


def _final(app: App, machine: str, state: str) -> bool:
    found = app.machine(machine)
    return found is not None and (known := found.by_name.get(state)) is not None and known.final


def turns_table(turns: list[Turn]) -> RenderableType:
    """For people."""
    rows = [(t.owner or "nobody", t.machine, t.state, t.n, t.oldest, t.age, ", ".join(t.people), t.calendar, ", ".join(t.told)) for t in turns]
    return table("owners", ("owner", "machine", "state", "entities", "oldest since", "age", "people", "works by", "told by"), rows)
