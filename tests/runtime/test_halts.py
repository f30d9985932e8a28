"""A log that is not the one that was read, a batch nobody can read, a record nobody can store: halted, kept, decided. A whole worker in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import anyio
import pytest

from stream.adapters.memory_log import MemoryBroker
from stream.core.halt import HaltReason, Seen
from stream.core.record import TopicPartition
from stream.runtime import reader
from stream.runtime.assignment import Holding
from stream.runtime.lane import Lane
from tests.integration.runtime.world import reaches
from tests.runtime.hall import (
    ADDED,
    ANOMALIES,
    BESIDE,
    ROW,
    Hall,
    R,
    added,
    ahead,
    anew,
    begun,
    drained,
    named,
    overrun,
    refused,
    regrown,
    unreadable,
)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "REST", 0.02)
    monkeypatch.setattr(reader, "WITHIN", timedelta(milliseconds=20))


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LOOK", 0.0)


@pytest.mark.parametrize(("spoil", "place", "reason"), ANOMALIES, ids=named)
async def test_an_anomaly_found_on_claim_halts_that_partition_only_and_still_after_a_restart(
    spoil: Callable[[Hall], None], place: TopicPartition, reason: HaltReason
) -> None:
    hall = await begun()
    spoil(hall)
    hall.hit(BESIDE, 7)
    async with hall.working():
        await reaches(hall.reasons, {place: reason})
        await reaches(hall.hits, {"rows 0": [*range(6)], "seats 0": [7]})
    halt, epoch = hall.halt(place), hall.database.partitions[place].epoch
    # What was refused would be taken now: nobody asked for it.
    hall.refused = -1
    hall.hit(BESIDE, 8)
    async with hall.working():
        await reaches(lambda: _adopted_since(hall, place, epoch), True)
        await reaches(hall.hits, {"rows 0": [*range(6)], "seats 0": [7, 8]})
    assert hall.halt(place) == halt
    assert hall.database.partitions[ROW].next_offset == 6


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize(("spoil", "place", "reason"), ANOMALIES, ids=named)
async def test_an_anomaly_that_comes_up_while_running_halts_that_partition_only(
    spoil: Callable[[Hall], None], place: TopicPartition, reason: HaltReason
) -> None:
    hall = Hall()
    hall.hit(ROW, *range(6))
    async with hall.working():
        await reaches(hall.hits, {"rows 0": [*range(6)]})
        await drained(hall)
        spoil(hall)
        hall.hit(BESIDE, 7)
        await reaches(hall.reasons, {place: reason})
        await reaches(hall.hits, {"rows 0": (await hall.hits())["rows 0"], "seats 0": [7]})
    assert (await hall.hits())["rows 0"][:6] == [*range(6)]


async def _adopted_since(hall: Hall, place: TopicPartition, epoch: int) -> bool:
    return hall.database.partitions[place].epoch > epoch


async def settled(hall: Hall) -> None:
    """Until what comes after on another partition was taken: readers had their turns."""
    hall.hit(BESIDE, 1)
    await reaches(lambda: _row(hall, BESIDE), [1])


DECISIONS = [
    (overrun, ROW, 15, [*range(6), 19]),
    (ahead, ROW, 0, [*range(6), 50]),
    (regrown, ROW, 0, [*range(6), *range(100, 120)]),
    (anew, ROW, 0, [*range(6), *range(100, 120)]),
    (unreadable, ROW, 8, [*range(6), 99]),
    (refused, ROW, 7, [*range(6), 50]),
]


@pytest.mark.parametrize(("spoil", "place", "target", "wanted"), DECISIONS, ids=named)
async def test_a_decision_is_noticed_by_a_running_worker_and_holds_after_a_restart(
    spoil: Callable[[Hall], None], place: TopicPartition, target: int, wanted: list[int]
) -> None:
    hall = await begun()
    spoil(hall)
    async with hall.working():
        await reaches(lambda: _halted(hall, place), True)
        halt = hall.halt(place)
        assert halt is not None
        await hall.decide(place, target, forget=halt.reason in (R.OFFSET_AHEAD, R.TRUNCATED, R.MADE_ANEW))
        if 50 in wanted:
            hall.hit(place, 50)
        await reaches(lambda: _row(hall, place), wanted)
    assert hall.halt(place) is None
    hall.hit(place, 60)
    async with hall.working():
        await reaches(lambda: _row(hall, place), [*wanted, 60])


async def _halted(hall: Hall, place: TopicPartition) -> bool:
    return hall.halt(place) is not None


async def _row(hall: Hall, place: TopicPartition) -> object:
    return (await hall.hits()).get(f"{place.topic} {place.partition}")


async def test_an_added_partition_is_read_once_it_is_accepted() -> None:
    hall = await begun()
    added(hall)
    async with hall.working():
        await reaches(hall.reasons, {ADDED: R.PARTITION_ADDED})
        assert "rows 2" not in await hall.hits()
        await hall.decide(ADDED, 0)
        await reaches(lambda: _row(hall, ADDED), [1])


async def test_what_was_tried_again_and_fails_again_is_halted_again() -> None:
    hall = await begun()
    unreadable(hall)
    async with hall.working():
        await reaches(hall.reasons, {ROW: R.UNREADABLE_BATCH})
        first = hall.halt(ROW)
        await hall.decide(ROW, 6)

        async def again() -> bool:
            return (now := hall.halt(ROW)) is not None and now != first

        await reaches(again, True)
    assert (await hall.hits())["rows 0"] == [*range(6)]


async def test_a_batch_nobody_can_read_halts_only_after_all_before_it_is_committed() -> None:
    hall = await begun()
    hall.hit(ROW, 6, 7)
    bad = hall.broker.append_broken(ROW, records=2)
    hall.gate = anyio.Event()
    async with hall.working():

        async def waits() -> bool:
            return hall.met > 1

        await reaches(waits, True)
        assert hall.halt(ROW) is None
        hall.gate.set()
        await reaches(hall.reasons, {ROW: R.UNREADABLE_BATCH})
    halt = hall.halt(ROW)
    assert halt is not None
    assert halt.seen == Seen(8, batch_start=bad.start, batch_end=bad.stop)
    assert hall.database.partitions[ROW].next_offset == 8


async def test_a_refused_record_halts_with_what_the_database_said_and_all_before_it_taken() -> None:
    hall = await begun()
    hall.hit(ROW, 6, 7)
    refused(hall)
    async with hall.working():
        await reaches(hall.reasons, {ROW: R.REFUSED})
    halt = hall.halt(ROW)
    assert halt is not None
    assert halt.seen == Seen(8, offset=8, fault="the database refused the data (22001)")
    assert (await hall.hits())["rows 0"] == [*range(8)]


async def test_the_right_log_found_again_takes_the_halt_back_with_a_line_in_the_audit() -> None:
    hall = await begun()
    right, wrong = hall.broker, MemoryBroker({"rows": 2, "seats": 1})
    hall.broker = wrong
    async with hall.working():
        await reaches(hall.reasons, {ROW: R.OFFSET_AHEAD})
    hall.broker = right
    hall.hit(ROW, 6)
    async with hall.working():
        await reaches(hall.hits, {"rows 0": [*range(7)]})
    assert [(d.actor, d.position, d.target) for d in hall.database.decisions] == [("w", 6, 6)]


async def test_a_log_that_only_looks_right_takes_no_halt_back() -> None:
    hall = await begun()
    hall.broker.cut(ROW, 3)
    async with hall.working():
        await reaches(hall.reasons, {ROW: R.OFFSET_AHEAD})
    # Grown beyond the position, and the record that could prove anything is deleted.
    hall.hit(ROW, *range(100, 120))
    hall.broker.trim(ROW, 6)
    epoch = hall.database.partitions[ROW].epoch
    async with hall.working():
        await reaches(lambda: _adopted_since(hall, ROW, epoch), True)
        await settled(hall)
        assert await hall.reasons() == {ROW: R.OFFSET_AHEAD}


@pytest.mark.usefixtures("at_every_step")
async def test_looking_at_the_log_between_batches_loses_nothing_doubles_nothing_and_says_nothing_untrue(monkeypatch: pytest.MonkeyPatch) -> None:
    hall, chance, statements = Hall(), Random(7), list[int]()

    def drained(held: Holding, asked: datetime | None) -> None:
        vars(held)["drained_at"] = asked
        if asked and held.place == ROW:
            assert held.next_offset is not None
            # Whatever had come before it was asked is applied, if the statement is true.
            assert held.next_offset >= sum(at < asked for at in hall.times)
            statements.append(held.next_offset)

    def stated(held: Holding) -> datetime | None:
        asked: datetime | None = vars(held)["drained_at"]
        return asked

    def clock(_: Lane) -> datetime:
        return hall.database.now()

    monkeypatch.setattr(Holding, "drained_at", property(stated, drained), raising=False)
    monkeypatch.setattr(Lane, "clock", property(clock, lambda lane, now: None), raising=False)
    async with hall.working():
        for n in range(150):
            hall.hit(ROW, n)
            for _ in range(chance.randrange(40)):
                await anyio.lowlevel.checkpoint()
            if n == 75:
                # One statement half-way for certain, whatever the machine's speed.
                await reaches(lambda: _last(statements), 76)
        await reaches(lambda: _row(hall, ROW), [*range(150)])
        await reaches(lambda: _last(statements), 150)
    assert hall.database.partitions[ROW].counts["duplicate"] == 0
    assert len(set(statements)) > 1


async def _last(statements: list[int]) -> int:
    return statements[-1] if statements else 0
