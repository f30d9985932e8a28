"""The two real logs as facts. They stand outside the checkout: `STREAM_DATA` names their folder."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.fold.facts import Fact

DESK, DISPATCH, ASSIGNMENTS = "itsm-incidents/events.csv.gz", "dispatch-calls/events.csv.gz", "assignments.csv.gz"
ABSENT = "STREAM_DATA names no folder with the real logs"


def data(name: str) -> Path | None:
    """The path of a real log, or None where there is none."""
    path = Path(os.environ.get("STREAM_DATA", "")) / name
    return path if os.environ.get("STREAM_DATA") and path.exists() else None


def read(path: Path) -> list[Fact]:
    """The facts of either log, in order of time."""
    rows = _rows(path)
    facts = list(_desk(rows) if "case_id" in rows[0] else _dispatch(rows))
    return sorted(facts, key=lambda fact: fact.time)


def dispositions(path: Path, at: datetime) -> Iterator[Fact]:
    """How each call of the dispatch log at `path` ended, said at `at`: the file beside it knows."""
    endings = {row["call_id"]: row["final_disposition"] for row in _rows(path.parent / ASSIGNMENTS)}
    for call, ending in endings.items():
        yield Fact(f"{call}:disposed", at, "call.disposed", {"call_id": call, "disposition": ending})


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def _desk(rows: list[dict[str, str]]) -> Iterator[Fact]:
    """Minutes are whole, so ties within a ticket are put in the order of its own counter. Five rows hold no state and say nothing."""
    rows.sort(key=lambda row: (row["timestamp"], int(row["seq"]), int(row["row"])))
    for row in rows:
        if said := _said(row):
            at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
            type, more = said
            yield Fact(f"row-{row['row']}", at, f"ticket.{type}", {"ticket_id": row["case_id"], **more}, row["resource"])


def _said(row: dict[str, str]) -> tuple[str, dict[str, str | int]] | None:
    match row["activity"]:
        case "New":
            return "opened", {"priority": int(row["priority"])}
        case "Active" if row["assigned_to"]:
            return "started", {"assignee": row["assigned_to"]}
        case "Active":
            return "triaged", {"group": row["assignment_group"]}
        case "Awaiting User Info" | "Awaiting Evidence":
            return "asked", {}
        case "Awaiting Vendor" | "Awaiting Problem":
            return "blocked", {"by": row["activity"].removeprefix("Awaiting ")}
        case "Resolved":
            return "resolved", {"cause": row["closed_code"] or "?"}
        case "Closed":
            return "closed", {}
        case _:
            return None


def _dispatch(rows: list[dict[str, str]]) -> Iterator[Fact]:
    for row in rows:
        at = datetime.fromisoformat(row["timestamp"]).astimezone(UTC)
        body: dict[str, str | int] = {"call_id": row["call_id"]}
        match row["activity"]:
            case "call_received":
                type, body["priority"] = "call.received", row["priority"]
            case "call_entered":
                type = "call.entered"
            case activity:
                type, body["unit_id"] = f"unit.{activity.removeprefix('unit_')}", row["unit_id"]
        yield Fact(row["event_id"], at, type, body)
