"""A log's lines: what comes from outside commands no terminal and ends no line, and what is a table stays one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from typing import Any

import pytest
import structlog

from stream.adapters.log_messenger import LogMessenger
from stream.core.changes import Notice
from stream.core.record import Ref
from stream.ports.notices import Leased
from stream.runtime.logs import configure


@pytest.fixture
def out() -> Generator[io.StringIO]:
    """Where the lines go."""
    written, root = io.StringIO(), logging.getLogger()
    before, levels = root.handlers, {name: logging.getLogger(name).level for name in ("aiokafka", "asyncio", "")}
    configure("json", to=written)
    yield written
    structlog.reset_defaults()
    root.handlers = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("sign", ["\n", "\x1b", "\x85", "\u2028", "\u202e", "\u2066", "\u200f", "\u061c"])
def test_no_text_ends_a_line_or_turns_the_writing(out: io.StringIO, sign: str) -> None:
    structlog.get_logger("stream").warning("seen", entity=f"a{sign}b", told={f"k{sign}": [f"c{sign}d"]})
    (line,) = lines(out)
    shown = f"\\u{ord(sign):04x}"
    assert (line["entity"], line["told"]) == (f"a{shown}b", {f"k{shown}": [f"c{shown}d"]})


async def test_what_an_owner_is_told_can_be_read_by_a_program(out: io.StringIO) -> None:
    body = b'{"data":{"clock":"solution","late":0.0,"reasons":["vendor"]}}'
    notice = Notice(Ref("ticket", "T-1"), "lead", "log", "", "", False, "sla.breached", body, "m-1.0", "c-1")
    await LogMessenger().send(Leased(1, 1, notice))
    (line,) = lines(out)
    assert line["told"] == {"clock": "solution", "late": 0.0, "reasons": ["vendor"]}
