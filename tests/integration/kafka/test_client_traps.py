"""What aiokafka does when the world is not as it should be; the numbers are those of `docs/design.md`, "Traps"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import aiokafka
import pytest
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from stream.adapters.kafka.admin import KafkaAdmin
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.core.errors import ConfigurationError, UnavailableError, UnreadableBatchError
from stream.core.record import TopicPartition
from stream.dev.kafka import Broker
from stream.dev.ports import free_ports
from stream.dev.stack import memory_home, quiet, remove_home
from stream.ports import Outgoing
from tests.conformance.broker import KafkaWorld, Watch, kafka_world, member, settings
from tests.integration.kafka.asking import Asked, of, some
from tests.integration.kafka.test_watchdog import unwell
from tests.integration.kafka.wire import Wire

SOON, LONG = timedelta(milliseconds=50), timedelta(seconds=10)


@pytest.fixture(scope="module")
def eager() -> Iterator[Broker]:
    """A broker that makes whatever topic it is asked about, as Kafka does by default."""
    home = memory_home()
    broker = Broker(home, free_ports(1)[0], quiet, more="\nauto.create.topics.enable=true\n")
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        remove_home(home)


class Failing(Watch):
    """What hears of an assignment, and cannot bear it."""

    def assigned(self, places: Collection[TopicPartition], generation: int) -> None:
        super().assigned(places, generation)
        raise RuntimeError("the client only logs this, and goes on")


async def test_t1_t2_where_the_group_stands_and_what_its_listener_does_opens_no_partition(world: KafkaWorld) -> None:
    place, group = TopicPartition(await world.topic(), 0), uuid4().hex
    for n in range(3):
        await world.append(place, b"%d" % n)
    # The group has an offset, so the client itself would begin there at once.
    outsider = aiokafka.AIOKafkaConsumer(bootstrap_servers=world.settings.bootstrap, group_id=group, enable_auto_commit=False)
    await outsider.start()
    outsider.assign([aiokafka.TopicPartition(*place)])
    await outsider.commit({aiokafka.TopicPartition(*place): 1})
    await outsider.stop()
    log, watch = world.log(), Failing()
    await log.start([place.topic], group, watch)
    await watch.until(lambda: place in watch.owned)
    for _ in range(3):
        assert list(await log.fetch(place, limit=10, within=SOON)) == []
    await log.seek(place, 0)
    assert [r.offset for r in await some(log, place)] == [0, 1, 2]
    await log.stop()


async def test_t3_a_partition_that_cannot_be_read_costs_no_record_of_another(world: KafkaWorld) -> None:
    topic = await world.topic(2)
    good, bad = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await world.append_broken(bad, 1)
    for n in range(5):
        await world.append(good, b"%d" % n)
    async with member(world, [topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: {good, bad} <= set(watch.owned))
        for _ in range(5):
            for place in (bad, good):
                await log.seek(place, 0)
            with pytest.raises(UnreadableBatchError):
                await some(log, bad)
            assert [r.offset for r in await some(log, good)] == [0, 1, 2, 3, 4]


async def test_t7_a_read_that_forgets_its_time_out_is_waited_for_only_so_long(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    place, log, watch = TopicPartition(await world.topic(), 0), KafkaLog(replace(world.settings, answer=1)), Watch()
    await world.append(place, b"v")
    await log.start([place.topic], uuid4().hex, watch)
    await watch.until(lambda: place in watch.owned)
    await log.seek(place, 0)
    assigned = asyncio.Event()

    async def until_assigned(*_: object, **__: object) -> Mapping[object, object]:
        await assigned.wait()
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(aiokafka.AIOKafkaConsumer, "getmany", until_assigned)
        async with asyncio.timeout(30):
            with pytest.raises(UnavailableError):
                await log.fetch(place, limit=10, within=SOON)
    assigned.set()
    assert [r.value for r in await some(log, place)] == [b"v"]
    await log.stop()


class Dawdling(ConsumerRebalanceListener):
    """A member of the group that lets go of nothing before it is told to: until then the group has no assignment."""

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def on_partitions_revoked(self, revoked: Collection[aiokafka.TopicPartition]) -> None:
        if revoked:
            self.asked.set()
            await self.go.wait()

    def on_partitions_assigned(self, assigned: Collection[aiokafka.TopicPartition]) -> None: ...


@asynccontextmanager
async def dawdler(world: KafkaWorld, topic: str, group: str) -> AsyncGenerator[Dawdling]:
    listener = Dawdling()
    client = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=world.settings.bootstrap,
        group_id=group,
        enable_auto_commit=False,
        heartbeat_interval_ms=200,
        rebalance_timeout_ms=30_000,
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )
    await client.start()
    client.subscribe([topic], listener=listener)
    try:
        yield listener
    finally:
        listener.go.set()
        await client.stop()


async def test_t24_t25_a_rebalance_waits_for_no_read_and_until_it_has_ended_nothing_is_mirrored(world: KafkaWorld, asked: list[Asked]) -> None:
    topic, group = await world.topic(2), uuid4().hex
    async with member(world, [topic], group) as (log, watch):
        await watch.until(lambda: len(watch.owned) == 2)
        for place in list(watch.owned):
            await log.seek(place, 0)
        async with dawdler(world, topic, group) as other:
            await watch.until(lambda: len(watch.owned) == 1)
            [place] = watch.owned
            await log.seek(place, 0)
            under_way, third = asyncio.ensure_future(log.fetch(place, limit=10, within=LONG)), world.log()
            await third.start([topic], group, Watch())
            async with asyncio.timeout(30):
                await other.asked.wait()
                assert list(await under_way) == []
            await watch.until(lambda: not watch.owned)
            await log.mirror({place: 0})
            other.go.set()
            await third.stop()
    assert of(asked, "OffsetCommitRequest") == []


async def test_t8_t10_t11_t12_t19_t21_what_the_group_and_the_broker_are_asked_for(world: KafkaWorld, asked: list[Asked]) -> None:
    place, group = TopicPartition(await world.topic(), 0), uuid4().hex
    await world.append(place, b"v")
    ours = replace(world.settings, session=45, heartbeat=3, rebalance=30, request=40)
    log, watch = KafkaLog(ours), Watch()
    await log.start([place.topic], group, watch)
    await watch.until(lambda: place in watch.owned)
    await log.seek(place, 0)
    assert len(await some(log, place)) == 1
    await log.stop()
    # One join with one assignor, no member that outlives its process, and time to let go of partitions.
    assert [[name for name, _ in join["group_protocols"]] for join in of(asked, "JoinGroupRequest")[-1:]] == [["roundrobin"]]
    assert {len(join["group_protocols"]) for join in of(asked, "JoinGroupRequest")} == {1}
    assert {(join["session_timeout"], join["rebalance_timeout"]) for join in of(asked, "JoinGroupRequest")} == {(45_000, 30_000)}
    assert {join["group_instance_id"] for join in of(asked, "JoinGroupRequest")} <= {None, ""}
    # Whatever the client would have committed by itself, it would have at the latest when it left.
    assert of(asked, "LeaveGroupRequest")
    assert of(asked, "OffsetCommitRequest") == []
    fetches = of(asked, "FetchRequest")
    assert {(fetch["isolation_level"], fetch["max_bytes"]) for fetch in fetches} == {(1, 16 << 20)}
    assert {part[-1] for fetch in fetches for _, parts in fetch["topics"] for part in parts} == {1 << 20}


async def test_t16_a_client_whose_brokers_have_all_moved_is_a_fault_and_a_new_one_finds_them(eager: Broker) -> None:
    async with kafka_world(eager.address) as world:
        place = TopicPartition(await world.topic(), 0)
        await world.append(place, b"v")
    wire, group, watch = Wire(eager.address), uuid4().hex, Watch()
    await wire.start()
    ours = replace(settings(f"127.0.0.1:{wire.port}"), session=2, silence=1, stop=1)
    log = KafkaLog(ours)
    await log.start([place.topic], group, watch)
    await watch.until(lambda: place in watch.owned)
    # Not within the loop, which must not stand still. The broker lives as long as the thread that starts it, and so as the session.
    await asyncio.to_thread(eager.stop)
    eager.port = free_ports(1)[0]
    await asyncio.to_thread(eager.start)
    wire.lead(eager.address)
    await unwell(log, " ")
    await log.stop()
    log, watch = KafkaLog(ours), Watch()
    await log.start([place.topic], group, watch)
    await watch.until(lambda: place in watch.owned)
    await log.seek(place, 0)
    assert [r.value for r in await some(log, place)] == [b"v"]
    await log.stop()
    await wire.stop()


async def test_t20_a_record_larger_than_what_is_asked_for_at_once_is_not_passed_over(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def passing_over(*_: object) -> None:
        raise AssertionError("this way of reading passes over what is too large")

    for way in ("getone", "__anext__"):
        monkeypatch.setattr(aiokafka.AIOKafkaConsumer, way, passing_over)
    place = TopicPartition(await world.topic(max_message_bytes="4000000"), 0)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=world.settings.bootstrap, max_request_size=4_000_000)
    await producer.start()
    for value in (b"before", bytes(3_000_000), b"after"):
        await producer.send_and_wait(place.topic, value, partition=0)
    await producer.stop()
    async with member(world, [place.topic], uuid4().hex) as (log, watch):
        await watch.until(lambda: place in watch.owned)
        await log.seek(place, 0)
        found: list[int] = []
        while len(found) < 3:
            found += [len(r.value or b"") for r in await some(log, place)]
    assert found == [6, 3_000_000, 5]


async def test_t23_no_client_of_ours_has_a_topic_made_by_asking_for_it(eager: Broker) -> None:
    ours, names = settings(eager.address), [f"misspelt-{uuid4().hex}" for _ in range(3)]
    async with KafkaAdmin(ours) as admin:
        assert await admin.topics(names) == {}
        log, publisher = KafkaLog(ours), KafkaPublisher(ours)
        with pytest.raises(ConfigurationError, match="topics not found"):
            await log.start(names, uuid4().hex, Watch())
        await publisher.start()
        refused = await publisher.publish([Outgoing(n, name, b"k", b"v", []) for n, name in enumerate(names)])
        assert {refusal.reason for refusal in refused} == {"no_topic"}
        await publisher.stop()
        assert await admin.topics(names) == {}


async def test_t23_a_topic_that_was_deleted_is_not_made_again_by_who_reads_it(eager: Broker) -> None:
    async with kafka_world(eager.address) as world, KafkaAdmin(settings(eager.address)) as admin:
        place = TopicPartition(await world.topic(), 0)
        log, watch = KafkaLog(replace(world.settings, metadata=0.1)), Watch()
        await log.start([place.topic], uuid4().hex, watch)
        await watch.until(lambda: place in watch.owned)
        await vars(world)["_admin"].delete_topics([place.topic])
        await watch.until(lambda: place not in watch.owned)
        assert await admin.topics([place.topic]) == {}
        await log.stop()
