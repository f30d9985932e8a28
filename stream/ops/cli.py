"""The command `stream`: one tree of commands over the parts."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from stream.ops import (
    cli_audit,
    cli_clocks,
    cli_desk,
    cli_look,
    cli_machines,
    cli_notices,
    cli_orders,
    cli_outbox,
    cli_partitions,
    cli_run,
    cli_setup,
    cli_stack,
    cli_tasks,
    cli_time,
)
from stream.ops.command import group

cli = group(
    "Streams of business events into state machines: once, in order, traced.\n\n"
    "Begin: stream dev up · stream migrate · stream topics apply · stream run\n\n"
    "Ends with 0 (done, yes), 1 (no: not found, not well) or 2 (wrong use or configuration)."
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"stream {version('opstream')}")
        raise typer.Exit


@cli.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is, and end.")] = False,
) -> None:
    """What may be said before a command."""


cli.command()(cli_run.run)
cli.command()(cli_setup.migrate)
cli.add_typer(cli_setup.topics, name="topics")
cli.command()(cli_setup.publish)
cli.command()(cli_setup.health)
cli.command()(cli_look.status)
cli_look.entities.command("send")(cli_desk.send)
cli_look.entities.command("move")(cli_desk.move)
cli_look.entities.command("release")(cli_desk.release)
cli.add_typer(cli_look.entities, name="entities")
cli_look.machines.command("plan")(cli_machines.plan)
cli_look.machines.command("apply")(cli_machines.apply)
cli_look.machines.command("coverage")(cli_machines.coverage)
cli.add_typer(cli_look.machines, name="machines")
cli.command()(cli_look.why)
cli.command()(cli_time.owners)
cli.add_typer(cli_tasks.tasks, name="tasks")
cli_time.clocks.command("move")(cli_clocks.move)
cli_time.clocks.command("pause")(cli_clocks.pause)
cli_time.clocks.command("resume")(cli_clocks.resume)
cli_time.clocks.command("cancel")(cli_clocks.cancel)
cli.add_typer(cli_time.clocks, name="clocks")
cli.add_typer(cli_time.sla, name="sla")
cli.command()(cli_look.trace)
cli.add_typer(cli_partitions.partitions, name="partitions")
cli.add_typer(cli_orders.parked, name="parked")
cli.add_typer(cli_orders.letters, name="dead-letters")
cli.add_typer(cli_outbox.outbox, name="outbox")
cli.add_typer(cli_notices.notifications, name="notifications")
cli.add_typer(cli_audit.audit, name="audit")
cli.add_typer(cli_stack.dev, name="dev")
cli.add_typer(cli_setup.config, name="config")


def main() -> None:
    """The entry point."""
    cli(prog_name="stream")
