"""Two worlds with one face: a broker in memory and a real one, as the log's and publisher's suites need them."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol
from uuid import uuid4

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.util import calc_crc32c

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.memory_log import MemoryBroker, MemoryLog, MemoryPublisher
from stream.core.record import Header, TopicPartition
from stream.ports import Log, Publisher
from tests.forged import Forger, flipped, forging

FOREIGN = "\udcff\udcfe"
"""A header key of the bytes FF FE, as a record shows it."""


class World(Protocol):
    async def topic(self, partitions: int = 1) -> str: ...
    async def anew(self, topic: str, partitions: int) -> None:
        """Delete a topic and make it again."""
        ...

    async def append(self, place: TopicPartition, value: bytes | None, *, key: bytes | None = None, headers: Sequence[Header] = ()) -> None: ...
    async def append_foreign(self, place: TopicPartition, value: bytes) -> None:
        """A record with the header `FOREIGN: x`."""
        ...

    async def append_aborted(self, place: TopicPartition, value: bytes) -> None: ...
    async def append_broken(self, place: TopicPartition, records: int) -> range:
        """A batch nobody can read; its offsets."""
        ...

    def log(self) -> Log: ...
    def publisher(self) -> Publisher: ...


class Watch:
    """An assignment that remembers what it owns and lets a test wait for a change."""

    def __init__(self) -> None:
        self.owned: dict[TopicPartition, int] = {}
        self.revocations = 0
        self._changed = asyncio.Event()

    def assigned(self, places: Collection[TopicPartition], generation: int) -> None:
        self.owned.update(dict.fromkeys(places, generation))
        self._changed.set()

    def revoked(self, places: Collection[TopicPartition]) -> None:
        for place in places:
            self.owned.pop(place, None)
        self.revocations += 1
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():
                self._changed.clear()
                await self._changed.wait()


class MemoryWorld:
    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def topic(self, partitions: int = 1) -> str:
        name = uuid4().hex
        self.broker.create(name, partitions)
        return name

    async def anew(self, topic: str, partitions: int) -> None:
        self.broker.create_anew(topic, partitions)

    async def append(self, place: TopicPartition, value: bytes | None, *, key: bytes | None = None, headers: Sequence[Header] = ()) -> None:
        self.broker.append(place, value, key=key, headers=headers)

    async def append_foreign(self, place: TopicPartition, value: bytes) -> None:
        self.broker.append(place, value, headers=[(FOREIGN, b"x")])

    async def append_aborted(self, place: TopicPartition, value: bytes) -> None:
        self.broker.append(place, value, aborted=True)

    async def append_broken(self, place: TopicPartition, records: int) -> range:
        return self.broker.append_broken(place, records)

    def log(self) -> Log:
        return MemoryLog(self.broker)

    def publisher(self) -> Publisher:
        return MemoryPublisher(self.broker)


def settings(bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=bootstrap, session=6, heartbeat=0.5, rebalance=6, request=8, start=10, answer=5, send=5, stop=5)


async def _holds(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            if await look():
                return
            await asyncio.sleep(0.1)


class KafkaWorld:
    def __init__(self, bootstrap: str, admin: AIOKafkaAdminClient, plain: aiokafka.AIOKafkaProducer, forger: Forger) -> None:
        self.settings, self._admin, self._plain, self._forger = settings(bootstrap), admin, plain, forger

    async def topic(self, partitions: int = 1, **configs: str) -> str:
        name = f"conformance-{uuid4().hex}"
        reply = await self._admin.create_topics([NewTopic(name, partitions, 1, topic_configs={k.replace("_", "."): v for k, v in configs.items()})])
        assert [error[1] for error in reply.topic_errors] == [0]
        return name

    async def anew(self, topic: str, partitions: int) -> None:
        await self._admin.delete_topics([topic])
        await _holds(lambda: self._made(topic, partitions))

    async def _made(self, topic: str, partitions: int) -> bool:
        """A deletion is answered before it is done everywhere, and so is the making."""
        await self._admin.create_topics([NewTopic(topic, partitions, 1)])
        [found] = await self._admin.describe_topics([topic])
        return len(found["partitions"]) == partitions

    async def append(self, place: TopicPartition, value: bytes | None, *, key: bytes | None = None, headers: Sequence[Header] = ()) -> None:
        await self._plain.send_and_wait(place.topic, value, key=key, partition=place.partition, headers=list(headers))

    async def append_foreign(self, place: TopicPartition, value: bytes) -> None:
        """No client for Python writes such a key: the batch is changed after it was built, and given a new checksum."""
        builder = self._plain.create_batch()
        builder.append(timestamp=None, key=None, value=value, headers=[("ab", b"x")])
        batch = bytearray(operator.methodcaller("_build")(builder).replace(b"\x04ab\x02x", b"\x04\xff\xfe\x02x"))
        batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
        vars(builder)["_buffer"] = batch
        await (await self._plain.send_batch(builder, place.topic, partition=place.partition))

    async def append_aborted(self, place: TopicPartition, value: bytes) -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap, transactional_id=uuid4().hex)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(place.topic, value, partition=place.partition)
        await producer.abort_transaction()
        await producer.stop()

    async def append_broken(self, place: TopicPartition, records: int) -> range:
        return await self._forger.append(self._plain, place, flipped, records)

    async def append_vanishing(self, place: TopicPartition) -> None:
        """A record that the broker counts and never shows."""
        await self._forger.append(self._plain, place, lambda _: b"")

    def log(self) -> Log:
        return KafkaLog(self.settings)

    def publisher(self) -> Publisher:
        return KafkaPublisher(self.settings)


@asynccontextmanager
async def kafka_world(bootstrap: str) -> AsyncGenerator[KafkaWorld]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    plain = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(admin.close)
        await admin.start()
        stack.push_async_callback(plain.stop)
        await plain.start()
        yield KafkaWorld(bootstrap, admin, plain, stack.enter_context(forging()))


@asynccontextmanager
async def member(world: World, topics: Collection[str], group: str) -> AsyncGenerator[tuple[Log, Watch]]:
    """A started log and what it was told; stopped at the end."""
    log, watch = world.log(), Watch()
    await log.start(topics, group, watch)
    try:
        yield log, watch
    finally:
        await log.stop()
