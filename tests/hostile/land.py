"""Where the corpus is laid out: which records and batches on which partition, and how they get there."""

from __future__ import annotations

import operator
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.core.record import TopicPartition
from tests.hostile.app import LANES, PARTITIONS, topics_of
from tests.hostile.case import Case, own
from tests.hostile.frames import CODECS, batch, packed, record
from tests.hostile.of_frames import COUNT, Frame, beat
from tests.integration.runtime.world import reaches

TOGETHER = 8
"""Cases between two beats of a healthy entity."""
LARGE = 100_000
"""Bytes of a record that goes in a batch of its own."""
_FOREVER = str((1 << 63) - 1)


@dataclass
class Lane:
    """One partition: what lies on it, by offset, and what its healthy entity must have taken."""

    place: TopicPartition
    cases: dict[int, Case] = field(default_factory=dict[int, Case])
    frames: dict[int, Frame] = field(default_factory=dict[int, Frame])
    beats: list[int] = field(default_factory=list[int])
    healthy: int = 0
    end: int = 0

    @property
    def pulse(self) -> str:
        return f"{self.place.topic}/{self.place.partition}"


class Land:
    """`forged` is the folder in which the batches lie that the log only seems to hold."""

    def __init__(self, tag: str, kafka: str, forged: Path, producer: aiokafka.AIOKafkaProducer) -> None:
        self.tag, self.kafka, self.forged, self._producer = tag, kafka, forged, producer
        notes, skipping, plain, frames = topics_of(tag)
        self.notes = [Lane(TopicPartition(notes, n)) for n in range(PARTITIONS)]
        self.skipping, self.plain = Lane(TopicPartition(skipping, 0)), Lane(TopicPartition(plain, 0))
        self._forged: list[tuple[Lane, str, Frame]] = []
        self.framed = [Lane(TopicPartition(frames, n)) for n in range(LANES)]

    @property
    def lanes(self) -> list[Lane]:
        return [*self.notes, self.skipping, self.plain, *self.framed]

    async def begin(self) -> None:
        """A beat on each partition: stream time has begun when the rest comes."""
        for lane in self.lanes:
            await self._send(lane, self._beat(lane, 0), 1)

    async def lay(self, cases: Sequence[Case]) -> None:
        """Each family on one partition, in its order; the codecs take turns."""
        families = sorted({case.name.partition("/")[0] for case in cases})
        for case_lane in (*self.notes, self.skipping, self.plain):
            mine = [c for c in cases if self._lane(c, families) is case_lane]
            for turn, group in enumerate(_grouped(mine)):
                await self._lay(case_lane, group, (0, *CODECS)[turn % 5])

    def _lane(self, case: Case, families: Sequence[str]) -> Lane:
        if case.where == "notes":
            return self.notes[families.index(case.name.partition("/")[0]) % PARTITIONS]
        return self.skipping if case.where == "skipping" else self.plain

    async def _lay(self, lane: Lane, cases: Sequence[Case], codec: int) -> None:
        now, body = _now(), b""
        for delta, case in enumerate(cases):
            later = 0 if case.timestamp is None else case.timestamp - now
            body += record(delta, case.key, case.value, case.headers, later=later)
            lane.cases[lane.end + delta] = case
        body += self._beat(lane, len(cases))
        times = [now, *(case.timestamp for case in cases if case.timestamp is not None)]
        await self._send(lane, body, len(cases) + 1, codec=codec, now=now, last=max(times))

    def _beat(self, lane: Lane, delta: int) -> bytes:
        n = lane.healthy
        lane.healthy += 1
        lane.beats.append(n)
        if lane in self.framed:
            return beat(lane.pulse, n, delta)
        name = f"{lane.pulse} {n}"
        return record(delta, None, b'{"id":"%s","n":%d}' % (lane.pulse.encode(), n), own(name, type=b"pulse.beaten"))

    def forge(self, frames: Sequence[Frame]) -> None:
        """Write them to where the process under test looks, before it starts. Round and round the partitions."""
        for turn, frame in enumerate(frames):
            lane, mark = self.framed[turn % LANES], uuid4().hex
            self.forged.joinpath(mark).write_bytes(frame.build(lane.pulse, _now()))
            self._forged.append((lane, mark, frame))

    async def lay_frames(self) -> None:
        """A beat behind each."""
        for lane, mark, frame in self._forged:
            lane.frames[lane.end] = frame
            await self._send(lane, b"".join(record(n, None, mark.encode()) for n in range(COUNT)), COUNT)
            lane.beats.extend(frame.beats)
            await self._send(lane, self._beat(lane, 0), 1)
        await self._abort()

    async def _abort(self) -> None:
        """A record on each partition of batches that was taken back: nobody may read it."""
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.kafka, transactional_id=self.tag)
        await producer.start()
        try:
            await producer.begin_transaction()
            for lane in self.framed:
                written = await producer.send_and_wait(lane.place.topic, b"taken back", partition=lane.place.partition)
                assert written.offset == lane.end
            await producer.abort_transaction()
        finally:
            await producer.stop()
        # The record, and the mark that takes it back, which is written some time after it was promised.
        for lane in self.framed:
            lane.end += 2
        await reaches(self._ends, [lane.end for lane in self.framed])
        for lane in self.framed:
            await self._send(lane, self._beat(lane, 0), 1)

    async def _ends(self) -> list[int]:
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.kafka)
        await consumer.start()
        try:
            places = [aiokafka.TopicPartition(*lane.place) for lane in self.framed]
            ends = await consumer.end_offsets(places)
        finally:
            await consumer.stop()
        return [ends[place] for place in places]

    async def _send(self, lane: Lane, body: bytes, records: int, *, codec: int = 0, now: int = 0, last: int = 0) -> None:
        """A batch of ours in the place of one that the client has built."""
        builder = self._producer.create_batch()
        builder.append(timestamp=None, key=None, value=b"")
        operator.methodcaller("_build")(builder)
        vars(builder)["_buffer"] = bytearray(batch(packed(codec, body), records, codec=codec, first=now or _now(), last=last))
        written = await (await self._producer.send_batch(builder, lane.place.topic, partition=lane.place.partition))
        assert written.offset == lane.end
        lane.end += records


def _now() -> int:
    return int(time.time() * 1000)


def _grouped(cases: Sequence[Case]) -> Iterator[list[Case]]:
    group: list[Case] = []
    for case in cases:
        size = len(case.value or b"") + len(case.key or b"") + sum(len(k) + len(v or b"") for k, v in case.headers)
        group.append(case)
        if size > LARGE or len(group) == TOGETHER:
            yield group
            group = []
    if group:
        yield group


@asynccontextmanager
async def land(tag: str, kafka: str, forged: Path) -> AsyncGenerator[Land]:
    """Topics that take what others would refuse: large batches, and timestamps of any time."""
    configs = {"max.message.bytes": str(16 << 20), "message.timestamp.before.max.ms": _FOREVER, "message.timestamp.after.max.ms": _FOREVER}
    counts = zip(topics_of(tag), (PARTITIONS, 1, 1, LANES), strict=True)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka, max_request_size=16 << 20)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, n, 1, topic_configs=configs) for topic, n in counts])
    finally:
        await admin.close()
    await producer.start()
    try:
        yield Land(tag, kafka, forged, producer)
    finally:
        await producer.stop()
