"""Two levels: what a lower machine's timer says is heard before a clock of the upper one may be called late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from stream import App, Data, Event, Machine, Owner, Sla, State, hours, minutes, opens, seconds
from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_log import MemoryBroker, MemoryPublisher
from stream.adapters.memory_outbox import MemoryOutbox, MemoryTimetable
from stream.adapters.memory_store import MemoryStore
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.codec import record_of
from stream.core.record import Ref, TopicPartition
from stream.ports import Outgoing, Slice
from stream.runtime.app import carrying
from stream.runtime.doors import Partitions
from stream.runtime.settings import Settings
from stream.runtime.ticker import Ticker, TickerParts
from stream.runtime.waiting import Stop

EGGS, MEALS = TopicPartition("eggs", 0), TopicPartition("meals", 0)


class EggLaid(Event, type="egg.laid", topic="eggs", key="id"):
    id: str


class MealEvent(Event, topic="meals", key="id"):
    id: str


class MealOrdered(MealEvent, type="meal.ordered"): ...


class EggBoiled(MealEvent, type="egg.boiled"): ...


class Egg(Data):
    id: str


class Meal(Data):
    id: str


def lay(e: EggLaid) -> Egg:
    return Egg(id=e.id)


def order(e: MealOrdered) -> Meal:
    return Meal(id=e.id)


def tell_boiled(egg: Egg) -> EggBoiled:
    return EggBoiled(id=egg.id)


boiling, boiled = State[Egg]("boiling"), State[Egg]("boiled", final=True)
egg = Machine[Egg](
    "egg", data=Egg, events=(EggLaid,), transitions=(opens(EggLaid, to=boiling, then=lay), boiling.after(hours(1), to=boiled, emit=tell_boiled))
)
hungry = State[Meal]("hungry", owner=Owner("cook"), sla=Sla(hours(1) + seconds(1)))
fed = State[Meal]("fed", final=True)
meal = Machine[Meal]("meal", data=Meal, events=(MealEvent,), transitions=(opens(MealOrdered, to=hungry, then=order), hungry.on(EggBoiled, to=fed)))
kitchen = App("kitchen", machines=(egg, meal))


@dataclass
class Kitchen:
    """The App in memory. Its lanes have always just taken everything that is on the topics; its relay sends when it is told to."""

    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    broker: MemoryBroker = field(default_factory=lambda: MemoryBroker({"eggs": 1, "meals": 1, "alerts": 1}))

    def __post_init__(self) -> None:
        telemetry = MemoryTelemetry()
        self.store = MemoryStore(self.database)
        self.outbox = MemoryOutbox(self.database)
        self.carry = carrying(kitchen, Settings(), telemetry.sampling)
        self.parts = TickerParts(
            timetable=lambda: MemoryTimetable(self.database),
            store=lambda: self.store,
            carry=self.carry,
            telemetry=telemetry,
            wake=lambda: None,
        )
        self.ticker = Ticker(kitchen.feeds, self.parts, Stop())

    async def say(self, *events: Event) -> None:
        rows: list[Outgoing] = []
        for n, event in enumerate(events):
            record = record_of(event, id=f"said-{n}", source="/test", time=self.database.now())
            rows.append(Outgoing(n, record.topic, record.key or b"", record.value or b"", [(name, value or b"") for name, value in record.headers]))
        assert not await MemoryPublisher(self.broker).publish(rows)

    async def take(self) -> None:
        for place in (EGGS, MEALS):
            held = await self.store.adopt(place, owner="lane", generation=1, begin=0, partitions=1)
            records, end = self.broker.read(place, held.next_offset, 100)
            if records:
                await self.carry(Partitions([Slice(place, held.epoch, held.next_offset, end, records)]), self.store, "")

    async def tick(self, looks: int) -> None:
        for _ in range(looks):
            await self.take()
            # Marked ahead of the look that follows: nothing more is coming until then.
            drained = self.database.now() + minutes(1)
            for place, row in self.database.partitions.items():
                self.database.partitions[place] = replace(row, drained_at=drained)
            await self.ticker.turn()

    async def send(self) -> None:
        for shard in (await self.outbox.lease("relay", timedelta(minutes=1))).shards:
            round = await self.outbox.read(shard, 100)
            await self.outbox.advance(round, await MemoryPublisher(self.broker).publish(round.rows))

    @property
    def alerts(self) -> int:
        return self.broker.bounds(TopicPartition("alerts", 0))[1]


async def test_a_clock_waits_for_what_a_timer_of_a_lower_level_says() -> None:
    one = Kitchen()
    await one.say(EggLaid(id="a"), MealOrdered(id="a"))
    await one.take()
    one.database.ahead += hours(2)
    await one.tick(12)
    await one.send()
    await one.tick(12)
    await one.send()
    assert (one.database.entities[Ref("meal", "a")].state, one.alerts) == ("fed", 0)


async def test_a_clock_nothing_met_runs_out_once_everything_below_was_sent() -> None:
    one = Kitchen()
    await one.say(EggLaid(id="a"), MealOrdered(id="b"))
    await one.take()
    one.database.ahead += hours(2)
    await one.tick(12)
    await one.send()
    assert one.alerts == 0
    await one.tick(12)
    await one.send()
    assert one.alerts == 1


async def test_entities_that_only_another_program_can_keep_are_said_once_a_batch_and_to_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Kitchen()
    await one.say(*(EggLaid(id=id) for id in "abcd"))
    await one.take()
    for id in "abc":
        one.database.entities[Ref("egg", id)].machine_version = 2
    one.database.ahead += hours(2)
    with capture_logs() as lines:
        await one.tick(12)
    why = "this egg is of version 2, and this program has version 1: run one that is as new"
    assert lines == [
        {"event": "timers not fired, passed over", "log_level": "error", "machine": "egg", "entity": "a", "entities": 3, "error": why},
    ]
    assert one.database.entities[Ref("egg", "d")].state == "boiled"
    (wait,) = [wait for wait in one.parts.waits.now() if wait.what == "clocks passed over"]
    assert wait.detail == f"egg 'a' and others like it: {why}; stream machines plan egg"
    for id in "abc":
        one.database.entities[Ref("egg", id)].machine_version = 1
    later = anyio.current_time() + 601.0
    monkeypatch.setattr(anyio, "current_time", lambda: later)
    await one.tick(2)
    assert {entity.state for entity in one.database.entities.values()} == {"boiled"}
    assert "clocks passed over" not in [wait.what for wait in one.parts.waits.now()]
