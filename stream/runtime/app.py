"""Run an App: the roles of this process in one task group, each loop supervised, ended within a deadline by a signal."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import TypeAlias, cast

import anyio
import structlog

from stream.core.app import App
from stream.core.changes import Changes
from stream.core.codec import Codec
from stream.core.errors import ConfigurationError
from stream.core.order import Claim, Decoded, Deliver
from stream.core.route import Routes
from stream.core.trace import Sampling
from stream.pipeline import Door, process
from stream.ports import Log, Outbox, Publisher, Store, Telemetry
from stream.ports.timetable import Timetable
from stream.runtime.doors import Carry
from stream.runtime.notifier import Notifier, Telling
from stream.runtime.presence import Presence
from stream.runtime.pulse import watch_pulse
from stream.runtime.relay import Relay, RelayParts, RelaySettings
from stream.runtime.settings import Settings
from stream.runtime.ticker import Ticker, TickerParts
from stream.runtime.waiting import Bell, Stop, Trouble, Waits
from stream.runtime.worker import Worker, WorkerParts, WorkerSettings

Loop: TypeAlias = Callable[[Stop], Awaitable[None]]
"""Makes what it needs anew and runs until the stop: called again when it fails."""

STEADY = 60.0
"""Seconds a loop must have run for its earlier failures to be forgotten."""


def this_process() -> str:
    """A name nobody else has, not even an earlier process of the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Factories of the adapters: each call makes a new one, for one task. `telemetry` is started and closed by whoever made it.

    `owner` names this process in the store: in its partitions, and in its leases. `telling`: how owners are told, for a notifier.
    """

    store: Callable[[], Store]
    log: Callable[[], Log]
    publisher: Callable[[], Publisher]
    outbox: Callable[[], Outbox]
    timetable: Callable[[], Timetable]
    telemetry: Telemetry
    sampling: Sampling
    telling: Telling | None = None
    owner: str = field(default_factory=this_process)


def carrying(app: App, settings: Settings, sampling: Sampling) -> Carry:
    """The path, with the application's decoding and routes filled in."""
    codec = Codec(app, settings.group or app.name, sample=sampling, horizon=app.horizon, limit=settings.payload_limit)
    routes = Routes(app)

    async def carry(door: Door, store: Store, fault: str) -> tuple[Claim, Changes]:
        def faulty(claim: Claim) -> Decoded:
            decoded = codec(claim)
            orders = [replace(order, fault=fault) if isinstance(order, Deliver) else order for order in decoded.orders]
            return Decoded(orders, decoded.changes)

        return await process(door, decode=faulty if fault else codec, revive=codec.revive, routes=routes, store=store)

    return carry


async def run(app: App, settings: Settings, parts: Parts, roles: Collection[str] = (), *, stop: Stop | None = None) -> None:
    """Until SIGTERM or SIGINT (or `stop`, when given; then signals are left alone). `roles`: those of the settings when empty.

    Ends within `settings.drain` seconds and a little; a second signal ends the process at once with code 130. Raises `ConfigurationError`.
    """
    took = tuple(roles) or settings.roles
    first, last = _loops(app, settings, parts, took)
    log = structlog.get_logger("stream")
    log.info("running", app=app.name, group=settings.group or app.name, roles=list(took), topics=sorted(app.consumed))
    ending = Stop() if stop is None else stop
    try:
        async with anyio.create_task_group() as tasks:
            if stop is None:
                tasks.start_soon(listen, ending)
            tasks.start_soon(_end_late, ending, settings.drain, tasks.cancel_scope)
            tasks.start_soon(watch_pulse, ending)
            # What the workers commit while they end still leaves by the relay: it is told to stop after them.
            await _in_turn((first, ending), (last, Stop()))
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if found := _misconfigured(group):
            raise found from None
        raise
    log.info("ended")


def _loops(app: App, settings: Settings, parts: Parts, roles: Collection[str]) -> tuple[dict[str, Loop], dict[str, Loop]]:
    """Loops by name: those that commit, and those that end after them."""
    bell, carry, waits = Bell(), carrying(app, settings, parts.sampling), Waits()
    group, owner = settings.group or app.name, parts.owner

    async def worker(stop: Stop) -> None:
        made = WorkerParts(log=parts.log, store=parts.store, carry=carry, telemetry=parts.telemetry, wake=bell.ring, waits=waits)
        await Worker(_worker_settings(app, settings, group, owner), made, stop).run()

    async def relay(stop: Stop) -> None:
        chosen = RelaySettings(owner=owner, batch=settings.relay_batch, lease=timedelta(seconds=settings.relay_lease))
        made = RelayParts(outbox=parts.outbox, publisher=parts.publisher, telemetry=parts.telemetry, bell=bell, waits=waits)
        await Relay(chosen, made, stop).run()

    async def ticker(stop: Stop) -> None:
        made = TickerParts(timetable=parts.timetable, store=parts.store, carry=carry, telemetry=parts.telemetry, wake=bell.ring, waits=waits)
        await Ticker(app.feeds, made, stop).run()

    first: dict[str, Loop] = {"worker": worker} if "worker" in roles and app.consumed else {}
    if "ticker" in roles:
        first["ticker"] = ticker
    last: dict[str, Loop] = {"relay": relay} if "relay" in roles else {}
    if "notifier" in roles and parts.telling and app.owners.tells:
        last["notifier"] = partial(_notify, parts.telling, waits)
    running = [*first, *last]

    async def presence(stop: Stop) -> None:
        await Presence(parts.store(), owner, running, waits, stop).run()

    return first, {**last, "presence": presence}


async def _notify(telling: Telling, waits: Waits, stop: Stop) -> None:
    await Notifier(telling, stop, waits).run()


def _worker_settings(app: App, settings: Settings, group: str, owner: str) -> WorkerSettings:
    return WorkerSettings(
        topics=app.consumed,
        group=group,
        owner=owner,
        lanes=settings.lanes,
        batch=settings.batch,
        batch_bytes=settings.batch_bytes,
        high=settings.outbox_high,
        low=settings.outbox_low,
        # Lanes and the client's leaving take their share one after the other.
        drain=settings.drain / 2,
    )


async def _in_turn(first: tuple[Mapping[str, Loop], Stop], last: tuple[Mapping[str, Loop], Stop]) -> None:
    (loops, ending), (after, end_after) = first, last
    async with anyio.create_task_group() as tasks:
        for name, loop in after.items():
            tasks.start_soon(_supervised, name, loop, end_after)
        async with anyio.create_task_group() as workers:
            for name, loop in loops.items():
                workers.start_soon(_supervised, name, loop, ending)
            await ending.wait()
        end_after.set()


async def _supervised(name: str, loop: Loop, stop: Stop) -> None:
    """Whatever ends a loop early is said, and it begins again; only what a person must put right goes up."""
    # Not among the waits: when a loop that began again is over it, nobody can say.
    trouble = Trouble(name, stop, Waits())
    while not stop:
        began = anyio.current_time()
        try:
            await loop(stop)
        except Exception as error:
            if found := _misconfigured(error):
                raise found from error
            structlog.get_logger("stream").error("loop failed, it begins again", loop=name, exc_info=error)
            if anyio.current_time() - began > STEADY:
                trouble.over()
            await trouble.wait(error)


def _misconfigured(error: BaseException) -> ConfigurationError | None:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return next(filter(None, map(_misconfigured, group.exceptions)), None)
    return error if isinstance(error, ConfigurationError) else None


async def listen(stop: Stop) -> None:
    """Handlers of the interpreter's own, not of the loop: the second signal is heard even while code of the author's keeps the loop busy."""
    loop, heard = asyncio.get_running_loop(), list[int]()

    def end(number: int) -> None:
        structlog.get_logger("stream").info("ending", signal=signal.Signals(number).name)
        stop.set()

    def hear(number: int, frame: FrameType | None) -> None:
        if heard:
            # Whoever asks twice does not want to wait; what was not committed is read again by the next owner.
            os._exit(130)
        heard.append(number)
        loop.call_soon_threadsafe(end, number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        await anyio.sleep_forever()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _end_late(stop: Stop, drain: float, scope: anyio.CancelScope) -> None:
    await stop.wait()
    await anyio.sleep(drain + 1.0)
    structlog.get_logger("stream").warning("not drained in time: ending without", seconds=drain)
    scope.cancel()
