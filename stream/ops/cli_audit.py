"""Commands on what was written down for good: the proof of the history, and what people ordered."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stream.core.errors import ConfigurationError
from stream.ops.audit import audit_tables, read_orders, verify_history
from stream.ops.command import AppOption, LimitOption, OutputOption, awaited, group, instant, muted, no
from stream.ops.eventlog import Form, Out, Wanted, Written, export
from stream.ops.render import Output, explain_none, note, progress, show, shown, table
from stream.ops.site import read_site, unknown

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
            f"{found.breaks:,} break{'s' if found.breaks > 1 else ''} in the history of {found.entities:,} entities"
            + (", the first told above" if len(found.found) < found.breaks else "")
        )


@audit.command("export")
def export_log(
    form: Annotated[Form, typer.Option("--format", help="A table, XES (IEEE 1849), or OCEL 2.0 as JSON.")] = Form.CSV,
    to: Annotated[Path | None, typer.Option(help="The file to write; stdout where none is named.", show_default=False)] = None,
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None,
    since: Annotated[str | None, typer.Option(help="From this instant of business time on; RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this instant.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Also what was rejected or failed.")] = False,
    app: AppOption = None,
) -> None:
    """The history as an event log, for process mining: a case is an entity, an activity the type of an event, a resource whoever did it.

    It reads one state of everything beside the running streams. In CSV, a cell that a spreadsheet would take for a formula begins with an apostrophe.

    Examples: stream audit export --format xes --to march.xes --since 2026-03-01 --until 2026-04-01 · stream audit export --format ocel --to all.json
    """
    site, wanted = read_site({"app": app}), Wanted(machine, instant(since), instant(until), refused)
    with _written(to) as out, progress(hidden=to is None and sys.stdout.isatty()) as tell:
        done: Written = awaited(export(site.postgres, site.app, wanted, form, out, lambda n: tell("events", n, 0) if n % 1000 == 0 else None))
    note(f"{done.events:,} events of {done.cases:,} entities")
    explain_none(range(done.events), unknown(site, machine))


@contextmanager
def _written(to: Path | None) -> Generator[Out]:
    """A file appears when it is whole: what is ended in the middle leaves nothing that looks like a log."""
    try:
        if to is None:
            yield shown(sys.stdout)
            sys.stdout.flush()
        else:
            with _replaced(to) as out:
                yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        if to is None:
            muted()
        raise ConfigurationError(f"{f'--to {to}' if to else 'stdout'}: {error.strerror or error}") from None


@contextmanager
def _replaced(to: Path) -> Generator[TextIO]:
    # Of a link, what it leads to is written anew; a device or a folder must not be.
    whole = Path(os.path.realpath(to))
    if (to.exists() or to.is_symlink() or not whole.name) and not whole.is_file():
        raise ConfigurationError(f"--to {to}: it is there, and no file that can be written anew")
    part = whole.with_name(f"{whole.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            yield out
        part.replace(whole)
    finally:
        part.unlink(missing_ok=True)
