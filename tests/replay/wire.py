"""The replay's own hands on the log: a librdkafka producer, and a plain consumer that reads an output topic as anybody would."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import confluent_kafka
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream import App
from tests.fold.facts import Fact
from tests.fold.tally import Tally
from tests.handlers.in_memory import headers_of


class Producer:
    """Publishes facts in the order given; per key that is the order on the log."""

    def __init__(self, kafka: str) -> None:
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": kafka, "enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 5}
        )
        self._failed: list[str] = []

    def publish(self, facts: Sequence[Fact]) -> None:
        """Returns when all are acknowledged. Raises `RuntimeError` when one is not."""
        for fact in facts:
            headers: dict[str, str | bytes | None] = dict(headers_of(fact))
            self._producer.produce(fact.topic, fact.value, fact.key.encode(), headers=headers, on_delivery=self._done)
            self._producer.poll(0)
        if self._producer.flush(60) or self._failed:
            raise RuntimeError(f"not published: {self._failed[:1] or 'the broker does not answer'}")

    def _done(self, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None:
            self._failed.append(str(error))


def places(app: App, topics: Collection[str]) -> list[TopicPartition]:
    return [TopicPartition(name, n) for name in sorted(topics) for n in range(app.topic(name).partitions)]


@dataclass
class Heard:
    """What a consumer that follows the recipe makes of the output: repeats dropped by id, gaps and disorder by emitter and sequence."""

    repeats: int = 0
    faults: list[str] = field(default_factory=list[str])
    seen: set[str] = field(default_factory=set[str])
    latest: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])

    def take(self, record: ConsumerRecord, tally: Tally) -> None:
        headers = {name: (value or b"").decode() for name, value in record.headers}
        key = (record.key or b"").decode()
        if headers["ce_id"] in self.seen:
            self.repeats += 1
            return
        self.seen.add(headers["ce_id"])
        lane = (headers["ce_emitter"], record.topic, key)
        expected = self.latest.get(lane, 0) + 1
        if int(headers["ce_sequence"]) != expected:
            self.faults.append(f"{' / '.join(lane)}: sequence {headers['ce_sequence']} where {expected} was due")
        self.latest[lane] = expected
        tally.say(record.topic, headers["ce_type"], key, json.loads(record.value or b"null"))


async def listen(kafka: str, topics: Sequence[TopicPartition], tally: Tally, progress: Callable[[int], None]) -> Heard:
    """Read `topics` from their begin to their present end into `tally.said`."""
    heard, read = Heard(), 0
    reader = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await reader.start()
    try:
        last = {place: end for place, end in (await reader.end_offsets(topics)).items() if end}
        reader.assign(list(last) or topics[:1])
        while last:
            for place, records in (await reader.getmany(timeout_ms=1000, max_records=5000)).items():
                for record in _up_to(records, last[place]):
                    heard.take(record, tally)
                    read += 1
                if records and records[-1].offset + 1 >= last[place]:
                    del last[place]
                    reader.pause(place)
            progress(read)
    finally:
        await reader.stop()
    return heard


def _up_to(records: Sequence[ConsumerRecord], end: int) -> Iterator[ConsumerRecord]:
    return (record for record in records if record.offset < end)
