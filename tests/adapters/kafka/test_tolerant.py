"""Batches that no well-meaning client writes are read, or refused, within a limit."""

from __future__ import annotations

import tracemalloc

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream.adapters.kafka.tolerant import LARGEST_BATCH, Batch, Records, decode, foreign_batch, tame

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


@pytest.fixture(autouse=True, scope="module")
def tamed() -> None:
    tame()


def batch(codec: int, *values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 30)
    for n, value in enumerate(values):
        builder.append(n, 1_000 + n, b"key", value, [("a", None), ("a", value[:3])])
    return bytes(builder.build())


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_a_batch_that_unpacks_beyond_the_limit_is_refused_by_either_reader(codec: int) -> None:
    bomb = batch(codec, bytes(LARGEST_BATCH))
    with pytest.raises(CorruptRecordException, match="beyond the limit"):
        iter(Batch(bomb))
    with pytest.raises(CorruptRecordException, match="beyond the limit"):
        decode(bomb)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_unpacking_a_small_batch_takes_no_memory_of_the_size_of_the_limit(codec: int) -> None:
    data = batch(codec, b"small")
    list(Batch(data))
    tracemalloc.start()
    try:
        list(Batch(data))
        assert tracemalloc.get_traced_memory()[1] < LARGEST_BATCH / 100
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", [0, GZIP, SNAPPY, LZ4, ZSTD])
def test_both_readers_see_the_same_records(codec: int) -> None:
    data = batch(codec, b"one", b"", b"three" * 1_000)
    quick = [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in Batch(data)]
    assert quick == [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in decode(data)]
    assert [value for _, _, _, value, _ in quick] == [b"one", b"", b"three" * 1_000]


def test_batches_after_one_with_a_foreign_key_are_found_and_a_cut_one_is_left_for_the_next_fetch() -> None:
    records = Records(foreign_batch() + batch(ZSTD, b"next") + batch(0, b"cut")[:-1])
    found: list[bytes | None] = []
    while records.has_next():
        read = records.next_batch()
        assert isinstance(read, Batch)
        found += [record.value for record in read]
    assert found == [b"v", b"next"]


@pytest.mark.parametrize("end", range(62, 70))
def test_a_batch_cut_anywhere_is_corrupt_and_not_a_crash(end: int) -> None:
    with pytest.raises(CorruptRecordException):
        decode(batch(0, b"value")[:end])


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_batch_that_is_not_what_its_codec_says_is_corrupt(codec: int) -> None:
    data = bytearray(batch(codec, b"value" * 100))
    data[61:] = b"\x07" * (len(data) - 61)
    with pytest.raises(CorruptRecordException):
        iter(Batch(bytes(data)))
