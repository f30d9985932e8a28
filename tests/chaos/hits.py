"""I16: that faults really hit. A run in which nothing went wrong proves nothing; counted from what the processes said and what the store counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.chaos.evidence import Evidence

SURE = 6
"""Times a kind has to strike before what it may cause must have been seen: a process is not always frozen with a batch in its hands."""


def hits(evidence: Evidence) -> Counter[str]:
    """How often each of them was seen."""
    found = Counter(kind for line in evidence.lines if (kind := _kind(line)))
    found["repeats suppressed"] = sum(row["duplicate"] for row in evidence.standing.values())
    found["entities parked"] = len(evidence.parked)
    return found


def _kind(line: Mapping[str, Any]) -> str:
    event, what, error = line.get("event"), str(line.get("what", "")), str(line.get("error", ""))
    if event == "fenced":
        return "batches fenced"
    if event == "COMMIT got no answer":
        return f"commits learnt: {line.get('outcome')}"
    if event == "partitions revoked" and line.get("busy"):
        return "rebalances with work in flight"
    if event == "trouble" and what == "relay" and error.startswith("UncertainError"):
        return "producers made anew"
    if event == "trouble" and what.startswith("lane"):
        return "deadlocks" if "40P01" in error else "batches tried again"
    return "loops begun again" if event == "loop failed, it begins again" else ""


def expected(struck: Mapping[str, int]) -> Iterator[str]:
    """What faults of these kinds must have caused, whatever the moment they fell on; of some it takes several to be sure."""
    yield from ("repeats suppressed", "entities parked")
    if struck.get("F11-commits"):
        yield from ("commits learnt: committed", "commits learnt: aborted")
    if struck.get("F7") or struck.get("F8"):
        yield "batches tried again"
    if struck.get("F2", 0) + struck.get("pair", 0) >= SURE or struck.get("zombie", 0) >= 50:
        yield "batches fenced"
    if struck.get("F1", 0) + struck.get("F12", 0) >= SURE or struck.get("guest", 0) >= 20:
        yield "rebalances with work in flight"
    if struck.get("F4", 0) + struck.get("F5", 0) >= SURE:
        yield "producers made anew"


def check_hits(evidence: Evidence, wanted: Iterable[str]) -> list[str]:
    found = hits(evidence)
    return [f"I16 faults hit: never seen: {kind}" for kind in wanted if not found[kind]]
