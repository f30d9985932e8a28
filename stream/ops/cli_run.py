"""The command that runs an App."""

from __future__ import annotations

import gc
from importlib.util import find_spec
from typing import Annotated

import anyio
import typer

from stream.ops.command import AppOption
from stream.ops.parts import serve, tracing
from stream.ops.site import read_site
from stream.runtime.logs import configure


def run(
    role: Annotated[list[str] | None, typer.Option("--role", help="Which of worker, relay, ticker, notifier; all of them when left out.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="The consumer group; the App's name when left out.")] = None,
    app: AppOption = None,
) -> None:
    """Take events, move entities, publish follow-ups, until SIGTERM or Ctrl-C; a second Ctrl-C ends at once.

    Examples: stream run · stream run --role worker,relay --app handlers:app
    """
    site = read_site({"app": app, "roles": ",".join(role) if role else None, "group": group})
    configure(site.settings.log_format, site.settings.log_level)
    # What was imported lives as long as the process: the collector need not look through it, nor after every few hundred objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    with tracing(site) as telemetry:
        anyio.run(serve, site, telemetry, backend_options={"use_uvloop": find_spec("uvloop") is not None})
