"""The worker: group assignment in, committed batches out; a log that fails is thrown away and built anew.

Theory of operation. The store's positions are the truth, the fence in each commit makes them safe, so nothing here needs to be careful
about who owns what: a partition that was taken away ends in a FencedError and nothing of ours is kept. A session is one Log: when it has
a fault, or a reader gives it up, the whole session ends and the next one adopts everything again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import anyio
import anyio.abc
import structlog

from stream.core.errors import FencedError, UnavailableError
from stream.core.record import TopicPartition
from stream.ports import Log, Store, Telemetry
from stream.runtime.assignment import Holding, Holdings
from stream.runtime.doors import Carry
from stream.runtime.lane import Lane, LaneSettings
from stream.runtime.reader import Adopter, Reader, ReaderPorts
from stream.runtime.waiting import Stop, Trouble, Waits

PAUSED = "intake paused"


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """`owner` names this process in the store; `high` and `low` are unsent outbox rows at which intake pauses and goes on."""

    topics: Collection[str]
    group: str
    owner: str
    lanes: int = 2
    batch: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    high: int = 100_000
    low: int = 50_000
    drain: float = 10.0


@dataclass(frozen=True, kw_only=True)
class WorkerParts:
    """Factories of what a session needs; `wake` tells a relay in this process that messages were committed."""

    log: Callable[[], Log]
    store: Callable[[], Store]
    carry: Carry
    telemetry: Telemetry
    wake: Callable[[], None]
    waits: Waits = field(default_factory=Waits)


class Worker:
    """Runs sessions until the stop is set."""

    def __init__(self, settings: WorkerSettings, parts: WorkerParts, stop: Stop) -> None:
        self._settings, self._parts, self._stop = settings, parts, stop

    async def run(self) -> None:
        trouble = Trouble("joining the group", self._stop, self._parts.waits)
        while not self._stop:
            away: BaseException | None = None
            try:
                await Session(self._settings, self._parts, self._stop).run(trouble.over)
            except* (UnavailableError, FencedError) as errors:
                # Also from a reader's task, when it gives its client up.
                away = errors.exceptions[0]
            if away:
                await trouble.wait(away)


class Session:
    """One Log from start to stop, with its lanes and readers."""

    def __init__(self, settings: WorkerSettings, parts: WorkerParts, stop: Stop) -> None:
        self._set, self._parts, self._outer = settings, parts, stop
        self._end, self._paused = Stop(), False
        self._holdings = Holdings(self._arrived)
        self._readers: dict[TopicPartition, Reader] = {}
        self._log = parts.log()
        self._adopter = Adopter(parts.store(), settings.owner)
        self._lanes = [self._lane(n) for n in range(settings.lanes)]
        self._tasks: anyio.abc.TaskGroup | None = None
        self._early: list[Holding] = []

    def _lane(self, number: int) -> Lane:
        s, parts = self._set, self._parts
        settings = LaneSettings(number=number, lanes=s.lanes, batch=s.batch, batch_bytes=s.batch_bytes, wake=parts.wake, waits=parts.waits)
        return Lane(settings, holdings=self._holdings, store=parts.store(), carry=parts.carry, telemetry=parts.telemetry, stop=self._end)

    async def run(self, joined: Callable[[], None]) -> None:
        try:
            await self._log.start(self._set.topics, self._set.group, self._holdings)
            joined()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for held in self._early:
                    self._read(held)
                for lane in self._lanes:
                    tasks.start_soon(lane.run)
                await self._watch()
                self._end.set()
                # Readers and lanes see the flag and end by themselves; past the deadline the fence does what is left.
                tasks.cancel_scope.deadline = anyio.current_time() + self._set.drain
        finally:
            self._parts.waits.end(PAUSED)
            self._end.set()
            with anyio.CancelScope(deadline=anyio.current_time() + self._set.drain, shield=True):
                await self._mirror()
                # Before the log, which may take all the time there is: whoever runs sessions one after the other would leave a connection each time.
                await self._adopter.close()
                await self._log.stop()

    def _arrived(self, held: Holding) -> None:
        if self._end:
            # We are leaving, and the group does not know it yet: whoever gets this partition next reads it.
            return
        if self._tasks:
            self._read(held)
        else:
            self._early.append(held)

    def _read(self, held: Holding) -> None:
        assert self._tasks is not None
        before = self._readers.get(held.place)
        lane = self._lanes[held.place.partition % self._set.lanes]
        ports = ReaderPorts(
            log=self._log,
            adopter=self._adopter,
            batch=self._set.batch,
            clock=lambda: lane.clock,
            paused=lambda: self._paused,
            ready=lane.bell.ring,
            waits=self._parts.waits,
        )
        reader = self._readers[held.place] = Reader(held, ports, stop=self._end, after=before.done if before else None)
        self._tasks.start_soon(reader.run)

    async def _watch(self) -> None:
        """Every second: is the log well, is the outbox too full; every five, the mirror. Ends the session by returning."""
        trouble = Trouble("outbox depth", self._outer, self._parts.waits)
        turn = 0
        while not self._outer:
            await self._outer.pause(1.0)
            if why := self._log.fault():
                structlog.get_logger("stream").warning("the log client is given up, and built anew", reason=why)
                return
            try:
                async with self._adopter.turn() as store:
                    self._pressure(await store.backlog())
                trouble.over()
            except UnavailableError as error:
                await trouble.wait(error)
            turn += 1
            if turn % 5 == 0:
                await self._mirror()

    def _pressure(self, backlog: int) -> None:
        # Two marks, not one: a partition paused and resumed in turns throws its prefetched data away each time.
        was, self._paused = self._paused, backlog > (self._set.low if self._paused else self._set.high)
        if self._paused:
            self._parts.waits.begin(PAUSED, f"{backlog} messages unsent: it goes on at {self._set.low}")
        else:
            self._parts.waits.end(PAUSED)
        if was is not self._paused:
            structlog.get_logger("stream").warning(PAUSED if self._paused else "intake goes on", unsent=backlog)

    async def _mirror(self) -> None:
        offsets = {place: held.next_offset for place, held in self._holdings.places.items() if held.next_offset is not None}
        if offsets:
            try:
                await self._log.mirror(offsets)
            except UnavailableError as error:
                structlog.get_logger("stream").debug("offsets not mirrored", error=str(error))
