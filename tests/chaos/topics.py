"""The topics of a run, by librdkafka: made, measured, and read from begin to end as anybody could."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from stream.core.errors import UnavailableError
from stream.core.record import Record, TopicPartition
from stream.core.topic import Topic

# Stamped as records are appended: then a clock that fired too early can be told from an event that came too late.
STAMPED = {"message.timestamp.type": "LogAppendTime"}
WITHIN = 10.0
SILENT = {"log_level": 0}


class Topics:
    """Some topics on a broker. Looks raise `UnavailableError` when it does not answer."""

    def __init__(self, kafka: str, names: Sequence[str]) -> None:
        self._names = list(names)
        # Its own annotations leave the futures' types out.
        self._admin: Any = AdminClient({"bootstrap.servers": kafka, **SILENT})
        self._kafka = kafka
        self._reader = self._made()
        self._places: list[TopicPartition] = []

    def _made(self) -> confluent_kafka.Consumer:
        settings: Mapping[str, str | int | bool] = {
            "bootstrap.servers": self._kafka,
            "group.id": "oracles",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "reconnect.backoff.max.ms": 500,
            **SILENT,
        }
        return confluent_kafka.Consumer(dict(settings))

    def make(self, topics: Sequence[Topic]) -> None:
        wanted = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=1, config=dict(STAMPED)) for t in topics]
        for done in self._admin.create_topics(wanted).values():
            done.result(WITHIN)

    def grow(self, topic: str, partitions: int) -> None:
        """To so many partitions."""
        for done in self._admin.create_partitions([NewPartitions(topic, partitions)]).values():
            done.result(WITHIN)
        self._places.clear()

    def ends(self) -> dict[TopicPartition, int]:
        try:
            if not self._places:
                known = self._reader.list_topics(timeout=WITHIN).topics
                self._places = [TopicPartition(name, n) for name in self._names for n in sorted(known[name].partitions)]
            return {place: self._end(place) for place in self._places}
        except (confluent_kafka.KafkaException, KeyError) as error:
            # A broker that just came back names no topics yet, and the client would believe it from then on.
            self._reader.close()
            self._reader = self._made()
            raise UnavailableError(f"the broker did not answer: {error}") from error

    def _end(self, place: TopicPartition) -> int:
        return self._reader.get_watermark_offsets(confluent_kafka.TopicPartition(*place), timeout=WITHIN)[1]

    def read(self) -> dict[TopicPartition, list[Record]]:
        """Every record there is."""
        ends = self.ends()
        found: dict[TopicPartition, list[Record]] = {place: [] for place in ends}
        left, heard = sum(ends.values()), time.monotonic()
        self._reader.assign([confluent_kafka.TopicPartition(*place, 0) for place, end in ends.items() if end])
        while left > 0:
            for message in self._reader.consume(5000, 0.2):
                if message.error() is not None:
                    raise UnavailableError(f"reading: {message.error()}")
                record = record_of(message)
                found[record.place].append(record)
                left, heard = left - 1, time.monotonic()
            if time.monotonic() - heard > WITHIN:
                raise UnavailableError(f"{left} records did not come")
        self._reader.unassign()
        return found

    def close(self) -> None:
        self._reader.close()


def record_of(message: confluent_kafka.Message) -> Record:
    key, value = message.key(), message.value()
    headers: Any = message.headers() or ()
    return Record(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        int(message.timestamp()[1]),
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
        headers,
    )
