"""What becomes of held messages: sent again or dropped by order, in their order, by the relay of their shard alone."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from stream.core.errors import FencedError
from stream.core.record import Ref
from stream.ports import Outbox, Round
from stream.ports.held import Reply
from tests.conformance.storage import Storage, drain, message, move, published, tell

TTL = timedelta(minutes=5)
LATE = Ref("job", "j-2")


class Relay:
    """An outbox with everything leased."""

    def __init__(self, outbox: Outbox, name: str) -> None:
        self.outbox, self.name = outbox, name
        self.shards: list[int] = []

    async def lease(self) -> None:
        self.shards = list((await self.outbox.lease(self.name, TTL)).shards)

    async def send(self, *refuse: str, limit: int = 100) -> list[str]:
        return await drain(self.outbox, self.shards, limit, refuse)

    async def round(self, limit: int = 100) -> Round:
        """The next one that has rows."""
        for shard in self.shards:
            round = await self.outbox.read(shard, limit)
            if round.rows:
                return round
        raise AssertionError("nothing to send")


async def relay(storage: Storage, name: str = "r") -> Relay:
    made = Relay(storage.outbox(), name)
    await made.lease()
    return made


async def test_a_line_is_sent_again_in_order_before_what_is_newer(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message("k", n) for n in (1, 2, 3)))
    assert await one.send("m-1") == []
    await tell(store, message("k", 4), message("other", 9))
    assert await one.send() == ["m-9"]
    await tell(store, message("k", 5))
    assert await lines.retry([1], "ann") == {1: Reply.DONE}
    assert await one.send() == ["m-1", "m-2", "m-3", "m-4", "m-5"]
    await tell(store, message("k", 6))
    assert await one.send() == ["m-6"]


async def test_a_line_that_is_refused_again_waits_for_the_next_order(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message("k", n) for n in (1, 2, 3)))
    await one.send("m-1")
    await lines.retry([3], "ann")
    assert await one.send("m-2") == ["m-1"]
    await tell(store, message("k", 4))
    assert await one.send() == []
    assert await lines.retry([1, 2], "ann") == {1: Reply.GONE, 2: Reply.DONE}
    assert await one.send() == ["m-2", "m-3", "m-4"]


async def test_a_key_of_any_size_is_held(storage: Storage) -> None:
    """Noise: what an index would have to hold of it cannot be packed."""
    large = "".join(map(chr, random.Random(7).choices(range(0x4E00, 0x9FFF), k=100_000)))
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message(large, n) for n in (1, 2)), message("other", 9))
    assert await one.send("m-1") == ["m-9"]
    assert await lines.retry([1], "ann") == {1: Reply.DONE}
    assert await one.send() == ["m-1", "m-2"]


async def test_a_skip_drops_the_first_and_lets_the_others_go(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message("k", n) for n in (1, 2, 3)))
    await one.send("m-1")
    assert await lines.skip(2, "ann", "why not") is Reply.BEHIND
    assert await lines.skip(1, "ann", "never fits") is Reply.DONE
    await tell(store, message("k", 4))
    assert await one.send() == ["m-2", "m-3", "m-4"]


async def test_a_skip_of_the_only_one_opens_the_key(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, message("k", 1))
    await one.send("m-1")
    await lines.skip(1, "ann", "never fits")
    await tell(store, message("k", 2))
    assert await one.send() == ["m-2"]


async def test_an_order_is_given_once_and_a_line_on_its_way_takes_no_other(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, message("k", 1), message("k", 2))
    await one.send("m-1")
    assert await lines.retry([1], "ann") == {1: Reply.DONE}
    assert await lines.retry([2], "bob") == {2: Reply.BUSY}
    assert await lines.skip(1, "bob", "never fits") is Reply.BUSY
    assert await one.send() == ["m-1", "m-2"]
    assert await lines.skip(1, "bob", "never fits") is Reply.GONE
    assert await lines.retry([2, 77], "bob") == {2: Reply.GONE, 77: Reply.GONE}


async def test_lines_of_several_keys_are_ordered_together_and_stop_alone(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message(key, n) for n, key in enumerate("abab")))
    await one.send("m-0", "m-1")
    await lines.retry([1, 2], "ann")
    assert await one.send("m-0") == ["m-1", "m-3"]
    await tell(store, message("b", 4), message("a", 5))
    assert await one.send() == ["m-4"]


async def test_a_line_longer_than_a_round_goes_on_to_its_end(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, *(message("k", n) for n in range(7)))
    await one.send("m-0", limit=3)
    await lines.retry([1], "ann")
    assert await one.send(limit=3) == [f"m-{n}" for n in range(7)]


async def test_what_was_sent_again_and_not_noted_is_sent_once_more_with_the_same_ids(storage: Storage) -> None:
    store, lines, first, second = storage.store(), storage.lines(), await relay(storage, "a"), Relay(storage.outbox(), "b")
    await tell(store, message("k", 1), message("k", 2))
    await first.send("m-1")
    await lines.retry([1], "ann")
    lost = await first.round()
    assert published(lost, ())[0] == ["m-1", "m-2"]
    await tell(store, message("k", 3))
    # The first one freezes after the acknowledgement; the second takes over.
    await first.outbox.renew("a", timedelta(0))
    await second.lease()
    assert await lines.skip(1, "bob", "it hangs") is Reply.BUSY
    assert await second.send() == ["m-1", "m-2", "m-3"]
    with pytest.raises(FencedError):
        await first.outbox.advance(lost, ())


async def test_a_relay_that_lost_its_lease_cannot_say_what_became_of_a_line(storage: Storage) -> None:
    store, lines, first, second = storage.store(), storage.lines(), await relay(storage, "a"), Relay(storage.outbox(), "b")
    await tell(store, message("k", 1))
    await first.send("m-1")
    await lines.retry([1], "ann")
    lost = await first.round()
    await first.outbox.renew("a", timedelta(0))
    await second.lease()
    with pytest.raises(FencedError):
        await first.outbox.advance(lost, ())
    assert await second.send("m-1") == []
    assert await lines.retry([1], "ann") == {1: Reply.DONE}


async def test_a_message_passed_over_while_its_line_was_emptied_still_goes(storage: Storage) -> None:
    store, lines, one = storage.store(), storage.lines(), await relay(storage)
    await tell(store, message("k", 1))
    await one.send("m-1")
    # One to send, so that the round waits for its acknowledgement; in the same shard in memory and in PostgreSQL.
    await tell(store, message("k", 2), message("k", 3, topic="other"))
    round = await one.round()
    assert published(round, ())[0] == ["m-3"]
    await lines.skip(1, "ann", "never fits")
    await one.outbox.advance(round, ())
    await tell(store, message("k", 4))
    assert await one.send() == ["m-2", "m-4"]


async def test_a_message_written_early_and_committed_late_takes_its_place_before_the_refused_one(storage: Storage) -> None:
    if not storage.late_commits:
        pytest.skip("transactions commit one after another there")
    store, other, lines, one = storage.store(), storage.store(), storage.lines(), await relay(storage)
    async with other.transaction() as tx:
        await tx.claim_timers(())
        await move(tx, message("k", 1), ref=LATE)
        await tell(store, message("k", 2), message("k", 3))
        assert await one.send("m-2") == []
    # It never was refused itself, so it goes; the one behind it is tried on the occasion, and stops its line.
    assert await one.send("m-2") == ["m-1"]
    await lines.retry([2], "ann")
    assert await one.send() == ["m-2", "m-3"]
