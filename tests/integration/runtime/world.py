"""A tiny App on topics of its own, a broker and a database: what these tests set going and look at."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

import aiokafka
import anyio
import asyncpg
import msgspec

from stream import App, Cause, Data, Event, Machine, State, hours, opens
from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import PostgresTimetable
from stream.core.codec import record_of
from stream.core.topic import Topic
from stream.ports import Outgoing
from stream.runtime.app import Parts, run
from stream.runtime.settings import Settings
from stream.runtime.waiting import Stop


class Pot(Data):
    id: str
    taken: list[int] = msgspec.field(default_factory=list[int])


def application(tag: str) -> App:
    """Pots that take numbers and tell each one; a pot nobody touches for an hour closes."""

    class PotEvent(Event, topic=f"pots-{tag}", key="id"):
        id: str

    class PotMade(PotEvent, type="pot.made"): ...

    class PotFilled(PotEvent, type="pot.filled"):
        n: int

    class PotTold(Event, type="pot.told", topic=f"told-{tag}", key="id"):
        id: str
        n: int

    def make(e: PotMade, cause: Cause) -> Pot:
        return Pot(id=e.id)

    def fill(pot: Pot, e: PotFilled) -> None:
        pot.taken.append(e.n)

    def tell(pot: Pot, e: PotFilled) -> PotTold:
        return PotTold(id=pot.id, n=e.n)

    def tell_closed(pot: Pot) -> PotTold:
        return PotTold(id=pot.id, n=-1)

    live, closed = State[Pot]("live"), State[Pot]("closed", final=True)
    pot = Machine[Pot](
        "pot",
        data=Pot,
        events=(PotEvent,),
        transitions=(
            opens(PotMade, to=live, then=make),
            live.on(PotFilled, then=fill, emit=tell),
            live.after(hours(1), to=closed, emit=tell_closed),
        ),
    )
    return App("pottery", machines=(pot,), topics=(Topic(f"pots-{tag}", partitions=4), Topic(f"told-{tag}", partitions=4)), alerts=f"alerts-{tag}")


@dataclass
class World:
    """`kafka` and `database` may lead by a wire; the looks from outside go straight."""

    tag: str
    app: App
    kafka: str
    dsn: str
    telemetry: MemoryTelemetry
    publisher: KafkaPublisher
    said: int = 0

    @property
    def settings(self) -> Settings:
        return Settings(group=f"g-{self.tag}", batch=50, drain=10, relay_lease=5)

    def settings_of(self, *roles: str) -> Settings:
        return replace(self.settings, roles=roles)

    def parts(self, *, dsn: str = "", quick: bool = False) -> Parts:
        kafka = broker(self.kafka)
        if quick:
            kafka = replace(kafka, start=2, answer=2, send=2, stop=1, silence=2, request=3)
        database = PostgresSettings(dsn=dsn or self.dsn, statement=3, connect=2, lock=2)
        return Parts(
            store=lambda: PostgresStore(database),
            log=lambda: KafkaLog(kafka),
            publisher=lambda: KafkaPublisher(kafka),
            outbox=lambda: PostgresOutbox(database),
            timetable=lambda: PostgresTimetable(database),
            telemetry=self.telemetry,
            sampling=self.telemetry.sampling,
        )

    @asynccontextmanager
    async def running(self, parts: Parts | None = None, settings: Settings | None = None) -> AsyncGenerator[Stop]:
        """One process's worth; stopped (drained) at the end, or earlier by the stop."""
        stop = Stop()
        async with anyio.create_task_group() as tasks:

            async def go() -> None:
                await run(self.app, settings or self.settings, parts or self.parts(), stop=stop)

            tasks.start_soon(go)
            try:
                yield stop
            finally:
                stop.set()

    async def make(self, pots: Iterable[str]) -> None:
        await self.say([("pot.made", {"id": pot}) for pot in pots])

    async def fill(self, pots: Sequence[str], numbers: Iterable[int]) -> None:
        await self.say([("pot.filled", {"id": pot, "n": n}) for n in numbers for pot in pots])

    async def say(self, events: Sequence[tuple[str, Mapping[str, object]]], again: int = 0) -> None:
        kinds = {kind.__fact_type__: kind for kind in self.app.classes}
        rows: list[Outgoing] = []
        for kind, fields in events:
            self.said += 1
            record = record_of(msgspec.convert(fields, kinds[kind]), id=f"{self.tag}-{self.said}", source="/test", time=datetime.now(UTC))
            headers = [(name, value or b"") for name, value in record.headers]
            rows.append(Outgoing(self.said, record.topic, record.key or b"", record.value or b"", headers))
        for _ in range(again + 1):
            assert not await self.publisher.publish(rows)

    async def rows(self, sql: str, *args: object) -> list[asyncpg.Record]:
        link = await asyncpg.connect(self.dsn, server_settings={"search_path": "stream"})
        try:
            return await link.fetch(sql, *args)
        finally:
            await link.close()

    async def taken(self) -> dict[str, list[int]]:
        """What each pot has taken, in order."""
        found = await self.rows("select id, convert_from(data, 'utf8') as data from entity where version > 0")
        return {row["id"]: json.loads(row["data"]).get("taken", []) for row in found}

    async def halted(self) -> dict[str, str]:
        """Why, by place."""
        rows = await self.rows("select topic, partition, halt_reason from partition where halted_since is not null")
        return {f"{row['topic']}/{row['partition']}": row["halt_reason"] for row in rows}

    async def decide(self, place: str, at: str) -> None:
        """As an operator does: by the command, in a process of its own."""
        words = ["partitions", "resume", place, "--reason", "seen to", "--yes", *(["--at", at] if at else [])]
        environ = {**os.environ, "STREAM_KAFKA": self.kafka, "STREAM_DATABASE_URL": self.dsn, "STREAM_ACTOR": "ann"}
        done = await anyio.run_process([sys.executable, "-m", "stream", *words], env=environ, check=False)
        assert done.returncode == 0, done.stderr.decode()

    async def told(self) -> dict[str, list[int]]:
        """What is on the topic for each pot, in order; a message sent twice (same id) counts once."""
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            places = [aiokafka.TopicPartition(f"told-{self.tag}", n) for n in range(4)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            seen: dict[str, tuple[str, int]] = {}
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        value = json.loads(record.value or b"{}")
                        seen.setdefault(str(dict(record.headers)["ce_id"]), (value["id"], value["n"]))
        finally:
            await consumer.stop()
        told: dict[str, list[int]] = {}
        for pot, n in seen.values():
            told.setdefault(pot, []).append(n)
        return told


@asynccontextmanager
async def child(pottery: World, *roles: str) -> AsyncGenerator[Process]:
    """The same in a process of its own, killed at the end."""
    command = (sys.executable, "-m", "tests.integration.runtime.child", pottery.tag, pottery.kafka, pottery.dsn, *roles)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def broker(bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=bootstrap, session=6, heartbeat=0.5, rebalance=5, request=7)


async def reaches(look: Callable[[], Awaitable[object]], wanted: object, within: float = 120.0) -> None:
    """Look until it is as wanted; a deadline is only there to end a test that hangs."""
    seen: object = None
    with anyio.move_on_after(within):
        while (seen := await look()) != wanted:
            await Stop().pause(0.1)
    assert seen == wanted


@asynccontextmanager
async def afresh(pottery: World) -> AsyncGenerator[World]:
    """The same world with a publisher that has not seen the logs as they were."""
    publisher = KafkaPublisher(broker(pottery.kafka))
    await publisher.start()
    try:
        yield replace(pottery, publisher=publisher)
    finally:
        await publisher.stop()


@asynccontextmanager
async def world(kafka: str, database: str, tag: str = "") -> AsyncGenerator[World]:
    tag = tag or uuid4().hex[:8]
    app = application(tag)
    async with KafkaAdmin(broker(kafka)) as admin:
        await admin.apply(plan([*app.topics, Topic(app.alerts, partitions=1)], {}))
    publisher = KafkaPublisher(broker(kafka))
    await publisher.start()
    try:
        yield World(tag, app, kafka, database, MemoryTelemetry(), publisher)
    finally:
        await publisher.stop()
