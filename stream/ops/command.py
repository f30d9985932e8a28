"""What all commands share: options, the ways to end, and errors as one line that says what to do."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

from stream.core.errors import ConfigurationError, DefinitionError, StreamError, UnavailableError
from stream.ops.render import Output, complain

T = TypeVar("T")
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
LONGEST = timedelta(days=3650)
LARGEST = (1 << 63) - 1
"""What the number of a row can be."""

AppOption = Annotated[str | None, typer.Option("--app", help="The App, as module:name.", show_default=False)]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")]


class Commands(TyperGroup):
    """Ends with 0 (done, yes), 1 (no: not found, not well, not available) or 2 (wrong use or configuration)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StreamError as error:
            complain(explained(error))
            raise typer.Exit(2 if isinstance(error, ConfigurationError | DefinitionError) else 1) from None
        except BrokenPipeError:
            # Whoever read our answer has seen enough.
            muted()
            raise typer.Exit(0) from None


def explained(error: StreamError) -> str:
    """The error, and for what is away the setting that says where it should be."""
    # One that asks something itself has a better question.
    if not isinstance(error, UnavailableError) or "?" in str(error):
        return str(error)
    setting = "STREAM_DATABASE_URL" if "database" in str(error) else "STREAM_KAFKA"
    return f"{error}: is it up, and is {setting} right? (`stream config show`; `stream dev up` starts a local stack)"


def muted() -> None:
    """Nothing more is to be flushed into a stdout that takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def group(help: str) -> typer.Typer:
    """A group of commands that shows its help when called without one."""
    # Its own tracebacks show the values of variables: a password among them would be in the log.
    return typer.Typer(help=help, no_args_is_help=True, cls=Commands, rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's work to its end."""
    return asyncio.run(work)


def no(text: str) -> NoReturn:
    """The negative answer: a line on stderr, exit code 1."""
    complain(text)
    raise typer.Exit(1)


def span(text: str, option: str) -> timedelta:
    """A duration such as 30m, 1h or 2d, up to ten years. Raises `ConfigurationError`."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    read = int(found[1]) * UNITS[found[2]] if found else None
    if read is None or read > LONGEST:
        raise ConfigurationError(f"{option} {text!r}: say 90s, 30m, 1h or 2d, up to {LONGEST.days}d; months and years have no fixed length")
    return read


def instant(text: str | None, *, exact: bool = False) -> datetime | None:
    """RFC 3339; without a zone it is UTC, or refused when it must be `exact`. Raises `ConfigurationError`."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no instant: say 2026-03-01T09:30:00Z") from None
    if exact and read.tzinfo is None:
        raise ConfigurationError(f"{text!r} says no offset: end it with Z for UTC, or with one such as +02:00")
    try:
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except OverflowError:
        raise ConfigurationError(f"{text!r} is beyond the years 1 to 9999 in UTC") from None
