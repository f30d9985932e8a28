"""Commands for the local stack: up, down, status, clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from stream.core.errors import ConfigurationError
from stream.dev.clock import move, parse_move
from stream.dev.stack import HOME, Addresses, Running, Stack, running, stop_running
from stream.ops.command import OutputOption, awaited, group, no
from stream.ops.render import Output, fields, note, show
from stream.ops.site import read_site

dev = group("Kafka, PostgreSQL and Jaeger on this machine, without containers.\n\nExample: stream dev up --detach")
HomeOption = Annotated[Path, typer.Option("--home", envvar="STREAM_HOME", help="The folder with the stack's data.")]
PATIENCE = 600.0
"""Seconds a detached start may take: the first one downloads the broker."""


@dev.command()
def up(
    home: HomeOption = HOME,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Come back as soon as it runs; end it with `stream dev down`.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start what nobody configured an address for, and hold it until Ctrl-C. Other commands in this folder then find it by themselves.

    Examples: stream dev up · stream dev up --detach
    """
    if detach:
        _show(home, _detached(home), output)
        return
    with Stack(home, given=Addresses.of(os.environ), say=note) as stack:
        found = running(home)
        if found is None:
            raise ConfigurationError(f"the stack on {home} started and cannot be found: is somebody else writing there?")
        _show(home, found, output)
        note("Ctrl-C ends it" if sys.stdout.isatty() else "`stream dev down` ends it")
        stack.hold()


def _detached(home: Path) -> Running:
    if found := running(home):
        return found
    home.mkdir(parents=True, exist_ok=True)
    log = home / "up.log"
    with log.open("wb") as told:
        launcher = subprocess.Popen(
            [sys.executable, "-m", "stream", "dev", "up", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
        )
    ends = time.monotonic() + PATIENCE
    shown = 0
    while time.monotonic() < ends:
        shown = _pass_on(log, shown)
        if found := running(home):
            return found
        if launcher.poll() is not None:
            raise ConfigurationError(f"the stack did not start; its last words are in {log}")
        time.sleep(0.2)
    launcher.terminate()
    raise ConfigurationError(f"the stack did not start within {PATIENCE:.0f} s; see {log}")


def _pass_on(log: Path, shown: int) -> int:
    text = log.read_text(errors="replace")
    for line in text[shown:].splitlines():
        note(line)
    return len(text)


@dev.command()
def down(home: HomeOption = HOME) -> None:
    """End the stack and wait until it has. Ends with 1 when none ran.

    Example: stream dev down
    """
    if not stop_running(home):
        no(f"no stack runs on {home}")
    note("ended; its data stays")


@dev.command("status")
def status_of_stack(home: HomeOption = HOME, output: OutputOption = Output.TABLE) -> None:
    """What runs, and where. Ends with 1 when nothing does.

    Example: stream dev status -o json
    """
    found = running(home)
    if found is None:
        no(f"no stack runs on {home}: start one with `stream dev up`")
    _show(home, found, output)


def _show(home: Path, found: Running, output: Output) -> None:
    a = found.addresses
    shown = {
        "kafka": a.kafka,
        "database": a.database_url,
        "database_owner": a.database_owner_url,
        "traces": a.otlp,
        "jaeger": a.jaeger_ui,
        "data": str(home),
        "process": found.pid,
    }
    show(
        output,
        {**shown, "children": found.children},
        fields("local stack", [(name.replace("_", " "), _plain(value)) for name, value in shown.items()]),
    )


def _plain(value: object) -> Text | str:
    return "" if value is None else str(value)


@dev.command(context_settings={"ignore_unknown_options": True})
def clock(
    by: Annotated[str, typer.Argument(help="How far, such as +3d, -2h, +90m.")],
    home: HomeOption = HOME,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also when the database is no local stack's.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move the database's business clock: what is due by then fires. Leases and traces keep real time.

    `stream publish` goes by this machine's clock: say what time it is there with its --time.

    Examples: stream dev clock +3d · stream dev clock -2h
    """
    moved, site = parse_move(by), read_site()
    stack = running(home)
    if not anyway and stack is None and "database_url" not in site.said:
        no(f"no stack runs on {home}: start one with `stream dev up`")
    if not anyway and (stack is None or stack.addresses.database_url != site.postgres.dsn):
        raise ConfigurationError(
            f"the database is not that of a local stack on {home}: moving its clock fires timers for real; say --anyway if meant"
        )
    now = awaited(move(site.postgres.as_owner().dsn, moved, site.postgres.schema))
    show(output, {"now": now, "moved": moved}, fields("clock", [("now", now), ("moved", moved)]))
    note(f"for an event of this time: stream publish --time {now:%Y-%m-%dT%H:%M:%SZ} ...")
