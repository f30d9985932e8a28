"""A lane: one task and one store that carry what its partitions have waiting to a commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import anyio
import structlog

from stream.core.errors import FencedError, UnavailableError, UnstorableError
from stream.core.halt import HaltReason, Seen
from stream.core.record import TopicPartition
from stream.ports import Slice, Store, Telemetry
from stream.runtime.assignment import Holdings
from stream.runtime.doors import Carry, Partitions
from stream.runtime.waiting import Bell, Stop, Trouble, Waits


@dataclass(kw_only=True)
class LaneSettings:
    """What a lane takes at once, and whom it tells. `wake` is called after each commit that wrote messages."""

    number: int
    lanes: int
    batch: int
    batch_bytes: int
    wake: Callable[[], None]
    waits: Waits


class Lane:
    """Takes what waits, never lingers, and is finished with one batch before it takes the next."""

    def __init__(self, settings: LaneSettings, *, holdings: Holdings, store: Store, carry: Carry, telemetry: Telemetry, stop: Stop) -> None:
        self._set, self._holdings, self._store, self._carry = settings, holdings, store, carry
        self._telemetry, self._stop = telemetry, stop
        self._trouble = Trouble(f"lane {settings.number}", stop, settings.waits)
        self._turn = 0
        self._marked = 0.0
        self.bell = Bell()
        self.clock: datetime | None = None
        """Database time as last read: never ahead of it, so a fetch that begins later and comes back empty has seen everything before it."""

    async def run(self) -> None:
        try:
            while not self._stop:
                if slices := self._take():
                    await self._batch(slices)
                else:
                    await self.bell.wait(0.5)
                await self._mark()
        finally:
            await self._store.close()

    def _take(self) -> list[Slice]:
        mine = self._holdings.of_lane(self._set.number, self._set.lanes)
        self._turn += 1
        room, size, taken = self._set.batch, self._set.batch_bytes, list[Slice]()
        for at in range(len(mine)):
            # The start moves on each time, so that no partition is always served first.
            cut = mine[(at + self._turn) % len(mine)].take(room, size) if room > 0 and size > 0 else None
            if cut:
                taken.append(cut)
                room -= len(cut.records)
                size -= sum(len(r.value or b"") for r in cut.records)
        return sorted(taken, key=lambda s: s.place)

    async def _batch(self, slices: Sequence[Slice]) -> None:
        """Until committed, fenced, or stopped. A batch dropped by the stop was not committed: its next owner reads it again."""
        while slices and not self._stop:
            try:
                await self._commit(slices)
                return
            except UnavailableError as error:
                await self._trouble.wait(error)
            except FencedError as error:
                slices = await self._fenced(slices, error)
            except UnstorableError as error:
                await self._bisect(slices, error)
                return

    async def _commit(self, slices: Sequence[Slice], fault: str = "") -> None:
        began = time.time_ns()
        claim, changes = await self._carry(Partitions(slices), self._store, fault)
        self._trouble.over()
        for cut in slices:
            if held := self._holdings.holding(cut):
                held.committed(cut.end)
        if changes.messages:
            self._set.wake()
        self._telemetry.processed(claim, changes, began, time.time_ns())

    async def _fenced(self, slices: Sequence[Slice], error: FencedError) -> list[Slice]:
        """Let go of the partitions named. A fence on anything else (an entity) names none: then all go, and are adopted again after a pause."""
        named = {lost for lost in error.lost if isinstance(lost, TopicPartition)}
        gone = named or {s.place for s in slices}
        structlog.get_logger("stream").warning("fenced", places=[f"{p.topic}/{p.partition}" for p in sorted(gone)])
        for cut in slices:
            if cut.place in gone and (held := self._holdings.holding(cut)):
                held.lost()
        if not named:
            await self._trouble.wait(error)
        return [s for s in slices if s.place not in gone]

    async def _bisect(self, slices: Sequence[Slice], error: UnstorableError) -> None:
        """Halve down to the one record whose effects the database refuses; that one goes again with the fault, which parks its entity."""
        if len(slices) > 1:
            for cut in slices:
                await self._batch([cut])
        elif len(slices[0].records) > 1:
            first, second = _halves(slices[0])
            await self._batch([first])
            # The second half may only go when the first is committed: its start is the position that leaves.
            held = self._holdings.holding(first)
            if held and held.next_offset == first.end:
                held.taken = True
                await self._batch([second])
        else:
            await self._faulty(slices[0], error)

    async def _faulty(self, cut: Slice, error: UnstorableError) -> None:
        while not self._stop:
            try:
                await self._commit([cut], fault=str(error) or "refused by the database")
                return
            except UnavailableError as away:
                await self._trouble.wait(away)
            except FencedError as fenced:
                await self._fenced([cut], fenced)
                return
            except UnstorableError as again:
                await self._halt(cut, again)
                return

    async def _halt(self, cut: Slice, error: UnstorableError) -> None:
        """Stored, so that the next owner does not run into the same; a stop before that leaves it to find out by itself."""
        seen = Seen(cut.start, offset=cut.records[0].offset if cut.records else None, fault=str(error))
        while not self._stop:
            try:
                await self._store.halt(cut.place, cut.epoch, HaltReason.REFUSED, seen)
            except UnavailableError as away:
                await self._trouble.wait(away)
                continue
            except FencedError as fenced:
                await self._fenced([cut], fenced)
                return
            if held := self._holdings.holding(cut):
                # Adopted again, it is found halted; its reader says so.
                held.lost()
            return

    async def _mark(self) -> None:
        """At most once a second: read the clock, and note which partitions were seen drained since the last look."""
        if anyio.current_time() - self._marked < 1.0:
            return
        self._marked = anyio.current_time()
        mine = self._holdings.of_lane(self._set.number, self._set.lanes)
        marks = [(h, h.drained_at, h.next_offset) for h in mine if h.drained_at and not h.taken and not h.full]
        try:
            if marks:
                # The oldest look counts for all of them: too old delays a timer by a second, too new would fire one early.
                oldest = min(at for _, at, _ in marks if at)
                await self._store.note_drained([(h.place, h.epoch, end) for h, _, end in marks if end is not None], oldest)
                for held, _, _ in marks:
                    held.drained_at = None
            self.clock = await self._store.now()
            self._trouble.over()
        except UnavailableError as error:
            await self._trouble.wait(error)


def _halves(cut: Slice) -> tuple[Slice, Slice]:
    middle = len(cut.records) // 2
    edge = cut.records[middle].offset
    return replace(cut, end=edge, records=cut.records[:middle]), replace(cut, start=edge, records=cut.records[middle:])
