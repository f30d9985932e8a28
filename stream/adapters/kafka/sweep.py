"""Whole topics read once, from where each log begins to an end that was looked up before, as a member of no group.

Everything that stands there is read, also what an aborted transaction left: relays write in none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic

import aiokafka
from aiokafka.errors import OffsetOutOfRangeError

from stream.adapters.kafka.batch import BrokenBatchError
from stream.adapters.kafka.deadline import bounded, ended
from stream.adapters.kafka.diagnosis import Network, started, stay
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.tolerant import look_only, quieten, tame
from stream.core.errors import UnavailableError
from stream.core.record import Record, TopicPartition

MOST = 5000
"""Records handed out at once."""
WAIT = 0.5
"""Seconds that one question for more may take."""


@dataclass(slots=True)
class Span:
    """A partition's log from `begin` up to before `end`; `begin` moves when the log is cut meanwhile. `broken`: what of it nobody can read."""

    place: TopicPartition
    begin: int
    end: int
    broken: list[range] = field(default_factory=list[range])


class _Reader(aiokafka.AIOKafkaConsumer):
    def network(self) -> Network:
        return self._client


class Sweep:
    """One partition after the other, so memory holds a few answers of the broker at most. Raises `UnavailableError` when it does not answer."""

    def __init__(self, settings: KafkaSettings) -> None:
        tame()
        quieten()
        look_only()
        self._settings = settings
        self._reader = _Reader(**settings.connection(), enable_auto_commit=False, auto_offset_reset="none", max_partition_fetch_bytes=4 * 1024 * 1024)
        stay(self._reader.network(), settings)

    async def __aenter__(self) -> Sweep:
        try:
            await started(self._reader.start(), self._settings, "connecting")
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await ended(self._reader.stop(), self._settings.stop)

    async def spans(self, places: Collection[TopicPartition]) -> list[Span]:
        """Where these logs begin and end now: everything acknowledged before this call stands before its end."""
        if not places:
            return []
        asked = [aiokafka.TopicPartition(*place) for place in sorted(places)]
        begins = await bounded(self._reader.beginning_offsets(asked), self._settings.answer, "asking where logs begin")
        ends = await bounded(self._reader.end_offsets(asked), self._settings.answer, "asking where logs end")
        return [Span(TopicPartition(place.topic, place.partition), begins[place], ends[place]) for place in asked]

    async def read(self, span: Span) -> AsyncIterator[Sequence[Record]]:
        """Its records in order, in portions; an empty portion says that the broker is being waited for."""
        place = aiokafka.TopicPartition(*span.place)
        self._reader.assign([place])
        at, heard = self._seek(span, span.begin), monotonic()
        while at < span.end:
            before = at
            records = [_record(r) for r in await self._next(span, at) if r.offset < span.end]
            at = await self._position(span)
            yield records
            if at > before:
                heard = monotonic()
            elif monotonic() - heard > self._settings.silence:
                raise UnavailableError(f"reading {place.topic}/{place.partition}: nothing came from Kafka for {self._settings.silence:g} s")

    async def _next(self, span: Span, at: int) -> Sequence[aiokafka.ConsumerRecord]:
        place, limit = aiokafka.TopicPartition(*span.place), self._settings.answer
        call = self._reader.getmany(place, timeout_ms=int(WAIT * 1000), max_records=MOST)
        try:
            return (await bounded(call, limit, f"reading {place.topic}/{place.partition}")).get(place, ())
        except UnavailableError as error:
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                await self._cut(span)
            elif isinstance(error.__cause__, BrokenBatchError):
                await self._pass_over(span, at, error.__cause__)
            else:
                raise
            return ()

    async def _cut(self, span: Span) -> None:
        """What stood in front of us was deleted while we read."""
        place = aiokafka.TopicPartition(*span.place)
        begins = await bounded(self._reader.beginning_offsets([place]), self._settings.answer, "asking where a log begins")
        span.begin = begins[place]
        self._seek(span, span.begin)

    async def _pass_over(self, span: Span, at: int, broken: BrokenBatchError) -> None:
        """Its header may lie: it holds the position we are at."""
        end = max(at + 1, min(broken.end, span.end))
        span.broken.append(range(at, end))
        self._seek(span, end)

    def _seek(self, span: Span, offset: int) -> int:
        self._reader.seek(aiokafka.TopicPartition(*span.place), offset)
        return offset

    async def _position(self, span: Span) -> int:
        return await bounded(self._reader.position(aiokafka.TopicPartition(*span.place)), self._settings.answer, "asking for the position")


def _record(r: aiokafka.ConsumerRecord) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
