"""Commands by which a person stops, moves and ends a clock, shown before it is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from stream.core.errors import ConfigurationError
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from stream.core.record import Ref
from stream.ops.cli_desk import ReasonOption, YesOption, checked_reason, do
from stream.ops.command import AppOption, OutputOption, awaited, instant, span
from stream.ops.render import Output
from stream.ops.site import actor, read_site
from stream.ops.steering import order_on
from stream.runtime.doors import Desk

MachineArgument = Annotated[str, typer.Argument(help="The machine's name.")]
IdArgument = Annotated[str, typer.Argument(help="The entity's id.")]
ClockArgument = Annotated[str, typer.Argument(help="The clock's name; an SLA is called like its state.")]


def move(
    machine: MachineArgument,
    id: IdArgument,
    clock: ClockArgument,
    reason: ReasonOption,
    at: Annotated[str | None, typer.Option(help="The instant of its breach (RFC 3339); one that has passed is due at once.")] = None,
    by: Annotated[str | None, typer.Option(help="So much later, or earlier (-30m), in the time that the clock counts.")] = None,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put the breach of a clock off, or forward. Its warning and repetitions go with it; a target that follows the data keeps the difference.

    Examples: stream clocks move ticket T-1 resolution --by 2h --reason "the part is late" · stream clocks move ticket T-1 resolution
    --at 2026-03-02T17:00:00Z --reason "agreed by phone"
    """
    order(Ref(machine, id), moved(clock, at, by), reason, yes, app, output)


def pause(
    machine: MachineArgument,
    id: IdArgument,
    clock: ClockArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hold a clock, whatever its entity does, until `stream clocks resume`. It can still be met.

    Example: stream clocks pause ticket T-1 resolution --reason "the customer is on holiday"
    """
    order(Ref(machine, id), ClockPaused(clock=clock), reason, yes, app, output)


def resume(
    machine: MachineArgument,
    id: IdArgument,
    clock: ClockArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a clock go on that was held, with what was used up before: it runs, or stands still where the present state says so.

    Example: stream clocks resume ticket T-1 resolution --reason "the customer is back"
    """
    order(Ref(machine, id), ClockResumed(clock=clock), reason, yes, app, output)


def cancel(
    machine: MachineArgument,
    id: IdArgument,
    clock: ClockArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a clock away: it says nothing any more and counts as neither met nor breached. That of a state comes back when it is entered again.

    Example: stream clocks cancel ticket T-1 resolution --reason "agreed with the customer"
    """
    order(Ref(machine, id), ClockCancelled(clock=clock), reason, yes, app, output)


def order(ref: Ref, event: ClockOrder, reason: str, yes: bool, app: str | None, output: Output) -> None:
    """Show what an order on a clock would do, ask, and do it."""
    site, why = read_site({"app": app}), checked_reason(reason)
    steer, note = awaited(order_on(site, ref, event, actor(), why))
    do(site, Desk(orders=[steer]), note, yes, output)


def moved(clock: str, at: str | None, by: str | None) -> ClockMoved:
    """A move to an instant, or by a span. Raises `ConfigurationError` unless it is one of them."""
    if (at is None) == (by is None):
        raise ConfigurationError("to when? say --at INSTANT or --by SPAN")
    return ClockMoved(clock=clock, at=instant(at, exact=True), by=signed(by).total_seconds() if by is not None else 0.0)


def signed(text: str) -> timedelta:
    """A span with or without a sign, other than none. Raises `ConfigurationError`."""
    read = span(text.strip().removeprefix("+").removeprefix("-"), "--by")
    if not read:
        raise ConfigurationError(f"--by {text!r} moves nothing")
    return -read if text.strip().startswith("-") else read
