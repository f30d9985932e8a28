"""What every `Store` promises about halted partitions: kept until somebody decides, decided once, and never by an owner of the past."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.core.changes import Changes
from stream.core.errors import FencedError
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.record import TopicPartition, fingerprint
from stream.ports import Position, Store
from tests.conformance.storage import PLACE, Storage, batch, counted, record

SEEN = Seen(3, begin=7, end=9, fault="22001")


@pytest.fixture
def store(storage: Storage) -> Store:
    return storage.store()


async def adopt(store: Store, place: TopicPartition = PLACE, partitions: int = 1, owner: str = "me") -> Position:
    return await store.adopt(place, owner=owner, generation=1, begin=0, partitions=partitions)


async def take(store: Store, epoch: int, start: int, count: int = 1) -> None:
    async with store.transaction() as tx:
        await tx.claim_partitions([batch(epoch, start, count)])
        await tx.save(counted(Changes(), count))


async def halted(store: Store, reason: HaltReason = HaltReason.OVERRUN) -> Halt:
    """A partition of which three records were taken."""
    epoch = (await adopt(store)).epoch
    await take(store, epoch, 0, 3)
    await store.recognize(PLACE, epoch, "topic 1")
    await store.halt(PLACE, epoch, reason, SEEN)
    halt = await store.halted(PLACE)
    assert halt is not None
    return halt


def decision(halt: Halt, position: int = 3, target: int = 7, forget: bool = False) -> Decision:
    return Decision(PLACE, halt, position, target, forget, "ann", "lost upstream")


async def test_a_halt_is_found_by_every_later_owner_as_it_was_seen(storage: Storage) -> None:
    halt = await halted(storage.store())
    assert (halt.reason, halt.seen, halt.owner) == (HaltReason.OVERRUN, SEEN, "me")
    heir = await adopt(storage.store(), owner="heir")
    assert heir == Position(2, 3, 2, fingerprint(record(2)), "topic 1", halt)


async def test_what_halted_a_partition_first_stands(store: Store) -> None:
    halt = await halted(store)
    await store.halt(PLACE, 1, HaltReason.REFUSED, Seen(3))
    assert await store.halted(PLACE) == halt


async def test_what_was_read_before_a_halt_may_still_be_committed(store: Store) -> None:
    halt = await halted(store)
    await take(store, 1, 3)
    assert await adopt(store) == Position(2, 4, 3, fingerprint(record(3)), "topic 1", halt)


async def test_an_owner_of_the_past_halts_and_recognizes_nothing(store: Store) -> None:
    await adopt(store)
    await adopt(store)
    with pytest.raises(FencedError) as fenced:
        await store.halt(PLACE, 1, HaltReason.OVERRUN, SEEN)
    assert fenced.value.lost == (PLACE,)
    await store.recognize(PLACE, 1, "topic 1")
    assert await adopt(store) == Position(3, 0, None, None, None, None)


async def test_a_decision_sets_the_position_and_fences_the_owner(store: Store) -> None:
    halt = await halted(store)
    await store.resume(decision(halt))
    assert await store.halted(PLACE) is None
    with pytest.raises(FencedError):
        await take(store, 1, 7)
    with pytest.raises(FencedError):
        await take(store, 1, 3)
    assert await adopt(store) == Position(3, 7, 2, fingerprint(record(2)), "topic 1", None)


async def test_a_decision_on_another_log_forgets_the_record_and_the_topic_that_were_known(store: Store) -> None:
    halt = await halted(store, HaltReason.MADE_ANEW)
    await store.resume(decision(halt, target=0, forget=True))
    assert await adopt(store) == Position(3, 0, None, None, None, None)


async def test_a_decision_holds_once_and_only_for_what_it_was_made_about(store: Store) -> None:
    halt = await halted(store)
    for stale in (decision(halt, position=2), decision(another(halt))):
        with pytest.raises(FencedError):
            await store.resume(stale)
    assert await store.halted(PLACE) == halt
    await store.resume(decision(halt))
    with pytest.raises(FencedError):
        await store.resume(decision(halt))
    assert (await adopt(store)).next_offset == 7


def another(halt: Halt) -> Halt:
    return Halt(halt.reason, halt.seen, halt.since.replace(year=2001), halt.owner)


async def test_a_partition_its_topic_did_not_have_at_first_is_halted(store: Store) -> None:
    first, second, added = (TopicPartition("jobs", n) for n in range(3))
    assert (await adopt(store, first, partitions=2)).halt is None
    position = await adopt(store, added, partitions=3, owner="w2")
    assert position.halt is not None
    assert (position.halt.reason, position.halt.seen, position.halt.owner) == (HaltReason.PARTITION_ADDED, Seen(0, partitions=2), "w2")
    # One that was there from the beginning is no addition, however late it is first adopted; nor is any of another topic.
    assert (await adopt(store, second, partitions=3)).halt is None
    assert (await adopt(store, TopicPartition("calls", 5), partitions=6)).halt is None


async def test_an_added_partition_that_was_accepted_is_read_and_the_next_one_is_asked_about_again(store: Store) -> None:
    await adopt(store, partitions=1)
    added = beside(1)
    halt = (await adopt(store, added, partitions=2)).halt
    assert halt is not None
    await store.resume(replace(decision(halt, position=0, target=0), place=added))
    assert (await adopt(store, added, partitions=2)).halt is None
    assert (await adopt(store, beside(2), partitions=3)).halt is not None


def beside(partition: int) -> TopicPartition:
    return TopicPartition(PLACE.topic, partition)
