"""The relay: what was committed to the outbox goes onto its topics, shard by shard, in the order it was written."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import structlog

from stream.core.errors import FencedError, UnavailableError, UncertainError
from stream.ports import Outbox, Outgoing, Publisher, Refusal, Round, Telemetry
from stream.runtime.waiting import Bell, Stop, Trouble, Waits

SHORTEST, LONGEST = 0.02, 1.0
"""Seconds between two looks at an outbox that was empty: doubled while it stays so, short again after a wake or a find."""
GIVEN_UP = 5.0
"""Seconds for each of the last steps: stopping the producer, giving the leases back, closing the connection."""


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """`owner` names this relay in the leases; `last`: seconds to send what is left at the end."""

    owner: str
    batch: int = 1000
    lease: timedelta = timedelta(seconds=15)
    last: float = 5.0


@dataclass(frozen=True, kw_only=True)
class RelayParts:
    """What a relay works with. `bell` is rung when somebody in this process committed messages."""

    outbox: Callable[[], Outbox]
    publisher: Callable[[], Publisher]
    telemetry: Telemetry
    bell: Bell
    waits: Waits = field(default_factory=Waits)


class Relay:
    """Holds leases, reads rounds, publishes, advances. A send with an unknown end is sent again: ids and sequences are the same."""

    def __init__(self, settings: RelaySettings, parts: RelayParts, stop: Stop) -> None:
        self._set, self._parts, self._stop = settings, parts, stop
        self._outbox = parts.outbox()
        self._publisher: Publisher | None = None
        self._shards: Sequence[int] = ()
        self._renew_at = 0.0
        self._outages = Trouble("relay", stop, parts.waits)

    async def run(self) -> None:
        pause = SHORTEST
        try:
            while not self._stop:
                sent = await self._turn()
                pause = SHORTEST if sent else min(LONGEST, pause * 2)
                if not sent and await self._parts.bell.wait(pause):
                    pause = SHORTEST
            await self._send_rest()
        finally:
            await self._let_go()

    async def _turn(self) -> bool:
        """One round of every shard; true when anything was sent, or more waits."""
        sent = False
        try:
            await self._lease()
            for shard in self._shards:
                # A turn of all shards may take longer than the lease.
                await self._lease()
                if shard not in self._shards:
                    continue
                round = await self._shard(shard)
                sent |= round is not None and (bool(round.rows) or round.more)
            self._outages.over()
        except UncertainError as error:
            await self._drop_publisher()
            await self._outages.wait(error)
        except UnavailableError as error:
            await self._outages.wait(error)
        return sent

    async def _lease(self) -> None:
        now = anyio.current_time()
        if now < self._renew_at:
            return
        leases = await self._outbox.lease(self._set.owner, self._set.lease)
        self._shards = leases.shards
        # What is missing of the share comes free when the others next renew.
        self._renew_at = now + (self._third if len(leases.shards) >= leases.share else min(self._third, LONGEST))

    @property
    def _third(self) -> float:
        """Seconds between two renewals: two may fail before another relay takes over."""
        return self._set.lease.total_seconds() / 3

    async def _shard(self, shard: int) -> Round | None:
        """One round; None when the shard was lost."""
        try:
            round = await self._outbox.read(shard, self._set.batch)
            if round.rows:
                await self._publish(round)
            return round
        except FencedError:
            structlog.get_logger("stream").info("outbox shard taken over by another relay", shard=shard)
            self._renew_at = 0.0
            return None

    async def _publish(self, round: Round) -> None:
        began = time.time_ns()
        try:
            refused = await self._sent(round.rows)
        except UncertainError as error:
            self._parts.telemetry.sent(round.rows, began, time.time_ns(), str(error))
            raise
        for refusal in refused:
            structlog.get_logger("stream").error("message refused: its key is held", seq=refusal.seq, reason=refusal.reason, error=refusal.error)
        await self._outbox.advance(round, refused)
        self._parts.telemetry.sent(round.rows, began, time.time_ns())

    async def _sent(self, rows: Sequence[Outgoing]) -> Sequence[Refusal]:
        """Publish, keeping the leases: a slow broker may need longer than they last, and whoever took over would only send the same again."""
        refused: Sequence[Refusal] = ()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep)
                publisher = await self._started()
                refused = await publisher.publish(rows)
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            # One of the two failed, the other was cut short for it.
            raise group.exceptions[0] from None
        return refused

    async def _keep(self) -> None:
        while True:
            await anyio.sleep(self._third)
            # The connection must be free again when the send has ended.
            with anyio.move_on_after(GIVEN_UP, shield=True), suppress(UnavailableError):
                await self._outbox.renew(self._set.owner, self._set.lease)

    async def _started(self) -> Publisher:
        if self._publisher is None:
            publisher = self._publisher = self._parts.publisher()
            try:
                await publisher.start()
            except BaseException:
                # However far it came: nothing of it is left behind.
                await _in_time(self._drop_publisher)
                raise
        return self._publisher

    async def _drop_publisher(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.stop()

    async def _send_rest(self) -> None:
        """What was committed before the stop, not what others go on writing: of each shard the pass under way, and one looked up after the stop."""
        ends = anyio.current_time() + self._set.last
        passes = dict.fromkeys(self._shards, 2)
        try:
            while passes and anyio.current_time() < ends:
                await self._lease()
                shard, left = passes.popitem()
                if shard not in self._shards:
                    continue
                round = await self._shard(shard)
                left -= round is None or not round.within
                if round is not None and round.more and left:
                    passes[shard] = left
        except (UncertainError, UnavailableError) as error:
            structlog.get_logger("stream").warning("what is left in the outbox is sent by the next relay", error=str(error))

    async def _let_go(self) -> None:
        """Nobody has to wait for the leases to run out, and no producer is left behind, however the loop ended."""
        async with AsyncExitStack() as last:
            last.push_async_callback(_in_time, self._outbox.close)
            last.push_async_callback(_in_time, self._release)
            last.push_async_callback(_in_time, self._drop_publisher)

    async def _release(self) -> None:
        try:
            await self._outbox.release(self._set.owner)
        except UnavailableError as error:
            structlog.get_logger("stream").warning("leases not given back", error=str(error))


async def _in_time(step: Callable[[], Awaitable[None]]) -> None:
    """A last step: done even when the loop is being cancelled, and given up after its own few seconds."""
    with anyio.move_on_after(GIVEN_UP, shield=True):
        await step()
