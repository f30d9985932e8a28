"""A reader: adopts one partition, checks it against the log, seeks, and keeps one batch of it ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import structlog

from stream.core.errors import FencedError, UnavailableError
from stream.ports import Log, Store
from stream.runtime.assignment import Holding
from stream.runtime.waiting import Stop, Trouble

WITHIN = timedelta(milliseconds=500)
PATIENCE = 20
"""Failed fetches in a row after which the client itself is given up (about a minute)."""


class Adopter:
    """The store that readers adopt through: one connection, one adoption at a time."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner, self._turn = store, owner, anyio.Lock()

    async def adopt(self, held: Holding, begin: int) -> tuple[int, int]:
        async with self._turn:
            position = await self._store.adopt(held.place, owner=self._owner, generation=held.generation, begin=begin)
        return position.epoch, position.next_offset

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
                except (UnavailableError, FencedError) as error:
                    await self._trouble.wait(error)
                    if self._trouble.failures > PATIENCE:
                        raise
        finally:
            self.done.set()

    async def _open(self) -> None:
        """Adopt, compare the stored position with the log, seek; only then is anything fetched. A mismatch halts, it never resets."""
        begin, end = await self._ports.log.bounds(self._held.place)
        epoch, stored = await self._ports.adopter.adopt(self._held, begin)
        if not begin <= stored <= end:
            self._halt(begin, stored, end)
            return
        await self._ports.log.seek(self._held.place, stored)
        if self._held.live:
            self._held.open(epoch, stored)
        self._trouble.over()

    def _halt(self, begin: int, stored: int, end: int) -> None:
        self._held.halted = True
        why = "records were deleted before they were read" if stored < begin else "the topic was made anew or cut"
        where = f"{self._held.place.topic}/{self._held.place.partition}"
        structlog.get_logger("stream").error("partition halted: " + why, place=where, stored=stored, begin=begin, end=end)

    async def _step(self) -> None:
        if self._held.full or self._ports.paused():
            await self._held.room.wait(0.5)
            return
        asked = self._ports.clock()
        records = await self._ports.log.fetch(self._held.place, limit=self._ports.batch, within=WITHIN)
        self._trouble.over()
        if not self._on or self._held.next_offset is None:
            return
        end = await self._ports.log.position(self._held.place)
        if records or (end > self._held.next_offset and not self._held.taken):
            self._held.put(records, end)
            self._ports.ready()
        elif asked and not self._held.taken and end == self._held.next_offset:
            # An empty fetch is the log's own word that there is no more. Asking for its end beside that would queue, for every partition twice a
            # second, behind the long poll of the one connection that all of them share.
            self._held.drained_at = asked
