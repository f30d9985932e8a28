"""Batches that no broker would take: written as good ones, and changed on their way from the broker to the reader."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import uuid4

import aiokafka
import aiokafka.consumer.fetcher as fetcher

from stream.adapters.kafka.batch import Records
from stream.adapters.kafka.tolerant import tame
from stream.core.record import TopicPartition

Change = Callable[[bytes], bytes]


class Forger:
    """Knows a batch again by a mark in its records, which therefore must not be packed."""

    def __init__(self) -> None:
        self._changes: dict[bytes, Change] = {}

    async def append(self, producer: aiokafka.AIOKafkaProducer, place: TopicPartition, change: Change, records: int = 1) -> range:
        """One batch on the real log, that every later fetch shows changed; its offsets. A change keeps the base offset, its first 8 bytes."""
        mark = uuid4().hex.encode()
        self._changes[mark] = change
        builder = producer.create_batch()
        for n in range(records):
            builder.append(timestamp=None, key=None, value=b"%s %d" % (mark, n))
        builder.close()
        written = await (await producer.send_batch(builder, place.topic, partition=place.partition))
        return range(written.offset, written.offset + records)

    def replace(self, mark: bytes, batch: bytes) -> None:
        """Every fetch shows `batch`, whatever its base offset, in place of the one that holds the mark."""
        self._changes[mark] = lambda frame: frame[:8] + batch[8:]

    def __call__(self, data: bytes | None) -> Records:
        changed, at, whole = b"", 0, data or b""
        while at < len(whole):
            end = at + 12 + int.from_bytes(whole[at + 8 : at + 12], "big")
            frame = whole[at:end]
            changed += next((change(frame) for mark, change in self._changes.items() if mark in frame), frame)
            at = end
        return Records(changed)


@contextmanager
def forging() -> Generator[Forger]:
    """While this lasts, every client of this process reads through the forger."""
    tame()
    forger = Forger()
    fetcher.MemoryRecords = forger
    try:
        yield forger
    finally:
        fetcher.MemoryRecords = Records


def flipped(batch: bytes) -> bytes:
    """A bit of its last byte is wrong, so its checksum is."""
    return batch[:-1] + bytes([batch[-1] ^ 1])
