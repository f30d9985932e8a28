"""What became of the clocks: how many were met, how many breached, and how long it took."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta

import msgspec
from rich.console import RenderableType

from stream.ops.queries import questions
from stream.ops.render import table
from stream.ops.site import Site


class ClockReport(msgspec.Struct):
    """One clock of one machine. Each clock that ended was met (in time or late) or became void. `breached` counts breaches told when they
    happened, `withdrawn` the ones among them that a late event took back; `breached_by`: whose turn it was. The shares of `took` are of all
    that were met, in the clock's own time; None where none was.
    """

    machine: str
    clock: str
    met: int
    met_late: int
    breached: int
    withdrawn: int
    void: int
    breached_by: dict[str, int]
    p50: timedelta | None
    p90: timedelta | None
    p99: timedelta | None


async def read_report(site: Site, machine: str | None, since: datetime | None, until: datetime | None) -> list[ClockReport]:
    """From `since` to before `until`, in business time, by machine and clock."""
    async with questions(site.postgres) as ask:
        rows = await ask.rows("clocks_in_history", machine, since, until)
        breaches = await ask.rows("breaches_by_owner", machine, since, until)
    owners: dict[tuple[str, str], dict[str, int]] = {}
    for row in breaches:
        owners.setdefault((row["machine"], row["clock"]), {})[row["owner"]] = row["breached"]
    found: list[ClockReport] = []
    for row in rows:
        took = [None if seconds is None else timedelta(seconds=seconds) for seconds in row.pop("took") or [None] * 3]
        found.append(ClockReport(**row, breached_by=owners.get((row["machine"], row["clock"]), {}), p50=took[0], p90=took[1], p99=took[2]))
    return found


def report_table(report: list[ClockReport]) -> RenderableType:
    """For people."""
    names = ("machine", "clock", "met", "late", "breached", "withdrawn", "void", "whose turn", "p50", "p90", "p99")
    rows = [(*_counts(r), ", ".join(f"{owner or 'nobody'} {n:,}" for owner, n in r.breached_by.items()), r.p50, r.p90, r.p99) for r in report]
    return table("clocks", names, rows)


def as_csv(report: list[ClockReport]) -> str:
    """For a spreadsheet: durations in seconds."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("machine", "clock", "met", "met_late", "breached", "withdrawn", "void", "p50_s", "p90_s", "p99_s"))
    writer.writerows((*_counts(r), *(None if t is None else t.total_seconds() for t in (r.p50, r.p90, r.p99))) for r in report)
    return out.getvalue()


def _counts(r: ClockReport) -> tuple[object, ...]:
    return (r.machine, r.clock, r.met, r.met_late, r.breached, r.withdrawn, r.void)
