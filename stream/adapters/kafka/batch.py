"""A fetch response's batches, read so that each is whole or refused, and none costs more memory than a limit.

Theory of operation. The client decodes a batch record by record, with no limit on what it unpacks to, and raises whatever it meets, which loses
the records it had handed out before. Here a batch is checked as a whole before any of it is delivered: frame, checksum, format, codec, size, count,
offsets. One that fails ends its response just before it, so that everything in front is delivered; at the front of the next response it is a
`BrokenBatchError`. Decoding is the client's own fast path; where that meets a header key that is not UTF-8, it is done here.

Memory: what is decoded weighs some thirty times its bytes where records or headers are tiny. So a batch is decoded at once only when it is small;
a large one is counted first, then handed out as it is asked for. And a response ends where its batches have unpacked to enough.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from operator import lt
from typing import NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch

from stream.adapters.kafka.unpack import LARGEST, unpack

SMALL = 2 * 1024 * 1024
"""Bytes up to which a batch is decoded at once; its records weigh 64 MiB then, at the worst."""
ENOUGH = 4 * 1024 * 1024
"""Bytes after which a response ends; the rest of it is fetched again."""
MOST = 1_000_000
"""Records of a batch, and headers of its larger records: more of them is no traffic but a bomb."""
_WIDE = 4096
_FRAME = struct.Struct(">qi")
_BODY = 61
# A length near 2**63 passes the client's own bounds by overflow, and then cannot be allocated.
_LIES = (OverflowError, MemoryError)


class BrokenBatchError(CorruptRecordException):
    """A batch nobody can read, `start` up to before `end` as its header says; both -1 where it has none. `fault` in words, without payload."""

    def __init__(self, start: int, end: int, fault: str) -> None:
        super().__init__(fault)
        self.start, self.end, self.fault = start, end, fault


class Plain(NamedTuple):
    """A record decoded here; has what the client reads of a record."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


Decoded = DefaultRecord | Plain


class Records:
    """In place of the client's own `MemoryRecords`, of one partition's part of a response."""

    def __init__(self, data: bytes | None, limit: int = LARGEST) -> None:
        self._data, self._limit = data or b"", limit
        self._at = self._size = 0
        self._next: Batch | None = None

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        """At the front this is asked by the client's own task, which an error would end: then nothing is looked at yet."""
        if self._at == 0:
            return bool(self._data)
        if self._next is None and self._size < ENOUGH:
            try:
                self._next = self._read()
            except BrokenBatchError:
                self._at = len(self._data)
        return self._next is not None

    def next_batch(self) -> Batch:
        batch, self._next = self._next or self._read(), None
        if batch is None:
            raise BrokenBatchError(*_span(self._data), "it is cut short")
        return batch

    def _read(self) -> Batch | None:
        """The batch at hand; None where the response ends first, or it is a large one that must stand at the front."""
        if len(self._data) - self._at < _FRAME.size:
            return None
        length = _FRAME.unpack_from(self._data, self._at)[1]
        end = self._at + _FRAME.size + length
        if end > len(self._data):
            return None
        batch = Batch(self._data[self._at : max(end, self._at)], self._limit)
        if self._at and batch.size > SMALL:
            return None
        self._at, self._size = end, self._size + batch.size
        return batch


class Batch:
    """One batch as the client sees it. Raises `BrokenBatchError` when it is made, not when it is read."""

    def __init__(self, data: bytes, limit: int = LARGEST) -> None:
        start, end = _span(data)
        try:
            self._open(data, limit)
        except CorruptRecordException as error:
            fault = str(error.args[0])
        else:
            return
        # Not within the handler: the error's traceback would keep what was unpacked.
        raise BrokenBatchError(start, end, fault)

    def _open(self, data: bytes, limit: int) -> None:
        if len(data) < 17 or (data[16] == 2 and len(data) < _BODY):
            raise CorruptRecordException("it is shorter than its own header")
        if data[16] != 2:
            raise CorruptRecordException(f"its format is {data[16]}, and only 2 (of Kafka 0.11 and later) is read")
        whole = DefaultRecordBatch(data)
        if not whole.validate_crc():
            raise CorruptRecordException("its checksum is wrong")
        attributes, last, self._count = struct.unpack_from(">hi30xi", data, 21)
        if not 0 <= self._count <= last + 1:
            raise CorruptRecordException(f"it says {self._count} records within {last + 1} offsets")
        if self._count > MOST:
            raise CorruptRecordException(f"it says {self._count} records, the limit is {MOST}")
        self.base_offset, self.next_offset = whole.base_offset, whole.next_offset
        self.producer_id = whole.producer_id
        self.is_control_batch, self.is_transactional = whole.is_control_batch, whole.is_transactional
        plain = _plain(data, attributes, limit)
        self._foreign = False
        self._decoded = self._checked(plain)
        self._plain = plain
        if self.is_control_batch and not (self._decoded and len(self._decoded[0].key or b"") >= 4):
            raise CorruptRecordException("it is a control batch without its record")

    @property
    def size(self) -> int:
        return len(self._plain)

    def validate_crc(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Decoded]:
        return iter(self._decoded if self._decoded is not None else self._lazily())

    def __next__(self) -> Decoded:
        """Asked of control batches alone, for their one record."""
        return next(iter(self))

    def _lazily(self) -> Iterator[Decoded]:
        if not self._foreign:
            yield from DefaultRecordBatch(self._plain)
            return
        try:
            yield from decode(self._plain)
        except CorruptRecordException as error:
            raise BrokenBatchError(self.base_offset, self.next_offset, str(error.args[0])) from None

    def _checked(self, plain: bytes) -> list[Decoded] | None:
        """All records, or None when there are too many to hold and they were only checked."""
        if len(plain) <= SMALL:
            try:
                records: list[Decoded] = list(DefaultRecordBatch(plain))
            except (UnicodeDecodeError, CorruptRecordException, *_LIES):
                records = list(decode(plain))
            self._in_order([record.offset for record in records])
            return records
        _count(plain, self._count)
        try:
            self._in_order([record.offset for record in DefaultRecordBatch(plain)])
        except UnicodeDecodeError:
            # Decoding so many here to check them would stop the event loop for seconds; they are checked as they are read.
            self._foreign = True
        except _LIES:
            raise CorruptRecordException("a record reaches beyond its batch") from None
        return None

    def _in_order(self, offsets: list[int]) -> None:
        within = not offsets or (self.base_offset <= offsets[0] and offsets[-1] < self.next_offset)
        if not within or not all(map(lt, offsets, offsets[1:])):
            raise CorruptRecordException("its records' offsets are not in order, or not its own")


def decode(plain: bytes) -> Iterator[Plain]:
    """The records of one batch that is not, or no longer, packed, with header keys by `surrogateescape`."""
    base, attributes, first, last, count = *struct.unpack_from(">q", plain), *struct.unpack_from(">h4xqq14xi", plain, 21)
    stamped = bool(attributes & 8)
    at = _BODY
    for _ in range(count):
        end, at = _extent(plain, at)
        yield _record(plain[at:end], base, last if stamped else first, stamped)
        at = end
    if at != len(plain):
        raise CorruptRecordException("it has bytes behind its last record")


def _record(body: bytes, base: int, start: int, stamped: bool) -> Plain:
    later, at = _varint(body, 1)
    delta, at = _varint(body, at)
    key, at = _bytes(body, at)
    value, at = _bytes(body, at)
    count, at = _varint(body, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _bytes(body, at)
        content, at = _bytes(body, at)
        headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
    if at != len(body):
        raise CorruptRecordException("a record is not as long as it says")
    return Plain(base + delta, start if stamped else start + later, int(stamped), key, value, headers)


def _plain(data: bytes, attributes: int, limit: int) -> bytes:
    """The batch as if it had never been packed; its checksum is that of the packed one."""
    if not attributes & 7:
        return data
    before = data[:21] + struct.pack(">h", attributes & ~7) + data[23:_BODY]
    return unpack(attributes & 7, data[_BODY:], before, limit)


def _count(plain: bytes, count: int) -> None:
    """From record to record of a large batch, and into those that may hold many headers: neither may be more than memory has room for."""
    at, headers = _BODY, 0
    for _ in range(count):
        end, at = _extent(plain, at)
        if end - at > _WIDE:
            headers += _header_count(plain, at + 1)
        if headers > MOST:
            raise CorruptRecordException(f"it has more than {MOST} headers")
        at = end


def _header_count(plain: bytes, at: int) -> int:
    at = _varint(plain, _varint(plain, at)[1])[1]
    for _ in ("key", "value"):
        length, at = _varint(plain, at)
        at += max(length, 0)
    return _varint(plain, at)[0]


def _span(data: bytes) -> tuple[int, int]:
    """Its first offset and the one after its last. The formats before 2 say one offset only."""
    if len(data) < 17:
        return -1, -1
    start: int = _FRAME.unpack_from(data)[0]
    last: int = struct.unpack_from(">i", data, 23)[0] if data[16] == 2 and len(data) >= 27 else 0
    return start, start + max(last, 0) + 1


def _extent(plain: bytes, at: int) -> tuple[int, int]:
    """Where the record at `at` ends, and where it begins behind its length."""
    length, at = _varint(plain, at)
    if not 0 < length <= len(plain) - at:
        raise CorruptRecordException("a record reaches beyond its batch")
    return at + length, at


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
