"""A reader: adopts one partition, checks it against the log, seeks, and keeps one batch of it ready."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import structlog

from stream.core.errors import FencedError, UnavailableError, UnreadableBatchError
from stream.core.record import Record, fingerprint
from stream.ports import Log, Position, Store
from stream.runtime.assignment import Holding
from stream.runtime.waiting import Stop, Trouble

WITHIN = timedelta(milliseconds=500)
PATIENCE = 20
"""Failed fetches in a row after which the client itself is given up (about a minute)."""
LOOK = 60.0
"""Seconds between looks at where the log begins and ends. Seldom: each look queues behind the long poll of the connection all partitions share."""
SUSPECT = 3
"""Failed fetches in a row after which that look is taken at once: they may be asking for what is no longer there."""

OVERRUN = "records were deleted before they were read"
ANEW = "the topic was made anew or cut"
CHOICES = {
    OVERRUN: (
        "stop the workers and set next_offset of the partition's row to the log's begin: what is between is given up",
        "before that, send the missing events again from their source: those that were applied are known and passed over",
    ),
    ANEW: (
        "if this is another cluster or topic than before: correct the settings and start again",
        "if made anew on purpose: stop the workers, set the partition row's next_offset to the log's begin, last_offset and fingerprint to null",
    ),
}
"""What an operator can do about a halted partition. Nothing of it is done without being asked."""


class Adopter:
    """The store that readers adopt through: one connection, one adoption at a time."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner, self._turn = store, owner, anyio.Lock()

    async def adopt(self, held: Holding, begin: int) -> Position:
        async with self._turn:
            return await self._store.adopt(held.place, owner=self._owner, generation=held.generation, begin=begin)

    async def backlog(self) -> int:
        async with self._turn:
            return await self._store.backlog()

    async def close(self) -> None:
        await self._store.close()


@dataclass(kw_only=True)
class ReaderPorts:
    """What a reader works with. `clock` is the lane's last look at database time; `paused` says that the outbox is too full."""

    log: Log
    adopter: Adopter
    batch: int
    clock: Callable[[], datetime | None]
    paused: Callable[[], bool]
    ready: Callable[[], None]


class Reader:
    """Runs from assignment to revocation, after the reader of an earlier assignment of the same partition has ended."""

    def __init__(self, held: Holding, ports: ReaderPorts, *, stop: Stop, after: anyio.Event | None) -> None:
        self._held, self._ports, self._stop, self._after = held, ports, stop, after
        self._trouble = Trouble(f"reading {held.place.topic}/{held.place.partition}", stop)
        self._looked = -math.inf
        self.done = anyio.Event()

    @property
    def _on(self) -> bool:
        return self._held.live and not self._stop

    async def run(self) -> None:
        try:
            if self._after:
                await self._after.wait()
            while self._on and not self._held.halted:
                try:
                    await (self._open() if self._held.next_offset is None else self._step())
                except UnreadableBatchError as error:
                    await self._trouble.wait(error)
                except (UnavailableError, FencedError) as error:
                    await self._trouble.wait(error)
                    if self._trouble.failures > PATIENCE:
                        raise
                    if self._trouble.failures == SUSPECT:
                        self._looked = -math.inf
        finally:
            self.done.set()

    async def _open(self) -> None:
        """Adopt, compare the stored position with the log, seek; only then is anything fetched. A mismatch halts, it never resets."""
        place, log = self._held.place, self._ports.log
        begin, end = await log.bounds(place)
        stored = await self._ports.adopter.adopt(self._held, begin)
        if stored.next_offset > end:
            # While we waited for its transaction, the owner before us may have moved past the end we had seen.
            begin, end = await log.bounds(place)
        self._looked = anyio.current_time()
        why = _outside(begin, stored.next_offset, end) or await self._replaced(stored, begin)
        if why:
            self._halt(why, stored.next_offset, begin, end)
            return
        await log.seek(place, stored.next_offset)
        if self._held.live:
            self._held.open(stored.epoch, stored.next_offset)
        self._trouble.over()

    async def _replaced(self, stored: Position, begin: int) -> str:
        """Why the log is not the one we read, if another record stands where the last one applied was. Deleted or compacted proves nothing."""
        last, log = stored.last_offset, self._ports.log
        if last is None or last < begin:
            return ""
        await log.seek(self._held.place, last)
        found = await log.fetch(self._held.place, limit=1, within=WITHIN)
        if not found and await log.position(self._held.place) <= last:
            raise UnavailableError(f"the log does not say which record is at {last}")
        return ANEW if found and found[0].offset == last and fingerprint(found[0]) != stored.fingerprint else ""

    async def _look(self) -> None:
        """Where the log begins and ends, against where we read. What was read before stays ready: it may be nowhere else any more."""
        if anyio.current_time() - self._looked < LOOK:
            return
        self._looked = anyio.current_time()
        at = await self._ports.log.position(self._held.place)
        begin, end = await self._ports.log.bounds(self._held.place)
        if self._on and (why := _outside(begin, at, end)):
            self._halt(why, at, begin, end)

    def _halt(self, why: str, at: int, begin: int, end: int) -> None:
        self._held.halted, self._held.drained_at = True, None
        where = f"{self._held.place.topic}/{self._held.place.partition}"
        log = structlog.get_logger("stream")
        log.error("partition halted: " + why, place=where, position=at, begin=begin, end=end, choices=CHOICES[why])

    async def _step(self) -> None:
        await self._look()
        if not self._on or self._held.halted:
            return
        if self._held.full or self._ports.paused():
            await self._held.room.wait(0.5)
            return
        asked = self._ports.clock()
        records = await self._ports.log.fetch(self._held.place, limit=self._ports.batch, within=WITHIN)
        self._trouble.over()
        if records:
            # Nothing is awaited in between: what was fetched and then dropped by an error would never be fetched again.
            self._keep(records, records[-1].offset + 1)
        elif self._on:
            self._nothing(asked, await self._ports.log.position(self._held.place))

    def _keep(self, records: Sequence[Record], end: int) -> None:
        if self._on and self._held.next_offset is not None:
            self._held.put(records, end)
            self._ports.ready()

    def _nothing(self, asked: datetime | None, end: int) -> None:
        """An empty fetch is the log's own word that there is no more; where its position went on nevertheless, there was nothing but gaps.

        Asking for the log's end beside that would queue, for every partition twice a second, behind the long poll of the one connection that all
        of them share.
        """
        held = self._held
        if held.next_offset is None or held.taken:
            return
        if end > held.next_offset:
            self._keep((), end)
        elif asked and end == held.next_offset:
            held.drained_at = asked


def _outside(begin: int, at: int, end: int) -> str:
    if at < begin:
        return OVERRUN
    return ANEW if at > end else ""
