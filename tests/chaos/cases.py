"""One failpoint, one way to fail: how a case goes, from an empty room to what is wrong at its end."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess as Process
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import PostgresSettings
from stream.core.topic import Topic
from stream.ports import Outgoing
from stream.runtime.waiting import Stop
from tests.chaos import armed, pottery
from tests.chaos.failpoints import Action, Fuse
from tests.chaos.room import PATIENCE, Looks, Room, broker, prepare
from tests.conftest import named, order


@dataclass(frozen=True)
class Building:
    """Makes rooms: copies of one prepared database, readers of one topic that was written once."""

    kafka: str
    postgres: str
    template: str
    pots: str
    scraps: Path

    @asynccontextmanager
    async def room(self) -> AsyncGenerator[Room]:
        name = f"room_{secrets.token_hex(6)}"
        room = self.furnished(name)
        await order(self.postgres, f"create database {name} template {self.template} strategy file_copy")
        try:
            async with KafkaAdmin(broker(self.kafka)) as admin:
                await admin.apply(plan(room.topics, {}))
            yield room
        finally:
            await order(self.postgres, f"drop database {name} with (force)")

    def furnished(self, name: str) -> Room:
        """A room in the database of that name."""
        return Room(self.kafka, named(self.postgres, name), self.pots, told=name, group=name)

    async def shelf(self, topic: str, before: Awaitable[object]) -> list[Outgoing]:
        """The load once more, on a topic of its own, after what comes before it."""
        rows = pottery.Load(topic, pottery.begin()).records()
        await write(self.kafka, topic, rows, before)
        return rows

    async def limit(self, topic: str, most: int) -> None:
        """Let the broker refuse batches beyond so many bytes."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await client.start()
        try:
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(most)})])
        finally:
            await client.close()

    async def case(self, point: str, action: Action) -> list[str]:
        """What is wrong at the end."""
        async with self.room() as room:
            fuse = Fuse(point, action, self.scraps / f"{room.told}.point")
            try:
                return await (_survived(room, fuse) if action in ("raise", "hang") else self._ended(room, fuse))
            except Exception as error:
                return [*_reasons(error), *_tail(self._log(room))]

    async def _ended(self, room: Room, fuse: Fuse) -> list[str]:
        process = armed.begin(room, fuse, self._log(room))
        assert process.pid is not None
        try:
            return await (_killed if fuse.action == "kill" else _stopped)(room, fuse, process)
        finally:
            process.kill()
            await anyio.to_thread.run_sync(process.join)
            process.close()

    def _log(self, room: Room) -> Path:
        return self.scraps / f"{room.told}.log"


@asynccontextmanager
async def building(kafka: str, postgres: str, scraps: Path) -> AsyncGenerator[Building]:
    load = pottery.Load(f"pots-{secrets.token_hex(4)}", pottery.begin())
    async with template(postgres) as name:
        await write(kafka, load.topic, load.records())
        yield Building(kafka, postgres, name, load.topic, scraps)


@asynccontextmanager
async def template(postgres: str) -> AsyncGenerator[str]:
    """The name of a database that rooms are copies of."""
    name = f"rooms_{secrets.token_hex(6)}"
    await order(postgres, f"create database {name}")
    try:
        await migrate.apply(PostgresSettings(dsn=named(postgres, name)))
        await prepare(named(postgres, name))
        yield name
    finally:
        await order(postgres, f"drop database {name} with (force)")


async def write(kafka: str, topic: str, rows: Sequence[Outgoing], before: Awaitable[object] | None = None) -> None:
    """A load, on a topic of its own, after what comes before it."""
    settings = KafkaSettings(bootstrap=kafka)
    async with KafkaAdmin(settings) as admin:
        await admin.apply(plan([Topic(topic, partitions=pottery.PARTITIONS)], {}))
    if before is not None:
        await before
    publisher = KafkaPublisher(settings)
    await publisher.start()
    try:
        assert not await publisher.publish(rows)
    finally:
        await publisher.stop()


async def _survived(room: Room, fuse: Fuse) -> list[str]:
    """The process goes on by itself, with nobody to help."""
    async with watching(room) as looks:
        async with room.running(room.armed(fuse)):
            await _reached(lambda: fuse.blown, f"{fuse.point} was never reached")
            await looks.drained()
        return [*await looks.faults(), *await looks.leased()]


async def _killed(room: Room, fuse: Fuse, process: Process) -> list[str]:
    """Another process takes over."""
    await _reached(lambda: not process.is_alive(), f"{fuse.point} was never reached")
    assert fuse.blown
    assert process.exitcode == -signal.SIGKILL
    async with watching(room) as looks:
        async with room.running():
            await looks.drained()
        return await looks.faults()


async def _stopped(room: Room, fuse: Fuse, process: Process) -> list[str]:
    """Another process takes over; then the first one wakes, goes on with what it was doing, and gets its share again."""
    assert process.pid is not None
    pid = process.pid
    await _reached(lambda: alive(pid) == "T", f"{fuse.point} was never reached")
    assert fuse.blown
    async with watching(room) as looks:
        async with room.running():
            await looks.drained()
            os.kill(pid, signal.SIGCONT)
            await looks.owned_by(pid)
            os.kill(pid, signal.SIGTERM)
            await _reached(lambda: not process.is_alive(), "the one that woke did not end")
            assert process.exitcode == 0, f"ended with {process.exitcode}"
            await looks.drained()
        return [*await looks.faults(), *await looks.leased()]


@asynccontextmanager
async def watching(room: Room) -> AsyncGenerator[Looks]:
    looks = room.looks()
    try:
        yield looks
    finally:
        await looks.close()


async def _reached(look: Callable[[], bool], otherwise: str) -> None:
    with anyio.move_on_after(PATIENCE):
        while not look():
            await Stop().pause(0.05)
    assert look(), otherwise


def alive(pid: int) -> str:
    """The state of a process as the kernel calls it: R, S, T (stopped), Z; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] if stat.exists() else ""


def _reasons(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _reasons(inner)
    else:
        yield f"{type(error).__name__}: {error}"


def _tail(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines()[-5:] if log.exists() else []
