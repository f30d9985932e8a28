"""I13: each message links to what caused it, on every hop, and a trace goes on unless there was a reason to begin a new one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import orjson

from stream.core.record import Ref
from tests.chaos.evidence import OWN, Evidence, Row, is_pooled
from tests.chaos.model import Told

NEW_AFTER = timedelta(minutes=5)


def check_traces(evidence: Evidence) -> list[str]:
    """By headers and history: causation ids name the event that was applied, trace ids are its own, and its own is the producer's."""
    return [*_outgoing(evidence), *_incoming(evidence)]


def _outgoing(evidence: Evidence) -> Iterable[str]:
    applied = {(r["machine"], r["entity_id"], r["event_id"]): r for rows in evidence.history.values() for r in rows if r["outcome"] == "applied"}
    for message in evidence.tables["messages"]:
        named = dict(orjson.loads(message["headers"]))
        row = applied.get((message["machine"], message["entity_id"], named["ce_causationid"]))
        if row is None:
            yield f"message {message['message_id']}: its cause {named['ce_causationid']} was not applied by {message['entity_id']}"
        elif named["traceparent"][3:35] != row["trace_id"] or named["ce_correlationid"] != row["correlation_id"]:
            yield f"message {message['message_id']}: trace or correlation id are not those of its cause"


def _incoming(evidence: Evidence) -> Iterable[str]:
    parked = {ref for ref, rows in evidence.history.items() if any(row["outcome"] == "parked" for row in rows)}
    for ref, rows in evidence.history.items():
        for row in rows:
            event = evidence.model.events.get(row["event_id"])
            if row["event_type"] in OWN or event is None:
                continue
            if row["causation_id"] != event.cause:
                yield f"{ref}: {event.id} was caused by {event.cause!r}, its history says {row['causation_id']!r}"
            if row["trace_id"] != event.trace and not _new(evidence, ref, row, event, parked):
                yield f"{ref}: {event.id} lost its trace"


def _new(evidence: Evidence, ref: Ref, row: Row, event: Told, parked: set[Ref]) -> bool:
    """What waited, and what is older than five minutes, gets a trace of its own, linked to its producer's. A pooled account may be opened late."""
    waited = row["door"] != "partitions" or ref in parked or is_pooled(ref) or event.id in evidence.model.deferred
    return waited or row["at"] - event.appended > NEW_AFTER
