"""One seed, from its course to its verdict."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from stream.adapters.memory_outbox import MemoryTimetable
from stream.core.outcome import Outcome
from stream.runtime import notifier
from tests.simulation.app import handlers
from tests.simulation.course import FAR, SPAN, Course
from tests.simulation.loop import SeededLoop, StuckError
from tests.simulation.oracle import judge, seen
from tests.simulation.people import Desk
from tests.simulation.trace import Listener, Trace
from tests.simulation.world import Adapters, World

PATIENCE = 60.0
"""Virtual seconds after the last fault within which everything has to be done."""

SOON = timedelta(seconds=2)
"""After which whoever has a notice in hand and does not settle it is given up."""


@dataclass(frozen=True)
class Result:
    """`faults` is empty when all is well; equal seeds have equal digests."""

    seed: int
    faults: list[str]
    digest: str
    counts: Counter[str]
    lines: list[str]


def play(seed: int, adapters: Adapters | None = None, *, keep: bool = False) -> Result:
    """Run one seed. Nothing but the seed and the adapters decides what happens."""
    loop = SeededLoop(seed)
    trace = Trace(loop.time, keep=keep)
    loop.set_exception_handler(lambda _, context: trace.lost(context))
    handlers.mended = False
    with _quiet():
        Listener(trace, lambda: loop.process_of(None).name).listen()
        try:
            faults = loop.run_until_complete(_go(seed, loop, trace, adapters or Adapters()))
        except StuckError as error:
            faults = [f"stuck: {error}"]
        finally:
            loop.close()
    trace.counts["steps"] = loop.steps
    return Result(seed, [*faults, *trace.errors], trace.digest, trace.counts, trace.lines or [])


@contextmanager
def _quiet() -> Generator[None]:
    """The collector runs between seeds, never within one; the log is ours for that long."""
    before, collecting, ttl = structlog.get_config(), gc.isenabled(), notifier.TTL
    gc.disable()
    notifier.TTL = SOON
    try:
        yield
    finally:
        structlog.configure(**before)
        notifier.TTL = ttl
        if collecting:
            gc.enable()


async def _go(seed: int, loop: SeededLoop, trace: Trace, adapters: Adapters) -> list[str]:
    course = Course(seed)
    world = World(seed, loop, trace, course.settings, adapters)
    desk = Desk(world)
    course.begin(world, desk)
    await asyncio.sleep(SPAN)
    for name in course.roles:
        world.start(name)
    if course.shrinks:
        for name in [*course.roles][1:]:
            world.leave(name)
    faults = await _settled(world, desk)
    if not await world.end(20.0):
        faults.append("a program did not end in time")
    trace.counts.update(seen(world))
    return faults or judge(world)


async def _settled(world: World, desk: Desk) -> list[str]:
    loop, timetable = world.loop, MemoryTimetable(world.database)
    deadline = loop.time() + PATIENCE
    why = ""
    while loop.time() < deadline:
        await asyncio.sleep(0.3)
        why = await _unsettled(world, timetable)
        if not why:
            return []
        if why == "parked":
            await desk.tidy()
        elif why == "timers" and max(t.due for t in world.database.timers.values() if t.due) > world.database.now():
            world.move_clock(FAR)
    return [f"not done after {PATIENCE} seconds: {why}"]


async def _unsettled(world: World, timetable: MemoryTimetable) -> str:
    db = world.database
    if world.servers.underway or world.somebody_is_frozen():
        return "a send is under way, or may be when its program thaws"
    for place in world.consumed:
        row, end = db.partitions.get(place), world.broker.bounds(place)[1]
        if row is None or row.next_offset != end:
            return f"{place} is not at its end: {row}"
    if unsent := (await timetable.feeds()).unsent:
        return f"unsent: {sorted(unsent)}"
    if any(row.outcome is Outcome.PARKED for row in db.waiting.values()):
        return "parked"
    if any(row.status == "waiting" for row in db.notices.values()):
        return "untold"
    return "timers" if any(timer.due for timer in db.timers.values()) else ""
