"""Batches that no well-meaning client writes are read, or refused as a whole, within limits of memory."""

from __future__ import annotations

import random
import resource
import struct
from collections.abc import Iterator

import cramjam
import psutil
import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream.adapters.kafka import batch as reading
from stream.adapters.kafka import planted
from stream.adapters.kafka.batch import SMALL, Batch, BrokenBatchError, Records, decode
from stream.adapters.kafka.planted import batch, foreign, signed
from stream.adapters.kafka.tolerant import tame
from stream.adapters.kafka.unpack import LARGEST, unpack
from stream.core.errors import ConfigurationError

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS = [0, GZIP, SNAPPY, LZ4, ZSTD]
Seen = list[tuple[object, ...]]


def seen(data: bytes) -> Seen:
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in Batch(data)]


def taken(records: Records) -> list[bytes | None]:
    values: list[bytes | None] = []
    while records.has_next():
        values += [record.value for record in records.next_batch()]
    return values


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_batch_that_unpacks_beyond_the_limit_is_refused_and_leaves_no_memory_behind(codec: int) -> None:
    bomb = batch(codec, bytes(LARGEST), base=5)
    before = psutil.Process().memory_info().rss
    for _ in range(3):
        with pytest.raises(BrokenBatchError, match="beyond") as caught:
            Batch(bomb)
        assert (caught.value.start, caught.value.end) == (5, 6)
    assert psutil.Process().memory_info().rss - before < 16 << 20


def test_snappy_without_blocks_has_the_limit_too_whatever_length_it_claims() -> None:
    assert unpack(SNAPPY, bytes(cramjam.snappy.compress_raw(b"plain" * 9)), b"<") == b"<" + b"plain" * 9
    for bomb in (bytes(cramjam.snappy.compress_raw(bytes(1 << 20))), b"\xff\xff\xff\xff\x0f" + b"x" * 100):
        with pytest.raises(CorruptRecordException, match="beyond 65536 bytes"):
            unpack(SNAPPY, bomb, limit=1 << 16)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_unpacking_small_batches_does_not_touch_new_memory_each_time(codec: int) -> None:
    data = batch(codec, b"value" * 1_000)
    Batch(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        Batch(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1_000


@pytest.mark.parametrize("codec", CODECS)
def test_both_readers_see_the_same_records(codec: int) -> None:
    values = [b"one", b"", None, b"three" * 1_000]
    data = batch(codec, *values, base=40)
    assert seen(data) == [(40 + n, 1_000 + n, b"k", value, [("ab", None), ("ab", b"x")]) for n, value in enumerate(values)]
    assert seen(data) == [(*record[:2], *record[3:6]) for record in decode(batch(0, *values, base=40))]


def test_what_stands_before_a_broken_batch_is_delivered_and_the_broken_one_is_named_when_it_leads() -> None:
    for bad in planted.broken(base=2):
        after = batch(ZSTD, b"after", base=4)
        assert taken(Records(batch(0, b"a", b"b") + bad + after)) == [b"a", b"b"]
        records = Records(bad + after)
        assert records.has_next()
        with pytest.raises(BrokenBatchError) as caught:
            records.next_batch()
        assert (caught.value.start, caught.value.end) == (2, 4)
        assert taken(Records(after)) == [b"after"]


def test_batches_behind_a_foreign_header_key_are_found_and_a_cut_one_is_left_for_the_next_fetch() -> None:
    assert taken(Records(foreign() + batch(ZSTD, b"next", base=2) + batch(0, b"cut", base=3)[:-1])) == [b"v", b"next"]
    assert taken(Records(None)) == []


@pytest.mark.parametrize("length", range(1, 100))
def test_a_response_cut_anywhere_in_its_first_batch_is_a_broken_batch_and_not_a_crash(length: int) -> None:
    records = Records(batch(0, b"value" * 20, base=3)[:length])
    assert records.has_next()
    with pytest.raises(BrokenBatchError) as caught:
        records.next_batch()
    assert (caught.value.start, caught.value.end) == ((3, 4) if length >= 17 else (-1, -1))


@pytest.mark.parametrize(
    ("at", "what", "fault"),
    [
        (16, b"\x01", "format is 1"),
        (16, b"\x00", "format is 0"),
        (22, b"\x07", "codec 7 is unknown"),
        (57, struct.pack(">i", -1), "-1 records"),
        (57, struct.pack(">i", 3), "3 records within 2 offsets"),
        (23, struct.pack(">i", -2), "2 records within -1 offsets"),
        (23, struct.pack(">i", 0), "2 records within 1 offsets"),
        (23, struct.pack(">i30xi", 1 << 30, 2_000_000), "the limit is 1000000"),
        (22, b"\x20", "checksum|control"),
        (8, struct.pack(">i", -5), "shorter than its own header"),
    ],
)
def test_a_header_that_lies_is_found_out(at: int, what: bytes, fault: str) -> None:
    good = batch(0, b"one", b"two")
    bad = good[:at] + what + good[at + len(what) :]
    with pytest.raises(BrokenBatchError, match=fault):
        Records(signed(bad) if at > 17 else bad).next_batch()


@pytest.mark.parametrize("offsets", [(1, 0), (0, 0), (-1, 0), (0, 9)])
def test_records_that_are_not_where_their_batch_is_are_found_out(offsets: tuple[int, int]) -> None:
    good = batch(0, b"one", b"two")
    first = good.index(b"\x00\x00\x00\x02k\x06one")
    bodies = {offset: bytes([2 * offset if offset >= 0 else -2 * offset - 1]) for offset in offsets}
    bad = good[: first + 2] + bodies[offsets[0]] + good[first + 3 :]
    second = bad.index(b"\x00\x02\x02\x02k\x06two")
    bad = bad[: second + 2] + bodies[offsets[1]] + bad[second + 3 :]
    with pytest.raises(BrokenBatchError, match="not in order"):
        Batch(signed(bad))


def test_a_response_ends_when_its_batches_have_unpacked_to_enough_and_a_large_batch_stands_alone() -> None:
    small, large = bytes(SMALL - 4096), bytes(SMALL + 1)
    data = b"".join(batch(ZSTD, value, base=n) for n, value in enumerate([small, small, small, small]))
    assert len(taken(Records(data))) == 3
    assert taken(Records(batch(0, b"a") + batch(ZSTD, large, base=1))) == [b"a"]
    assert taken(Records(batch(ZSTD, large) + batch(0, b"a", base=1))) == [large, b"a"]


def many(codec: int, records: int, value: bytes, headers: list[tuple[str, bytes | None]]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 30)
    for n in range(records):
        builder.append(n, 1_000, None, value, headers)
    return bytes(builder.build())


def test_a_large_batch_is_handed_out_record_by_record() -> None:
    made = Batch(many(ZSTD, 300_000, b"tiny", []))
    before = psutil.Process().memory_info().rss
    assert made.size > SMALL
    assert sum(1 for _ in made) == 300_000
    assert [r.offset for r, _ in zip(made, range(3), strict=False)] == [0, 1, 2]
    assert psutil.Process().memory_info().rss - before < 16 << 20


def test_a_large_batch_with_a_foreign_header_key_is_read_too() -> None:
    data = many(0, 3, bytes(SMALL // 2), [("ab", b"x")])
    records = list(Batch(signed(data.replace(b"\x04ab\x02x", b"\x04\xff\xfe\x02x"))))
    assert [(r.offset, r.headers) for r in records] == [(n, [("\udcff\udcfe", b"x")]) for n in range(3)]


def test_a_large_batch_of_more_headers_than_memory_has_room_for_is_refused() -> None:
    data = many(ZSTD, 10, b"", [("", None)] * 200_000)
    before = psutil.Process().memory_info().rss
    with pytest.raises(BrokenBatchError, match="more than 1000000 headers"):
        Batch(data)
    assert psutil.Process().memory_info().rss - before < 64 << 20


def test_a_batch_whose_records_were_all_compacted_away_is_passed() -> None:
    data = signed(batch(0, b"one", b"two")[:57] + bytes(4))
    assert (seen(data), Batch(data).next_offset) == ([], 2)


def mutations(seed: int, count: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(many(0, rng.randrange(1, 5), b"v" * rng.choice([0, 70]), [("hh", rng.choice([None, b"x"]))] * rng.randrange(4)))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(23, len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 6)]
                case _:
                    data[at:at] = rng.choice([b"\xff", b"\x80"]) * rng.randrange(1, 11)
            data += bytes(max(0, 61 - len(data)))
        yield signed(bytes(data))


def test_a_mutated_batch_is_read_as_the_plain_reader_reads_it_or_refused() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    refused = 0
    for data in mutations(seed, 3_000):
        try:
            records = seen(data)
        except BrokenBatchError:
            refused += 1
        else:
            assert records == [(*record[:2], *record[3:6]) for record in decode(data)], data.hex()
    assert 500 < refused < 3_000


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_client_whose_unpacking_has_no_limit_is_refused_at_the_start(codec: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlimited(wanted: int, packed: bytes, before: bytes = b"", limit: int = LARGEST) -> bytes:
        return unpack(wanted, packed, before, LARGEST if wanted == codec else limit)

    tame()
    monkeypatch.setattr(reading, "unpack", unlimited)
    with pytest.raises(ConfigurationError, match=f"codec {codec} has no limit"):
        planted.prove()


async def otherwise() -> None: ...


@pytest.mark.parametrize(
    ("of", "routine", "fault"),
    [
        (Fetcher, "_proc_fetch_request", "fetches do not go by our reader"),
        (Fetcher, "_fetch_requests_routine", "not seen by our watch"),
        (GroupCoordinator, "_heartbeat_routine", "not seen by our watch"),
    ],
)
def test_a_client_that_changed_underneath_is_refused_at_the_start(of: type, routine: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tame()
    planted.prove()
    monkeypatch.setattr(of, routine, otherwise)
    with pytest.raises(ConfigurationError, match=fault):
        planted.prove()
