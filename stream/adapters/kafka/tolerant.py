"""Tame the client's decoding: header keys that are not UTF-8 come through as surrogates, and no batch unpacks beyond a limit.

aiokafka raises `UnicodeDecodeError` for such a key, again and again, for the whole batch: one foreign record would block its partition for
ever. So the fetcher is given a reader of our own, which lets the fast path decode a batch and, where that fails on text, decodes it here.
Decompression in the client has no limit either (one MiB of zstd can become 31 GiB); the unpackers are replaced by ones that stop.
"""

from __future__ import annotations

import importlib
import logging
import mmap
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import aiokafka.consumer.fetcher as fetcher
import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records, legacy_records

from stream.core.errors import ConfigurationError

LARGEST_BATCH = 64 * 1024 * 1024
_KEPT = 4 * 1024 * 1024
_OVERHEAD, _HEADER = 12, 61
# The compiled module that does the decoding; it looks its unpackers up by name at each batch.
fast = importlib.import_module(default_records.DefaultRecordBatch.__module__)
_CODECS = ("", "gzip", "snappy", "lz4", "zstd")


class Plain(NamedTuple):
    """A record decoded here; has what the fetcher reads of a record."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class Batch:
    """One batch as the fetcher sees it: the client's own, but iterating it survives header keys that are not UTF-8."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._fast = default_records.DefaultRecordBatch(data)
        self.base_offset = self._fast.base_offset
        self.next_offset = self._fast.next_offset
        self.producer_id = self._fast.producer_id
        self.is_control_batch = self._fast.is_control_batch
        self.is_transactional = self._fast.is_transactional

    def validate_crc(self) -> bool:
        return self._fast.validate_crc()

    def __iter__(self) -> Iterator[default_records.DefaultRecord | Plain]:
        try:
            return iter(list(self._fast))
        except UnicodeDecodeError:
            return iter(decode(self._data))
        except cramjam.DecompressionError as error:
            raise CorruptRecordException("a batch cannot be unpacked") from error

    def __next__(self) -> default_records.DefaultRecord:
        return next(self._fast)


class Records:
    """A fetch response's batches, in place of `aiokafka.record.memory_records.MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._end = data, 0, 0
        self._find()

    def _find(self) -> None:
        left = len(self._data) - self._at
        length: int = struct.unpack_from(">i", self._data, self._at + 8)[0] if left >= _OVERHEAD else left
        self._end = self._at + _OVERHEAD + length if 0 <= length <= left - _OVERHEAD else -1

    def has_next(self) -> bool:
        return self._end >= 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def next_batch(self) -> Batch | legacy_records.LegacyRecordBatch:
        data = bytes(self._data[self._at : self._end])
        if len(data) < 17:
            raise CorruptRecordException("a batch is shorter than its own header")
        self._at = self._end
        self._find()
        return Batch(data) if data[16] >= 2 else legacy_records.LegacyRecordBatch(data, data[16])


def decode(data: bytes) -> list[Plain]:
    """The records of one batch of format 2, with header keys by `surrogateescape`."""
    base, attributes, first, last, count = *struct.unpack_from(">q", data), *struct.unpack_from(">h4xqq14xi", data, 21)
    body = _unpack(_CODECS[attributes & 7], data[_HEADER:]) if attributes & 7 else data[_HEADER:]
    stamped = bool(attributes & 8)
    records: list[Plain] = []
    at = 0
    for _ in range(count):
        length, at = _varint(body, at)
        records.append(_record(body, at, base, last if stamped else first, stamped))
        at += length
    return records


def _record(body: bytes, at: int, base: int, start: int, stamped: bool) -> Plain:
    later, at = _varint(body, at + 1)
    delta, at = _varint(body, at)
    key, at = _bytes(body, at)
    value, at = _bytes(body, at)
    count, at = _varint(body, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _bytes(body, at)
        content, at = _bytes(body, at)
        headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
    return Plain(base + delta, start if stamped else start + later, int(stamped), key, value, headers)


def _bytes(body: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(body, at)
    if length < 0:
        return None, at
    if at + length > len(body):
        raise CorruptRecordException("a record reaches beyond its batch")
    return body[at : at + length], at + length


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise CorruptRecordException("a number in a batch does not end")


def _unpack(codec: str, data: bytes) -> bytes:
    unpacked: bytes = getattr(fast, f"{codec}_decode")(data)
    return unpacked


def _gzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(bytes(data), LARGEST_BATCH)
    except zlib.error as error:
        raise CorruptRecordException("a gzip batch is broken") from error
    if not unpacker.eof:
        raise CorruptRecordException("a gzip batch is cut short, or unpacks beyond the limit")
    return unpacked


class _Room(threading.local):
    """Where batches are unpacked, one at a time in each thread: an anonymous mapping, made once, of which only what is written takes memory.

    A `bytearray` in its place is zeroed as a whole for every batch: 50 ms of processor time instead of 20 us.
    """

    def __init__(self) -> None:
        self.pages = mmap.mmap(-1, LARGEST_BATCH)

    def give_back(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED)


_room = _Room()


def _capped(into: Callable[[bytes, mmap.mmap], int], codec: str) -> Callable[[bytes], bytes]:
    def unpack(data: bytes) -> bytes:
        size = LARGEST_BATCH
        try:
            size = into(bytes(data), _room.pages)
            return _room.pages[:size]
        except cramjam.DecompressionError as error:
            raise CorruptRecordException(f"a {codec} batch is broken, or unpacks beyond the limit") from error
        finally:
            if size > _KEPT:
                _room.give_back()

    return unpack


def quieten() -> None:
    """At DEBUG the client writes whole requests, passwords included, and in an outage hundreds of lines; what matters is raised to us."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def tame() -> None:
    """Put the readers above into aiokafka, once, and prove with a planted record that they are used. Snappy cannot grow enough to need a limit."""
    for module in (fast, default_records):
        for codec, unpack in (
            ("gzip", _gzip),
            ("lz4", _capped(cramjam.lz4.decompress_into, "lz4")),
            ("zstd", _capped(cramjam.zstd.decompress_into, "zstd")),
        ):
            setattr(module, f"{codec}_decode", unpack)
    fetcher.MemoryRecords = Records
    _prove()


def _prove() -> None:
    """Raises `ConfigurationError` when this release of aiokafka does not decode as the readers here expect."""
    for codec in range(5):
        builder = default_records.DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 16)
        builder.append(0, 1_000, b"k", b"v", [("ab", None)])
        builder.append(1, 1_001, None, b"w", [("ab", b"x")])
        batch = bytes(builder.build())
        seen = [[(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in records] for records in (Batch(batch), decode(batch))]
        if seen[0] != seen[1] or len(seen[0]) != 2:
            raise ConfigurationError(
                "this release of aiokafka decodes records in a way opstream does not know: install the release its requirements name"
            )
    foreign = foreign_batch()
    if [name for record in Batch(foreign) for name, _ in record.headers] != ["\udcff\udcfe"]:
        raise ConfigurationError("this release of aiokafka hides header keys that are not UTF-8: install the release opstream's requirements name")


def foreign_batch() -> bytes:
    """A batch with one record whose header key is not UTF-8, as only a foreign producer writes it."""
    builder = default_records.DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 16)
    builder.append(0, 1_000, b"k", b"v", [("ab", b"x")])
    return bytes(builder.build()).replace(b"\x04ab\x02x", b"\x04\xff\xfe\x02x")
