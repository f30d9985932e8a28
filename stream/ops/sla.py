"""What became of the clocks: how many were met, how many breached, and how long it took."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import RenderableType

from stream.ops.queries import questions
from stream.ops.render import table
from stream.ops.site import Site


class ClockReport(msgspec.Struct):
    """One clock of one machine, whole (`part` "") or what it did in one state, in the turn of one owner, or for one reason.

    Each clock that ended was met (in time or late), became void, or was cancelled by a person. `breached` counts breaches told when they
    happened, `withdrawn` the ones among them that a late event took back; `breached_by`: whose turn it was; `explained` by the codes in
    `reasons`. The shares of `took` are of all that were met, in the clock's own time; None where none was.
    """

    machine: str
    clock: str
    part: str
    met: int
    met_late: int
    breached: int
    withdrawn: int
    void: int
    cancelled: int
    explained: int
    breached_by: dict[str, int]
    reasons: dict[str, int]
    p50: timedelta | None
    p90: timedelta | None
    p99: timedelta | None


class By(StrEnum):
    """What a report is divided by, beside machine and clock."""

    CLOCK = "clock"
    STATE = "state"
    OWNER = "owner"
    REASON = "reason"


async def read_report(site: Site, machine: str | None, since: datetime | None, until: datetime | None, by: By = By.CLOCK) -> list[ClockReport]:
    """From `since` to before `until`, in business time, by machine and clock."""
    async with questions(site.postgres) as ask:
        rows = await ask.rows("clocks_in_history", machine, since, until, by.value)
        breaches = await ask.rows("breaches_by_owner", machine, since, until)
        explained = await ask.rows("breaches_by_reason", machine, since, until)
    owners, reasons = _counted(breaches, "owner", "breached"), _counted(explained, "reason", "explained")
    found: list[ClockReport] = []
    for row in rows:
        took = [None if seconds is None else timedelta(seconds=seconds) for seconds in row.pop("took") or [None] * 3]
        # Of a part these are what it is divided by, or would be the same for all of them.
        whole = (row["machine"], row["clock"]) if by is By.CLOCK else ("", "")
        told: dict[str, Any] = {"breached_by": owners.get(whole, {}), "reasons": reasons.get(whole, {})}
        found.append(ClockReport(**{**row, **told}, p50=took[0], p90=took[1], p99=took[2]))
    return found


def _counted(rows: list[dict[str, Any]], word: str, n: str) -> dict[tuple[str, str], dict[str, int]]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        found.setdefault((row["machine"], row["clock"]), {})[row[word]] = row[n]
    return found


def report_table(report: list[ClockReport], by: By = By.CLOCK) -> RenderableType:
    """For people."""
    parts = () if by is By.CLOCK else (by.value,)
    names = ("machine", "clock", *parts, *COUNTED, *(("whose turn", "reasons") if not parts else ()), "p50", "p90", "p99")
    return table("clocks", names, [_row(r, bool(parts)) for r in report])


def _row(r: ClockReport, divided: bool) -> tuple[object, ...]:
    told = (", ".join(f"{word or 'nobody'} {n:,}" for word, n in words.items()) for words in (r.breached_by, r.reasons))
    return (r.machine, r.clock, *((r.part or "-",) if divided else ()), *_counts(r), *(() if divided else told), r.p50, r.p90, r.p99)


def as_csv(report: list[ClockReport]) -> str:
    """For a spreadsheet: durations in seconds."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ("machine", "clock", "part", "met", "met_late", "breached", "withdrawn", "void", "cancelled", "explained", "p50_s", "p90_s", "p99_s")
    )
    rows = ((r.machine, r.clock, r.part, *_counts(r), *(None if t is None else t.total_seconds() for t in (r.p50, r.p90, r.p99))) for r in report)
    writer.writerows(rows)
    return out.getvalue()


COUNTED = ("met", "late", "breached", "withdrawn", "void", "cancelled", "explained")


def _counts(r: ClockReport) -> tuple[int, ...]:
    return (r.met, r.met_late, r.breached, r.withdrawn, r.void, r.cancelled, r.explained)
