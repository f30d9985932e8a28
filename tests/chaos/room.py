"""A room for one case: a database, a group and an output topic of its own; processes that run in it, and what is wrong when they are through."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiokafka
import anyio
import asyncpg

from stream import App
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.statements import parse
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from stream.core.chain import link
from stream.core.changes import History
from stream.core.outcome import Outcome
from stream.core.record import Ref
from stream.core.topic import Topic
from stream.runtime.app import Parts, run
from stream.runtime.settings import Settings
from stream.runtime.waiting import Stop
from tests.chaos import pottery
from tests.chaos.failpoints import Trip, arm

LOOKS = parse(Path(__file__).with_name("looks.sql").read_text(encoding="utf-8"))
AGES = Ages(rows=10_000)
SESSION = 2.0
"""Seconds after which a silent process loses its partitions, its leases, and what it had locked."""
PATIENCE = 90.0


def broker(bootstrap: str, largest: int = pottery.LARGEST) -> KafkaSettings:
    return KafkaSettings(bootstrap=bootstrap, session=SESSION, heartbeat=0.3, rebalance=SESSION, request=4, send=5, largest_record=largest)


@dataclass(frozen=True)
class Room:
    """Where one case runs. It can be sent to another process. `patient`: the database waits for a test that holds a transaction open."""

    kafka: str
    dsn: str
    pots: str
    told: str
    group: str
    patient: bool = False
    largest: int = pottery.LARGEST
    application: str = "stream"

    @property
    def settings(self) -> Settings:
        # Few records a batch, so that there are many.
        return Settings(group=self.group, batch=12, drain=10, relay_lease=SESSION)

    @property
    def database(self) -> PostgresSettings:
        return PostgresSettings(
            dsn=self.dsn,
            application=self.application,
            connect=3.0,
            statement=20.0 if self.patient else 1.5,
            lock=15.0 if self.patient else 1.0,
            idle=60.0 if self.patient else SESSION,
            transaction=120.0 if self.patient else 2 * SESSION,
        )

    def parts(self, telemetry: MemoryTelemetry) -> Parts:
        kafka, database = broker(self.kafka, self.largest), self.database
        return Parts(
            store=lambda: PostgresStore(database),
            log=lambda: KafkaLog(kafka),
            publisher=lambda: KafkaPublisher(kafka),
            outbox=lambda: PostgresOutbox(database),
            timetable=lambda: PostgresTimetable(database, AGES),
            telemetry=telemetry,
            sampling=telemetry.sampling,
        )

    def armed(self, trip: Trip) -> Parts:
        """One process's parts, with a failpoint."""
        return arm(self.parts(MemoryTelemetry()), trip)

    def looks(self) -> Looks:
        """Close it in the end."""
        return Looks(self)

    @property
    def topics(self) -> list[Topic]:
        """Those of this room alone."""
        return [Topic(self.told, partitions=pottery.PARTITIONS)]

    async def run(self, parts: Parts | None = None, stop: Stop | None = None, roles: Collection[str] = ()) -> None:
        """One process's worth, until the stop, or a signal."""
        await run(self.app, self.settings, parts or self.parts(MemoryTelemetry()), roles, stop=stop)

    @property
    def app(self) -> App:
        return pottery.application(self.pots, self.told)

    @asynccontextmanager
    async def running(self, parts: Parts | None = None, roles: Collection[str] = ()) -> AsyncGenerator[Stop]:
        stop = Stop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.run, parts, stop, roles)
            try:
                yield stop
            finally:
                stop.set()


class Looks:
    """What one sees of a room from outside."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._connection = Connection(PostgresSettings(dsn=room.dsn, statement=20), LOOKS)

    async def rows(self, name: str) -> list[asyncpg.Record]:
        return await self._connection.fetch(name)

    async def close(self) -> None:
        await self._connection.close()

    async def drained(self) -> None:
        """Waits until everything was taken, fired and sent."""
        await self.until("progress", {"position": pottery.COUNTS["records"], "due": 0, "unsent": 0})

    async def until(self, name: str, wanted: Mapping[str, object]) -> None:
        """Waits until a look shows what is wanted."""
        seen: dict[str, object] = {}
        with anyio.move_on_after(PATIENCE):
            while seen != wanted:
                row = (await self.rows(name))[0]
                seen = {key: row[key] for key in wanted}
                await Stop().pause(0.1)
        assert seen == wanted, f"{name}: {seen} instead of {wanted}"

    async def owned_by(self, pid: int) -> None:
        """Waits until this process has a partition."""
        owner = ""
        with anyio.fail_after(PATIENCE):
            while f":{pid}:" not in owner:
                owner = " ".join([row["owner"] for row in await self.rows("owners")])
                await anyio.sleep(0.1)

    async def faults(self) -> list[str]:
        """Everything that is not as it must be, once all is drained and every process has ended."""
        found: list[str] = []
        entities = await self.rows("entities")
        told, disorder = await self._told()
        for what, seen, wanted in (
            ("taken", {row["id"]: json.loads(row["data"])["taken"] for row in entities}, pottery.TAKEN),
            ("told", told, pottery.TOLD),
            ("states", Counter(row["state"] for row in entities), pottery.STATES),
            ("counts", dict((await self.rows("counts"))[0].items()), pottery.COUNTS),
            ("letters", Counter(row["reason"] for row in await self.rows("letters")), pottery.LETTERS),
            ("line", [(row["outcome"], row["reason"], pottery.said_in(row["value"])) for row in await self.rows("line")], pottery.LINE),
            ("held", [(row["reason"], pottery.said_in(row["value"])) for row in await self.rows("held")], pottery.HELD),
        ):
            if seen != wanted:
                found.append(f"{what}: {seen} instead of {wanted}")
        return [*found, *disorder, *broken(entities, await self.rows("history"))]

    async def leased(self) -> list[str]:
        """Those who ended of their own accord left no lease."""
        kept = (await self.rows("leases"))[0]["n"]
        return [f"leases: {kept} were not given back"] if kept else []

    async def _told(self) -> tuple[dict[str, list[int]], list[str]]:
        """What each pot told, in order, repeats left out; and gaps or disorder by emitter."""
        told: dict[str, list[int]] = {}
        seen: set[bytes] = set()
        disorder: list[str] = []
        async for record in read(self.room.kafka, self.room.told):
            headers = {name: value or b"" for name, value in record.headers}
            if headers["ce_id"] in seen:
                continue
            seen.add(headers["ce_id"])
            body = json.loads(record.value or b"")
            numbers = told.setdefault(body["id"], [])
            numbers.append(body["n"])
            if int(headers["ce_sequence"]) != len(numbers) or headers["ce_emitter"] != f"pot/{body['id']}".encode():
                disorder.append(f"sequence: {headers['ce_sequence']!r} of {headers['ce_emitter']!r} at place {len(numbers)}")
        return told, disorder


async def read(kafka: str, topic: str) -> AsyncGenerator[aiokafka.ConsumerRecord]:
    """What stands on an output topic."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        places = [aiokafka.TopicPartition(topic, n) for n in range(pottery.PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


def broken(entities: Sequence[asyncpg.Record], history: Sequence[asyncpg.Record]) -> Iterator[str]:
    """Where the chain of an entity's history is not whole, or does not end where the entity says."""
    rows: dict[str, list[asyncpg.Record]] = {}
    for row in history:
        rows.setdefault(row["entity_id"], []).append(row)
    for entity in entities:
        chain, before, n = b"", 0, 0
        for row in rows.pop(entity["id"], []):
            n += 1
            if (row["n"], row["prev_id"], row["hash"]) != (n, before, link(chain, _history(row))):
                yield f"chain: row {row['n']} of {entity['id']} does not follow row {n - 1}"
            chain, before = row["hash"], row["id"]
        if (entity["n"], entity["last_id"], entity["chain"]) != (n, before, chain):
            yield f"chain: {entity['id']} does not end where its history does"
    if rows:
        yield f"chain: history without an entity: {sorted(rows)}"


def _history(row: asyncpg.Record) -> History:
    ref = Ref(row["machine"], row["entity_id"])
    rest = {name: row[name] for name in History.__struct_fields__ if name not in ("ref", "outcome", "clocks")}
    return History(ref=ref, outcome=Outcome(row["outcome"]), clocks=row["clocks"] or "", **rest)


async def prepare(dsn: str) -> None:
    """Make a migrated database a template of rooms: eight days on, with small partitions."""
    timetable = PostgresTimetable(PostgresSettings(dsn=dsn))
    await timetable.move_clock(pottery.AHEAD)
    await timetable.close()
    owner = Connection(PostgresSettings(dsn=dsn), LOOKS)
    await owner.script(LOOKS["first_parts"])
    await owner.close()
