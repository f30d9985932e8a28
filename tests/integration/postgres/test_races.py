"""Every race the store is built against, on a real PostgreSQL; with the protecting rule taken out, each is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import PostgresTimetable
from stream.core.changes import Changes
from stream.core.entity import Timer, Waiting
from stream.core.errors import FencedError, UnavailableError
from stream.core.outcome import Outcome, Reason, Verdict
from tests.conformance.storage import JOB, PLACE, T0, applied, batch, counted, drain, key, look, message, move, record, tell
from tests.integration.postgres.races import begun, came_through, proxy, take_out

NO_LOCK = {"entities": "entities_without_lock"}
NO_GUARD = {"save_entities": "save_entities_unguarded"}
NO_FENCE = {"move_partitions": "move_without_fence"}


class Rivals:
    """Two stores over one database; rules are taken out of both."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.one, self.other = (PostgresStore(PostgresSettings(dsn=dsn)) for _ in range(2))
        self.outbox = PostgresOutbox(PostgresSettings(dsn=dsn))
        self.timetable = PostgresTimetable(PostgresSettings(dsn=dsn))

    def without(self, rules: dict[str, str]) -> None:
        for part in (self.one, self.other, self.outbox):
            take_out(part.connection, rules)

    async def meet(self) -> None:
        """Both know that the entity is there, so that neither waits for the other at its stub."""
        for store in (self.one, self.other):
            await look(store)

    async def close(self) -> None:
        for part in (self.one, self.other, self.outbox, self.timetable):
            await part.close()


@pytest.fixture
async def rivals(database: str) -> AsyncIterator[Rivals]:
    rivals = Rivals(database)
    yield rivals
    await rivals.close()


@pytest.mark.parametrize(("rules", "total"), [({}, 2), (NO_LOCK | NO_GUARD, 1)])
async def test_two_lanes_on_one_entity_lose_no_move(rivals: Rivals, rules: dict[str, str], total: int) -> None:
    await rivals.meet()
    rivals.without(rules)
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        await move(tx)
        rival = await begun(rivals.dsn, tell(rivals.other))
    await rival
    assert (await look(rivals.one)).version == total


@pytest.mark.parametrize(("rules", "done"), [(NO_LOCK, False)])
async def test_without_the_lock_the_version_still_refuses_a_lost_move(rivals: Rivals, rules: dict[str, str], done: bool) -> None:
    await rivals.meet()
    rivals.without(rules)
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        await move(tx)
        rival = await begun(rivals.dsn, tell(rivals.other))
    assert await came_through(rival, FencedError) is done


@pytest.mark.parametrize(("rules", "seen"), [({}, True), ({"stubs": "no_stubs", "entities": "stubs_and_lock_at_once"}, False)])
async def test_a_birth_sees_what_waited_for_it_in_an_unfinished_transaction(rivals: Rivals, rules: dict[str, str], seen: bool) -> None:
    rivals.without(rules)

    async def birth() -> None:
        assert len((await look(rivals.other)).line) == 1

    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        # The broken statement cannot see the stub it makes itself, so the early event brings its stub along by the right one.
        take_out(rivals.one.connection, {})
        stub = (await tx.load([JOB]))[JOB]
        stub.line = [Waiting(JOB, Outcome.DEFERRED, Reason.UNBORN, record(1), "e-1", "job.moved", "c-1", T0)]
        await tx.save(Changes(entities={JOB: stub}, versions={JOB: 0}, lines=stub.line))
        rival = await begun(rivals.dsn, birth())
    assert await came_through(rival, UnavailableError) is seen


@pytest.mark.parametrize(("rules", "seen"), [({}, {}), (NO_LOCK, {"sla open": T0})])
async def test_a_clock_sees_that_its_state_was_left_meanwhile(rivals: Rivals, rules: dict[str, str], seen: dict[str, object]) -> None:
    await rivals.meet()
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        job = (await tx.load([JOB]))[JOB]
        job.timers = {"sla open": T0}
        await tx.save(applied(Changes(set_timers=[Timer(JOB, "sla open", T0)]), job))
    rivals.without(rules)
    assert [ref for ref, _ in await rivals.timetable.due({"job": T0}, 1)] == [JOB]
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        job = (await tx.load([JOB]))[JOB]
        job.timers.clear()
        await tx.save(applied(Changes(drop_timers=[(JOB, "sla open")]), job))
        rival = await begun(rivals.dsn, look(rivals.other))
    assert (await rival).timers == seen


@pytest.mark.parametrize(
    ("rules", "sent"),
    [({}, ["m-2", "m-1"]), ({"read_shard": "read_after_seq", "move_shard": "move_after_seq"}, ["m-2"])],
)
async def test_a_late_committer_is_not_passed_over(rivals: Rivals, rules: dict[str, str], sent: list[str]) -> None:
    rivals.without(rules)
    shards = (await rivals.outbox.lease("r", timedelta(minutes=5))).shards
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        await move(tx, message("k", 1))
        await tell(rivals.other, message("k", 2), ref=JOB._replace(id="j-2"))
        published = await drain(rivals.outbox, shards)
    published += await drain(rivals.outbox, shards)
    assert published == sent


async def test_an_open_transaction_delays_nothing_but_its_own_messages(rivals: Rivals) -> None:
    shards = (await rivals.outbox.lease("r", timedelta(minutes=5))).shards
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        await move(tx, message("k", 0))
        for n in range(1, 4):
            await tell(rivals.other, message("k", n), ref=JOB._replace(id="j-2"))
            assert await drain(rivals.outbox, shards) == [f"m-{n}"]
    assert await drain(rivals.outbox, shards) == ["m-0"]


@pytest.mark.parametrize(("rules", "done"), [({}, False), ({"claim_partitions": "claim_without_epoch"} | NO_FENCE, True)])
async def test_a_zombie_with_an_old_epoch_commits_nothing(rivals: Rivals, rules: dict[str, str], done: bool) -> None:
    rivals.without(rules)
    zombie = await rivals.one.adopt(PLACE, owner="zombie", generation=1, begin=0, partitions=1)
    await rivals.other.adopt(PLACE, owner="heir", generation=2, begin=0, partitions=1)

    async def wake() -> None:
        async with rivals.one.transaction() as tx:
            await tx.claim_partitions([batch(zombie.epoch, 0)])
            await tx.save(counted(Changes(), 1))

    assert await came_through(wake(), FencedError) is done


@pytest.mark.parametrize(("rules", "moves"), [({}, 1), ({"claim_partitions": "claim_without_position"} | NO_FENCE, 2)])
async def test_a_batch_delivered_twice_moves_once(rivals: Rivals, rules: dict[str, str], moves: int) -> None:
    rivals.without(rules)
    epoch = (await rivals.one.adopt(PLACE, owner="me", generation=1, begin=0, partitions=1)).epoch

    async def deliver() -> None:
        async with rivals.one.transaction() as tx:
            await tx.claim_partitions([batch(epoch, 0)])
            await tx.save(counted(applied(Changes(), (await tx.load([JOB]))[JOB]), 1))

    for _ in range(2):
        await came_through(deliver(), FencedError)
    assert (await look(rivals.other)).version == moves


async def test_an_adoption_waits_for_the_open_transaction_of_the_one_before(rivals: Rivals) -> None:
    epoch = (await rivals.one.adopt(PLACE, owner="me", generation=1, begin=0, partitions=1)).epoch
    async with rivals.one.transaction() as tx:
        await tx.claim_partitions([batch(epoch, 0)])
        await tx.save(counted(Changes(), 1))
        heir = await begun(rivals.dsn, rivals.other.adopt(PLACE, owner="heir", generation=2, begin=0, partitions=1))
        assert not heir.done()
    assert (await heir).next_offset == 1


@pytest.mark.parametrize(
    ("lost", "rules", "done", "version"),
    [("answer", {}, True, 1), ("request", {}, False, 0), ("answer", {"outcome": "outcome_unasked"}, False, 1)],
)
async def test_a_commit_without_an_answer_is_known_afterwards(database: str, lost: str, rules: dict[str, str], done: bool, version: int) -> None:
    async with proxy(database, lambda sent: lost if b"Q\x00\x00\x00\x0bcommit" in sent else "") as way:
        store = PostgresStore(PostgresSettings(dsn=way))
        take_out(store.connection, rules)
        with capture_logs() as lines:
            assert await came_through(tell(store), UnavailableError) is done
        assert (await look(store)).version == version
        told = "committed" if done else "unknown" if rules else "aborted"
        assert [(line["event"], line["outcome"]) for line in lines] == [("COMMIT got no answer", told)]
        await store.close()


async def test_a_connection_lost_within_a_transaction_does_not_go_on_without_one(database: str) -> None:
    async with proxy(database, lambda sent: "request" if b"nextval" in sent else "") as way:
        store = PostgresStore(PostgresSettings(dsn=way))
        assert not await came_through(tell(store), UnavailableError)
        assert (await look(store)).version == 0
        await tell(store)
        assert (await look(store)).version == 1
        await store.close()


@pytest.mark.parametrize(("rules", "verdict"), [({}, Verdict.DUPLICATE), ({"begin": "begin_unlocked"}, Verdict.ADMITTED)])
async def test_no_generation_is_turned_between_the_floors_and_first_sight(rivals: Rivals, rules: dict[str, str], verdict: Verdict) -> None:
    epoch = (await rivals.one.adopt(PLACE, owner="me", generation=1, begin=0, partitions=1)).epoch
    async with rivals.one.transaction() as tx:
        await tx.claim_partitions([batch(epoch, 0)])
        await tx.first_sight([(key(1), key(0))])
        await tx.save(counted(Changes(stream_times={PLACE: T0}), 1))
    for days in (8, 16):
        await rivals.timetable.move_clock(timedelta(days=days))
        await rivals.timetable.rotate()
    await rivals.timetable.move_clock(timedelta(days=24))
    rivals.without(rules)
    async with rivals.one.transaction() as tx:
        claim = await tx.claim_partitions([batch(epoch, 1)])
        assert claim.floors == {}
        await rivals.timetable.rotate()
        assert list(await tx.first_sight([(key(1), key(0))])) == [verdict]


async def test_a_writer_holds_its_generation_until_it_has_committed(rivals: Rivals) -> None:
    async with rivals.one.transaction() as tx:
        await tx.claim_timers(())
        await tx.first_sight([(key(1), key(0))])
        await rivals.timetable.move_clock(timedelta(days=8))
        assert "put off" in str(await rivals.timetable.rotate())
    assert await rivals.timetable.rotate() == ["turned the inbox"]
    async with rivals.other.transaction() as tx:
        await tx.claim_timers(())
        assert list(await tx.first_sight([(key(1), key(0))])) == [Verdict.DUPLICATE]
