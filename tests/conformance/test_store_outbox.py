"""What every `Outbox` and `Timetable` promises, in memory and in PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream.core.changes import Changes
from stream.core.entity import Timer
from stream.core.errors import FencedError
from stream.core.record import Ref
from stream.ports import ROUND_BYTES, Refusal
from tests.conformance.storage import JOB, T0, Storage, applied, drain, message, tell

TTL = timedelta(minutes=5)


async def test_what_was_committed_is_read_once_in_order(storage: Storage) -> None:
    store, outbox = storage.store(), storage.outbox()
    shards = (await outbox.lease("r", TTL)).shards
    await tell(store, *(message("k", n) for n in range(5)))
    assert await store.backlog() == 5
    assert await drain(outbox, shards, limit=2) == [f"m-{n}" for n in range(5)]
    await tell(store, message("k", 5))
    assert await drain(outbox, shards) == ["m-5"]
    assert await drain(outbox, shards) == []
    assert await store.backlog() == 0


async def test_what_is_not_committed_yet_nobody_sees(storage: Storage) -> None:
    store, outbox, timetable = storage.store(), storage.outbox(), storage.timetable()
    shards = (await outbox.lease("r", TTL)).shards
    until = {JOB.machine: T0 + timedelta(days=1)}
    async with store.transaction() as tx:
        await tx.claim_timers(())
        entity = (await tx.load([JOB]))[JOB]
        await tx.save(applied(Changes(set_timers=[Timer(JOB, "a", T0)]), entity, message("k", 1)))
        assert (await drain(outbox, shards), await timetable.due(until, 10), (await timetable.feeds()).unsent) == ([], [], {})
    assert (await drain(outbox, shards), [ref for ref, _ in await timetable.due(until, 10)]) == (["m-1"], [JOB])


async def test_what_was_not_acknowledged_is_read_again(storage: Storage) -> None:
    store, outbox = storage.store(), storage.outbox()
    shards = (await outbox.lease("r", TTL)).shards
    await tell(store, message("k", 1), message("k", 2))
    for shard in shards:
        await outbox.read(shard, 1)
    assert await drain(outbox, shards) == ["m-1", "m-2"]


async def test_a_round_ends_where_its_messages_weigh_enough_and_the_pass_goes_on(storage: Storage) -> None:
    store, outbox = storage.store(), storage.outbox()
    shards = (await outbox.lease("r", TTL)).shards
    half = bytes(ROUND_BYTES // 2)
    await tell(store, *(message("k", n, value=half if n < 4 else half * 3) for n in range(6)))
    sizes: list[tuple[int, bool, bool]] = []
    for shard in shards:
        while (round := await outbox.read(shard, 100)).rows:
            sizes.append((len(round.rows), round.more, round.within))
            await outbox.advance(round, ())
    assert sizes == [(2, True, True), (2, True, True), (1, True, True), (1, sizes[-1][1], False)]


async def test_a_half_sent_pass_goes_on_after_another_relay_took_over(storage: Storage) -> None:
    store, first, second = storage.store(), storage.outbox(), storage.outbox()
    shards = (await first.lease("a", TTL)).shards
    await tell(store, *(message("k", n) for n in range(4)))
    for shard in shards:
        round = await first.read(shard, 2)
        if round.rows:
            await first.advance(round, ())
    await tell(store, message("k", 4))
    await first.release("a")
    assert await drain(second, (await second.lease("b", TTL)).shards) == ["m-2", "m-3", "m-4"]


async def test_a_shard_has_one_relay_and_an_expired_one_is_fenced(storage: Storage) -> None:
    store, first, second = storage.store(), storage.outbox(), storage.outbox()
    shards = (await first.lease("a", TTL)).shards
    await first.renew("a", timedelta(0))
    await tell(store, message("k", 1))
    await second.lease("b", TTL)
    await first.renew("a", timedelta(0))
    assert (await second.lease("b", TTL)).shards == shards
    for shard in shards:
        with pytest.raises(FencedError):
            await first.read(shard, 10)
    assert await drain(second, shards) == ["m-1"]


async def test_a_relay_that_lost_its_lease_while_sending_cannot_move_the_position(storage: Storage) -> None:
    store, first, second = storage.store(), storage.outbox(), storage.outbox()
    shards = (await first.lease("a", TTL)).shards
    await tell(store, message("k", 1))
    rounds = [await first.read(shard, 10) for shard in shards]
    await first.renew("a", timedelta(0))
    assert (await second.lease("b", TTL)).shards == shards
    for round in rounds:
        with pytest.raises(FencedError):
            await first.advance(round, ())
    assert await drain(second, shards) == ["m-1"]


async def test_relays_share_the_shards_and_keep_what_they_have_while_they_are_the_same(storage: Storage) -> None:
    first, second = storage.outbox(), storage.outbox()
    everything = (await first.lease("a", TTL)).shards
    waiting = await second.lease("b", TTL)
    assert (waiting.shards, waiting.share) == ([], len(everything) // 2)
    halves = [(await outbox.lease(name, TTL)).shards for name, outbox in (("a", first), ("b", second))]
    assert sorted([*halves[0], *halves[1]]) == list(everything)
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    for _ in range(3):
        assert [(await outbox.lease(name, TTL)).shards for name, outbox in (("a", first), ("b", second))] == halves


async def test_what_a_relay_that_died_held_is_taken_when_its_lease_ends(storage: Storage) -> None:
    first, second = storage.outbox(), storage.outbox()
    everything = (await first.lease("a", TTL)).shards
    await second.lease("b", TTL)
    await first.lease("a", TTL)
    await second.lease("b", TTL)
    await first.renew("a", timedelta(0))
    assert (await second.lease("b", TTL)).shards == everything


async def test_a_relay_that_ends_leaves_its_share_to_the_others_at_once(storage: Storage) -> None:
    first, second = storage.outbox(), storage.outbox()
    everything = (await first.lease("a", TTL)).shards
    await second.lease("b", TTL)
    await first.release("a")
    assert (await second.lease("b", TTL)).shards == everything


async def test_a_long_round_keeps_what_is_held_even_beyond_the_share(storage: Storage) -> None:
    store, first, second = storage.store(), storage.outbox(), storage.outbox()
    shards = (await first.lease("a", TTL)).shards
    await tell(store, message("k", 1))
    rounds = [await first.read(shard, 10) for shard in shards]
    await second.lease("b", TTL)
    await first.renew("a", TTL)
    assert (await second.lease("b", TTL)).shards == []
    for round in rounds:
        await first.advance(round, ())


async def test_a_shard_that_was_let_go_of_is_sent_by_its_new_relay_alone(storage: Storage) -> None:
    store, first, second = storage.store(), storage.outbox(), storage.outbox()
    everything = (await first.lease("a", TTL)).shards
    await second.lease("b", TTL)
    kept = (await first.lease("a", TTL)).shards
    taken = (await second.lease("b", TTL)).shards
    await tell(store, *(message(key, n) for n, key in enumerate("abcdefgh")))
    for shard in taken:
        with pytest.raises(FencedError):
            await first.read(shard, 10)
    sent = await drain(first, kept) + await drain(second, taken)
    assert sorted(sent) == [f"m-{n}" for n in range(8)]
    assert sorted([*kept, *taken]) == list(everything)


async def test_a_refused_message_holds_later_ones_of_its_key_and_nothing_else(storage: Storage) -> None:
    store, outbox = storage.store(), storage.outbox()
    shards = (await outbox.lease("r", TTL)).shards
    await tell(store, message("k", 1), message("k", 2), message("k", 3, topic="other"))
    for shard in shards:
        round = await outbox.read(shard, 10)
        if round.rows:
            await outbox.advance(round, [Refusal(round.rows[0].seq, "too_large", "1 MB")])
    await tell(store, message("k", 4), message("k", 5, topic="other"))
    assert await drain(outbox, shards) == ["m-5"]
    await tell(store, message("k", 6))
    assert await drain(outbox, shards, limit=1) == []
    assert await store.backlog() == 0


async def test_feeds_name_the_oldest_unsent_message_of_each_topic(storage: Storage) -> None:
    store, outbox, timetable = storage.store(), storage.outbox(), storage.timetable()
    before = (await timetable.feeds()).now
    await tell(store, message("k", 1), message("k", 2, topic="other"))
    feeds = await timetable.feeds()
    assert set(feeds.unsent) == {"out", "other"}
    assert all(before <= at <= feeds.now for at in feeds.unsent.values())
    await drain(outbox, (await outbox.lease("r", TTL)).shards)
    assert (await timetable.feeds()).unsent == {}


async def test_what_is_due_comes_earliest_first_for_the_machines_asked_for(storage: Storage) -> None:
    store, timetable = storage.store(), storage.timetable()
    minute = timedelta(minutes=1)
    async with store.transaction() as tx:
        await tx.claim_timers(())
        refs = [JOB, Ref("job", "j-2"), Ref("call", "c")]
        changes = Changes()
        for n, entity in enumerate((await tx.load(refs)).values()):
            timers = [Timer(entity.ref, "a", T0 - n * minute), Timer(entity.ref, "b", T0 + minute)]
            # Both of these stand before the first timer of the next entity.
            timers += [Timer(entity.ref, "c", T0 - 1.5 * minute)] if n == 2 else []
            entity.timers = {t.name: t.due for t in timers if t.due}
            changes.set_timers += timers
            applied(changes, entity)
        await tx.save(changes)
    due = await timetable.due({"job": T0}, 10)
    assert [ref for ref, _ in due] == [Ref("job", "j-2"), JOB]
    assert [at for _, at in due] == [T0 - 2 * minute, T0 - minute]
    assert len(await timetable.due({"job": T0 + minute, "call": T0}, 2)) == 2
    assert len(await timetable.due({"job": T0 + minute}, 2)) == 2
    assert not await timetable.due({}, 10)
