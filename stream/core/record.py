"""A record as the log has it, and the names of places: plain values that every room shares."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

Header = tuple[str, bytes | None]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Ref(NamedTuple):
    """Which entity: the name of its machine and its id. Sorts as the database sorts (byte order), so locks are taken in one order."""

    machine: str
    id: str


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record, bytes untouched. Header keys that are not UTF-8 carry surrogates (`surrogateescape`); values may be None, keys may repeat.

    `timestamp` is the record's own, in milliseconds since the epoch. Records that never were on the log (a clock's event that waits in a
    line) have partition -1 and offset -1.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


def fingerprint(record: Record) -> bytes:
    """16 bytes over a record's place in time, key and value: tells whether a log still holds the record that was applied at its offset."""
    key, value = record.key or b"", record.value or b""
    return blake2b(b"%d %d %d " % (record.timestamp, len(key), len(value)) + key + value, digest_size=16).digest()
