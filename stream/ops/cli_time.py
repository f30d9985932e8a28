"""Commands on time and turns: what falls due, what became of the clocks, and whose turn it is."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from stream.ops.clocks import due_table, held_table, read_due, read_held
from stream.ops.command import AppOption, LimitOption, OutputOption, awaited, group, instant, span
from stream.ops.render import Output, explain_none, show
from stream.ops.site import read_site, unknown
from stream.ops.sla import By, as_csv, read_report, report_table
from stream.ops.turns import read_turns, turns_table

sla = group("SLA: what became of the clocks.\n\nExample: stream sla report --since 2026-03-01")
clocks = group("Clocks that run: what falls due, and for whom.\n\nExample: stream clocks list --due-within 1h")

MachineOption = Annotated[str | None, typer.Option(help="Only of this machine.")]


class Form(StrEnum):
    """For whom a report is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@sla.command("report")
def report(
    machine: MachineOption = None,
    since: Annotated[str | None, typer.Option(help="From this instant of business time on; RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this instant.")] = None,
    by: Annotated[By, typer.Option(help="A line for each clock, or for each state, owner or reason of it.")] = By.CLOCK,
    output: Annotated[Form, typer.Option("--output", "-o", help="For people, for programs, or for a spreadsheet.")] = Form.TABLE,
) -> None:
    """How many clocks were met, in time or late, how many breaches were told, withdrawn and explained, whose turn it was, and how long it took.

    Durations are of each clock's own time: without its pauses, and working time where it has a calendar.

    Examples: stream sla report --machine ticket --since 2026-03-01 --until 2026-04-01 · stream sla report --by owner -o csv
    """
    site = read_site()
    found = awaited(read_report(site, machine, instant(since), instant(until), by))
    if output is Form.CSV:
        sys.stdout.write(as_csv(found))
    else:
        show(Output(output.value), found, report_table(found, by))
    explain_none(found, unknown(site, machine))


@clocks.command("list")
def list_clocks(
    due_within: Annotated[str, typer.Option(help="Up to so long from now: 30m, 1h, 2d.")] = "1d",
    machine: MachineOption = None,
    held: Annotated[bool, typer.Option("--held", help="Those that a person has paused instead, the longest first.")] = False,
    limit: LimitOption = 50,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Clocks whose next rung falls due, the first first. Overdue is what a lagging feed or a missing ticker holds; those standing still stay out.

    Examples: stream clocks list --due-within 1h --machine ticket · stream clocks list --held
    """
    site = read_site({"app": app})
    if held:
        paused = awaited(read_held(site, machine, limit))
        show(output, paused, held_table(paused))
        explain_none(paused, unknown(site, machine))
        return
    found = awaited(read_due(site, machine, span(due_within, "--due-within"), limit))
    show(output, found, due_table(found))
    explain_none(found, unknown(site, machine))


def owners(
    owner: Annotated[str | None, typer.Option(help="Only what this owner has.")] = None,
    machine: MachineOption = None,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Whose turn it is: how many entities rest in each state that somebody owns, and since when the oldest does.

    Example: stream owners --owner desk
    """
    site = read_site({"app": app})
    found = awaited(read_turns(site, owner, machine))
    show(output, found, turns_table(found))
    explain_none(found, unknown(site, machine, owner))
