"""A worker on a log that fails or calls at awkward moments: nothing that was fetched is dropped, nothing that comes too late does harm."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import anyio

from stream import App, Data, Event, Machine, State, opens
from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_log import MemoryBroker, MemoryLog
from stream.adapters.memory_store import MemoryStore
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.codec import record_of
from stream.core.errors import UnavailableError
from stream.core.record import Record, TopicPartition
from stream.ports import Assignment
from stream.runtime.app import carrying
from stream.runtime.assignment import Holding
from stream.runtime.reader import Adopter, Reader, ReaderPorts
from stream.runtime.settings import Settings
from stream.runtime.waiting import Stop, Waits
from stream.runtime.worker import Worker, WorkerParts, WorkerSettings

PLACE = TopicPartition("eggs", 0)


class EggLaid(Event, type="egg.laid", topic="eggs", key="id"):
    id: str


class EggSold(Event, type="egg.sold", topic="eggs", key="id"):
    id: str


class Egg(Data):
    id: str


def lay(e: EggLaid) -> Egg:
    return Egg(id=e.id)


fresh, sold = State[Egg]("fresh"), State[Egg]("sold", final=True)
egg = Machine[Egg]("egg", data=Egg, events=(EggLaid, EggSold), transitions=(opens(EggLaid, to=fresh, then=lay), fresh.on(EggSold, to=sold)))
farm = App("farm", machines=(egg,))


class Farm:
    """A database, a broker with a single partition, and a worker on both that takes one record at a time."""

    def __init__(self, log: type[MemoryLog], *, store: type[MemoryStore] = MemoryStore, drain: float = 10.0) -> None:
        self.database, self.broker, self.stop = MemoryDatabase(), MemoryBroker({"eggs": 1}), Stop()
        telemetry = MemoryTelemetry()
        parts = WorkerParts(
            log=lambda: log(self.broker),
            store=lambda: store(self.database),
            carry=carrying(farm, Settings(), telemetry.sampling),
            telemetry=telemetry,
            wake=lambda: None,
        )
        settings = WorkerSettings(topics=farm.consumed, group="farm", owner="us", lanes=1, batch=1, drain=drain)
        self.worker = Worker(settings, parts, self.stop)

    def lay(self, n: int) -> None:
        made = record_of(EggLaid(id=f"e{n}"), id=f"laid-{n}", source="/hen", time=self.database.now())
        self.broker.clock = made.timestamp
        self.broker.append(PLACE, made.value, key=made.key, headers=made.headers)

    async def taken(self, count: int) -> None:
        """Returns when the position has passed `count` records."""
        while self.database.partitions.get(PLACE) is None or self.database.partitions[PLACE].next_offset < count:
            await Stop().pause(0.01)


class Forgetful(MemoryLog):
    """Where it stands, it cannot say while there is anything to read."""

    async def position(self, place: TopicPartition) -> int:
        position = await super().position(place)
        if position < 3:
            raise UnavailableError("no answer")
        return position


async def test_records_that_were_fetched_are_taken_though_the_log_then_fails() -> None:
    world = Farm(Forgetful)
    for n in range(3):
        world.lay(n)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.worker.run)
        with anyio.fail_after(30):
            await world.taken(3)
        world.stop.set()
    assert (world.database.partitions[PLACE].counts["records"], len(world.database.entities)) == (3, 3)


class Leaving(MemoryLog):
    """The group gives it partitions anew in the moment it leaves."""

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None:
        self.told = assignment
        await super().start(topics, group, assignment)

    async def stop(self) -> None:
        self.told.assigned([PLACE], 99)
        await super().stop()


async def test_a_partition_that_is_assigned_while_a_session_ends_does_no_harm() -> None:
    world = Farm(Leaving)
    world.lay(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.worker.run)
        with anyio.fail_after(30):
            await world.taken(1)
        world.stop.set()
    assert world.database.partitions[PLACE].counts["records"] == 1


class Losing(MemoryLog):
    """While it says where it stands, the lane learns that the partition is another owner's."""

    held: Holding
    stop_then: Stop

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        return ()

    async def position(self, place: TopicPartition) -> int:
        self.held.lost()
        self.stop_then.set()
        return 7


async def test_a_partition_that_is_lost_while_its_log_is_asked_is_let_go() -> None:
    database, broker, stop = MemoryDatabase(), MemoryBroker({"eggs": 1}), Stop()
    log, held = Losing(broker), Holding(PLACE, 1)
    log.held, log.stop_then = held, stop
    log.take([PLACE], 1)
    adopter = Adopter(MemoryStore(database), "us")
    ports = ReaderPorts(log=log, adopter=adopter, batch=1, clock=database.now, paused=lambda: False, ready=lambda: None, waits=Waits())
    await Reader(held, ports, stop=stop, after=None).run()
    assert (held.next_offset, held.full, held.drained_at) == (None, False, None)


class Clinging(MemoryLog):
    """Cannot leave its group in any time."""

    async def stop(self) -> None:
        await anyio.sleep_forever()


class Counted(MemoryStore):
    """Of how many it is known that they were closed."""

    made, closed = 0, 0

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        Counted.made += 1

    async def close(self) -> None:
        Counted.closed += 1
        await super().close()


async def test_a_session_whose_log_does_not_end_in_time_leaves_no_connection_behind() -> None:
    world = Farm(Clinging, store=Counted, drain=0.05)
    world.lay(0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.worker.run)
        with anyio.fail_after(30):
            await world.taken(1)
        world.stop.set()
    assert Counted.made == Counted.closed == 2
