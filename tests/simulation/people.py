"""People: what they order about parked lines, dead letters and tasks of wild orders, by the same path as the command line."""

from __future__ import annotations

import asyncio

from stream.core.errors import FencedError, UnavailableError
from stream.core.order import Answer, Retry
from stream.core.outcome import Outcome
from stream.core.own import SlaExplained
from stream.core.record import Ref
from stream.core.task import clock_asked
from stream.pipeline import Door
from stream.runtime.app import carrying
from stream.runtime.doors import Desk as At
from stream.runtime.doors import Letters, Lines
from stream.runtime.settings import Settings
from tests.simulation.app import CAUSES, Withdrawn, app
from tests.simulation.program import Program
from tests.simulation.world import World

CARRY = carrying(app, Settings(), lambda trace_id: True)
TRIES = 5


class Desk:
    """One person at a time, who looks, orders, and tries again a few times when an entity is busy."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._program: Program = world.program("desk")

    async def retry(self, ref: Ref, skip: str = "") -> None:
        head = self._head(ref)
        if head:
            self._world.heads[head] = self._world.database.waiting[head].event_id
            await self._carry(Lines([Retry(ref, "ann", skip, head)]))

    async def replay(self, ref: Ref) -> None:
        """The oldest open letter that this entity rejected."""
        found = (id for id, row in sorted(self._world.database.letters.items()) if row.status == "open" and row.letter.ref == ref)
        if id := next(found, 0):
            await self._carry(Letters([id], "ann"))

    async def answer(self, ref: Ref) -> None:
        """The oldest open task of this entity, by the last of its answers."""
        found = (id for id, row in sorted(self._world.database.tasks.items()) if row.open and row.asked.ref == ref)
        if id := next(found, 0):
            asked = self._world.database.tasks[id].asked
            self._world.questions[id] = asked.name
            clock = clock_asked(asked.name)
            event = SlaExplained(clock=clock, reason=CAUSES[0]) if clock else Withdrawn(order=ref.id, why="asked")
            await self._carry(At(orders=[Answer(ref, id, event, "ann", CAUSES[0] if clock else "")]))

    def parked(self) -> list[Ref]:
        return sorted({row.ref for row in self._world.database.waiting.values() if row.outcome is Outcome.PARKED})

    async def tidy(self) -> None:
        """Retry every line, and skip what still fails."""
        for ref in self.parked():
            await self.retry(ref)
            await self.retry(ref, skip="cannot be mended")

    def _head(self, ref: Ref) -> int:
        ids = [id for id, row in self._world.database.waiting.items() if row.ref == ref and row.outcome is Outcome.PARKED]
        return min(ids, default=0)

    async def _carry(self, door: Door) -> None:
        store = self._world.store(self._program)
        for _ in range(TRIES):
            try:
                claim, _ = await CARRY(door, store, "")
                self._world.trace.count(f"batch of {claim.door}")
                return
            except (UnavailableError, FencedError):
                await asyncio.sleep(0.2)
