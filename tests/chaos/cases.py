"""One failpoint, one way to fail: how a case goes, from an empty room to what is wrong at its end."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
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
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import PostgresSettings
from stream.core.topic import Topic
from stream.ports import Outgoing
from stream.runtime.waiting import Stop
from tests.chaos import armed, pottery
from tests.chaos.failpoints import Action, Fuse, arm
from tests.chaos.room import PATIENCE, Looks, Room, broker, prepare
from tests.conftest import named, order

POINTS = {
    "reading": (
        *("join:after", "bounds:after", "adopt:before", "see partition:after", "adopt:after", "recognize:after", "seek:before", "seek:after"),
        *("fetch:after", "mirror:before", "mirror:after"),
    ),
    "claiming": (
        *("begin:before", "begin:after", "claim:before", "claim:after", "clocks:after"),
        *("floors:after", "first sight:before", "first sight:after", "contents:after"),
    ),
    "loading": ("stubs:before", "stubs:after", "lock:after", "timers:after", "lines:after"),
    "saving": (
        *("number:after", "save entities:before", "save entities:after"),
        *("drop timers:after", "set timers:after", "drop lines:after", "add lines:after"),
        *("save history:before", "save history:after", "save messages:before", "save messages:after"),
        *("save letters:before", "save letters:after", "save position:before", "save position:after"),
    ),
    "committing": (
        "commit:before",
        "commit:after",
        "committed:after",
        "note drained:before",
        "note drained:after",
        "time:after",
        "backlog:after",
        "note instance:after",
    ),
    "sending": (
        *(
            "relay/see relay:after",
            "relay/lease:before",
            "relay/lease:after",
            "relay/release:after",
            "relay/forget relays:after",
            "relay/renew:after",
        ),
        *("relay/read:after", "publisher:after", "send:before", "send:after", "relay/begin:after"),
        *("relay/hold:after", "relay/move:before", "relay/move:after", "relay/commit:after"),
    ),
    "firing": (
        *(
            "ticker/clocks:after",
            "ticker/feeds:after",
            "ticker/unsent:after",
            "ticker/due:after",
            "timers/clocks:after",
            "timers/lock:after",
            "timers/timers:after",
        ),
        *("timers/save entities:after", "timers/drop timers:after", "timers/save history:after", "timers/save messages:after"),
        *("timers/save counts:before", "timers/save counts:after", "timers/commit:before", "timers/commit:after", "timers/committed:after"),
    ),
    "rotating": (
        *("ticker/make ahead:before", "ticker/make ahead:after", "ticker/turn inbox:after"),
        *("ticker/drop outbox:after", "ticker/drop history:after", "ticker/drop notices:after"),
    ),
}
"""Where a process may fail, by the part of its work."""


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
        await order(self.postgres, f"create database {name} template {self.template} strategy file_copy")
        try:
            async with KafkaAdmin(broker(self.kafka)) as admin:
                await admin.apply(plan([Topic(name, partitions=pottery.PARTITIONS)], {}))
            yield Room(self.kafka, named(self.postgres, name), self.pots, told=name, group=name)
        finally:
            await order(self.postgres, f"drop database {name} with (force)")

    async def shelf(self, topic: str, before: Awaitable[object]) -> list[Outgoing]:
        """The load once more, on a topic of its own, after what comes before it."""
        return await _write(self.kafka, pottery.Load(topic, pottery.begin()), before)

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
    template, load = f"rooms_{secrets.token_hex(6)}", pottery.Load(f"pots-{secrets.token_hex(4)}", pottery.begin())
    await order(postgres, f"create database {template}")
    try:
        await migrate.apply(PostgresSettings(dsn=named(postgres, template)))
        await prepare(named(postgres, template))
        await _write(kafka, load)
        yield Building(kafka, postgres, template, load.topic, scraps)
    finally:
        await order(postgres, f"drop database {template} with (force)")


async def _write(kafka: str, load: pottery.Load, before: Awaitable[object] | None = None) -> list[Outgoing]:
    settings = KafkaSettings(bootstrap=kafka)
    async with KafkaAdmin(settings) as admin:
        await admin.apply(plan([Topic(load.topic, partitions=pottery.PARTITIONS)], {}))
    if before is not None:
        await before
    publisher, rows = KafkaPublisher(settings), load.records()
    await publisher.start()
    try:
        assert not await publisher.publish(rows)
    finally:
        await publisher.stop()
    return rows


async def _survived(room: Room, fuse: Fuse) -> list[str]:
    """The process goes on by itself, with nobody to help."""
    async with watching(room) as looks:
        async with room.running(arm(room.parts(MemoryTelemetry()), fuse)):
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
    looks = Looks(room)
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
