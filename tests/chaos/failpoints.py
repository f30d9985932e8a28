"""Failpoints: named steps at which a process dies, freezes, fails, or gets no answer.

They are wrappers of the ports and of the database's connection, put into a process by whoever starts it: the product has no switches. A point is
`step:before` or `step:after`. Every statement is a step under its name in `STEPS`; in the timers' door, the relay, the ticker and the notifier its
name is led by `timers/`, `relay/`, `ticker/` and `notifier/`, since the same statement means another thing there. For a person's order see `people`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

import anyio
import asyncpg

from stream.adapters.postgres.connection import Connection
from stream.adapters.postgres.notices import PostgresNotices
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import PostgresTimetable
from stream.core.errors import UncertainError
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.record import Record, TopicPartition
from stream.ports import Assignment, Log, Outbox, Outgoing, Position, Publisher, Refusal, Store, TopicNow, Transaction, Wait
from stream.ports.notices import Delivery, Leased, Messenger, Notices
from stream.ports.timetable import Timetable
from stream.runtime.app import Parts
from stream.runtime.notifier import Telling
from tests.chaos.steps import STEPS

T = TypeVar("T")
Action = Literal["kill", "stop", "raise", "hang"]
ACTIONS: tuple[Action, ...] = get_args(Action)
LATE = 3.0
"""Seconds that a hanging port takes: longer than each limit of the settings these tests use."""
RENEWAL = "relay/renew"


class PlantedError(Exception):
    """What an armed point raises: an error nobody foresaw."""


class Trip:
    """Something that happens once, when a point is reached for the `hit`th time."""

    def __init__(self, point: str, hit: int = 1) -> None:
        self.point, self._left = point, hit

    async def around(self, step: str, call: Callable[[], Awaitable[T]], hang: Callable[[], Awaitable[object]]) -> T:
        await self.at(f"{step}:before", hang)
        found = await call()
        await self.at(f"{step}:after", hang)
        return found

    async def at(self, point: str, hang: Callable[[], Awaitable[object]]) -> None:
        """`hang` is how a wait without an end ends at this point."""
        if point == self.point:
            self._left -= 1
            if not self._left:
                await self.act(hang)

    async def act(self, hang: Callable[[], Awaitable[object]]) -> None:
        raise NotImplementedError


class Fuse(Trip):
    """A failure, written down before it happens. `hang`: a statement takes until the server's limit ends it; a port answers too late."""

    def __init__(self, point: str, action: Action, told: Path, hit: int = 1) -> None:
        super().__init__(point, hit)
        self.action, self._told = action, told

    @property
    def blown(self) -> bool:
        return self._told.exists()

    async def act(self, hang: Callable[[], Awaitable[object]]) -> None:
        self._told.write_text(f"{self.point} {self.action} {os.getpid()}\n", encoding="utf-8")
        if self.action == "hang":
            await hang()
        elif self.action == "raise":
            raise PlantedError(self.point)
        else:
            os.kill(os.getpid(), signal.SIGKILL if self.action == "kill" else signal.SIGSTOP)


class Gate(Trip):
    """Whoever gets there stays until the test opens: so that a race is run in the order that the test wants."""

    def __init__(self, point: str, hit: int = 1) -> None:
        super().__init__(point, hit)
        self.reached, self.opened = anyio.Event(), anyio.Event()

    async def act(self, hang: Callable[[], Awaitable[object]]) -> None:
        self.reached.set()
        await self.opened.wait()


def fuse_of(environ: Mapping[str, str]) -> Fuse | None:
    """What the environment asks for: `CHAOS_POINT="save history:before" CHAOS_ACTION=kill CHAOS_HIT=3 CHAOS_TOLD=file`."""
    point = environ.get("CHAOS_POINT")
    if not point:
        return None
    action: Action = next(known for known in ACTIONS if known == environ["CHAOS_ACTION"])
    return Fuse(point, action, Path(environ["CHAOS_TOLD"]), int(environ.get("CHAOS_HIT", "1")))


def arm(parts: Parts, trip: Trip) -> Parts:
    """The same parts with every step a failpoint."""
    return replace(
        parts,
        store=lambda: ArmedStore(parts.store(), trip),
        log=lambda: ArmedLog(parts.log(), trip),
        publisher=lambda: ArmedPublisher(parts.publisher(), trip),
        outbox=lambda: _armed_outbox(parts.outbox(), trip),
        timetable=lambda: _armed_timetable(parts.timetable(), trip),
        telling=parts.telling and _armed_telling(parts.telling, trip),
    )


async def late() -> None:
    await anyio.sleep(LATE)


# -- the database --------------------------------------------------------------------------------------------------------------------


class ArmedConnection(Connection):
    """Every statement is a step. `place` leads its name: the role, or the door as far as the transaction has shown it."""

    def __init__(self, inner: Connection, trip: Trip, place: str) -> None:
        super().__init__(inner.settings, inner.queries, keyed=True)
        self.trip, self._place, self.door = trip, place, ""

    async def fetch(self, name: str, *args: object) -> list[asyncpg.Record]:
        return await self.trip.around(self._step(name), partial(super().fetch, name, *args), self.hang)

    async def execute(self, name: str, *args: object) -> int:
        return await self.trip.around(self._step(name), partial(super().execute, name, *args), self.hang)

    def _step(self, name: str) -> str:
        if name == "begin":
            self.door = "timers/"
        if name == "claim_partitions":
            self.door = ""
        within = "" if name in ("begin", "adopt", "see_partition", "note_drained", "time", "backlog", "rollback", "outcome") else self.door
        return (self._place or within) + STEPS.get(name, name)

    async def hang(self) -> None:
        await self.script("select pg_sleep(600)")


def _armed_outbox(outbox: Outbox, trip: Trip) -> Outbox:
    assert isinstance(outbox, PostgresOutbox)
    outbox.connection = ArmedConnection(outbox.connection, trip, "relay/")
    return outbox


def _armed_timetable(timetable: Timetable, trip: Trip) -> Timetable:
    assert isinstance(timetable, PostgresTimetable)
    timetable.connection = ArmedConnection(timetable.connection, trip, "ticker/")
    return timetable


def _armed_notices(notices: Notices, trip: Trip) -> Notices:
    assert isinstance(notices, PostgresNotices)
    notices.connection = ArmedConnection(notices.connection, trip, "notifier/")
    return notices


@dataclass
class ArmedStore(Store):
    """One step more than its statements: `committed`, when COMMIT was answered and nobody has been told yet."""

    inner: Store
    trip: Trip

    def __post_init__(self) -> None:
        assert isinstance(self.inner, PostgresStore)
        self._connection = self.inner.connection = ArmedConnection(self.inner.connection, self.trip, "")

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Transaction]:
        async with self.inner.transaction() as tx:
            yield tx
        await self.trip.at(f"{self._connection.door}committed:after", late)

    async def adopt(self, place: TopicPartition, *, owner: str, generation: int, begin: int, partitions: int) -> Position:
        return await self.inner.adopt(place, owner=owner, generation=generation, begin=begin, partitions=partitions)

    async def recognize(self, place: TopicPartition, epoch: int, topic_id: str) -> None:
        await self.inner.recognize(place, epoch, topic_id)

    async def halt(self, place: TopicPartition, epoch: int, reason: HaltReason, seen: Seen) -> None:
        await self.inner.halt(place, epoch, reason, seen)

    async def halted(self, place: TopicPartition) -> Halt | None:
        return await self.inner.halted(place)

    async def resume(self, decision: Decision) -> None:
        await self.inner.resume(decision)

    async def note_instance(self, owner: str, roles: Sequence[str], waits: Sequence[Wait]) -> None:
        await self.inner.note_instance(owner, roles, waits)

    async def note_drained(self, marks: Sequence[tuple[TopicPartition, int, int]], at: datetime) -> None:
        await self.inner.note_drained(marks, at)

    async def now(self) -> datetime:
        return await self.inner.now()

    async def backlog(self) -> int:
        return await self.inner.backlog()

    async def close(self) -> None:
        await self.inner.close()


# -- Kafka ---------------------------------------------------------------------------------------------------------------------------


@dataclass
class ArmedLog(Log):
    """Steps: `join`, `bounds`, `seek`, `fetch` (one that brought records), `mirror`."""

    inner: Log
    trip: Trip

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None:
        await self.trip.around("join", partial(self.inner.start, topics, group, assignment), late)

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        found = await self.inner.fetch(place, limit=limit, within=within)
        if found:
            await self.trip.at("fetch:after", late)
        return found

    async def seek(self, place: TopicPartition, offset: int) -> None:
        await self.trip.around("seek", partial(self.inner.seek, place, offset), late)

    async def position(self, place: TopicPartition) -> int:
        return await self.inner.position(place)

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        return await self.trip.around("bounds", partial(self.inner.bounds, place), late)

    async def mirror(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self.trip.around("mirror", partial(self.inner.mirror, offsets), late)

    async def topic(self, name: str) -> TopicNow:
        return await self.inner.topic(name)

    def fault(self) -> str:
        return self.inner.fault()

    async def stop(self) -> None:
        await self.inner.stop()


@dataclass
class ArmedPublisher(Publisher):
    """Steps: `publisher`, when a producer starts, and `send`; a send that hangs is one whose end nobody knows. Leases are renewed within a send
    that takes long, so one does where that is the step."""

    inner: Publisher
    trip: Trip

    async def start(self) -> None:
        await self.trip.around("publisher", self.inner.start, late)

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        if self.trip.point.startswith(RENEWAL):
            await late()
        return await self.trip.around("send", partial(self.inner.publish, batch), _unanswered)

    async def stop(self) -> None:
        await self.inner.stop()


@dataclass
class ArmedMessenger(Messenger):
    """Steps: `tell`."""

    inner: Messenger
    trip: Trip

    async def send(self, leased: Leased) -> Delivery:
        return await self.trip.around("tell", partial(self.inner.send, leased), late)

    async def close(self) -> None:
        await self.inner.close()


def _armed_telling(telling: Telling, trip: Trip) -> Telling:
    return replace(
        telling,
        notices=lambda: _armed_notices(telling.notices(), trip),
        messengers=lambda: {channel: ArmedMessenger(messenger, trip) for channel, messenger in telling.messengers().items()},
    )


async def _unanswered() -> None:
    await late()
    raise UncertainError("no acknowledgement in time")
