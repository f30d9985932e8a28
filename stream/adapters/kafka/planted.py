"""Batches as a foreign, broken or hostile producer sends them, and the proof that this release of the client takes them as it must."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import aiokafka.consumer.fetcher as fetcher
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from stream.adapters.kafka.batch import Batch, BrokenBatchError, Records
from stream.core.errors import ConfigurationError

_PLACE = TopicPartition("planted", 0)
_CODECS = range(5)
_BOMB, _LIMIT = 1 << 18, 1 << 14


def batch(codec: int, *values: bytes | None, base: int = 0) -> bytes:
    """A whole batch with a record for each value, all under the key `k`, with a null header and a repeated one."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 30)
    for n, value in enumerate(values):
        builder.append(n, 1_000 + n, b"k", value, [("ab", None), ("ab", b"x")])
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def foreign(base: int = 0) -> bytes:
    """A batch with a header key of the bytes FF FE."""
    return signed(batch(0, b"v", base=base).replace(b"\x04ab\x02x", b"\x04\xff\xfe\x02x"))


def signed(data: bytes) -> bytes:
    """The batch with its length and checksum made right for what it holds now."""
    return data[:8] + struct.pack(">i", len(data) - 12) + data[12:17] + calc_crc32c(data[21:]).to_bytes(4, "big") + data[21:]


def broken(base: int = 0) -> Iterator[bytes]:
    """Batches of two records that nobody can read, one of each kind."""
    good = batch(0, b"one", b"two", base=base)
    yield good[:-1] + bytes([good[-1] ^ 1])
    yield signed(good[:22] + b"\x05" + good[23:])
    yield signed(good[:-4])
    yield signed(good[:57] + struct.pack(">i", 1) + good[61:])
    yield signed(good[:61] + b"\x7f" + good[62:])
    yield from (signed(data[:61] + b"\x07" * (len(data) - 61)) for data in (batch(codec, b"one", b"two", base=base) for codec in _CODECS[1:]))


def prove() -> None:
    """Raises `ConfigurationError` unless the client reads every planted batch by `Records`, and as opstream thinks it does."""
    if faults := list(_faults()):
        raise ConfigurationError(
            "this release of aiokafka does not read as opstream needs it: install the release its requirements name (" + "; ".join(faults) + ")"
        )


def _faults() -> Iterator[str]:
    if fetcher.MemoryRecords is not Records or not _uses(fetcher.Fetcher._proc_fetch_request, "MemoryRecords", "PartitionRecords"):
        yield "fetches do not go by our reader"
        return
    if not _uses(fetcher.Fetcher._fetch_requests_routine, "_proc_fetch_request") or not _uses(GroupCoordinator._heartbeat_routine, "_do_heartbeat"):
        yield "fetches or heartbeats are not seen by our watch"
    for codec in _CODECS:
        seen = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in _read(batch(codec, b"v", None, base=7))]
        if seen != [(7, 1_000, b"k", b"v", (("ab", None), ("ab", b"x"))), (8, 1_001, b"k", None, (("ab", None), ("ab", b"x")))]:
            yield f"codec {codec} is not read"
        if codec and not _refused(batch(codec, bytes(_BOMB))):
            yield f"codec {codec} has no limit"
    if [name for r in _read(foreign()) for name, _ in r.headers] != ["ab", "\udcff\udcfe"]:
        yield "a header key that is not UTF-8 is not read"
    for number, bad in enumerate(broken(base=9)):
        if [r.offset for r in _read(batch(0, b"v", base=8) + bad)] != [8] or _stopped(bad) != (9, 11):
            yield f"broken batch {number} is not stopped at"


def _uses(routine: Callable[..., object], *names: str) -> bool:
    """Whether it looks them up by name, each time anew."""
    return set(names) <= set(routine.__code__.co_names)


def _read(data: bytes) -> list[ConsumerRecord]:
    """As the client's own task and reader do it."""
    records = fetcher.MemoryRecords(data)
    if not records.has_next():
        return []
    return list(fetcher.PartitionRecords(_PLACE, records, [], 0, None, None, True, fetcher.READ_COMMITTED))


def _stopped(data: bytes) -> tuple[int, int] | None:
    try:
        _read(data)
    except BrokenBatchError as error:
        return error.start, error.end
    return None


def _refused(bomb: bytes) -> bool:
    try:
        Batch(bomb, _LIMIT)
    except BrokenBatchError:
        return True
    return False
