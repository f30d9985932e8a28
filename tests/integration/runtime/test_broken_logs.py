"""Logs whose files were cut, exchanged or damaged under a broker: the partition halts, says what was seen, and goes on as a person chooses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, cast

import anyio
import pytest

from stream.adapters.kafka.publisher import partition_of
from stream.dev.kafka import Broker
from stream.dev.ports import free_ports
from stream.dev.stack import memory_home, quiet, remove_home
from tests.integration.runtime.world import World, afresh, reaches, world

pytestmark = pytest.mark.proof
POTS = [f"pot {n}" for n in range(12)]
AT = {pot: partition_of(pot.encode(), 4) for pot in POTS}
FILLED = sorted(set(AT.values()))


@pytest.fixture(scope="module")
def own() -> Iterator[Broker]:
    """A broker whose files these tests may touch."""
    home = memory_home()
    made = Broker(home, free_ports(1)[0], quiet)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        remove_home(home)


@pytest.fixture
async def pottery(own: Broker, database: str) -> AsyncGenerator[World]:
    async with world(own.address, database) as made:
        yield made


class Segment:
    """The one file of a partition's log, as the batches in it."""

    def __init__(self, own: Broker, topic: str, partition: int) -> None:
        self.path = own.home / "log" / f"{topic}-{partition}" / f"{0:020d}.log"

    def batches(self) -> list[bytes]:
        data, found = self.path.read_bytes(), list[bytes]()
        while data:
            end = 12 + int.from_bytes(data[8:12], "big")
            found.append(data[:end])
            data = data[end:]
        return found

    def cut(self, keep: int) -> None:
        """To its first batches. What the broker made of the others goes too."""
        self.path.write_bytes(b"".join(self.batches()[:keep]))
        for made in self.path.parent.glob("*.*"):
            if made.suffix in {".index", ".timeindex", ".snapshot"}:
                made.unlink()

    def flip(self, number: int) -> None:
        """A bit of a batch's last byte, in place and under a running broker; twice is not at all."""
        at = sum(map(len, self.batches()[: number + 1])) - 1
        with self.path.open("r+b") as file:
            file.seek(at)
            [byte] = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1]))


def shorten(cut: Mapping[int, Segment]) -> None:
    for one in cut.values():
        one.cut(2)


def stopped(own: Broker, change: Callable[[], None]) -> None:
    """Change files of a broker that does not run."""
    own.stop()
    change()
    own.start()


def segments(own: Broker, pottery: World) -> Mapping[int, Segment]:
    return {n: Segment(own, f"pots-{pottery.tag}", n) for n in FILLED}


def places(pottery: World) -> dict[int, str]:
    return {n: f"pots-{pottery.tag}/{n}" for n in FILLED}


async def seen(pottery: World, place: str) -> tuple[dict[str, Any], list[str]]:
    """What `stream partitions show` says was seen, and the commands it offers."""
    words = [sys.executable, "-m", "stream", "partitions", "show", place, "-o", "json"]
    environ = {**os.environ, "STREAM_KAFKA": pottery.kafka, "STREAM_DATABASE_URL": pottery.dsn}
    told = cast("dict[str, Any]", json.loads((await anyio.run_process(words, env=environ)).stdout))
    return told["halt"]["seen"], [choice["command"] for choice in told["choices"]]


async def audited(pottery: World) -> list[tuple[str, str, str, int]]:
    """Who did what to which partition, and where it goes on."""
    rows = await pottery.rows("select actor, action, target, reason, after from audit order by id")
    assert {row["reason"] for row in rows} <= {"seen to"}
    return [(row["actor"], row["action"], row["target"], json.loads(row["after"])["position"]) for row in rows]


async def filled(pottery: World, *rounds: int) -> None:
    """A batch a partition and round."""
    for n in rounds:
        await pottery.fill(POTS, [n])


async def taken_of(pottery: World, partition: int) -> list[list[int]]:
    return [numbers for pot, numbers in sorted((await pottery.taken()).items()) if AT[pot] == partition]


async def takes(pottery: World, partition: int, numbers: list[int]) -> None:
    await reaches(lambda: taken_of(pottery, partition), [numbers] * size(partition))


def size(partition: int) -> int:
    """Pots of a partition, and so records of each of its batches."""
    return sum(at == partition for at in AT.values())


async def begun(pottery: World, *rounds: int) -> None:
    await pottery.make(POTS)
    await filled(pottery, *rounds)
    async with pottery.running():
        await reaches(pottery.taken, {pot: list(rounds) for pot in POTS})


async def test_a_log_that_was_cut_shorter_halts_and_is_read_again_without_a_second_effect(own: Broker, pottery: World) -> None:
    await begun(pottery, 0, 1, 2)
    cut = segments(own, pottery)
    stopped(own, lambda: shorten(cut))
    async with afresh(pottery) as after:
        async with after.running():
            await reaches(after.halted, dict.fromkeys(places(after).values(), "offset_ahead"))
            n, place = next(iter(places(after).items()))
            was, offered = await seen(after, place)
            assert (was["position"], was["begin"], was["end"]) == (size(n) * 4, 0, size(n) * 2)
            assert offered[0] == f"stream partitions resume {place} --at begin --reason TEXT"
            for place in places(after).values():
                await after.decide(place, "begin")
            await filled(after, 3)
            await reaches(after.taken, {pot: [0, 1, 2, 3] for pot in POTS})
        assert await audited(after) == [("ann", "partitions resume", place, 0) for place in places(after).values()]
        assert await after.halted() == {}


async def test_a_log_that_was_cut_and_has_grown_again_halts_wherever_its_end_is(own: Broker, pottery: World) -> None:
    await begun(pottery, 0, 1, 2)
    cut = segments(own, pottery)
    stopped(own, lambda: shorten(cut))
    async with afresh(pottery) as after:
        await filled(after, 3, 4, 5)
        first, *others = FILLED
        async with after.running():
            await reaches(after.halted, dict.fromkeys(places(after).values(), "truncated"))
            was, _ = await seen(after, places(after)[first])
            assert (was["position"], was["end"], was["offset"]) == (size(first) * 4, size(first) * 5, size(first) * 4 - 1)
            assert was["expected"] != was["found"]
            for n, place in places(after).items():
                await after.decide(place, "end" if n == first else "begin")
            for n in others:
                await takes(after, n, [0, 1, 2, 3, 4, 5])
            await filled(after, 6)
            await takes(after, first, [0, 1, 2, 6])
        ends = [size(first) * 5, *(0 for _ in others)]
        assert [row[-1] for row in await audited(after)] == ends


async def test_a_batch_damaged_on_the_disk_halts_and_is_read_once_repaired_or_given_up(own: Broker, pottery: World) -> None:
    await begun(pottery, 0)
    await filled(pottery, 1, 2, 3)
    damaged = segments(own, pottery)
    for one in damaged.values():
        one.flip(3)
    repaired, *lost = FILLED
    async with pottery.running():
        await reaches(pottery.halted, dict.fromkeys(places(pottery).values(), "unreadable_batch"))
        assert await pottery.taken() == {pot: [0, 1] for pot in POTS}
        was, offered = await seen(pottery, places(pottery)[repaired])
        assert (was["batch_start"], was["batch_end"]) == (size(repaired) * 3, size(repaired) * 4)
        assert "checksum" in was["fault"]
        assert [command.partition(" --at ")[2].partition(" ")[0] for command in offered] == ["", "batch-end", "end"]
        await pottery.decide(places(pottery)[lost[0]], "")
        await reaches(lambda: halts_since(pottery, lost[0]), True)
        damaged[repaired].flip(3)
        await pottery.decide(places(pottery)[repaired], "")
        for n in lost:
            await pottery.decide(places(pottery)[n], "batch-end")
        await takes(pottery, repaired, [0, 1, 2, 3])
        for n in lost:
            await takes(pottery, n, [0, 1, 3])
    assert await pottery.halted() == {}


async def halts_since(pottery: World, partition: int) -> bool:
    """Halted again after a decision: the batch was tried, and is as bad as before."""
    sql = "select coalesce(halted_since > (select max(at) from audit), false) as so from partition where topic = $1 and partition = $2"
    [row] = await pottery.rows(sql, f"pots-{pottery.tag}", partition)
    return bool(row["so"])
