"""What a replay plays: a real log, or facts made up by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from tests.fold import logs, made
from tests.fold.facts import Fact

MADE: tuple[Literal["tickets", "calls"], ...] = ("tickets", "calls")


@dataclass(frozen=True)
class Load:
    """`late` is told when every hop of `facts` is drained: what becomes of a disposition may hang on what was said before it."""

    facts: list[Fact]
    late: list[Fact]

    @property
    def end(self) -> datetime:
        """When the last of it happened."""
        return max(fact.time for fact in (*self.facts, *self.late))

    @property
    def is_of_tickets(self) -> bool:
        return self.facts[0].topic == "tickets"


def read(log: str, first: int | None, seed: int) -> Load:
    """`log` is a path, or `tickets=500` or `calls=500` for so many made up. Raises `ValueError` when it is neither."""
    kind, _, count = log.partition("=")
    if kind in MADE and count.isdecimal():
        return _split((made.tickets if kind == "tickets" else made.calls)(seed, int(count))[:first])
    path = Path(log)
    if not path.is_file():
        raise ValueError(f"there is no log {log}")
    facts = logs.read(path)[:first]
    return Load(facts, [] if facts[0].topic == "tickets" else list(logs.dispositions(path, facts[-1].time)))


def _split(facts: list[Fact]) -> Load:
    late = [fact for fact in facts if fact.type == "call.disposed"]
    return Load([fact for fact in facts if fact.type != "call.disposed"], late)
