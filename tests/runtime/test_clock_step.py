"""The database's clock is set forward or back under a ticker: nothing fires for a minute, operators read why, and no feed is taken for silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from stream import hours, minutes, seconds
from stream.adapters.memory_database import MemoryDatabase
from stream.runtime.ticker import STEP, WARY, StepGuard, Ticker
from stream.runtime.waiting import Stop
from tests.runtime.test_ticker import EggLaid, Kitchen, MealOrdered, kitchen


@dataclass
class Hands:
    """Two clocks that are moved by hand: the database's real one, and our own measure of time."""

    clock: datetime = datetime(2026, 3, 2, 12, tzinfo=UTC)
    passed: float = 0.0

    def run(self, for_seconds: float) -> None:
        self.clock += timedelta(seconds=for_seconds)
        self.passed += for_seconds


@dataclass
class Watched(Kitchen):
    """A kitchen by those hands, whose feeds lag unless `fed`."""

    hands: Hands = field(default_factory=Hands)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(lambda: self.hands.clock)
        super().__post_init__()
        self.ticker = Ticker(kitchen.feeds, self.parts, Stop(), StepGuard(lambda: self.hands.passed))

    @property
    def said(self) -> list[str]:
        return [wait.what for wait in self.parts.waits.now()]

    async def look(self, times: int, *, fed: bool = True) -> None:
        for _ in range(times):
            self.hands.run(0.5)
            await (self.tick(1) if fed else self.ticker.turn())


@pytest.fixture
async def room() -> Watched:
    """An egg that is done in an hour."""
    one = Watched()
    await one.say(EggLaid(id="a"), MealOrdered(id="a"))
    await one.take()
    await one.look(4)
    return one


def boiled(one: Watched) -> bool:
    return any(entity.state == "boiled" for entity in one.database.entities.values())


@pytest.mark.parametrize("by", [hours(2), -hours(2), STEP + seconds(1), -STEP - seconds(1)])
async def test_a_step_stops_the_firing_for_a_minute_and_says_so(room: Watched, by: timedelta) -> None:
    room.database.ahead += hours(2) + abs(by)
    room.hands.clock += by
    await room.look(20)
    assert (boiled(room), room.said) == (False, ["clock stepped"])
    (wait,) = room.parts.waits.now()
    assert f"was stepped by {by.total_seconds():+,.0f} s: " in wait.detail
    await room.look(int(WARY * 2))
    assert (boiled(room), room.said) == (True, [])


async def test_a_second_step_begins_the_minute_anew(room: Watched) -> None:
    room.hands.clock += hours(2)
    await room.look(int(WARY))
    room.hands.clock -= minutes(5)
    await room.look(int(WARY * 1.5))
    assert (boiled(room), room.said) == (False, ["clock stepped"])


async def test_the_movable_clock_is_no_step(room: Watched) -> None:
    room.database.ahead += hours(2)
    await room.look(10)
    assert (boiled(room), room.said) == (True, [])


async def test_what_a_clock_drifts_is_no_step(room: Watched) -> None:
    for _ in range(30):
        room.hands.clock += STEP / 2
        await room.look(1)
    assert room.said == []


async def test_a_step_makes_no_feed_silent(room: Watched) -> None:
    """Ten minutes of silence are passed over; an hour by which the clock was set forward is none."""
    room.hands.clock += hours(2)
    await room.look(int(WARY * 2) + 20, fed=False)
    assert not boiled(room)
    await room.look(10)
    assert boiled(room)
