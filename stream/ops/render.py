"""What commands show: tables for people, JSON for programs, both from the same values."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TextIO, TypeAlias, cast

import msgspec
import orjson
from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

Cell: TypeAlias = object
_SHOWN_WIDTH = 180
# Control characters, and those that turn the direction of writing: text of events is anybody's, and a terminal obeys.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Output(StrEnum):
    """For whom a command writes."""

    TABLE = "table"
    JSON = "json"


def show(output: Output, value: object, *parts: RenderableType) -> None:
    """Print `value` as JSON, or the `parts` that say the same to people. JSON: instants in UTC, durations in seconds."""
    if output is Output.JSON:
        sys.stdout.write(as_json(value) + "\n")
        return
    console = _console()
    for part in parts:
        console.print(part)


def as_json(value: object) -> str:
    """Indented JSON of plain values, dataclasses and Structs."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return orjson.dumps(_clean(value), default=_plain, option=options).decode()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """A table whose numbers stand at the right; a title alone with a dash when there are no rows."""
    shown = [[cell(c) for c in row] for row in rows]
    made = Table(title=_title(title), title_justify="left", box=None, pad_edge=False, header_style="dim")
    if not shown:
        return Text.assemble((safe(title), "bold"), " none")
    for n, name in enumerate(columns):
        made.add_column(name, justify="right" if all(re.fullmatch(r"[\d,.-]*", row[n].plain) for row in shown) else "left", overflow="fold")
    for row in shown:
        made.add_row(*row)
    return made


def fields(title: str, pairs: Iterable[tuple[str, Cell]]) -> RenderableType:
    """Names and values, one a line; values that are empty stay out."""
    made = Table(title=_title(title), title_justify="left", box=None, pad_edge=False, show_header=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if (shown := cell(value)).plain:
            made.add_row(name, shown)
    return made


def _title(text: str) -> Text | None:
    """As a text it is shown as it is: the library takes a string for one with commands in square brackets."""
    return Text(safe(text), "bold") if text else None


def cell(value: Cell) -> Text:
    """One value as a person reads it; never a terminal command, whatever it holds."""
    match value:
        case Text():
            return value
        case None:
            return Text("")
        case bool():
            return Text("yes" if value else "no")
        case int():
            return Text(f"{value:,}")
        case datetime():
            return Text(f"{value:%Y-%m-%d %H:%M:%S}")
        case timedelta():
            return Text(duration(value))
        case tuple():
            return Text(", ".join(cell(part).plain for part in cast("tuple[object, ...]", value)))
        case bytes():
            return Text(safe(value.decode("utf-8", "backslashreplace")))
        case _:
            return Text(safe(str(value)))


def safe(text: str) -> str:
    """The text with what a terminal could obey written out."""
    return _UNSAFE.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


class _Shown:
    """A terminal that is written to line by line, and obeys nothing of it."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str, /) -> int:
        return self._terminal.write("\n".join(safe(line) for line in text.replace("\r\n", "\n").split("\n")))


def shown(out: TextIO) -> TextIO | _Shown:
    """Where data can be written as it is: a terminal gets what it could obey written out."""
    return _Shown(out) if out.isatty() else out


def duration(span: timedelta) -> str:
    """The two largest units: `3d 4h`, `12m 5s`, `0.4s`."""
    total = abs(span).total_seconds()
    sign = "-" if span < timedelta(0) else ""
    if total < 10:
        return f"{sign}{total:.1f}s"
    days, rest = divmod(int(total), 86_400)
    hours, rest = divmod(rest, 3600)
    named = [(n, unit) for n, unit in ((days, "d"), (hours, "h"), (rest // 60, "m"), (rest % 60, "s")) if n]
    return sign + " ".join(f"{n}{unit}" for n, unit in named[:2])


def complain(text: str) -> None:
    """For the person at the terminal, on stderr: a line each for what is wrong."""
    sys.stderr.writelines(safe(" ".join(line.split())) + "\n" for line in text.splitlines())


def note(text: str) -> None:
    """Progress or advice, on stderr: stdout is for answers."""
    sys.stderr.write(safe(text) + "\n")


def explain_none(found: Sized, slip: str) -> None:
    """Beside an empty answer: what it may be owed to, if anything."""
    if not found and slip:
        note(slip)


@contextmanager
def progress(*, hidden: bool = False) -> Generator[Callable[[str, int, int], None]]:
    """Takes what is being done, how much of it and of how much (0: nobody knows), and shows it on stderr where that is a terminal."""
    # The library would send what is written to stdout meanwhile to its own console, and so past the file or pipe it is meant for.
    with Progress(console=Console(stderr=True), transient=True, disable=hidden or not sys.stderr.isatty(), redirect_stdout=False) as bar:
        task = bar.add_task("")

        def tell(what: str, done: int, whole: int) -> None:
            bar.update(task, description=f"{what} {done:,}" if done else what, completed=done, total=whole or None)

        yield tell


def _console() -> Console:
    """Into a pipe or a file: wide, so that nothing is folded that a program might look for."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_SHOWN_WIDTH, color_system=None)


def _clean(value: object) -> object:
    return msgspec.to_builtins(value, builtin_types=(datetime, timedelta, bytes), str_keys=True)


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)
