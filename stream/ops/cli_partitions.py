"""Commands about partitions: which are halted and why, what can be chosen, and the choice."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from stream.core.errors import ConfigurationError, FencedError
from stream.ops.command import OutputOption, awaited, group, no
from stream.ops.partitions import Told, carry_out, effects, list_partitions, named, partition_tables, partitions_table, plan, read_partition
from stream.ops.render import Output, note, show
from stream.ops.site import Site, read_site

partitions = group("Topic partitions: where each stands, and how a halted one goes on.\n\nExample: stream partitions show tickets/3")

PlaceArgument = Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="Which one, such as tickets/3.")]


@partitions.command("list")
def list_all(
    halted: Annotated[bool, typer.Option("--halted", help="Only those that are halted.")] = False,
    lag: Annotated[bool, typer.Option(help="Ask the broker how long each log is.")] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every partition that was ever adopted: who reads it, how far, and since when and why it is halted.

    Example: stream partitions list --halted
    """
    found = awaited(list_partitions(read_site(), lag=lag, halted=halted))
    show(output, found, partitions_table(found))


@partitions.command("show")
def show_one(place: PlaceArgument, output: OutputOption = Output.TABLE) -> None:
    """One partition: where it stands beside its log; when halted, what was seen, and each choice as a command.

    Example: stream partitions show tickets/3
    """
    told = _told(read_site(), place)
    show(output, told, *partition_tables(told))


@partitions.command("resume")
def resume(
    place: PlaceArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit.")],
    at: Annotated[str, typer.Option("--at", metavar="begin|end|OFFSET|batch-end", help="Where to go on; where it stands, when left out.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let a halted partition go on, after a look at what that skips or repeats. A running worker takes it up by itself within seconds.

    Example: stream partitions resume tickets/3 --at begin --reason "made anew on purpose, by the migration of May"
    """
    site = read_site()
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why, whoever reads the audit will ask")
    told = _told(site, place)
    if told.halt is None:
        no(f"{told.place} is not halted")
    chosen = awaited(plan(site, told, told.halt, at, reason.strip()))
    lines = effects(chosen)
    if not yes:
        for line in lines:
            note(line)
        if not typer.confirm("Do it?", err=True):
            no("nothing was done")
    try:
        awaited(carry_out(site, chosen.decision))
    except FencedError:
        no(f"{told.place} is not as it was any more: look again with `stream partitions show {told.place}`")
    done = {"place": told.place, "halt": told.halt, "preview": chosen.preview, "actor": chosen.decision.actor, "reason": chosen.decision.reason}
    show(output, done, Text("\n".join(lines)))


def _told(site: Site, place: str) -> Told:
    told = awaited(read_partition(site, named(place)))
    if told is None:
        no(f"no partition {place} was ever adopted: see `stream partitions list`")
    return told
