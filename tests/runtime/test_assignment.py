"""Partitions that come and go, and what is said of it."""

from __future__ import annotations

from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_store import MemoryStore
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.errors import FencedError
from stream.core.record import Record, TopicPartition
from stream.runtime.assignment import Holding, Holdings
from stream.runtime.lane import Lane, LaneSettings
from stream.runtime.waiting import Stop, Waits

PLACE, OTHER = TopicPartition("pots", 0), TopicPartition("pots", 1)


@pytest.mark.parametrize(("fetched", "taken", "busy"), [(0, False, 0), (1, False, 1), (1, True, 1)])
def test_a_revocation_says_how_many_partitions_had_work_in_flight(fetched: int, taken: bool, busy: int) -> None:
    arrived: list[Holding] = []
    holdings = Holdings(arrived.append)
    holdings.assigned([PLACE, OTHER], 3)
    held = arrived[0]
    held.open(1, 0)
    if fetched:
        held.put([Record("pots", 0, 0, 0, None, b"{}")], 1)
    if taken:
        assert held.take(10, 1000)
    with capture_logs() as lines:
        holdings.revoked([PLACE, OTHER])
        holdings.revoked([PLACE])
    assert lines == [{"event": "partitions revoked", "partitions": 2, "busy": busy, "log_level": "info"}]
    assert not held.live


def test_a_commit_that_is_heard_of_after_the_loss_gives_no_position_back() -> None:
    held = Holding(PLACE, 3)
    held.open(1, 0)
    held.put([Record("pots", 0, 0, 0, None, b"{}")], 1)
    assert held.take(10, 1000)
    held.lost()
    held.committed(1)
    assert held.next_offset is None


async def test_a_fence_on_what_was_cut_before_leaves_alone_what_came_back_meanwhile() -> None:
    holdings, stop = Holdings(lambda _: None), Stop()
    holdings.assigned([PLACE], 3)
    holdings.places[PLACE].open(1, 0)
    holdings.places[PLACE].put([Record("pots", 0, 0, 0, None, b"{}")], 1)

    async def fenced(*_: object) -> NoReturn:
        holdings.assigned([PLACE], 4)
        holdings.places[PLACE].open(2, 0)
        stop.set()
        raise FencedError((PLACE,))

    settings = LaneSettings(number=0, lanes=1, batch=10, batch_bytes=1000, wake=lambda: None, waits=Waits())
    store = MemoryStore(MemoryDatabase())
    await Lane(settings, holdings=holdings, store=store, carry=fenced, telemetry=MemoryTelemetry(), stop=stop).run()
    assert holdings.places[PLACE].next_offset == 0
