"""Commands by which a person speaks for an entity: an event by hand, or another state, shown before it is done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any

import typer

from stream.core.codec import record_of
from stream.core.errors import ConfigurationError
from stream.core.identity import emitted_id
from stream.core.order import Move, Release
from stream.core.record import Ref
from stream.core.task import LONGEST
from stream.ops.command import AppOption, OutputOption, awaited, instant, no
from stream.ops.desk import OtherwiseError, completed, effect_lines, effects_table, perform, refused, rehearse
from stream.ops.events import event_of
from stream.ops.orders import Note
from stream.ops.queries import EntityNow, questions
from stream.ops.render import Output, note, safe, show
from stream.ops.site import Site, actor, machine_of, read_site
from stream.runtime.doors import Desk

MOST = LONGEST
"""Characters of a reason."""
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]


def send(
    type: Annotated[str, typer.Argument(help="The event's type, such as ticket.closed.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its fields; they say which entities it concerns.")],
    reason: ReasonOption,
    id: Annotated[str | None, typer.Option(help="Say the same id again, and it is a duplicate.")] = None,
    time: Annotated[str | None, typer.Option(help="When it happened (RFC 3339); now, when left out.")] = None,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """An event by hand, straight to its entities and past Kafka, after a look at what it would do. Ends with 1 where it would be refused.

    It is taken once, traced and noted in the history like any other, with you (STREAM_ACTOR, or the login name) as its actor.

    Example: stream entities send ticket.closed '{"ticket_id": "T-1"}' --reason "confirmed by phone"
    """
    site, why = read_site({"app": app}), checked_reason(reason)
    event = event_of(site, type, data.encode("utf-8", "surrogatepass"))
    at = instant(time) or awaited(_now(site))
    named = id or emitted_id(secrets.token_bytes(16), Ref("desk", ""), 0, at)
    do(
        site,
        Desk(records=[record_of(event, id=named, source=f"/{site.app.name}/desk", time=at, attributes=[("actor", actor())])]),
        Note(actor(), f"entities send {type}", "", why),
        yes,
        output,
    )


def move(
    machine: Annotated[str, typer.Argument(help="The machine's name.")],
    id: Annotated[str, typer.Argument(help="The entity's id.")],
    state: Annotated[str, typer.Argument(help="The state to put it into.")],
    reason: ReasonOption,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put an entity into another state, whatever its table says, after a look at what that would do. Its data stays as it is.

    Clocks of the state it leaves end, those of the new one begin, and events that waited for it are tried. A parked line stays parked.

    Example: stream entities move ticket T-1 "In progress" --reason "resolved by mistake"
    """
    site, why = read_site({"app": app}), checked_reason(reason)
    found = machine_of(site, machine)
    if state not in found.by_name:
        raise ConfigurationError(f"{machine} has no state {state!r}; it has {', '.join(found.by_name)}")
    entity = awaited(_entity(site, Ref(machine, id)))
    if entity is None or not entity.version:
        no(f"there is no {machine} {id!r}")
    if entity.state == state:
        no(f"{machine} {id!r} is in {state!r} already")
    do(
        site,
        Desk(orders=[Move(Ref(machine, id), entity.state, state, actor(), why)]),
        Note(actor(), "entities move", "", f"{entity.state} -> {state}: {why}"),
        yes,
        output,
    )


def release(
    machine: Annotated[str, typer.Argument(help="The machine's name.")],
    id: Annotated[str, typer.Argument(help="The entity's id.")],
    reason: ReasonOption,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on without the numbers that an entity waits for. Should one of them still come, it is rejected as late.

    Example: stream entities release order O-1 --reason "number 4 was never sent"
    """
    site, why = read_site({"app": app}), checked_reason(reason)
    found = machine_of(site, machine)
    if not found.order_by:
        raise ConfigurationError(f"{machine} takes its events in whatever order they come: it has no order_by=")
    if awaited(_entity(site, Ref(machine, id))) is None:
        no(f"there is no {machine} {id!r}")
    do(site, Desk(orders=[Release(Ref(machine, id), actor(), why)]), Note(actor(), "entities release", f"{machine}/{id}", why), yes, output)


def checked_reason(reason: str) -> str:
    """A line of plain text. Raises `ConfigurationError`."""
    why = reason.strip()
    if not why:
        raise ConfigurationError("--reason is empty: say why, whoever reads the audit will ask")
    if len(why) > MOST or safe(why) != why:
        raise ConfigurationError(f"--reason is one line of plain text of at most {MOST} characters")
    return why


def do(site: Site, door: Desk, order: Note, yes: bool, output: Output, still: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
    """Show what it would come to, ask, do it, and show what was done. An `order` that names no target is about whom it concerns.

    `still` raises what became of it where a rival was faster, who then is named instead of "meanwhile something else happened".
    """
    shown = awaited(rehearse(site, door))
    if against := refused(shown):
        _overtaken(still)
        no(f"{against}; nothing was done")
    if not yes:
        for line in effect_lines(shown):
            note(line)
        if not typer.confirm("Do it?", err=True):
            no("nothing was done")
    try:
        awaited(perform(site, door, [completed(order, shown)], shown))
    except OtherwiseError as error:
        _overtaken(still)
        no(str(error))
    show(output, {"actor": order.actor, "action": order.action, "reason": order.reason, "effects": shown}, effects_table(shown))


def _overtaken(still: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    if still is not None:
        awaited(still())


async def _now(site: Site) -> datetime:
    async with questions(site.postgres) as ask:
        found: datetime = (await ask.rows("clock_ahead"))[0]["now"]
        return found


async def _entity(site: Site, ref: Ref) -> EntityNow | None:
    async with questions(site.postgres) as ask:
        return await ask.entity(ref)
