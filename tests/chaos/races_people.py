"""The scene of each planted bug of the other half, in a kiln; each gives what is wrong at its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from stream.runtime.waiting import Stop
from tests.chaos import kiln
from tests.chaos.cases import watching
from tests.chaos.failpoints import Action, Fuse, Gate
from tests.chaos.kiln_room import Kiln, Kilns
from tests.chaos.people import Person
from tests.chaos.room import Looks


@asynccontextmanager
async def _prepared(kilns: Kilns) -> AsyncGenerator[tuple[Kiln, Looks]]:
    async with kilns.room() as room, watching(room) as looks:
        assert isinstance(room, Kiln)
        yield room, looks


async def calm(kilns: Kilns) -> list[str]:
    """Nothing fails."""
    async with _prepared(kilns) as (room, looks):
        async with room.running():
            await looks.drained()
        return await looks.faults()


async def two_who_answer(kilns: Kilns) -> list[str]:
    """One has looked at what an answer would do, and gives it when another one has answered all there is."""
    gate = Gate("desk/begin:before")
    async with _prepared(kilns) as (room, looks):
        async with room.running(replace(room.armed(gate), answering=_why)), anyio.create_task_group() as tasks:
            await gate.reached.wait()
            gone = Stop()
            tasks.start_soon(Person(room.site, kiln.ANN, kiln.answer_to).work, gone)
            await looks.drained()
            gone.set()
            gate.opened.set()
        return await looks.faults()


def _why(piece: str, task: str) -> tuple[str | None, str] | None:
    """Only why a clock was breached: what says so could be said twice, where a second move would find no row of its state."""
    return kiln.answer_to(piece, task) if task.startswith("reason") else None


async def failing(kilns: Kilns, point: str, action: Action) -> list[str]:
    """One step fails once, and the process goes on by itself."""
    async with _prepared(kilns) as (room, looks):
        fuse = Fuse(point, action, kilns.scraps / f"{room.told}.point")
        async with room.running(room.armed(fuse)):
            await looks.drained()
        assert fuse.blown
        return await looks.faults()


async def unnoted(kilns: Kilns) -> list[str]:
    """A clock has rung and is committed; nothing else is done by that process in this turn."""
    return await failing(kilns, "timers/commit:after", "raise")


async def untold(kilns: Kilns) -> list[str]:
    """A notice is in hand, and its teller fails."""
    return await failing(kilns, "tell:before", "raise")
