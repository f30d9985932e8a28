"""What every `Store` promises, in memory and in PostgreSQL."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from stream.core.changes import Changes, DeadLetter
from stream.core.entity import Timer, Waiting
from stream.core.errors import FencedError, UnstorableError
from stream.core.ladder import Reading
from stream.core.order import Move, Stored
from stream.core.outcome import Outcome, Reason, Verdict
from stream.core.record import Ref, TopicPartition, fingerprint
from stream.ports import Position, Slice, Store
from tests.conformance.storage import (
    JOB,
    PLACE,
    T0,
    Storage,
    applied,
    batch,
    counted,
    key,
    look,
    move,
    record,
    tell,
)

ADMITTED, DUPLICATE, CONFLICT = Verdict.ADMITTED, Verdict.DUPLICATE, Verdict.CONFLICT


RUNNING = Reading(timedelta(hours=4), 0, runs=T0)
MET = Reading(timedelta(days=2), 2, timedelta(minutes=3), breached=T0, stands="met")


@pytest.fixture
def store(storage: Storage) -> Store:
    return storage.store()


async def adopt(store: Store, owner: str = "me", generation: int = 1, place: TopicPartition = PLACE) -> Position:
    return await store.adopt(place, owner=owner, generation=generation, begin=0, partitions=1)


# -- partitions ----------------------------------------------------------------------------------------------------------------------


async def test_a_partition_never_seen_begins_where_the_log_begins(store: Store) -> None:
    assert await store.adopt(PLACE, owner="me", generation=1, begin=7, partitions=1) == Position(1, 7, None, None)


async def test_a_committed_batch_moves_the_position_and_keeps_the_last_record(store: Store) -> None:
    epoch = (await adopt(store)).epoch
    async with store.transaction() as tx:
        claim = await tx.claim_partitions([batch(epoch, 0, 3)])
        await tx.save(counted(Changes(stream_times={PLACE: T0}), 3))
    assert [r.offset for r in claim.records] == [0, 1, 2]
    assert await adopt(store) == Position(2, 3, 2, fingerprint(record(2)))
    async with store.transaction() as tx:
        assert (await tx.claim_partitions([batch(2, 3)])).stream_times == {PLACE: T0}


async def test_a_gap_without_records_moves_the_position_only(store: Store) -> None:
    epoch = (await adopt(store)).epoch
    async with store.transaction() as tx:
        await tx.claim_partitions([Slice(PLACE, epoch, 0, 5, ())])
        await tx.save(Changes())
    assert await adopt(store) == Position(2, 5, None, None)


async def test_stream_time_never_goes_back(store: Store) -> None:
    epoch = (await adopt(store)).epoch
    for start, time in enumerate((T0, T0 - timedelta(days=1))):
        async with store.transaction() as tx:
            await tx.claim_partitions([batch(epoch, start)])
            await tx.save(counted(Changes(stream_times={PLACE: time}), 1))
    async with store.transaction() as tx:
        assert (await tx.claim_partitions([batch(epoch, 2)])).stream_times == {PLACE: T0}


@pytest.mark.parametrize(("epoch", "start"), [(1, 0), (2, 1)])
async def test_an_older_epoch_or_another_position_is_fenced(store: Store, epoch: int, start: int) -> None:
    await adopt(store)
    await adopt(store)
    with pytest.raises(FencedError) as fenced:
        async with store.transaction() as tx:
            await tx.claim_partitions([batch(epoch, start)])
    assert fenced.value.lost == (PLACE,)


async def test_an_older_generation_is_refused_while_the_owner_was_seen_lately(store: Store) -> None:
    await adopt(store, "new", generation=9)
    with pytest.raises(FencedError):
        await adopt(store, "old", generation=8)
    assert (await adopt(store, "new", generation=1)).epoch == 2


async def test_a_lost_outcome_cannot_be_committed(store: Store) -> None:
    epoch = (await adopt(store)).epoch

    async def lose() -> None:
        lost = Changes()
        lost.count(PLACE, "records", 1)
        async with store.transaction() as tx:
            await tx.claim_partitions([batch(epoch, 0)])
            await tx.save(lost)

    with pytest.raises(UnstorableError):
        await lose()
    assert (await adopt(store)).next_offset == 0


async def test_a_drained_mark_counts_only_for_our_epoch_and_position(storage: Storage) -> None:
    store, timetable = storage.store(), storage.timetable()
    epoch = (await adopt(store)).epoch
    await store.note_drained([(PLACE, epoch, 99)], T0)
    await store.note_drained([(PLACE, epoch - 1, 0)], T0)
    assert [f.drained_at for f in (await timetable.feeds()).partitions] == [None]
    await store.note_drained([(PLACE, epoch, 0)], T0)
    assert [f.drained_at for f in (await timetable.feeds()).partitions] == [T0]


# -- first sight ---------------------------------------------------------------------------------------------------------------------


async def test_first_sight_judges_a_batch_as_if_one_came_after_another(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        seen = [(key(2), key(0)), (key(1), key(0)), (key(2), key(0)), (key(2), key(9))]
        assert list(await tx.first_sight(seen)) == [ADMITTED, ADMITTED, DUPLICATE, CONFLICT]
    async with store.transaction() as tx:
        await tx.claim_timers(())
        again = [(key(1), key(9)), (key(1), key(0)), (key(3), key(0)), (key(3), key(0))]
        assert list(await tx.first_sight(again)) == [CONFLICT, DUPLICATE, ADMITTED, DUPLICATE]


async def test_what_was_rolled_back_was_never_seen(store: Store) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.claim_timers(())
            await tx.first_sight([(key(1), key(0))])
            await move(tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.transaction() as tx:
        await tx.claim_timers(())
        assert list(await tx.first_sight([(key(1), key(0))])) == [ADMITTED]
    assert (await look(store)).version == 0


async def test_identities_live_through_two_generations_and_leave_a_floor(storage: Storage) -> None:
    store, timetable = storage.store(), storage.timetable()
    epoch = (await adopt(store)).epoch
    verdicts: list[Verdict] = []
    for turn in range(4):
        await timetable.move_clock(timedelta(days=8 * turn))
        assert bool(await timetable.rotate()) is (turn > 0)
        async with store.transaction() as tx:
            claim = await tx.claim_partitions([batch(epoch, turn)])
            assert claim.floors == ({} if turn < 3 else {"jobs": T0})
            verdicts += await tx.first_sight([(key(1), key(0))])
            await tx.save(counted(Changes(stream_times={PLACE: T0 + timedelta(days=turn)}), 1))
    assert verdicts == [ADMITTED, DUPLICATE, DUPLICATE, ADMITTED]


# -- entities ------------------------------------------------------------------------------------------------------------------------


async def test_an_entity_comes_back_as_it_was_saved(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        entity = (await tx.load([JOB]))[JOB]
        assert not entity.born
        entity.data, entity.chain, entity.machine_version = b'{"a":1}', b"link", 3
        entity.sequences, entity.timers, entity.clocks = {"out/k": 2}, {"sla open": T0}, {"sla open": RUNNING, "sla whole": MET}
        changes = applied(Changes(), entity)
        changes.set_timers += [Timer(JOB, "sla open", T0, RUNNING), Timer(JOB, "sla whole", None, MET)]
        await tx.save(changes)
    again = await look(store)
    assert again.last_id > 0
    assert again == entity


async def test_all_entities_asked_for_come_back_whatever_their_order(store: Store) -> None:
    refs = [Ref("job", i) for i in ("ä", "Z", "a", "10", "9")] + [Ref("Call", "z")]
    for _ in range(2):
        async with store.transaction() as tx:
            await tx.claim_timers(())
            assert set(await tx.load(refs)) == set(refs)


async def test_a_version_that_is_not_the_stored_one_is_fenced(store: Store) -> None:
    async def save_as_if_new() -> None:
        async with store.transaction() as tx:
            await tx.claim_timers(())
            changes = applied(Changes(), (await tx.load([JOB]))[JOB])
            changes.versions[JOB] = 0
            await tx.save(changes)

    await tell(store)
    with pytest.raises(FencedError):
        await save_as_if_new()
    assert (await look(store)).version == 1


async def test_a_set_timer_replaces_its_namesake_and_a_dropped_one_is_gone(store: Store) -> None:
    async def change(drop: tuple[str, ...], *timers: Timer) -> dict[str, object]:
        async with store.transaction() as tx:
            await tx.claim_timers(())
            entity = (await tx.load([JOB]))[JOB]
            for name in drop:
                del entity.timers[name]
            entity.timers |= {t.name: t.due for t in timers if t.due}
            changes = applied(Changes(drop_timers=[(JOB, n) for n in drop], set_timers=list(timers)), entity)
            await tx.save(changes)
        return dict((await look(store)).timers)

    later = T0 + timedelta(hours=1)
    assert await change((), Timer(JOB, "a", T0), Timer(JOB, "b", T0)) == {"a": T0, "b": T0}
    assert await change(("b",), Timer(JOB, "a", later)) == {"a": later}
    assert await change(("a",)) == {}


def waiting(offset: int, outcome: Outcome = Outcome.DEFERRED) -> Waiting:
    return Waiting(JOB, outcome, Reason.EARLY, record(offset), f"e-{offset}", "job.moved", "c-1", T0, until=T0)


async def test_a_line_keeps_its_order_and_the_bytes_of_its_records(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        entity = (await tx.load([JOB]))[JOB]
        entity.line = [waiting(5), waiting(3), waiting(4)]
        await tx.save(Changes(entities={JOB: entity}, versions={JOB: 0}, lines=list(entity.line)))
    first, second, third = (await look(store)).line
    assert [w.record for w in (first, second, third)] == [record(5), record(3), record(4)]
    second.outcome, second.attempts, second.error = Outcome.PARKED, 2, "no\x00good"
    async with store.transaction() as tx:
        await tx.claim_timers(())
        entity = (await tx.load([JOB]))[JOB]
        entity.line = [second, third]
        await tx.save(Changes(entities={JOB: entity}, versions={JOB: 0}, drop_lines=[first.id], retried=[second]))
    line = (await look(store)).line
    assert [(w.id, w.outcome, w.attempts) for w in line] == [(second.id, Outcome.PARKED, 2), (third.id, Outcome.DEFERRED, 0)]


# -- letters, counts -----------------------------------------------------------------------------------------------------------------


async def test_a_dead_letter_is_claimed_once_with_its_bytes(store: Store) -> None:
    letters = [
        DeadLetter(record(1, b"\xff\x00"), Reason.UNDECODABLE, "bad\x00\ud800"),
        DeadLetter(record(2), Reason.MANUAL, "", ref=JOB, admitted=True),
    ]
    async with store.transaction() as tx:
        await tx.claim_timers(())
        await tx.save(Changes(dead=letters, counts={"replay": Counter(dead=2)}))
    async with store.transaction() as tx:
        claim = await tx.claim_letters([2, 1, 77], "ann")
        assert list(claim.stored) == [Stored(record(1, b"\xff\x00"), None, False), Stored(record(2), JOB, True)]
    async with store.transaction() as tx:
        assert list((await tx.claim_letters([1, 2], "bob")).stored) == []


async def test_a_claim_of_letters_that_failed_leaves_them_open(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.claim_timers(())
        await tx.save(Changes(dead=[DeadLetter(record(1), Reason.TOO_OLD, "")]))

    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.claim_letters([1], "ann")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.transaction() as tx:
        assert len((await tx.claim_letters([1], "bob")).stored) == 1


async def test_what_a_person_says_is_claimed_as_it_is(store: Store) -> None:
    move = Move(JOB, "new", "paused", "ann", "told")
    async with store.transaction() as tx:
        claim = await tx.claim_orders("desk", [move], [record(1)])
    assert (claim.door, list(claim.orders), list(claim.stored)) == ("desk", [move], [Stored(record(1), None, False)])


async def test_the_movable_clock_moves_and_the_real_one_stays(storage: Storage) -> None:
    store, timetable = storage.store(), storage.timetable()
    await timetable.move_clock(timedelta(days=3))
    async with store.transaction() as tx:
        claim = await tx.claim_timers(())
    assert timedelta(days=2, hours=23) < claim.now - claim.clock < timedelta(days=3, hours=1)
    assert await store.now() >= claim.now
