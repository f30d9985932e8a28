"""The ticker: fires what is due, once no feed can still bring the event that would have met it; and rotates what has passed its age."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio
import structlog

from stream.core.app import Feedmap
from stream.core.errors import FencedError, UnavailableError, UnstorableError, outlined
from stream.core.order import Fire
from stream.core.record import Ref
from stream.ports import Store, Telemetry
from stream.ports.timetable import Feeds, Timetable
from stream.runtime.doors import Carry, Timers
from stream.runtime.waiting import Stop, Trouble, Waits
from stream.runtime.watermark import Watermarks, fired, firing, held, step

STEP = timedelta(seconds=10)
"""How far the database's real clock may differ from our own measure of the time between two looks."""
WARY = 60.0
SLOW = timedelta(seconds=10)
"""A feed that keeps clocks waiting for longer is told to operators: every sweep waits a little."""
ROTATE = 60.0


@dataclass(frozen=True, kw_only=True)
class TickerParts:
    """What a ticker works with; `wake` is called after each commit that wrote messages. Seconds: `every` between two looks."""

    timetable: Callable[[], Timetable]
    store: Callable[[], Store]
    carry: Carry
    telemetry: Telemetry
    wake: Callable[[], None]
    every: float = 0.5
    batch: int = 200
    waits: Waits = field(default_factory=Waits)


class StepGuard:
    """Notices when the database's clock is stepped, or another database answers: then nothing fires for a minute, so that somebody can look."""

    def __init__(self, monotonic: Callable[[], float] = anyio.current_time) -> None:
        self._monotonic = monotonic
        self._last: tuple[datetime, float] | None = None
        self._wary_until = float("-inf")
        self.step: timedelta | None = None
        """By how much it was stepped before the last look; None where it was not."""

    def calm(self, clock: datetime) -> bool:
        """Whether timers may fire after a look that read `clock`."""
        now, before = self._monotonic(), self._last
        self._last, self.step = (clock, now), None
        if before:
            off = (clock - before[0]) - timedelta(seconds=now - before[1])
            if abs(off) > STEP:
                structlog.get_logger("stream").warning(
                    "the database's clock was stepped: no timer fires for a while", by=off.total_seconds(), seconds=WARY
                )
                self._wary_until, self.step = now + WARY, off
        return now >= self._wary_until


class Ticker:
    """Any number of tickers may run: a timer is deleted under its entity's lock, so that only one of them fires it."""

    def __init__(self, feedmap: Feedmap, parts: TickerParts, stop: Stop, guard: StepGuard | None = None) -> None:
        self._feedmap, self._parts, self._stop = feedmap, parts, stop
        self._timetable, self._store = parts.timetable(), parts.store()
        self._known, self._guard = Watermarks(), guard or StepGuard()
        self._outages = Trouble("ticker", stop, parts.waits)
        self._refused: dict[Ref, float] = {}
        self._rotated = float("-inf")

    async def run(self) -> None:
        try:
            while not self._stop:
                try:
                    more = await self.turn()
                    self._outages.over()
                except UnavailableError as error:
                    await self._outages.wait(error)
                    more = True
                if not more:
                    await self._stop.pause(self._parts.every)
        finally:
            await self._timetable.close()
            await self._store.close()

    async def turn(self) -> bool:
        """One look, and one batch of what it lets fire; true when that batch was full."""
        await self._rotate()
        look = await self._timetable.feeds()
        calm = self._is_calm(look)
        self._known = step(self._known, self._feedmap, look)
        self._say_held(look)
        if not calm:
            return False
        until = self._until(look)
        limit = self._parts.batch + len(self._refused)
        due = await self._timetable.due(until, limit) if until else ()
        passed = self._passed_over()
        fires = [Fire(ref, until[ref.machine], ref.machine in self._known.marked) for ref, _ in due if ref not in passed]
        first = firing(self._known, self._feedmap)
        if len(due) < limit and not any(fire.ref.machine in first for fire in fires):
            self._known = fired(self._known)
        if fires:
            await self._fire(fires[: self._parts.batch])
        return len(fires) >= self._parts.batch

    def _is_calm(self, look: Feeds) -> bool:
        """Whether the database's clock was steady of late. By one that was stepped nothing is known, least of all how long a feed is silent."""
        calm = self._guard.calm(look.clock)
        if self._guard.step is not None:
            self._known = Watermarks()
            self._parts.waits.begin(
                "clock stepped",
                f"the database's clock was stepped by {self._guard.step.total_seconds():+,.0f} s: nothing fires until it was steady for {WARY:g} s",
            )
        elif calm:
            self._parts.waits.end("clock stepped")
        return calm

    def _say_held(self, look: Feeds) -> None:
        holds, since = held(self._known, self._feedmap, look)
        if holds and look.now - since > SLOW:
            names = sorted(hold if isinstance(hold, str) else f"{hold.topic}/{hold.partition}" for hold in holds)
            self._parts.waits.begin("clocks held", f"by {', '.join(names)}", ago=look.now - since)
        else:
            self._parts.waits.end("clocks held")

    def _until(self, look: Feeds) -> Mapping[str, datetime]:
        # Database time may have been moved back below a watermark: what it has not passed is not due.
        return {machine: min(bound, look.now) for machine, bound in self._known.until.items()}

    def _passed_over(self) -> Set[Ref]:
        now = anyio.current_time()
        return {ref for ref, until in self._refused.items() if until > now}

    async def _fire(self, fires: Sequence[Fire]) -> None:
        """One batch; where the database refuses its effects, halves of it, down to the entity that is passed over for ten minutes."""
        began = time.time_ns()
        try:
            claim, changes = await self._parts.carry(Timers(fires), self._store, "")
        except FencedError:
            # Somebody else changed one of them meanwhile: the next look sees what is left.
            return
        except UnstorableError as error:
            if len(fires) > 1:
                middle = len(fires) // 2
                await self._fire(fires[:middle])
                await self._fire(fires[middle:])
                return
            ref = fires[0].ref
            self._refused[ref] = anyio.current_time() + 600.0
            structlog.get_logger("stream").error("timer refused by the database, passed over", machine=ref.machine, entity=ref.id, error=str(error))
            return
        self._pass_over(changes.stuck)
        if changes.messages:
            self._parts.wake()
        self._parts.telemetry.processed(claim, changes, began, time.time_ns())

    def _pass_over(self, stuck: Mapping[Ref, str]) -> None:
        """Looked at again in a while: meanwhile they must not stand before the others. Said once a batch and cause, for there may be many."""
        self._refused.update(dict.fromkeys(stuck, anyio.current_time() + 600.0))
        causes: dict[tuple[str, str], list[str]] = {}
        for ref, why in stuck.items():
            causes.setdefault((ref.machine, outlined(why)), []).append(ref.id)
        for (machine, why), ids in causes.items():
            structlog.get_logger("stream").error("timers not fired, passed over", machine=machine, entity=ids[0], entities=len(ids), error=why)
            self._parts.waits.begin("clocks passed over", f"{machine} {ids[0]!r} and others like it: {why}; stream machines plan {machine}")

    async def _rotate(self) -> None:
        if anyio.current_time() - self._rotated < ROTATE:
            return
        done = await self._timetable.rotate()
        self._rotated = anyio.current_time()
        self._refused = {ref: until for ref, until in self._refused.items() if until > self._rotated}
        if not self._refused:
            self._parts.waits.end("clocks passed over")
        if done:
            structlog.get_logger("stream").info("rotated", done=list(done))
