"""Which rows of a machine's table were taken, as far as what happened can tell: a history row says from where, by what event, and to where.

Two rows that differ by their guards alone leave the same trace, and so does a row that leads to a state directly beside one that settles there: then
all that fit are counted, as shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from stream.core.diagram import RowShown, shown
from stream.core.event import wire_type
from stream.core.machine import AnyMachine
from stream.core.own import AfterElapsed


class Taken(NamedTuple):
    """So many moves of one kind. `source` is "" for a birth."""

    source: str
    event: str
    target: str
    n: int


class Covered(msgspec.Struct):
    """A row, how often it was taken, and how many of these may have been another row's."""

    row: RowShown
    n: int = 0
    shared: int = 0


def coverage(machine: AnyMachine, taken: Iterable[Taken]) -> list[Covered]:
    """Every row in table order. What no row explains (an order by hand, a machine of before) is left out."""
    found = [Covered(row) for row in shown(machine).rows]
    for move in taken:
        ways = _ways(found, move)
        for covered in {id(one): one for way in ways for one in way}.values():
            covered.n += move.n
            covered.shared += move.n if len(ways) > 1 else 0
    return found


def _ways(rows: Sequence[Covered], move: Taken) -> list[list[Covered]]:
    """Those that end where it ended: at once, or by rows that settle."""
    first = [one for one in rows if one.row.source == move.source and _is_on(one.row, move.event)]
    at_once = [[one] for one in first if one.row.target == move.target]
    return at_once + [[one, *way] for one in first if (way := _settled(rows, one.row.target, move.target))]


def _is_on(row: RowShown, event: str) -> bool:
    if row.on.startswith("after "):
        return event == wire_type(AfterElapsed)
    return row.on.partition(" of ")[0] == event


def _settled(rows: Sequence[Covered], start: str, end: str) -> list[Covered]:
    """The shortest way over settling rows; empty where there is none."""
    ways: dict[str, list[Covered]] = {start: []}
    waiting = [start]
    while waiting and end not in ways:
        state = waiting.pop(0)
        for one in rows:
            if one.row.source == state and one.row.on == "settles" and one.row.target not in ways:
                ways[one.row.target] = [*ways[state], one]
                waiting.append(one.row.target)
    return ways.get(end, [])
