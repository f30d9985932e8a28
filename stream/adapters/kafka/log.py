"""Reading topics as a member of a consumer group: one gate a partition, shut until its owner has sought.

Theory of operation. aiokafka shows a new assignment to its readers before the listener hears of it, and would start where the group's offset
or a reset policy says. So a partition delivers only through its *gate*: made shut (and the client's partition paused) in the listener's first
line, opened by the first `seek`, thrown away when revoked. A fetch keeps the gate it began with and drops what arrives when another has taken
its place. The position is the gate's own; after any error the client is sought back to it, so nothing the client lost on the way is lost.

An empty fetch is a statement ("the log has no more"), on which clocks may fire. It is made only when the broker has answered for this partition
twice during the wait, since the first answer may be to a question from before, and everything readable was delivered; a broker that is silent is
an `UnavailableError` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import aiokafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError

from stream.adapters.kafka.batch import BrokenBatchError
from stream.adapters.kafka.consumer import Consumer
from stream.adapters.kafka.deadline import begin, bounded, ended, outcome
from stream.adapters.kafka.diagnosis import started, stay
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.tolerant import look_only, quieten, tame
from stream.core.errors import ConfigurationError, FencedError, UnavailableError, UnreadableBatchError
from stream.core.record import Record, TopicPartition
from stream.ports import Assignment, TopicNow

Fetched = Mapping[aiokafka.TopicPartition, Sequence[aiokafka.ConsumerRecord]]


@dataclass(slots=True)
class _Gate:
    """What we know of one partition during one assignment.

    `silent`: seconds waited since its broker last answered; `stuck`: seconds waited since it last delivered something, or had no more.
    """

    place: aiokafka.TopicPartition
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    position: int = -1
    silent: float = 0.0
    stuck: float = 0.0


class _Listener(ConsumerRebalanceListener):
    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    def on_partitions_assigned(self, assigned: Collection[aiokafka.TopicPartition]) -> None:
        self._log.take(assigned)

    def on_partitions_revoked(self, revoked: Collection[aiokafka.TopicPartition]) -> None:
        self._log.drop(revoked)


class KafkaLog:
    """A `Log` over one aiokafka consumer. Not to be started twice: when it has a `fault`, stop it and make another."""

    def __init__(self, settings: KafkaSettings) -> None:
        tame()
        quieten()
        look_only()
        self._settings = settings
        self._gates: dict[TopicPartition, _Gate] = {}
        self._calls: dict[TopicPartition, asyncio.Task[Fetched]] = {}
        self._mirroring: asyncio.Task[None] | None = None
        self._consumer: Consumer | None = None
        self._assignment: Assignment | None = None
        self._lost: float | None = None

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None:
        """Raises `ConfigurationError` when a topic is missing, `UnavailableError` when no broker answers; then make a new one."""
        self._assignment = assignment
        consumer = self._consumer = self._client(group)
        stay(consumer.network(), self._settings)
        try:
            await started(consumer.start(), self._settings, "joining the log")
            known = await bounded(consumer.topics(), self._settings.answer, "listing topics")
            if missing := sorted(set(topics) - known):
                raise ConfigurationError(
                    f"topics not found on {self._settings.bootstrap}: {', '.join(missing)} - make them with `stream topics apply`"
                )
        except BaseException:
            await ended(consumer.stop(), self._settings.stop)
            raise
        consumer.subscribe(sorted(topics), listener=_Listener(self))

    def _client(self, group: str) -> Consumer:
        settings = self._settings
        return Consumer(
            **settings.connection(),
            group_id=group,
            auto_offset_reset="none",
            enable_auto_commit=False,
            isolation_level="read_committed",
            # One assignor only: with two, aiokafka joins once for each, first with the shorter list.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            session_timeout_ms=int(settings.session * 1000),
            heartbeat_interval_ms=int(settings.heartbeat * 1000),
            rebalance_timeout_ms=int(settings.rebalance * 1000),
            # Liveness is our own watchdog: the client's idle clock stops for good after one failed fetch.
            max_poll_interval_ms=86_400_000,
            fetch_max_bytes=16 * 1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
            fetch_max_wait_ms=100,
            check_crcs=True,
        )

    # -- called by the client, in its own task; neither may wait

    def take(self, assigned: Collection[aiokafka.TopicPartition]) -> None:
        consumer, assignment = self._started()
        consumer.pause(*assigned)
        self.drop([gate.place for gate in self._gates.values()])
        consumer.heard = monotonic()
        gates = self._gates = {TopicPartition(place.topic, place.partition): _Gate(place) for place in assigned}
        assignment.assigned(tuple(gates), consumer.generation())

    def drop(self, revoked: Collection[aiokafka.TopicPartition]) -> None:
        gone = tuple(TopicPartition(place.topic, place.partition) for place in revoked)
        for place in gone:
            if (gate := self._gates.pop(place, None)) is not None:
                gate.opened.set()
        if gone:
            self._started()[1].revoked(gone)

    # -- the port

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        """Also waits while the gate is shut. An empty answer takes up to two rounds of the client's long poll (0.1 s each) beyond `within`."""
        seconds, began = within.total_seconds(), monotonic()
        gate = self._gates.get(place)
        if gate is None:
            await asyncio.sleep(seconds)
            return ()
        if not await _open(gate, seconds):
            return ()
        heard, answers = self._heard(gate), 0
        while self._gates.get(place) is gate:
            at = monotonic()
            records = await self._arrived(place, gate, limit, min(0.25, max(0.1, seconds)))
            now, last, heard = monotonic(), heard, self._heard(gate)
            answers += heard != last
            waited, answered, drained = now - began, bool(records or answers), self._drained(gate)
            gate.silent = 0.0 if answered else gate.silent + now - at
            gate.stuck = 0.0 if records or drained else gate.stuck + now - at
            if records or (answers > 1 and waited >= seconds and drained):
                return records
            if waited > max(self._settings.answer, seconds):
                what = "nothing came of it" if answered else "no word from Kafka about it"
                raise UnavailableError(f"{place.topic}/{place.partition}: {what} for {waited:.0f} s")
        return ()

    async def _arrived(self, place: TopicPartition, gate: _Gate, limit: int, seconds: float) -> Sequence[Record]:
        consumer, _ = self._started()
        call = self._calls.get(place)
        if call is None:
            call = self._calls[place] = begin(consumer.getmany(gate.place, timeout_ms=int(seconds * 1000), max_records=limit))
        # During a rebalance the client forgets its own time-out.
        await asyncio.wait({call}, timeout=seconds + 1)
        if self._gates.get(place) is not gate or not call.done():
            return ()
        if self._calls.pop(place, None) is not call:
            return ()
        return await self._delivered(gate, call)

    async def _delivered(self, gate: _Gate, call: asyncio.Task[Fetched]) -> Sequence[Record]:
        consumer, _ = self._started()
        try:
            found = outcome(call, f"reading {gate.place.topic}/{gate.place.partition} at {gate.position}").get(gate.place, ())
            position = await bounded(consumer.position(gate.place), self._settings.answer, "asking for the position")
        except UnavailableError as error:
            self._rewind(gate)
            # Said once after an assignment, about an offset that our seek has made pointless.
            if isinstance(error.__cause__, NoOffsetForPartitionError):
                return ()
            if isinstance(error.__cause__, BrokenBatchError):
                raise self._unreadable(gate, error.__cause__) from None
            raise
        if not self._current(gate):
            return ()
        if why := self._forgotten():
            self._rewind(gate)
            raise UnavailableError(f"nothing is taken: {why}")
        gate.position = position
        return [_record(r) for r in found]

    def _unreadable(self, gate: _Gate, broken: BrokenBatchError) -> UnreadableBatchError:
        """Its header may lie, or be lost: the batch holds the position we are at, and ends neither before it nor behind the log."""
        consumer, _ = self._started()
        at = gate.position
        most = consumer.highwater(gate.place) or at + 1
        start = broken.start if 0 <= broken.start <= at else at
        end = max(at + 1, min(broken.end, most))
        return UnreadableBatchError(TopicPartition(*gate.place), start, end, broken.fault)

    def _current(self, gate: _Gate) -> bool:
        return self._gates.get(TopicPartition(gate.place.topic, gate.place.partition)) is gate

    def _rewind(self, gate: _Gate) -> None:
        consumer, _ = self._started()
        if self._current(gate) and gate.place in consumer.assignment():
            consumer.seek(gate.place, gate.position)

    async def seek(self, place: TopicPartition, offset: int) -> None:
        """Opens the gate. Raises `FencedError` when the partition is not ours."""
        gate = self._gate(place)
        await self._settled(place)
        if self._gate(place) is not gate:
            raise FencedError((place,))
        consumer, _ = self._started()
        consumer.seek(gate.place, offset)
        gate.position = offset
        consumer.resume(gate.place)
        gate.opened.set()

    async def _settled(self, place: TopicPartition) -> None:
        """A read begun before this seek may still take records from the client: they must be gone before the new position counts."""
        call = self._calls.get(place)
        if call is None:
            return
        done, _ = await asyncio.wait({call}, timeout=self._settings.answer)
        if not done:
            raise UnavailableError(f"the Kafka client still reads {place.topic}/{place.partition}")
        self._calls.pop(place, None)

    async def position(self, place: TopicPartition) -> int:
        """Raises `FencedError` when the partition is not ours, or was not sought yet."""
        gate = self._gate(place)
        if not gate.opened.is_set():
            raise FencedError((place,))
        return gate.position

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        consumer, _ = self._started()
        there = aiokafka.TopicPartition(*place)
        begins = await bounded(consumer.beginning_offsets([there]), self._settings.answer, "asking where the log begins")
        ends = await bounded(consumer.end_offsets([there]), self._settings.answer, "asking where the log ends")
        return begins[there], ends[there]

    async def topic(self, name: str) -> TopicNow:
        consumer, _ = self._started()
        return await bounded(consumer.identify(name), self._settings.answer, f"asking which topic {name} is")

    async def mirror(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Begins the commit and returns; while one is under way, and for partitions that are not ours, nothing is done."""
        mine = {gate.place: offset for place, offset in offsets.items() if (gate := self._gates.get(place)) is not None}
        if not mine or (self._mirroring is not None and not self._mirroring.done()):
            return
        self._mirroring = begin(self._started()[0].commit(mine))

    def fault(self) -> str:
        """A task of the client has died, the group was out of reach, or a partition brought nothing although it should."""
        consumer = self._consumer
        if consumer is None:
            return "it was never started"
        if dead := consumer.dead():
            return f"its task for {dead} has died"
        self._lost = None if consumer.in_touch() else self._lost or monotonic()
        if self._lost is not None and monotonic() - self._lost > self._settings.silence:
            return f"the group has had no coordinator for {monotonic() - self._lost:.0f} s"
        return self._forgotten() or next((why for gate in self._gates.values() if (why := self._sick(gate))), "")

    def _forgotten(self) -> str:
        """Why the group must have given our partitions to others, if it must: the client itself would hand out what it has fetched for ever."""
        consumer, session = self._started()[0], self._settings.session
        if consumer.overslept:
            return f"the process stood still, a heartbeat was {consumer.overslept:.0f} s late, beyond its session of {session:g} s"
        silence = monotonic() - consumer.heard
        return f"no heartbeat was answered for {silence:.0f} s, beyond its session of {session:g} s" if self._gates and silence > session else ""

    def _sick(self, gate: _Gate) -> str:
        place, silence = f"{gate.place.topic}/{gate.place.partition}", self._settings.silence
        if gate.silent > silence:
            return f"no word about {place} for {gate.silent:.0f} s"
        if gate.stuck > silence:
            ends = self._started()[0].last_stable_offset(gate.place)
            return f"nothing of {place} came for {gate.stuck:.0f} s, at offset {gate.position} of {ends}"
        return ""

    async def stop(self) -> None:
        """Leaves the group, if that can be done in time; it goes on doing so when the wait for it is cut short. Partitions are revoked first."""
        if self._consumer is None:
            return
        self.drop([gate.place for gate in self._gates.values()])
        await asyncio.wait({begin(self._leave(self._consumer))})

    async def _leave(self, consumer: Consumer) -> None:
        if not await ended(consumer.stop(), self._settings.stop):
            consumer.abandon()

    # --

    def _started(self) -> tuple[Consumer, Assignment]:
        if self._consumer is None or self._assignment is None:
            raise UnavailableError("the log was not started")
        return self._consumer, self._assignment

    def _gate(self, place: TopicPartition) -> _Gate:
        gate = self._gates.get(place)
        if gate is None:
            raise FencedError((place,))
        return gate

    def _heard(self, gate: _Gate) -> int | None:
        consumer, _ = self._started()
        return consumer.last_poll_timestamp(gate.place) if gate.place in consumer.assignment() else None

    def _drained(self, gate: _Gate) -> bool:
        consumer, _ = self._started()
        if gate.place not in consumer.assignment():
            return True
        stable = consumer.last_stable_offset(gate.place)
        return stable is None or gate.position >= stable


async def _open(gate: _Gate, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gate.opened.wait()
    return gate.opened.is_set()


def _record(r: aiokafka.ConsumerRecord) -> Record:
    return Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
