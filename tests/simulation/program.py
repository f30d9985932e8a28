"""A program: one process of the system, and the way of its calls to the servers and back, where faults lie in wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import anyio

from stream.core.errors import UnavailableError
from stream.runtime.waiting import Stop
from tests.simulation.loop import Process, SeededLoop
from tests.simulation.trace import Trace

T = TypeVar("T")

SESSION = 1.5
"""Seconds after which the broker gives a silent member's partitions to others."""
IDLE = 1.0
"""Seconds after which the database ends the session of a client that is silent within a transaction."""
ENDS = frozenset({"close", "stop"})
"""Calls that never fail: what cannot be told to a server is forgotten."""
LAST = frozenset({"close", "stop", "release", "mirror"})
"""Calls a program makes while it ends: one that is dead makes them without effect."""
POLLS = frozenset({"fetch", "position", "now", "backlog", "feeds", "lease", "renew", "read", "note_drained", "bounds"})
"""Calls made several times a second with nothing to do: they mostly take no time, and are in no trace."""


@dataclass
class Fault:
    """Lies in wait at a point (`save`: the request arrives; `save.`: its reply leaves) until the program has passed it `skip` times.

    `action`: crash | freeze | lost, and for `commit` and `publish` landed | later | part, when a lost call took effect (or some of it did).
    """

    point: str
    action: str
    seconds: float = 1.0
    skip: int = 0


class Held(Protocol):
    """What a server keeps for one client and takes back when that is silent for too long."""

    async def end(self, error: BaseException | None) -> None: ...


@dataclass
class Servers:
    """What is not up at the moment; `busy`: whether somebody is in a transaction, so that another one has to wait.

    `underway`: sends that nobody waits for any more and that will land yet.
    """

    busy: Callable[[], bool]
    away: set[str] = field(default_factory=set[str])
    underway: int = 0

    def check(self, server: str) -> None:
        if server in self.away:
            raise UnavailableError(f"the {server} is away")


class Program(Process):
    """Its calls go by `call`; `die` and `freeze` may strike at every one of them."""

    def __init__(self, name: str, loop: SeededLoop, trace: Trace, servers: Servers) -> None:
        super().__init__(name)
        self.loop, self.trace, self.servers = loop, trace, servers
        self.stop, self.scope = Stop(), anyio.CancelScope()
        self.faults: list[Fault] = []
        self.sessions: list[Held] = []
        self.dead = False
        self.struck: Callable[[Program, Fault], None] = _nothing

    async def call(self, server: str, name: str, go: Callable[[], Awaitable[T]], *, replies: bool = True) -> T:
        """A request's way there, its effect, its reply's way back."""
        if name in POLLS and not (self.faults or self.dead or server in self.servers.away):
            result = await go()
            if self.loop.draw() < 0.1:
                await self.travel()
            return result
        await self.reach(name)
        if name not in ENDS:
            self.servers.check(server)
        result = await go()
        if replies:
            await self.reach(f"{name}.")
        if name not in POLLS or self.loop.draw() < 0.1:
            await self.travel()
        return result

    async def reach(self, point: str) -> None:
        """Arrive at a point: something may happen to us there. Raises `UnavailableError` for what got lost."""
        if fault := self.fault(point):
            await self.suffer(fault)

    def fault(self, point: str) -> Fault | None:
        """What lies in wait at this point, now due."""
        if point[-1] != "." and point not in POLLS:
            self.trace.note(self.name, point)
        for fault in self.faults:
            if fault.point == point:
                if fault.skip:
                    fault.skip -= 1
                    return None
                self.faults.remove(fault)
                self.trace.note(self.name, f"{fault.action} at {point}")
                self.trace.count(f"{fault.action} at {point}")
                return fault
        return None

    async def suffer(self, fault: Fault) -> None:
        if fault.action in ("crash", "freeze"):
            self.struck(self, fault)
            await asyncio.sleep(0)
        if self.dead:
            await self.loop.create_future()
        if fault.action not in ("crash", "freeze"):
            raise UnavailableError("the connection was lost")

    async def take_time(self, least: float, most: float) -> None:
        await asyncio.sleep(least + (most - least) * self.loop.draw())

    async def travel(self) -> None:
        luck = self.loop.draw()
        if luck < 0.5:
            await asyncio.sleep(0)
        elif luck < 0.985:
            await self.take_time(0.0002, 0.02)
        else:
            await self.take_time(0.1, 0.8)

    def silence(self) -> Sequence[asyncio.TimerHandle]:
        """The servers hear nothing from us from now on; sessions in a transaction are ended after a while."""
        return [self.loop.call_later(IDLE, self._ended, held, context=self.loop.outside.context) for held in self.sessions]

    def _ended(self, held: Held) -> None:
        self.trace.note(self.name, "session ended by the server")
        self.trace.count("session ended by the server")
        self.loop.create_task(held.end(UnavailableError("ended by the server")), context=self.loop.outside.context)


def _nothing(program: Program, fault: Fault) -> None:
    """Before a world takes it in."""
