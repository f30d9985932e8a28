"""The ticker's side of the store: what is due, and how far the feeds are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from stream.core.record import Ref, TopicPartition


@dataclass(frozen=True, slots=True)
class Feed:
    """How far one partition has been applied: `drained_at` in movable database time, `stream_time` in business time."""

    place: TopicPartition
    next_offset: int
    drained_at: datetime | None
    stream_time: datetime | None


@dataclass(frozen=True, slots=True)
class Feeds:
    """One look at all feeds. `unsent`: per topic, when the oldest unsent outbox row was written; `clock` is real, `now` movable."""

    now: datetime
    clock: datetime
    partitions: Sequence[Feed]
    unsent: Mapping[str, datetime]


class Timetable(Protocol):
    """The ticker's side of the store: what is due, and how far the feeds are."""

    async def feeds(self) -> Feeds: ...

    async def due(self, until: Mapping[str, datetime], limit: int) -> Sequence[tuple[Ref, datetime]]:
        """Entities with a timer due at or before `until[machine]`, earliest first, with that due instant; read without a lock."""
        ...

    async def rotate(self) -> Sequence[str]:
        """Make partitions and inbox generations ahead, drop what is past its age; says what was done. Safe to call from several tickers."""
        ...

    async def close(self) -> None: ...
