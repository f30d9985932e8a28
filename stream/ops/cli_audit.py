"""Commands on what was written down for good: the proof of the history, and what people ordered."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stream.ops.audit import audit_tables, read_orders, verify_history
from stream.ops.command import LimitOption, OutputOption, awaited, group, no
from stream.ops.render import Output, show, table
from stream.ops.site import read_site

audit = group("The audit: what people ordered, and whether the history is as it was written.\n\nExample: stream audit verify")


@audit.command("list")
def list_orders(
    actor: Annotated[str | None, typer.Option(help="Only of this person.")] = None,
    target: Annotated[str | None, typer.Option(help="Only about this; `%` stands for anything.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """What people ordered, the latest first: retries, skips, replays, decisions on halted partitions.

    Examples: stream audit list · stream audit list --target "ticket/%"
    """
    found = awaited(read_orders(read_site().postgres, actor, target, limit))
    names = ("at", "actor", "action", "target", "reason", "before", "after")
    show(output, found, table("orders", names, [[row[name] for name in names] for row in found]))


@audit.command("verify")
def verify(output: OutputOption = Output.TABLE) -> None:
    """Walk every entity's chain of history rows and name each row that was changed, removed, inserted or reordered. Ends with 1 when any was.

    It reads one state of the whole history beside the running streams. Rows dropped by age are missed by nobody.

    Example: stream audit verify -o json
    """
    columns = (TextColumn("history rows"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("", total=None)
        found = awaited(verify_history(read_site().postgres, lambda n, about: bar.update(task, completed=n, total=max(n, about) or None)))
    show(output, found, *audit_tables(found))
    if found.breaks:
        no(
            f"{found.breaks:,} breaks in the history of {found.entities:,} entities"
            + (", the first told above" if len(found.found) < found.breaks else "")
        )
