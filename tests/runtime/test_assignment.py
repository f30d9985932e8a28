"""Partitions that come and go, and what is said of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from stream.core.record import Record, TopicPartition
from stream.runtime.assignment import Holding, Holdings

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
