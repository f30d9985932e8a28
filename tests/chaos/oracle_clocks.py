"""I9: clocks fire once, never before they are due, and never once they were met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import orjson

from stream.core.record import Ref
from tests.chaos.app import SLA
from tests.chaos.evidence import Evidence, Row
from tests.chaos.model import Told


def check_clocks(evidence: Evidence) -> list[str]:
    """Breaches of the accounts' SLA, and holds that were released or expired, one of the two."""
    return [*_breaches(evidence), *_missing(evidence), *_holds(evidence), *_left(evidence)]


def _breaches(evidence: Evidence) -> Iterable[str]:
    seen = Counter[tuple[str, str]]()
    noted = {row["event_id"]: row for rows in evidence.history.values() for row in rows if row["event_type"] == "sla.breached"}
    told = 0
    for message in evidence.tables["messages"]:
        if message["type"] != "sla.breached":
            continue
        body, row = orjson.loads(message["value"]), noted.get(_cause(message))
        told += 1
        due = datetime.fromisoformat(body["due"])
        seen[message["entity_id"], body["entered"]] += 1
        if row is None:
            yield f"{message['entity_id']}: a breach was told and is not in the history"
        elif row["at"] < due or due - datetime.fromisoformat(body["entered"]) != SLA:
            yield f"{message['entity_id']}: due {due}, entered {body['entered']}, fired {row['at']}"
    yield from (f"{key}: breached {n} times" for key, n in seen.items() if n > 1)
    if told != len(noted):
        yield f"{len(noted)} breaches noted, {told} told"


def _missing(evidence: Evidence) -> Iterable[str]:
    """By the end every clock has run out, so whoever still rests where one runs has breached it."""
    told = {
        (row["entity_id"], datetime.fromisoformat(orjson.loads(row["value"])["entered"]))
        for row in evidence.tables["messages"]
        if row["type"] == "sla.breached"
    }
    for ref, row in evidence.entities.items():
        if ref.machine == "account" and row["state"] == "live" and (ref.id, row["since"]) not in told:
            yield f"{ref}: rests in 'live' since {row['since']} and never breached"


def _left(evidence: Evidence) -> Iterable[str]:
    """Nothing is due any more but the limits of those that wait for years."""
    yield from (f"timer left: {dict(row)}" for row in evidence.tables["timers"] if row["name"] != "limit")


def _holds(evidence: Evidence) -> Iterable[str]:
    told = Counter(row["entity_id"] for row in evidence.tables["messages"] if row["type"] == "hold.expired")
    for name, events in evidence.model.holds.items():
        ref = Ref("hold", name)
        rows = [row for row in evidence.history.get(ref, []) if row["outcome"] == "applied"]
        fired = [row for row in rows if row["event_type"] == "after.elapsed"]
        row = evidence.entities.get(ref)
        state = row["state"] if row else "unborn"
        placed = next((e for e in events if e.type == "hold.placed"), None)
        release = next((e for e in events if e.type == "hold.released"), None)
        if placed is None:
            yield f"{ref}: is {state}, and was never placed"
            continue
        due = placed.time + timedelta(seconds=float(str(placed.body["within"])))
        if (state, len(fired), told[name]) not in {("released", 0, 0), ("expired", 1, 1)}:
            yield f"{ref}: is {state}, fired {len(fired)} times, told {told[name]} times"
        elif state == "expired":
            yield from _too_early(ref, fired[0], due, release)
        elif release is None or release.time >= due:
            yield f"{ref}: due {due}, released {release and release.time}, and yet released"


def _too_early(ref: Ref, fired: Row, due: datetime, release: Told | None) -> Iterable[str]:
    if fired["at"] < due:
        yield f"{ref}: due {due}, fired {fired['at']}"
    # A release told in time, and on the log before the clock ran out, meets it: the ticker has to wait for what the log holds.
    if release and release.time < due and release.appended < due:
        yield f"{ref}: due {due}, expired though its release of {release.time} stood on the log since {release.appended}"


def _cause(message: Row) -> str:
    return str(dict(orjson.loads(message["headers"]))["ce_causationid"])
