"""Rows of partitions in memory, and what becomes of one: adopted, halted, resumed. The store that holds them lets one caller in at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from stream.core.errors import FencedError
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.record import TopicPartition
from stream.ports import Position

NEVER = datetime.min.replace(tzinfo=UTC)
OWNER_IS_FRESH = timedelta(seconds=45)


@dataclass(frozen=True)
class Place:
    """A row of `partition`."""

    next_offset: int
    topic_partitions: int
    epoch: int = 0
    last_offset: int | None = None
    fingerprint: bytes | None = None
    topic_id: str | None = None
    stream_time: datetime | None = None
    drained_at: datetime | None = None
    owner: str = ""
    generation: int = 0
    seen_at: datetime = NEVER
    halt: Halt | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.next_offset, self.last_offset, self.fingerprint, self.topic_id, self.halt)


class Partitions(dict[TopicPartition, Place]):
    """The table `partition`."""

    def see(self, place: TopicPartition, begin: int, partitions: int, finder: tuple[str, datetime]) -> Place:
        """The row, made if there is none: halted when the topic did not have this partition as it was first adopted."""
        if place in self:
            return self[place]
        known = min((row.topic_partitions for other, row in self.items() if other.topic == place.topic), default=partitions)
        owner, now = finder
        added = Halt(HaltReason.PARTITION_ADDED, Seen(begin, partitions=known), now, owner) if known <= place.partition else None
        return Place(begin, partitions, halt=added)

    def adopt(self, place: TopicPartition, row: Place, owner: str, generation: int, now: datetime) -> Position:
        if generation < row.generation and owner != row.owner and row.seen_at >= now - OWNER_IS_FRESH:
            raise FencedError((place,))
        adopted = self[place] = replace(row, epoch=row.epoch + 1, owner=owner, generation=generation, seen_at=now)
        return adopted.position

    def halt(self, place: TopicPartition, epoch: int, reason: HaltReason, seen: Seen, now: datetime) -> None:
        row = self.get(place)
        if row is None or row.epoch != epoch:
            raise FencedError((place,))
        self[place] = replace(row, halt=row.halt or Halt(reason, seen, now, row.owner))

    def resume(self, decision: Decision) -> None:
        row = self.get(decision.place)
        if row is None or row.halt != decision.halt or row.next_offset != decision.position:
            raise FencedError((decision.place,))
        row = replace(row, epoch=row.epoch + 1, next_offset=decision.target, drained_at=None, halt=None)
        if decision.forget:
            row = replace(row, last_offset=None, fingerprint=None, topic_id=None)
        self[decision.place] = row
