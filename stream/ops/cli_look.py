"""Commands that only look: status, entities, machines, trace."""

from __future__ import annotations

from typing import Annotated

import typer

from stream.ops.command import OutputOption, awaited
from stream.ops.render import Output, show
from stream.ops.site import read_site
from stream.ops.status import read_status, status_tables


def status(
    lag: Annotated[bool, typer.Option(help="Ask the broker how long each log is.")] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """How far every partition is, what became of its records, what waits, what is wrong.

    Examples: stream status · stream status --no-lag -o json
    """
    found = awaited(read_status(read_site(), lag=lag))
    show(output, found, *status_tables(found))
