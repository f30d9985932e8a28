"""Logs: one line an event, JSON for machines or colour for people; never a payload, never a secret, never a raw control character."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

# Those that turn the direction of writing among them: a log is read on a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PASSWORD = re.compile(r"(?<=://)[^\s/@]*@")
_LONGEST = 4000


def configure(format: str = "auto", level: str = "info", *, to: TextIO | None = None) -> None:
    """`auto` is text on a terminal and JSON elsewhere. Libraries' own loggers speak from warnings on, through the same lines."""
    out = to or sys.stderr
    machine = format == "json" or (format == "auto" and not out.isatty())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _clean,
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False) if machine else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    # A client that reconnects says so many times a second; what matters of it we say ourselves, once.
    for name, quiet in (("aiokafka", logging.CRITICAL), ("asyncio", logging.ERROR), ("", logging.WARNING)):
        logging.getLogger(name).setLevel(quiet)
    logging.getLogger().handlers = [_Forward()]


class _Forward(logging.Handler):
    """Lines of libraries, made ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger("stream").log(record.levelno, record.getMessage(), logger=record.name)


def _clean(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Text from outside (ids, errors) may hold anything: it must not end a line, colour a terminal, or carry a password of an address."""
    for name, value in line.items():
        # Only a traceback may have lines; within JSON they are escaped.
        line[name] = "\n".join(map(_cleaned, value.split("\n"))) if name == "exception" and isinstance(value, str) else _cleaned(value)
    return line


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", _PASSWORD.sub("***@", value[:_LONGEST]))
    if isinstance(value, (list, tuple)):
        return [_cleaned(part) for part in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {_cleaned(str(name)): _cleaned(part) for name, part in cast("Mapping[object, Any]", value).items()}
    return value if isinstance(value, (int, float, bool, type(None))) else _cleaned(str(value))
