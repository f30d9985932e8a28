"""A log in memory that keeps Kafka's promises: partitions, groups with eager rebalances, aborted records, refusals.

Everything lives in one `MemoryBroker`; its members and publishers are told of nothing but what the ports say. Nothing here waits for a clock: readers
are woken when records, assignments or the broker's absence change something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from zlib import crc32

from stream.core.errors import ConfigurationError, FencedError, UnavailableError, UncertainError, UnreadableBatchError
from stream.core.record import Header, Record, TopicPartition
from stream.ports import Assignment, Outgoing, Refusal, TopicNow


@dataclass(slots=True)
class _Group:
    generation: int = 0
    members: list[MemoryLog] = field(default_factory=list["MemoryLog"])
    offsets: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])


class MemoryBroker:
    """Topics and groups. `away` makes every call fail as when no broker can be reached; `clock` is the timestamp of new records, in ms."""

    def __init__(self, topics: Mapping[str, int] | None = None, *, largest: int = 1_000_000) -> None:
        self._logs: dict[TopicPartition, list[Record | None]] = {}
        self._begins: dict[TopicPartition, int] = {}
        self._broken: dict[TopicPartition, list[range]] = {}
        self._ids: dict[str, str] = {}
        self._made = 0
        self._groups: dict[str, _Group] = {}
        self._woken = asyncio.Event()
        self._away = False
        self.largest = largest
        self.clock = 0
        for topic, partitions in (topics or {}).items():
            self.create(topic, partitions)

    def create(self, topic: str, partitions: int) -> None:
        """Also lets one grow; members hear of it at the next rebalance."""
        if topic not in self._ids:
            self._made += 1
            self._ids[topic] = f"topic {self._made}"
        for n in range(partitions):
            self._logs.setdefault(TopicPartition(topic, n), [])

    def create_anew(self, topic: str, partitions: int) -> None:
        """Delete and make again, under the eyes of its readers."""
        for place in self.places(topic):
            del self._logs[place]
            self._begins.pop(place, None)
            self._broken.pop(place, None)
        self._ids.pop(topic, None)
        self.create(topic, partitions)
        self.wake()

    def topic(self, name: str) -> TopicNow:
        return TopicNow(self._ids[name], len(self.places(name)))

    def places(self, topic: str) -> list[TopicPartition]:
        return sorted(place for place in self._logs if place.topic == topic)

    def append(
        self, place: TopicPartition, value: bytes | None, *, key: bytes | None = None, headers: Sequence[Header] = (), aborted: bool = False
    ) -> int:
        """Returns the offset. An aborted record takes its offset and is never read."""
        log = self._logs[place]
        offset = len(log)
        log.append(None if aborted else Record(place.topic, place.partition, offset, self.clock, key, value, tuple(headers)))
        self.wake()
        return offset

    def append_broken(self, place: TopicPartition, records: int = 1) -> range:
        """A batch that nobody can read; returns its offsets."""
        log = self._logs[place]
        batch = range(len(log), len(log) + records)
        log += [None] * records
        self._broken.setdefault(place, []).append(batch)
        self.wake()
        return batch

    def trim(self, place: TopicPartition, begin: int) -> None:
        """Retention took everything before `begin`."""
        self._begins[place] = begin

    def cut(self, place: TopicPartition, end: int) -> None:
        """What the broker had from `end` on is lost, as after an election of a replica that lagged."""
        del self._logs[place][end:]

    def read(self, place: TopicPartition, offset: int, limit: int) -> tuple[list[Record], int]:
        """Records from `offset` on, and the position after them."""
        begin, end = self.bounds(place)
        if not begin <= offset <= end:
            raise UnavailableError(f"offset {offset} of {place.topic}/{place.partition} is out of range")
        broken = next((batch for batch in self._broken.get(place, ()) if batch.stop > offset), None)
        if broken and offset >= broken.start:
            raise UnreadableBatchError(place, broken.start, broken.stop)
        end = broken.start if broken else end
        found: list[Record] = []
        while offset < end and len(found) < limit:
            record = self._logs[place][offset]
            offset += 1
            if record is not None:
                found.append(record)
        return found, offset

    def bounds(self, place: TopicPartition) -> tuple[int, int]:
        return self._begins.get(place, 0), len(self._logs[place])

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, value: bool) -> None:
        self._away = value
        self.wake()

    def wake(self) -> None:
        self._woken.set()
        self._woken = asyncio.Event()

    def woken(self) -> asyncio.Event:
        """Set when something changed after this call."""
        return self._woken

    def check(self) -> None:
        if self._away:
            raise UnavailableError("no broker answers")

    def group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())

    def rebalance(self, name: str) -> None:
        """Everybody lets go of everything, then each partition goes to one member, in turn."""
        group = self.group(name)
        for member in group.members:
            member.drop()
        group.generation += 1
        for number, member in enumerate(group.members):
            member.take(self._share(group, number), group.generation)
        self.wake()

    def _share(self, group: _Group, number: int) -> list[TopicPartition]:
        wanted = sorted({place for member in group.members for topic in member.topics for place in self.places(topic)})
        return [place for turn, place in enumerate(wanted) if turn % len(group.members) == number]


class MemoryLog:
    """A member of a group on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker, self._group, self._assignment = broker, "", None
        self._positions: dict[TopicPartition, int | None] = {}
        self.topics: frozenset[str] = frozenset()

    _assignment: Assignment | None

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None:
        self._broker.check()
        if missing := sorted(topic for topic in topics if not self._broker.places(topic)):
            raise ConfigurationError(f"topics not found: {', '.join(missing)} - make them with `stream topics apply`")
        self.topics, self._group, self._assignment = frozenset(topics), group, assignment
        self._broker.group(group).members.append(self)
        self._broker.rebalance(group)

    def take(self, places: Collection[TopicPartition], generation: int) -> None:
        self._positions = dict.fromkeys(places)
        if self._assignment is not None:
            self._assignment.assigned(tuple(places), generation)

    def drop(self) -> None:
        gone, self._positions = tuple(self._positions), {}
        if gone and self._assignment is not None:
            self._assignment.revoked(gone)

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        found: Sequence[Record] = ()
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds()):
                while not (found := self._ready(place, limit)):
                    await self._broker.woken().wait()
        # A partition that nobody may read yields to the others even when no time was given.
        await asyncio.sleep(0)
        return found

    def _ready(self, place: TopicPartition, limit: int) -> Sequence[Record]:
        self._broker.check()
        position = self._positions.get(place)
        if position is None:
            return ()
        found, self._positions[place] = self._broker.read(place, position, limit)
        return found

    async def seek(self, place: TopicPartition, offset: int) -> None:
        self._mine(place)
        self._positions[place] = offset
        self._broker.wake()

    async def position(self, place: TopicPartition) -> int:
        self._mine(place)
        position = self._positions[place]
        if position is None:
            raise FencedError((place,))
        return position

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        self._broker.check()
        return self._broker.bounds(place)

    async def topic(self, name: str) -> TopicNow:
        self._broker.check()
        return self._broker.topic(name)

    async def mirror(self, offsets: Mapping[TopicPartition, int]) -> None:
        if not self._broker.away:
            self._broker.group(self._group).offsets.update({p: n for p, n in offsets.items() if p in self._positions})

    def fault(self) -> str:
        return "no broker answers" if self._broker.away else ""

    async def stop(self) -> None:
        group = self._broker.group(self._group)
        self.drop()
        if self in group.members:
            group.members.remove(self)
            self._broker.rebalance(self._group)

    def _mine(self, place: TopicPartition) -> None:
        if place not in self._positions:
            raise FencedError((place,))


class MemoryPublisher:
    """Writes to a `MemoryBroker`. Keys spread by a checksum, not by Kafka's hash: only the order per key is promised."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker, self._dead = broker, False

    async def start(self) -> None:
        self._broker.check()

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        if self._dead or self._broker.away:
            self._dead = True
            raise UncertainError("this publisher was lost: stop it and make a new one")
        refused: list[Refusal] = []
        held: set[tuple[str, bytes]] = set()
        for row in batch:
            if (row.topic, row.key) in held:
                continue
            if refusal := self._refusal(row):
                refused.append(refusal)
                held.add((row.topic, row.key))
                continue
            places = self._broker.places(row.topic)
            self._broker.append(places[crc32(row.key) % len(places)], row.value, key=row.key, headers=row.headers)
        return refused

    def _refusal(self, row: Outgoing) -> Refusal | None:
        if not self._broker.places(row.topic):
            return Refusal(row.seq, "no_topic", f"{row.topic}: not found")
        size = len(row.key) + len(row.value) + sum(len(name) + len(value) + 4 for name, value in row.headers)
        if size > self._broker.largest:
            return Refusal(row.seq, "too_large", f"{size} bytes, the limit is {self._broker.largest}")
        return None

    async def stop(self) -> None:
        self._dead = True
