"""What every `Log` promises, in memory and on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from stream.core.errors import ConfigurationError, FencedError, UnavailableError, UnreadableBatchError
from stream.core.record import Record, TopicPartition
from stream.ports import Log
from tests.conformance.broker import FOREIGN, MemoryWorld, World, kafka_world, member

SOON, LONG = timedelta(milliseconds=50), timedelta(seconds=10)


@pytest.fixture(params=["memory", "kafka"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    async with kafka_world(request.getfixturevalue("kafka")) as world:
        yield world


async def read(log: Log, place: TopicPartition, count: int) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(30):
        while len(records) < count:
            records += await log.fetch(place, limit=100, within=LONG)
    return records


async def filled(world: World, values: int, partitions: int = 1) -> TopicPartition:
    place = TopicPartition(await world.topic(partitions), 0)
    for n in range(values):
        await world.append(place, b"%d" % n)
    return place


async def test_nothing_is_delivered_before_the_first_seek(world: World) -> None:
    place = await filled(world, 2)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        assert list(await log.fetch(place, limit=10, within=SOON)) == []
        with pytest.raises(FencedError):
            await log.position(place)
        await log.seek(place, 0)
        assert [r.value for r in await read(log, place, 2)] == [b"0", b"1"]


async def test_records_come_in_order_from_the_sought_offset_and_never_more_than_asked(world: World) -> None:
    place = await filled(world, 5)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 1)
        first = await log.fetch(place, limit=2, within=LONG)
        assert [(r.offset, r.value) for r in first] == [(1, b"1"), (2, b"2")]
        assert await log.position(place) == 3
        assert [r.offset for r in await read(log, place, 2)] == [3, 4]
        assert list(await log.fetch(place, limit=2, within=SOON)) == []
        assert await log.position(place) == 5


async def test_a_seek_back_delivers_again(world: World) -> None:
    place = await filled(world, 3)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        await read(log, place, 3)
        await log.seek(place, 1)
        assert [r.offset for r in await read(log, place, 2)] == [1, 2]


async def test_a_waiting_fetch_is_woken_by_a_new_record(world: World) -> None:
    place = await filled(world, 0)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        waiting = asyncio.ensure_future(log.fetch(place, limit=10, within=LONG))
        await world.append(place, b"late")
        assert [r.value for r in await waiting] == [b"late"]


async def test_a_cancelled_fetch_loses_nothing(world: World) -> None:
    place = await filled(world, 0)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        waiting = asyncio.ensure_future(log.fetch(place, limit=10, within=LONG))
        await log.bounds(place)
        waiting.cancel()
        await asyncio.wait({waiting})
        await world.append(place, b"0")
        assert [r.value for r in await read(log, place, 1)] == [b"0"]
        await log.seek(place, 0)
        assert [r.value for r in await read(log, place, 1)] == [b"0"]


async def test_what_a_cancelled_fetch_took_is_not_delivered_after_a_seek(world: World) -> None:
    place = await filled(world, 0)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        waiting = asyncio.ensure_future(log.fetch(place, limit=10, within=LONG))
        await log.bounds(place)
        waiting.cancel()
        await asyncio.wait({waiting})
        await world.append(place, b"0")
        await world.append(place, b"1")
        await log.seek(place, 1)
        assert [r.offset for r in await read(log, place, 1)] == [1]


async def test_bytes_come_through_untouched_null_values_and_repeated_headers_too(world: World) -> None:
    place = await filled(world, 0)
    await world.append(place, None, key=b"\xff\x00", headers=[("a", None), ("a", b"1"), ("", b"\xfe")])
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        [record] = await read(log, place, 1)
        assert (record.key, record.value) == (b"\xff\x00", None)
        assert list(record.headers) == [("a", None), ("a", b"1"), ("", b"\xfe")]


async def test_a_header_key_that_is_not_text_does_not_stop_its_partition(world: World) -> None:
    place = await filled(world, 1)
    await world.append_foreign(place, b"foreign")
    await world.append(place, b"after")
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        records = await read(log, place, 3)
        assert [r.value for r in records] == [b"0", b"foreign", b"after"]
        assert list(records[1].headers) == [(FOREIGN, b"x")]


async def test_the_position_passes_aborted_records(world: World) -> None:
    place = await filled(world, 1)
    await world.append_aborted(place, b"never")
    await world.append(place, b"1")
    await world.append_aborted(place, b"never")
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        assert [r.value for r in await read(log, place, 2)] == [b"0", b"1"]
        assert list(await log.fetch(place, limit=10, within=SOON)) == []
        assert await log.position(place) == (await log.bounds(place))[1] > 3


async def test_bounds_name_the_first_offset_and_the_one_after_the_last(world: World) -> None:
    place = await filled(world, 3)
    async with member(world, [place.topic], uuid4().hex) as (log, _):
        assert await log.bounds(place) == (0, 3)


async def test_a_topic_made_anew_is_another_topic_and_a_reader_sees_it(world: World) -> None:
    place = await filled(world, 1, partitions=2)
    async with member(world, [place.topic], uuid4().hex) as (log, _):
        first = await log.topic(place.topic)
        assert (bool(first.id), first.partitions) == (True, 2)
        assert await log.topic(place.topic) == first
        await world.anew(place.topic, partitions=3)
        second = await log.topic(place.topic)
        assert second.partitions == 3
        assert second.id not in (None, first.id)


async def test_an_offset_outside_the_log_is_an_error_and_the_position_stays(world: World) -> None:
    place = await filled(world, 2)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 7)
        with pytest.raises(UnavailableError):
            await log.fetch(place, limit=10, within=LONG)
        assert await log.position(place) == 7
        await log.seek(place, 0)
        assert len(await read(log, place, 2)) == 2


async def test_a_missing_topic_is_named_with_what_to_do(world: World) -> None:
    log, missing = world.log(), f"missing-{uuid4().hex}"
    with pytest.raises(ConfigurationError, match=rf"{missing}.*stream topics apply"):
        await log.start([missing], uuid4().hex, _Nobody())
    await log.stop()


class _Nobody:
    def assigned(self, places: object, generation: int) -> None: ...
    def revoked(self, places: object) -> None: ...


async def test_a_second_member_takes_its_share_and_the_first_delivers_nothing_it_lost(world: World) -> None:
    place = await filled(world, 4, partitions=2)
    other, group = TopicPartition(place.topic, 1), uuid4().hex
    async with member(world, [place.topic], group) as (log, watch):
        await watch.until(lambda: len(watch.owned) == 2)
        before = watch.owned[place]
        await log.seek(place, 0)
        await log.seek(other, 0)
        assert len(await log.fetch(place, limit=1, within=LONG)) == 1
        async with member(world, [place.topic], group) as (log2, watch2):
            await watch2.until(lambda: len(watch2.owned) == 1)
            await watch.until(lambda: len(watch.owned) == 1)
            assert watch.owned.keys() | watch2.owned.keys() == {place, other}
            assert min(*watch.owned.values(), *watch2.owned.values()) > before
            # What was buffered for the old assignment is gone on both sides until someone seeks.
            for reader in (log, log2):
                assert list(await reader.fetch(place, limit=10, within=SOON)) == []
            loser, owner = (log, log2) if place in watch2.owned else (log2, log)
            with pytest.raises(FencedError):
                await loser.seek(place, 0)
            await owner.seek(place, 1)
            assert [r.offset for r in await read(owner, place, 3)] == [1, 2, 3]
            assert list(await loser.fetch(place, limit=10, within=SOON)) == []


async def test_a_member_that_leaves_gives_its_partitions_back(world: World) -> None:
    place, group = await filled(world, 0, partitions=2), uuid4().hex
    async with member(world, [place.topic], group) as (_, watch):
        async with member(world, [place.topic], group) as (_, watch2):
            await watch2.until(lambda: len(watch2.owned) == 1)
        assert not watch2.owned
        await watch.until(lambda: len(watch.owned) == 2)


async def test_a_started_log_has_no_fault_and_mirrors_without_waiting(world: World) -> None:
    place = await filled(world, 1)
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        await read(log, place, 1)
        await log.mirror({place: 1, TopicPartition("not-mine", 0): 5})
        assert log.fault() == ""


async def test_a_batch_nobody_can_read_is_named_after_what_comes_before_it_and_stays_until_it_is_passed(world: World) -> None:
    place = await filled(world, 2)
    bad = await world.append_broken(place, 3)
    await world.append(place, b"after")
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        assert [r.value for r in await read(log, place, 2)] == [b"0", b"1"]
        for _ in range(2):
            with pytest.raises(UnreadableBatchError) as caught:
                await log.fetch(place, limit=10, within=SOON)
            assert (caught.value.place, caught.value.start, caught.value.end) == (place, bad.start, bad.stop)
            assert await log.position(place) == bad.start
        await log.seek(place, bad.stop)
        assert [r.value for r in await read(log, place, 1)] == [b"after"]
