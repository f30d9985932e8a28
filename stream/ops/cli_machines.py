"""Commands on machines that changed: what is stored against what is declared."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from stream.core.errors import ConfigurationError
from stream.core.machine import AnyMachine
from stream.ops import machines as changes
from stream.ops.cli_desk import ReasonOption, YesOption, checked_reason
from stream.ops.command import AppOption, OutputOption, awaited, instant, no
from stream.ops.orders import Note, order_all, rehearse_all
from stream.ops.render import Output, note, progress, show
from stream.ops.site import Site, actor, machine_of, read_site


def plan(
    machine: Annotated[str | None, typer.Argument(help="Only this machine.")] = None,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What the App's machines make of what is stored: entities by version and state, states that are no more, clocks that end or begin, data that no
    longer fits. Run it with the new program before it takes over. Ends with 1 when something would keep work from going on.

    Example: stream machines plan ticket --app handlers_new:app
    """
    site = read_site({"app": app})
    with progress() as tell:
        found = awaited(changes.plan(site, [machine_of(site, machine)] if machine else site.app.machines, _counted(tell, "entities read", 0)))
    show(output, found, changes.plan_table(found))
    if trouble := [one for one in found if one.trouble]:
        no(f"{sum(one.n for one in trouble):,} entities would not go on: {', '.join(dict.fromkeys(one.what for one in trouble))}")


def coverage(
    machine: Annotated[str | None, typer.Argument(help="Only this machine.")] = None,
    since: Annotated[str | None, typer.Option(help="Of business time, RFC 3339; all that is kept, unless said.", show_default=False)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 where a row was never taken.")] = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """How often each row of the tables was taken, as the history tells: what a test run covered, or what never happens at work.

    Rows that leave the same trace, such as two that differ by their guards alone, share what was counted.

    Example: stream machines coverage ticket --strict
    """
    site = read_site({"app": app})
    asked = [machine_of(site, machine)] if machine else site.app.machines
    found = awaited(changes.read_coverage(site, asked, instant(since)))
    show(output, found, changes.coverage_table(found))
    rows = [one for all_rows in found.values() for one in all_rows]
    never = sum(not one.n for one in rows)
    note(f"{len(rows) - never:,} of {len(rows):,} rows were taken")
    if strict and never:
        no(f"{never:,} rows were never taken")


def apply(
    machine: Annotated[str, typer.Argument(help="The machine's name.")],
    reason: ReasonOption,
    move: Annotated[str | None, typer.Option(metavar="OLD=NEW", help="From which state, there or no more, into which one.")] = None,
    data: Annotated[bool, typer.Option("--data", help="Store the data of all that an older version wrote as this one has it.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="How many in a transaction.")] = 200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all of it batch by batch, undo each, and say what would come of it.")] = False,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put all entities of one state into another, as `entities move` does with one, or lift the stored data of all to the present layout. Each has
    its line in the history, each batch one in the audit. It is counted first, and asked.

    It may run beside workers, be ended at any moment, and begun again. Ends with 1 when some would not go.
    What it has written waits for programs of this version: lift the data of all when no older program runs any more.

    Examples:\n
    stream machines apply ticket --move "Escalated=Blocked" --reason "version 2 has one state for both"\n
    stream machines apply ticket --data --reason "version 1 goes"
    """
    site, why = read_site({"app": app}), checked_reason(reason)
    found = machine_of(site, machine)
    if bool(move) == data:
        raise ConfigurationError("say what to apply: --move OLD=NEW for a state, or --data for the layout of stored data")
    if move:
        waiting, said, work = _moving(site, found, move, why)
    else:
        waiting, said, work = _lifting(site, found, why)
    note(f"{waiting:,} of {machine} {said}")
    if not dry_run and not yes and not typer.confirm("Do it?", err=True):
        no("nothing was done")
    with progress() as tell:
        done = awaited(work(changes.Batches(batch, _counted(tell, "done", waiting), rehearse_all if dry_run else order_all)))
    show(output, done)
    if output is Output.TABLE:
        note(f"{done.done:,} would go; nothing was done" if dry_run else f"{done.done:,} done")
    if done.left:
        no(f"{done.left:,} would not go: {'; '.join(done.why)}")


Work = Callable[[changes.Batches], Coroutine[Any, Any, changes.Applied]]


def _moving(site: Site, machine: AnyMachine, move: str, why: str) -> tuple[int, str, Work]:
    """How many, what is said of it, and the work."""
    old, divided, new = move.partition("=")
    if not divided:
        raise ConfigurationError(f"--move {move!r}: say OLD=NEW, two states of {machine.name}")
    changes.check_move(machine, old, new)
    waiting = awaited(changes.resting_in(site, machine, old))
    if not waiting:
        no(f"no {machine.name} is in {old!r}")
    order = Note(actor(), "machines apply", machine.name, f"{old} -> {new}: {why}", {"state": old}, {"state": new})
    return waiting, f"from {old} to {new}", lambda by: changes.move_all(site, machine, (old, new), order, by)


def _lifting(site: Site, machine: AnyMachine, why: str) -> tuple[int, str, Work]:
    versions = awaited(changes.older_versions(site, machine))
    waiting, oldest = sum(versions.values()), min(versions, default=machine.version)
    if not waiting:
        no(f"every {machine.name} is of version {machine.version}: nothing is to be lifted")
    order = Note(actor(), "machines apply", machine.name, f"data: {why}", {"version": oldest}, {"version": machine.version})
    return waiting, f"from version {oldest} on to {machine.version}", lambda by: changes.lift_all(site, machine, order, by)


def _counted(tell: Callable[[str, int, int], None], what: str, total: int) -> changes.Progress:
    done = [0]

    def advance(n: int) -> None:
        done[0] += n
        tell(what, done[0], max(total, done[0]))

    return advance
