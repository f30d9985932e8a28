"""A hall in memory, whose rows a whole worker counts the hits of; and the ways in which its log can be spoilt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import msgspec

from stream import App, Data, Event, Machine, State, opens
from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_log import MemoryBroker, MemoryLog
from stream.adapters.memory_store import MemoryStore, MemoryTransaction
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.changes import Changes
from stream.core.codec import record_of
from stream.core.errors import UnreadableBatchError, UnstorableError
from stream.core.halt import Decision, Halt, HaltReason
from stream.core.record import Record, TopicPartition
from stream.runtime.app import carrying
from stream.runtime.settings import Settings
from stream.runtime.waiting import Stop
from stream.runtime.worker import Worker, WorkerParts, WorkerSettings
from tests.integration.runtime.world import reaches

ROW, EMPTY, ADDED = (TopicPartition("rows", n) for n in range(3))
BESIDE = TopicPartition("seats", 0)
R = HaltReason


class RowHit(Event, type="row.hit", topic="rows", key="row"):
    row: str
    n: int


class SeatTaken(Event, type="seat.taken", topic="seats", key="row"):
    row: str
    n: int


class Row(Data):
    row: str
    hits: list[int] = msgspec.field(default_factory=list[int])


def make(e: RowHit | SeatTaken) -> Row:
    return Row(row=e.row, hits=[e.n])


def hit(row: Row, e: RowHit | SeatTaken) -> None:
    row.hits.append(e.n)


live = State[Row]("live", final=True)
rows = Machine[Row](
    "row",
    data=Row,
    events=(RowHit, SeatTaken),
    transitions=(opens(RowHit, to=live, then=make), opens(SeatTaken, to=live, then=make), live.on(RowHit, then=hit), live.on(SeatTaken, then=hit)),
)
hall = App("hall", machines=(rows,))


@dataclass
class Hall:
    """One entity a partition, named as it is: `rows 0` gets its hits by partition 0 of that topic."""

    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker({"rows": 2, "seats": 1}))
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    refused: int = -1
    gate: anyio.Event | None = None
    made: int = 0
    times: list[datetime] = field(default_factory=list[datetime])
    met: int = 0

    def hit(self, place: TopicPartition, *numbers: int) -> None:
        for n in numbers:
            self.made += 1
            kind = RowHit if place.topic == "rows" else SeatTaken
            said = record_of(kind(row=f"{place.topic} {place.partition}", n=n), id=f"e{self.made}", source="/test", time=datetime.now(UTC))
            self.broker.append(place, said.value, key=said.key, headers=said.headers)
            self.times.append(self.database.now())

    async def hits(self) -> Mapping[str, list[int]]:
        found = {ref.id: msgspec.json.decode(entity.data) for ref, entity in self.database.entities.items() if entity.born}
        return {id: data["hits"] for id, data in found.items()}

    def halt(self, place: TopicPartition) -> Halt | None:
        row = self.database.partitions.get(place)
        return row.halt if row else None

    async def reasons(self) -> Mapping[TopicPartition, HaltReason]:
        return {place: row.halt.reason for place, row in self.database.partitions.items() if row.halt}

    async def decide(self, place: TopicPartition, target: int, *, forget: bool = False) -> None:
        row = self.database.partitions[place]
        assert row.halt is not None
        await MemoryStore(self.database).resume(Decision(place, row.halt, row.next_offset, target, forget, "ann", "seen to"))

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """A worker; at the end it is cut off wherever it is."""
        telemetry = MemoryTelemetry()
        parts = WorkerParts(
            log=lambda: Counting(self),
            store=lambda: Choosy(self),
            carry=carrying(hall, Settings(), telemetry.sampling),
            telemetry=telemetry,
            wake=lambda: None,
        )
        worker = Worker(WorkerSettings(topics=["rows", "seats"], group="g", owner="w", batch=3), parts, Stop())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


class Counting(MemoryLog):
    """Counts how often a batch nobody can read was met."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall.broker)
        self._hall = hall

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        try:
            return await super().fetch(place, limit=limit, within=within)
        except UnreadableBatchError:
            self._hall.met += 1
            raise


class Choosy(MemoryStore):
    """Refuses whatever comes with the record at the offset `refused` of the first partition, and commits nothing before the `gate` opens."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall.database)
        self._hall = hall

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[MemoryTransaction]:
        if self._hall.gate:
            await self._hall.gate.wait()
        async with super().transaction() as tx:
            yield Refusing(tx, self._hall)


class Refusing(MemoryTransaction):
    def __init__(self, tx: MemoryTransaction, hall: Hall) -> None:
        vars(self).update(vars(tx))
        self._hall = hall

    async def save(self, changes: Changes) -> None:
        if any(s.place == ROW and s.start <= self._hall.refused < s.end for s in self._slices):
            raise UnstorableError("the database refused the data (22001)")
        await super().save(changes)


def overrun(hall: Hall) -> None:
    hall.hit(ROW, *range(10, 20))
    hall.broker.trim(ROW, 15)


def ahead(hall: Hall) -> None:
    hall.broker.cut(ROW, 3)


def regrown(hall: Hall) -> None:
    hall.broker.cut(ROW, 3)
    hall.hit(ROW, *range(100, 120))


def anew(hall: Hall) -> None:
    hall.broker.create_anew("rows", 2)
    hall.hit(ROW, *range(100, 120))


def added(hall: Hall) -> None:
    hall.broker.create("rows", 3)
    hall.hit(ADDED, 1)
    hall.broker.rebalance("g")


def unreadable(hall: Hall) -> None:
    hall.broker.append_broken(ROW, records=2)
    hall.hit(ROW, 99)


def refused(hall: Hall) -> None:
    hall.refused = hall.broker.bounds(ROW)[1]
    hall.hit(ROW, 99)


ANOMALIES: list[tuple[Callable[[Hall], None], TopicPartition, HaltReason]] = [
    (overrun, ROW, R.OVERRUN),
    (ahead, ROW, R.OFFSET_AHEAD),
    (regrown, ROW, R.TRUNCATED),
    (anew, ROW, R.MADE_ANEW),
    (added, ADDED, R.PARTITION_ADDED),
    (unreadable, ROW, R.UNREADABLE_BATCH),
    (refused, ROW, R.REFUSED),
]


def named(value: object) -> str:
    return value.__name__ if callable(value) and hasattr(value, "__name__") else ""


async def begun() -> Hall:
    """Six hits taken of the first partition, none of the second: nothing of that can be of another log."""
    hall = Hall()
    hall.hit(ROW, *range(6))
    async with hall.working():
        await reaches(hall.hits, {"rows 0": [*range(6)]})
        await drained(hall)
    return hall


async def drained(hall: Hall) -> None:
    async def adopted() -> object:
        return len(hall.database.partitions)

    await reaches(adopted, 3)
