"""The course of a replay: publish, kill, drain, hop by hop; then the dispositions, the reopened calls, and the clock."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

import anyio

from stream.adapters.postgres.connection import Connection
from stream.adapters.postgres.statements import statements
from stream.core.errors import UnavailableError
from stream.dev.stack import Part
from stream.dev.stage import Stage
from tests.fold import made
from tests.fold.dispatch import Dispatch
from tests.fold.facts import Fact
from tests.fold.tally import Tally
from tests.fold.tickets import Tickets
from tests.handlers.in_memory import OWN, note_clocks, note_priorities
from tests.replay.load import Load
from tests.replay.wire import Heard, Producer, listen, places

LOOK = 0.25
AFTERWARDS = timedelta(hours=2)
SLICE = 2000
PARTS: tuple[Part, ...] = ("kafka", "postgres")

T = TypeVar("T")
Blow: TypeAlias = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody asked for: the share of repeats, how many processes, how many kills, how many billed calls to reopen; whether parts crash."""

    dup: float
    workers: int
    kill: int
    reopen: int
    crash: bool
    seed: int


@dataclass
class Outcome:
    """What the fold says, what the real thing says, and what was seen on the way."""

    expected: Tally
    found: Tally
    heard: Heard
    verdicts: dict[str, int]
    crashes: int

    def faults(self) -> list[str]:
        return [*self.found.differences(self.expected), *self.heard.faults[:5]]


class Course:
    """One replay on a prepared stage. `show` is told what is going on, again and again."""

    def __init__(self, load: Load, wish: Wish, stage: Stage, show: Callable[[str], None]) -> None:
        self._load, self._wish, self._stage, self._show = load, wish, stage, show
        self._chance = random.Random(wish.seed)
        self._end = load.end
        self._fold: Tickets | Dispatch = Tickets() if load.is_of_tickets else Dispatch()
        self._rows = Connection(stage.postgres, statements("tests.replay", "results.sql"))
        self._producer = Producer(stage.stack.kafka)
        self._crashes = 0

    async def run(self) -> Outcome:
        """Raises `ConfigurationError` when a process ends by itself."""
        try:
            await self._stage.set_clock(self._end)
            for _ in range(self._wish.workers):
                self._stage.start("worker,relay")
            await self._play(*self._twice(self._load.facts), kills=self._wish.kill, crash=self._wish.crash)
            if isinstance(self._fold, Dispatch):
                await self._settle_calls(self._fold)
            await self._ring()
            return await self._outcome()
        finally:
            await self._rows.close()

    async def _play(self, published: Sequence[Fact], folded: Sequence[Fact], kills: int = 0, crash: bool = False) -> None:
        """Publish, and kill at random moments of the way; return when nothing is left to take or to send."""
        for fact in folded:
            self._fold.take(fact)
        before = await self._taken()
        async with anyio.create_task_group() as group:
            group.start_soon(self._publish, published)
            group.start_soon(self._hurt, self._blows(kills, crash), before, len(published))
        await self._drain()

    async def _publish(self, facts: Sequence[Fact]) -> None:
        for start in range(0, len(facts), SLICE):
            await anyio.to_thread.run_sync(self._producer.publish, facts[start : start + SLICE])

    def _blows(self, kills: int, crash: bool) -> list[tuple[float, Blow]]:
        """Moments are shares of the records taken, so blows fall on work whatever its speed."""
        found: list[tuple[float, Blow]] = [(self._chance.uniform(0.02, 0.95), self._kill) for _ in range(kills)]
        if crash:
            found += [(self._chance.uniform(0.2, 0.8), partial(self._crash, part)) for part in PARTS]
        return sorted(found, key=lambda blow: blow[0])

    async def _hurt(self, blows: Sequence[tuple[float, Blow]], before: int, count: int) -> None:
        for share, blow in blows:
            while await self._taken() - before < share * count:
                hurt = f"{self._stage.kills} processes killed, {self._crashes} crashes"
                await self._look(f"taken {await self._taken():,} of {before + count:,} records, {hurt}")
            blow()

    def _kill(self) -> None:
        self._stage.kill_one(self._chance)

    def _crash(self, part: Part) -> None:
        # It blocks everything here until the part answers again: the processes under test are others.
        self._stage.stack.crash(part)
        self._crashes += 1

    async def _settle_calls(self, fold: Dispatch) -> None:
        await self._play(*self._twice(self._load.late))
        billed = sorted(call.id for call in fold.calls.values() if call.state == "billed")
        chosen = self._chance.sample(billed, min(self._wish.reopen, len(billed)))
        await self._play(*self._twice([fact for n, call in enumerate(chosen) for fact in _sent_again(call, self._end, done=n % 2 == 0)]))

    def _twice(self, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
        return made.repeated(facts, self._wish.seed, self._wish.dup), facts

    async def _ring(self) -> None:
        """Only now clocks may ring by themselves: every feed is drained, and the ticker has to see that."""
        until = self._end + AFTERWARDS
        self._fold.wait(until)
        await self._stage.set_clock(until)
        self._stage.start("ticker")
        while left := (await self._rows.fetch("due", until))[0]["n"]:
            await self._look(f"{left:,} timers to fire")
        await self._drain()

    async def _drain(self) -> None:
        """Every log at its end, and nothing unsent."""
        while any(left := await self._patiently(self._stage.left)):
            await self._look(f"{left[0]:,} records to take, {left[1]:,} messages to send")

    async def _look(self, line: str) -> None:
        self._stage.check()
        self._show(line)
        await anyio.sleep(LOOK)

    async def _taken(self) -> int:
        return int((await self._patiently(lambda: self._rows.fetch("progress", ["tickets", "dispatch"])))[0]["records"])

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """A part that just came back may not answer the first question."""
        while True:
            try:
                return await ask()
            except UnavailableError:
                await self._look("waiting for a part that crashed")

    async def _outcome(self) -> Outcome:
        found, fetch = Tally(), self._rows.fetch
        heard = await listen(
            self._stage.stack.kafka, places(self._stage.app, self._stage.app.emitted), found, lambda n: self._show(f"{n:,} messages read back")
        )
        found.states = {(r["machine"], r["id"]): r["state"] for r in await fetch("states")}
        found.outcomes.update({(r["machine"], "applied"): r["n"] for r in await fetch("applied", sorted(OWN))})
        found.outcomes.update({(r["machine"], "parked"): r["n"] for r in await fetch("parked")})
        for r in await fetch("rejected"):
            found.outcomes[r["machine"], "rejected"] += r["n"]
            found.rejected[r["machine"], r["from_state"], r["event_type"], r["reason"]] += r["n"]
        for r in await fetch("noted"):
            note_clocks(found, r["machine"], r["clocks"])
        note_priorities(found, [(r["machine"], r["id"], r["data"]) for r in await fetch("data")])
        return Outcome(self._fold.total(), found, heard, dict((await fetch("verdicts"))[0].items()), self._crashes)


def _sent_again(call: str, at: datetime, *, done: bool) -> list[Fact]:
    """A unit is sent to a call that was billed; some come back."""
    unit = {"call_id": call, "unit_id": "AGAIN"}
    stages = ("dispatched", "en_route", "available") if done else ("dispatched",)
    return [Fact(f"{call}:AGAIN:{stage}", at + timedelta(seconds=n), f"unit.{stage}", unit) for n, stage in enumerate(stages)]
