"""All that is left behind when a run has ended: topics, tables, logs of the processes; read once, looked at by every oracle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import asyncpg

from stream.core.event import wire_type
from stream.core.own import OWN_EVENTS
from stream.core.record import Record, Ref, TopicPartition
from tests.chaos.app import Names
from tests.chaos.load import POOL, Acknowledged
from tests.chaos.model import Folded, Logs, Model, fold, model
from tests.chaos.stand import Stand

Row = asyncpg.Record
OWN = frozenset(wire_type(kind) for kind in OWN_EVENTS)


@dataclass
class Evidence:
    """Topics are called by their plain names. `parked`: entities that were parked before the handlers were mended.

    `left`: records not taken and messages not sent, at the end.
    """

    logs: Logs
    acknowledged: Acknowledged
    tables: Mapping[str, Sequence[Row]]
    lines: Sequence[Mapping[str, Any]]
    left: tuple[int, int]
    names: Names
    parked: frozenset[Ref] = field(default_factory=frozenset[Ref])

    @cached_property
    def model(self) -> Model:
        return model(self.logs)

    @cached_property
    def folded(self) -> Folded:
        """Of what is fed by one partition: accounts outside the pool, and books."""
        return fold([records for place, records in self.logs.items() if place.topic in ("accounts", "booked")])

    @cached_property
    def entities(self) -> dict[Ref, Row]:
        return {Ref(row["machine"], row["id"]): row for row in self.tables["entities"]}

    @cached_property
    def history(self) -> dict[Ref, list[Row]]:
        """Rows by entity, in the order of their numbers."""
        found: dict[Ref, list[Row]] = defaultdict(list)
        for row in self.tables["history"]:
            found[Ref(row["machine"], row["entity_id"])].append(row)
        return found

    @cached_property
    def applied(self) -> dict[Ref, list[str]]:
        """What each entity applied, in order, our own clocks' events left out."""
        return {
            ref: [row["event_id"] for row in rows if row["outcome"] == "applied" and row["event_type"] not in OWN]
            for ref, rows in self.history.items()
        }

    @cached_property
    def standing(self) -> dict[TopicPartition, Row]:
        return {TopicPartition(self.names.kind(row["topic"]), row["partition"]): row for row in self.tables["standing"]}

    @cached_property
    def said(self) -> dict[TopicPartition, Sequence[Record]]:
        """What stands on the topics that the App speaks to."""
        return {place: records for place, records in self.logs.items() if place.topic in ("booked", "reports", "alerts")}


def is_pooled(ref: Ref) -> bool:
    return ref.id in POOL


def gather(stand: Stand, acknowledged: Acknowledged, parked: frozenset[Ref] = frozenset()) -> Evidence:
    """Read everything; what is still going on is read as it stands."""
    left = stand.left()
    logs = {TopicPartition(stand.names.kind(place.topic), place.partition): records for place, records in stand.topics.read().items()}
    for records in logs.values():
        records[:] = [_plain(record, stand.names) for record in records]
    tables = ("standing", "entities", "history", "messages", "waiting", "letters", "timers", "moves", "inbox", "held")
    return Evidence(logs, acknowledged, {name: stand.rows(name) for name in tables}, stand.said(), left, stand.names, parked)


def _plain(r: Record, names: Names) -> Record:
    return Record(names.kind(r.topic), r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
