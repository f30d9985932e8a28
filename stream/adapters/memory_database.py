"""The rows of a database in memory, shared by the stores, outboxes and timetables of one App."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio

from stream.adapters.memory_partitions import NEVER, Partitions
from stream.core.changes import DeadLetter, History, Message, Notice
from stream.core.entity import Entity, Timer, Waiting
from stream.core.errors import UnavailableError
from stream.core.halt import Decision
from stream.core.record import Ref
from stream.core.task import Asked, Closed
from stream.ports import Wait


@dataclass(frozen=True)
class Letter:
    """A row of `dead_letter`."""

    letter: DeadLetter
    at: datetime
    status: str = "open"
    closed_by: str = ""


@dataclass(frozen=True)
class Written:
    """A row of `outbox`."""

    message: Message
    at: datetime


@dataclass(frozen=True)
class Held:
    """A row of `outbox_held`, without the copy: nothing leaves the outbox here."""

    reason: str
    error: str
    attempts: int
    status: str = "open"


@dataclass(frozen=True)
class Lease:
    """A row of `outbox_position`; everything up to `seq` was sent."""

    epoch: int = 0
    owner: str = ""
    until: datetime = NEVER
    seq: int = 0


@dataclass(frozen=True)
class TaskRow:
    """A row of `task`."""

    asked: Asked
    closed: Closed | None = None
    assignee: str = ""

    @property
    def open(self) -> bool:
        return self.closed is None


@dataclass(frozen=True)
class NoticeRow:
    """A row of `notification`."""

    notice: Notice
    written: datetime
    next: datetime
    attempts: int = 0
    status: str = "waiting"
    error: str = ""


class MemoryDatabase:
    """What the stores of one App share. `clock` is the real clock; `ahead` moves the other one."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.clock, self.ahead = clock, timedelta()
        # Belongs to the session, not to the task that began it: a server ends a session whose client is gone.
        self.lock = asyncio.Lock()
        self.partitions = Partitions()
        self.inbox: list[dict[bytes, bytes]] = [{}, {}, {}]
        self.opened = self.now()
        self.closed: list[dict[str, datetime]] = [{}, {}]
        self.floors: dict[str, datetime] = {}
        self.entities: dict[Ref, Entity] = {}
        self.history: dict[int, tuple[int, History]] = {}
        self.timers: dict[tuple[Ref, str], Timer] = {}
        self.waiting: dict[int, Waiting] = {}
        self.tasks: dict[int, TaskRow] = {}
        self.notices: dict[int, NoticeRow] = {}
        self.letters: dict[int, Letter] = {}
        self.outbox: dict[int, Written] = {}
        self.held: dict[int, Held] = {}
        self.audit: list[tuple[str, str, str, str]] = []
        self.leases: dict[int, Lease] = {}
        self.relays: dict[str, datetime] = {}
        self.doors: dict[tuple[str, str], int] = {}
        self.decisions: list[Decision] = []
        self.instances: dict[str, tuple[Sequence[str], Sequence[Wait]]] = {}
        self.numbers: Counter[str] = Counter()

    def now(self) -> datetime:
        return self.clock() + self.ahead

    def number(self, of: str) -> int:
        """The next number of a row; never given back, like a sequence."""
        self.numbers[of] += 1
        return self.numbers[of]

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """One transaction at a time, with a deadline."""
        try:
            with anyio.fail_after(2):
                await self.lock.acquire()
        except TimeoutError:
            raise UnavailableError("the lock was not to be had") from None
        try:
            yield
        finally:
            self.lock.release()


def shard_of(key: bytes) -> int:
    """One shard is enough where one process holds everything; two let a test tell them apart."""
    return sum(key) % 2
