"""A reader: adopts one partition, checks it against the log, seeks, and keeps one batch of it ready.

Theory of operation. Adoption, and a look within each minute after it, compare the partition with its log; what does not fit halts it, in the
store, and nothing is read until somebody decides. A look reads two records again: the last one read, and the one that was last at the look
before. If the log was exchanged since then and has grown beyond our position, the last one may be of the new log already; the older one is
not. While it looks, the client's position is elsewhere; `_away` remembers where it belongs, and no fetch is made before it is back there. An
empty fetch is a statement ("drained"), and is only made by a step, at the position that belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import msgspec
import structlog

from stream.core.errors import FencedError, UnavailableError, UnreadableBatchError
from stream.core.halt import COMPARED, MEANS, Decision, Halt, HaltReason, Seen
from stream.core.record import Record, fingerprint
from stream.ports import Log, Position, Store
from stream.runtime import waiting
from stream.runtime.assignment import Holding
from stream.runtime.compare import Found, Mark, compare, look
from stream.runtime.waiting import Stop, Trouble, Waits

WITHIN = timedelta(milliseconds=500)
PATIENCE = 20
"""Failed fetches in a row after which the client itself is given up (about a minute)."""
LOOK = 60.0
"""Seconds between looks at the log, at most. Seldom: each one queues behind the long poll of the connection all partitions share."""
SUSPECT = 3
"""Failed fetches in a row after which that look is taken at once: they may be asking for what is no longer there."""
REST = 2.0
"""Seconds between looks at whether somebody has decided about a halted partition."""


class Adopter:
    """The store that readers adopt through: one connection, one call at a time."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._turn, self.owner = store, anyio.Lock(), owner

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[Store]:
        async with self._turn:
            yield self._store

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
    waits: Waits


class Reader:
    """Runs from assignment to revocation, after the reader of an earlier assignment of the same partition has ended."""

    def __init__(self, held: Holding, ports: ReaderPorts, *, stop: Stop, after: anyio.Event | None) -> None:
        self._held, self._ports, self._stop, self._after = held, ports, stop, after
        self._trouble = Trouble(f"reading {held.place.topic}/{held.place.partition}", stop, ports.waits)
        self._topic_id: str | None = None
        self._last: Mark | Record | None = None
        self._before: Mark | None = None
        self._away: int | None = None
        # Within the minute, and not all partitions at once.
        self._looked, self._share = -math.inf, waiting.JITTER.uniform(0.5, 1.0)
        self.done = anyio.Event()

    @property
    def _on(self) -> bool:
        return self._held.live and not self._stop

    async def run(self) -> None:
        try:
            if self._after:
                await self._after.wait()
            while self._on:
                try:
                    await self._turn()
                except (UnavailableError, FencedError) as error:
                    await self._trouble.wait(error)
                    if self._trouble.failures > PATIENCE:
                        raise
                    if self._trouble.failures == SUSPECT:
                        self._looked = -math.inf
        finally:
            self._trouble.gone()
            self.done.set()

    async def _turn(self) -> None:
        if self._held.halted:
            await self._rest()
        elif self._held.next_offset is None:
            await self._open()
        else:
            await self._step()

    # -- adoption --------------------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Adopt, compare the stored position with the log, seek; only then is anything fetched. A mismatch halts, it never resets."""
        stored, found = await self._adopt()
        if stored.halt:
            await self._still(stored, stored.halt, found)
        elif found.reason:
            await self._halt(stored.epoch, found.reason, found.seen)
        else:
            await self._go_on(stored, found.seen)
        self._trouble.over()

    async def _adopt(self) -> tuple[Position, Found]:
        place, log = self._held.place, self._ports.log
        topic, (begin, end) = await log.topic(place.topic), await log.bounds(place)
        async with self._ports.adopter.turn() as store:
            who = self._ports.adopter.owner
            stored = await store.adopt(place, owner=who, generation=self._held.generation, begin=begin, partitions=topic.partitions)
        if stored.next_offset > end:
            # While we waited for its transaction, the owner before us may have moved past the end we had seen.
            begin, end = await log.bounds(place)
        seen = Seen(stored.next_offset, begin=begin, end=end, topic_id=topic.id or "", known_id=stored.topic_id or "")
        return stored, await compare(log, place, seen, _marks(stored))

    async def _go_on(self, stored: Position, seen: Seen) -> None:
        await self._recognize(stored.epoch, seen)
        await self._ports.log.seek(self._held.place, stored.next_offset)
        self._away, self._looked = None, anyio.current_time()
        self._last = self._before = next(iter(_marks(stored)), None)
        if self._held.live:
            self._held.open(stored.epoch, stored.next_offset)

    async def _recognize(self, epoch: int, seen: Seen) -> None:
        """Keep the topic's id where there was none, or where nothing was read of the topic before."""
        if seen.topic_id and seen.topic_id != seen.known_id:
            async with self._ports.adopter.turn() as store:
                await store.recognize(self._held.place, epoch, seen.topic_id)
        self._topic_id = seen.topic_id

    # -- halts -----------------------------------------------------------------------------------------------------------------------

    async def _halt(self, epoch: int, reason: HaltReason, seen: Seen) -> None:
        """In the store, and then here. While it cannot be stored nothing is read: whatever found the reason is done again first."""
        self._held.drained_at = None
        try:
            async with self._ports.adopter.turn() as store:
                await store.halt(self._held.place, epoch, reason, seen)
        except FencedError:
            self._held.lost()
            raise
        self._held.halted = True
        self._say("partition halted", reason, seen)

    async def _stuck(self, error: UnreadableBatchError) -> None:
        """Only when all that stands before the batch is committed: whoever chooses to go on after it must not skip more than it."""
        self._held.drained_at = None
        if self._held.taken:
            await self._held.room.wait(0.5)
        elif (at := self._held.next_offset) is not None:
            seen = Seen(at, batch_start=error.start, batch_end=error.end, fault=error.fault)
            await self._halt(self._held.epoch, HaltReason.UNREADABLE_BATCH, seen)

    async def _still(self, stored: Position, halt: Halt, found: Found) -> None:
        """Halted by somebody before. What a comparison found, a comparison takes back, but only with proof: the very record last applied."""
        if halt.reason in COMPARED and found.reason is None and found.proven:
            at, why = stored.next_offset, "the log was found as it had been read"
            decision = Decision(self._held.place, halt, at, at, forget=False, actor=self._ports.adopter.owner, reason=why)
            async with self._ports.adopter.turn() as store:
                await store.resume(decision)
            return
        self._held.halted = True
        self._say("partition is halted", halt.reason, halt.seen)

    async def _rest(self) -> None:
        await self._held.room.wait(REST)
        async with self._ports.adopter.turn() as store:
            halt = await store.halted(self._held.place)
        self._trouble.over()
        if halt is None:
            # Lost, whoever decided: there is a new epoch, and all that was read under ours is to be read again.
            self._held.halted = False
            self._held.lost()

    def _say(self, what: str, reason: HaltReason, seen: Seen) -> None:
        place = f"{self._held.place.topic}/{self._held.place.partition}"
        told = {"place": place, "reason": str(reason), **msgspec.to_builtins(seen), "choices": f"stream partitions show {place}"}
        structlog.get_logger("stream").error(f"{what}: {MEANS[reason]}", **told)

    # -- reading ---------------------------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        await self._look()
        if not self._on or self._held.halted:
            return
        if self._held.full or self._ports.paused():
            await self._held.room.wait(0.5)
            return
        asked = self._ports.clock()
        try:
            records = await self._ports.log.fetch(self._held.place, limit=self._ports.batch, within=WITHIN)
        except UnreadableBatchError as error:
            await self._stuck(error)
            return
        self._trouble.over()
        if records:
            # Nothing is awaited in between: what was fetched and then dropped by an error would never be fetched again.
            self._keep(records, records[-1].offset + 1)
        elif self._on:
            self._nothing(asked, await self._ports.log.position(self._held.place))

    def _keep(self, records: Sequence[Record], end: int) -> None:
        if self._on and self._held.next_offset is not None:
            self._last = records[-1] if records else self._last
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

    async def _look(self) -> None:
        """Compare what was read with the log. What had been read before stays ready, as it may be nowhere else any more."""
        await self._back()
        if anyio.current_time() - self._looked < LOOK * self._share:
            return
        self._away = await self._ports.log.position(self._held.place)
        last = _mark(self._last)
        seen = await look(self._ports.log, self._held.place, self._away, self._topic_id)
        found = await compare(self._ports.log, self._held.place, seen, [m for m in dict.fromkeys((last, self._before)) if m])
        await self._back()
        if not self._on:
            return
        if found.reason:
            await self._halt(self._held.epoch, found.reason, found.seen)
            if found.proven:
                # It was read from the log as it is now: there is no hurry, and it may not be its turn.
                self._held.lost()
            return
        await self._recognize(self._held.epoch, found.seen)
        self._looked, self._before = anyio.current_time(), last

    async def _back(self) -> None:
        if self._away is not None:
            await self._ports.log.seek(self._held.place, self._away)
            self._away = None


def _mark(last: Mark | Record | None) -> Mark | None:
    return Mark(last.offset, fingerprint(last)) if isinstance(last, Record) else last


def _marks(stored: Position) -> list[Mark]:
    if stored.last_offset is None or stored.fingerprint is None:
        return []
    return [Mark(stored.last_offset, stored.fingerprint)]
