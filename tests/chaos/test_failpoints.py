"""Every step of the path times every way to fail there, on real parts: nothing is lost, nothing is doubled, and it goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from stream.adapters.postgres.statements import statements
from stream.runtime import notifier, ticker
from tests.chaos import armed
from tests.chaos.cases import Building
from tests.chaos.failpoints import ACTIONS, Action
from tests.chaos.kiln_room import Kilns
from tests.chaos.steps import PEOPLED, POINTS, STEPS

AT_ONCE, PEOPLED_AT_ONCE = 6, 3
"""Cases; where people are at work, less of their time is waiting."""
SLICE = "save history:before"
PEOPLED_SLICE = ("timers/save notices:after", "desk/close tasks:after", "desk/committed:after", "tell:after")
HELD = {
    *("drop_held", "fence_shard", "follow_lines", "lines_of_held", "lock_lines", "note_held"),
    *("places_of_held", "read_lines", "refuse_again", "retry_held", "settle_sent", "stop_lines"),
}
ELSEWHERE = {"rollback", "outcome", "halt", "halted", "resume", "claim_letters", "retry_lines", "move_clock"} | HELD
"""What follows a failure, a halt, or a message the broker refused; and what an operator does."""


@pytest.fixture(autouse=True)
def rotating_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ticker, "ROTATE", armed.OFTEN)
    monkeypatch.setattr(notifier, "TTL", armed.SOON)
    # A traceback for every planted error, drawn for a terminal, takes longer than its case.
    with capture_logs():
        yield


def test_every_statement_is_a_step_and_every_step_has_a_point() -> None:
    known = {name for file in ("queries.sql", "publishing.sql") for name in statements("stream.adapters.postgres", file)}
    assert known - set(STEPS) == ELSEWHERE
    reached = {
        point.partition(":")[0].partition("/")[2] or point.partition(":")[0] for points in (*POINTS.values(), *PEOPLED.values()) for point in points
    }
    assert set(STEPS.values()) <= reached


@pytest.mark.parametrize("part", POINTS)
async def test_a_process_killed_at_any_step_loses_and_doubles_nothing(rooms: Building, part: str) -> None:
    assert not await _faults(rooms, [(point, "kill") for point in POINTS[part]])


async def test_a_step_may_fail_in_any_way(rooms: Building) -> None:
    assert not await _faults(rooms, [(SLICE, action) for action in ACTIONS])


@pytest.mark.proof
@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "kill"])
@pytest.mark.parametrize("part", POINTS)
async def test_any_step_may_fail_in_any_way(rooms: Building, part: str, action: Action) -> None:
    assert not await _faults(rooms, [(point, action) for point in POINTS[part]])


async def test_a_process_killed_where_people_are_asked_and_told_loses_and_doubles_nothing(kilns: Kilns) -> None:
    assert not await _faults(kilns, [(point, "kill") for point in PEOPLED_SLICE], PEOPLED_AT_ONCE)


@pytest.mark.proof
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("part", PEOPLED)
async def test_any_step_may_fail_in_any_way_where_people_are_asked_and_told(kilns: Kilns, part: str, action: Action) -> None:
    assert not await _faults(kilns, [(point, action) for point in PEOPLED[part]], PEOPLED_AT_ONCE)


async def _faults(rooms: Building, cases: Sequence[tuple[str, Action]], at_once: int = AT_ONCE) -> dict[str, list[str]]:
    """What went wrong, by case; a few cases at once, since most of their time is waiting."""
    found: dict[str, list[str]] = {}
    few = anyio.CapacityLimiter(at_once)

    async def go(point: str, action: Action) -> None:
        async with few:
            if faults := await rooms.case(point, action):
                found[f"{point}, {action}"] = faults

    async with anyio.create_task_group() as tasks:
        for point, action in cases:
            tasks.start_soon(go, point, action)
    return found
