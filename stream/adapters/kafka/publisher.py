"""Writing the outbox to the log: idempotent, acknowledged by all replicas, one batch in flight a partition.

Theory of operation. Records are laid out per partition (Kafka's own murmur2 of the key, so that any other producer agrees) and go out in whole
batches. aiokafka takes a sequence number even for a batch the broker refuses, and then every later one of that partition is out of order; so
after any refusal the producer is thrown away. What the broker refuses as a batch is sent again in halves by a new producer until the one record is
found. Only answers that mean "never" are refusals; all else, and silence, is `UncertainError`: what was sent may still land.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import aiokafka
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from stream.adapters.kafka.deadline import begin, ended
from stream.adapters.kafka.diagnosis import started, stay
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.tolerant import look_only, quieten
from stream.core.errors import UnavailableError, UncertainError
from stream.core.record import TopicPartition
from stream.ports import Outgoing, Refusal

_BATCH = 256 * 1024
_REFUSALS: dict[type[KafkaError], str] = {
    MessageSizeTooLargeError: "too_large",
    RecordListTooLargeError: "too_large",
    UnknownTopicOrPartitionError: "no_topic",
    InvalidTopicError: "no_topic",
    TopicAuthorizationFailedError: "no_right",
    ClusterAuthorizationFailedError: "no_right",
    InvalidTimestampError: "invalid",
}


@dataclass(slots=True)
class _Queue:
    """What is still to be sent to one partition, in order. `most`: records a batch, halved while the broker refuses; `fault`: why it did."""

    place: TopicPartition
    rows: list[Outgoing] = field(default_factory=list[Outgoing])
    most: int = 100_000
    fault: KafkaError | None = None


@dataclass(slots=True)
class _Refused:
    """Refusals so far, and the keys whose later records must not overtake the refused one."""

    found: list[Refusal] = field(default_factory=list[Refusal])
    held: set[tuple[str, bytes]] = field(default_factory=set[tuple[str, bytes]])

    def add(self, row: Outgoing, reason: str, error: str) -> None:
        self.found.append(Refusal(row.seq, reason, error))
        self.held.add((row.topic, row.key))


class KafkaPublisher:
    """A `Publisher` over aiokafka producers: it replaces its producer itself after a refusal, and is dead after an `UncertainError`."""

    def __init__(self, settings: KafkaSettings) -> None:
        quieten()
        look_only()
        self._settings = settings
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._dead = False
        self._known: set[str] = set()

    async def start(self) -> None:
        """Raises `UnavailableError` when no broker answers; then make a new one."""
        producer = aiokafka.AIOKafkaProducer(
            **self._settings.connection(),
            acks="all",
            enable_idempotence=True,
            compression_type=self._settings.compression,
            max_batch_size=_BATCH,
            # The limit of a record is checked here, before a sequence number is taken; this one must never speak first.
            max_request_size=2 * self._settings.largest_record + _BATCH,
        )
        stay(producer.client, self._settings)
        try:
            await started(producer.start(), self._settings, "starting the producer")
        except BaseException:
            await ended(producer.stop(), self._settings.stop)
            raise
        self._producer = producer

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        """Refusals come in no order; only the first of a key is named. Rows may be published again with the same ids after an `UncertainError`."""
        if self._dead:
            raise UncertainError("this publisher was lost: stop it and make a new one")
        # Dead until proven otherwise: being cancelled in here leaves sends under way that nobody knows of.
        self._dead = True
        refused = _Refused()
        task = begin(self._publish(batch, refused))
        done, _ = await asyncio.wait({task}, timeout=self._settings.send)
        if not done:
            raise UncertainError(f"no acknowledgement from Kafka within {self._settings.send:g} s")
        if task.cancelled():
            # The client's own cancellation, which must not end whoever waits here.
            raise UncertainError("publishing: the Kafka client gave up")
        if (error := task.exception()) is not None:
            raise UncertainError(f"publishing: {type(error).__name__}: {error}") from error
        self._dead = False
        return refused.found

    async def stop(self) -> None:
        """Within the deadline; a producer with sends under way is left behind, it may still deliver them."""
        self._dead = True
        producer, self._producer = self._producer, None
        if producer is not None:
            await ended(producer.stop(), self._settings.stop)

    # --

    async def _publish(self, batch: Sequence[Outgoing], refused: _Refused) -> None:
        queues: list[_Queue] = await self._lay_out(batch, refused)
        while queues:
            await asyncio.gather(*(self._drain(queue, refused) for queue in queues))
            if any(queue.fault for queue in queues):
                await self._replace()
            queues = [queue for queue in queues if queue.rows]

    async def _lay_out(self, batch: Sequence[Outgoing], refused: _Refused) -> list[_Queue]:
        parts = {topic: await self._partitions(topic) for topic in {row.topic for row in batch}}
        queues: dict[TopicPartition, _Queue] = {}
        for row in batch:
            if (row.topic, row.key) in refused.held:
                continue
            if reason := _unfit(row, self._settings.largest_record):
                refused.add(row, *reason)
                continue
            found = parts[row.topic]
            if isinstance(found, KafkaError):
                refused.add(row, _REFUSALS[type(found)], f"{row.topic}: {type(found).__name__} {found}")
                continue
            place = TopicPartition(row.topic, partition_of(row.key, found))
            queues.setdefault(place, _Queue(place)).rows.append(row)
        return list(queues.values())

    async def _partitions(self, topic: str) -> int | KafkaError:
        """How many partitions, or why never: the producer alone would look for a missing topic until its time is up."""
        producer = self._running()
        if topic not in self._known:
            if not await _there(producer, topic):
                return UnknownTopicOrPartitionError("not found, or no right to see it")
            self._known.add(topic)
        try:
            return len(await producer.partitions_for(topic))
        except TopicAuthorizationFailedError as error:
            return error

    async def _drain(self, queue: _Queue, refused: _Refused) -> None:
        """Send batch after batch until the queue is empty or the broker refuses one. Anything else that fails is raised."""
        queue.fault = None
        while queue.rows:
            sent = self._filled(queue)
            try:
                await self._send(queue, sent)
            except KafkaError as error:
                if type(error) not in _REFUSALS:
                    raise
                _narrow(queue, sent.record_count(), error, refused)
                return
            del queue.rows[: sent.record_count()]
            queue.most = 100_000

    async def _send(self, queue: _Queue, sent: aiokafka.BatchBuilder) -> None:
        acknowledged = await self._running().send_batch(sent, queue.place.topic, partition=queue.place.partition)
        await acknowledged

    def _filled(self, queue: _Queue) -> aiokafka.BatchBuilder:
        builder = self._running().create_batch()
        for row in queue.rows[: queue.most]:
            if builder.append(timestamp=None, key=row.key, value=row.value, headers=list(row.headers)) is None:
                break
        builder.close()
        return builder

    async def _replace(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await ended(producer.stop(), self._settings.stop)
        await self.start()

    def _running(self) -> aiokafka.AIOKafkaProducer:
        if self._producer is None:
            raise UnavailableError("the publisher was not started")
        return self._producer


async def _there(producer: aiokafka.AIOKafkaProducer, topic: str) -> bool:
    """Whether the topic exists, or may be seen. A broker that just came back may not name all of its topics yet, so a no is heard three times."""
    for pause in (0.0, 0.5, 1.0):
        await asyncio.sleep(pause)
        if topic in (await producer.client.fetch_all_metadata()).topics():
            return True
    return False


def _narrow(queue: _Queue, count: int, error: KafkaError, refused: _Refused) -> None:
    queue.fault = error
    if count > 1:
        queue.most = count // 2
        return
    row = queue.rows.pop(0)
    queue.rows = [later for later in queue.rows if later.key != row.key]
    refused.add(row, _REFUSALS[type(error)], f"{row.topic}: {type(error).__name__}")
    queue.most = 100_000


def _unfit(row: Outgoing, largest: int) -> tuple[str, str] | None:
    try:
        size = len(row.key) + len(row.value) + sum(len(name.encode()) + len(value) + 4 for name, value in row.headers)
    except UnicodeEncodeError:
        return "invalid", "a header name is not text"
    return ("too_large", f"{size} bytes, the limit is {largest}") if size > largest else None


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner (murmur2) gives a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
