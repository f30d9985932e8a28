"""How a relay ends: within bounds, whatever others write meanwhile, and with nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import anyio
import pytest

from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.errors import UnavailableError, UncertainError
from stream.ports import Leases, Outgoing, Refusal, Round
from stream.runtime.relay import Relay, RelayParts, RelaySettings
from stream.runtime.waiting import Bell, Stop


class Outbox:
    """A shard into which others write as fast as it is read; `ahead` rows are all there is in one that nobody writes into any more."""

    def __init__(self, *, ahead: int | None = None) -> None:
        self.ahead = ahead
        self.rounds = 0
        self.advanced: list[int] = []
        self.calls: list[str] = []

    async def lease(self, owner: str, ttl: timedelta) -> Leases:
        return Leases((0,), 1)

    async def renew(self, owner: str, ttl: timedelta) -> None: ...

    async def read(self, shard: int, limit: int) -> Round:
        self.rounds += 1
        assert self.rounds <= 1000, "never ends"
        left = limit - 1 if self.ahead is None else min(limit, self.ahead - len(self.advanced))
        start = len(self.advanced)
        rows = [Outgoing(seq, "told", b"k", b"{}", []) for seq in range(start, start + left)]
        return Round(shard, 1, rows, more=left == limit or self.ahead is None, within=left == limit)

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        self.advanced += [row.seq for row in round.rows]

    async def release(self, owner: str) -> None:
        self.calls.append("release")

    async def close(self) -> None:
        self.calls.append("close")


class Publisher:
    """Fails with `error` when it has one; one that is `stuck` waits for ever."""

    def __init__(self, error: Exception | None = None, *, stuck: bool = False) -> None:
        self.error, self.stuck = error, stuck
        self.sends, self.stopped = 0, False
        self.reached = anyio.Event()

    async def start(self) -> None: ...

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        self.sends += 1
        self.reached.set()
        if self.error:
            raise self.error
        if self.stuck:
            await anyio.Event().wait()
        return ()

    async def stop(self) -> None:
        # Only a real wait shows whether it is cut short.
        await anyio.lowlevel.checkpoint()
        self.stopped = True


def relay(outbox: Outbox, publisher: Publisher, stop: Stop, *, last: float = 60.0) -> Relay:
    parts = RelayParts(outbox=lambda: outbox, publisher=lambda: publisher, telemetry=MemoryTelemetry(), bell=Bell())
    return Relay(RelaySettings(owner="us", batch=3, last=last), parts, stop)


class Stopping(Outbox):
    """Is asked to end while its first round is read."""

    def __init__(self, stop: Stop, *, ahead: int | None = None) -> None:
        super().__init__(ahead=ahead)
        self.stop = stop

    async def read(self, shard: int, limit: int) -> Round:
        self.stop.set()
        return await super().read(shard, limit)


async def test_a_relay_ends_while_others_go_on_writing() -> None:
    stop = Stop()
    outbox, publisher = Stopping(stop), Publisher()
    await relay(outbox, publisher, stop).run()
    assert outbox.rounds == 3, "one before the stop, the pass under way, and one more"
    assert (outbox.calls, publisher.stopped) == (["release", "close"], True)


async def test_a_relay_that_ends_sends_all_that_was_committed_before() -> None:
    stop = Stop()
    outbox = Stopping(stop, ahead=50)
    await relay(outbox, Publisher(), stop).run()
    assert outbox.advanced == list(range(50))


async def test_a_relay_that_has_no_time_left_leaves_the_rest_to_the_next_one() -> None:
    stop = Stop()
    outbox = Stopping(stop, ahead=50)
    await relay(outbox, Publisher(), stop, last=0.0).run()
    assert (outbox.advanced, outbox.calls) == ([0, 1, 2], ["release", "close"])


@pytest.mark.parametrize("error", [UncertainError("lost"), UnavailableError("away")])
async def test_a_relay_that_cannot_send_tries_once_more_at_its_end(error: Exception) -> None:
    stop = Stop()
    outbox, publisher = Stopping(stop, ahead=50), Publisher(error)
    await relay(outbox, publisher, stop).run()
    assert (publisher.sends, publisher.stopped, outbox.calls) == (2, True, ["release", "close"])


class Sharing(Outbox):
    """Three shards at first, one once others came; says when it was renewed, and which shards were read."""

    def __init__(self) -> None:
        super().__init__(ahead=0)
        self.read_of: list[int] = []
        self.renewed = anyio.Event()

    async def lease(self, owner: str, ttl: timedelta) -> Leases:
        return Leases((0, 1, 2) if not self.read_of else (0,), 1)

    async def renew(self, owner: str, ttl: timedelta) -> None:
        self.renewed.set()

    async def read(self, shard: int, limit: int) -> Round:
        self.read_of.append(shard)
        return await super().read(shard, limit)


async def test_a_relay_reads_nothing_of_a_shard_it_let_go_of_within_a_turn() -> None:
    stop = Stop()
    outbox = Sharing()
    ending = RelayParts(outbox=lambda: outbox, publisher=Publisher, telemetry=MemoryTelemetry(), bell=Bell())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Relay(RelaySettings(owner="us", lease=timedelta(0), last=0.0), ending, stop).run)
        with anyio.fail_after(30):
            while len(outbox.read_of) < 5:
                await anyio.lowlevel.checkpoint()
        stop.set()
    assert set(outbox.read_of) == {0}


async def test_a_send_that_takes_longer_than_a_lease_keeps_it() -> None:
    outbox, stop = Sharing(), Stop()
    outbox.ahead = 1

    class Slow(Publisher):
        async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
            await outbox.renewed.wait()
            stop.set()
            return await super().publish(batch)

    made = RelayParts(outbox=lambda: outbox, publisher=Slow, telemetry=MemoryTelemetry(), bell=Bell())
    with anyio.fail_after(30):
        await Relay(RelaySettings(owner="us", lease=timedelta(milliseconds=30), last=0.0), made, stop).run()
    assert outbox.advanced == [0]


async def test_a_relay_that_fails_leaves_no_producer_and_no_lease_behind_and_sends_no_more() -> None:
    outbox, publisher = Outbox(ahead=50), Publisher(RuntimeError("a fault of ours"))
    with pytest.raises(RuntimeError):
        await relay(outbox, publisher, Stop()).run()
    assert (publisher.sends, publisher.stopped, outbox.calls) == (1, True, ["release", "close"])


async def test_a_relay_that_is_cut_short_leaves_no_producer_and_no_lease_behind() -> None:
    outbox, publisher = Outbox(ahead=50), Publisher(stuck=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay(outbox, publisher, Stop()).run)
        await publisher.reached.wait()
        tasks.cancel_scope.cancel()
    assert (publisher.stopped, outbox.calls) == (True, ["release", "close"])


class Unstarted(Publisher):
    """Fails in the middle of its start."""

    async def start(self) -> None:
        raise UnavailableError("half of it is there")


async def test_a_producer_that_failed_in_its_start_is_not_left_behind() -> None:
    outbox, half, whole = Outbox(ahead=5), Unstarted(), Publisher()
    made, stop = iter([half, whole]), Stop()
    parts = RelayParts(outbox=lambda: outbox, publisher=lambda: next(made), telemetry=MemoryTelemetry(), bell=Bell())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Relay(RelaySettings(owner="us"), parts, stop).run)
        await whole.reached.wait()
        stop.set()
    assert half.stopped
    assert outbox.advanced == [*range(5)]
