"""Pots that speak: messages committed as the engine does, sent by the relay's own parts or by hand, and the proof as an operator asks for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import asyncpg
import confluent_kafka
import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from stream import App
from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.postgres.columns import message_headers
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.core.changes import Changes
from stream.core.entity import Envelope, Trace
from stream.core.message import compose, count_said
from stream.core.record import Record, Ref
from stream.core.topic import Topic
from stream.ops.cli import cli
from stream.ports import Outgoing, Refusal
from tests.conformance.storage import applied
from tests.integration.runtime.world import application, broker

PARTITIONS = 2


@dataclass
class Talk:
    """`told` is the topic they speak into; `database` is its owner's, everything else goes as the worker's role."""

    app: App
    told: str
    kafka: str
    database: str
    store: PostgresStore
    outbox: PostgresOutbox
    publisher: KafkaPublisher
    admin: AIOKafkaAdminClient
    said: dict[str, int] = field(default_factory=dict[str, int])

    async def say(self, pot: str, *numbers: int, topic: str = "", before_commit: Callable[[], Awaitable[None]] | None = None) -> None:
        """One event of this pot that says these; into another topic, if said."""
        kind = next(kind for kind in self.app.classes if kind.__fact_type__ == "pot.told")
        ref, facts = Ref("pot", pot), [msgspec.convert({"id": pot, "n": n}, kind) for n in numbers]
        self.said[pot] = self.said.get(pot, 0) + 1
        envelope = _cause(facts[0], f"{pot}-{self.said[pot]}")
        async with self.store.transaction() as tx:
            await tx.claim_timers(())
            entity = (await tx.load([ref]))[ref]
            messages = compose(self.app, entity, envelope, facts, 0)
            messages = [msgspec.structs.replace(message, topic=topic or message.topic) for message in messages]
            count_said(entity, messages)
            await tx.save(applied(Changes(), entity, *messages))
            if before_commit:
                await before_commit()

    async def send(self, *, really: bool = True, refuse: str = "") -> None:
        """A relay's turn over all shards; without `really` it notes as sent what it never sent. The broker takes nothing of the pot `refuse`."""
        for shard in (await self.outbox.lease("r", timedelta(minutes=1))).shards:
            more = True
            while more:
                round = await self.outbox.read(shard, 100)
                more = round.more
                if round.rows:
                    taken = [row for row in round.rows if row.key != refuse.encode()]
                    refused = [Refusal(row.seq, "too_large", "") for row in round.rows if row not in taken][:1]
                    await self.outbox.advance(round, [*refused, *(await self.publisher.publish(taken) if really else ())])

    async def rows(self, pot: str) -> list[Outgoing]:
        """What it said, as the outbox has it."""
        found = await self.sql("select seq, topic, key, value, headers from outbox where key = $1 order by seq", pot.encode())
        return [Outgoing(r["seq"], r["topic"], r["key"], r["value"], message_headers(r["headers"])) for r in found]

    async def put(self, *rows: Outgoing) -> None:
        """Onto the topic, past the outbox."""
        assert not await self.publisher.publish(rows)

    async def count(self, pot: str) -> int:
        """How many things it has said."""
        return len(await self.rows(pot))

    @asynccontextmanager
    async def another(self) -> AsyncGenerator[Talk]:
        """The same, over a database connection of its own."""
        store = PostgresStore(self.store.connection.settings)
        try:
            yield replace(self, store=store)
        finally:
            await store.close()

    async def sql(self, text: str, *args: object) -> list[asyncpg.Record]:
        """As the owner, who may do anything."""
        link = await asyncpg.connect(self.database, server_settings={"search_path": "stream"})
        try:
            return await link.fetch(text, *args)
        finally:
            await link.close()

    async def found(self, *words: str) -> list[tuple[str, str, int]]:
        """Kind, pot and number of all findings."""
        return [(f["kind"], f["key"], f["number"]) for f in (await proof(*words))["findings"]]

    async def cut(self) -> None:
        """Delete everything that stands on their topic."""
        admin: Any = AdminClient({"bootstrap.servers": self.kafka})
        for done in admin.delete_records([confluent_kafka.TopicPartition(self.told, n, -1) for n in range(PARTITIONS)]).values():
            await anyio.to_thread.run_sync(done.result, 20)

    async def age(self) -> None:
        """The outbox drops all it has, and goes on with a message of a young pot."""
        await self.sql("alter table outbox alter column seq restart with 4000001")
        await self.sql("select make_partitions('outbox', 4000000, 4000000, 0)")
        await self.say("young", 1)
        await self.send()
        assert [row[0] for row in await self.sql("select drop_outbox(4000000)")] == [["dropped outbox_p0"]]

    async def configure(self, settings: dict[str, str]) -> None:
        """Their topic's settings."""
        await self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.told, settings)])

    async def make(self, topic: str) -> None:
        await self.admin.create_topics([NewTopic(topic, 1, 1)])

    async def counts(self, *names: str) -> list[int]:
        """Of the topic they speak into, where outbox and topics agree."""
        told = await proof()
        assert told["holds"], told["findings"]
        return [next(t for t in told["topics"] if t["topic"] == self.told)[name] for name in names]


async def ask(*words: str) -> Result:
    """The command."""
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(cli, ["outbox", "verify", *words], prog_name="stream"))


async def proof(*words: str) -> dict[str, Any]:
    """What it says to a program; the exit code agrees with it."""
    result = await ask("-o", "json", *words)
    told: dict[str, Any] = msgspec.json.decode(result.stdout)
    assert result.exit_code == (0 if told["holds"] else 1)
    return told


def _cause(event: Any, id: str) -> Envelope:
    record = Record("any", 0, 0, 0, b"", b"")
    trace = Trace("0" * 32, "0" * 16)
    identity = id.encode().rjust(16, b"0")
    return Envelope(event, id, "/test", "pot.filled", datetime.now(UTC), id, id, "", None, identity, identity, trace, record)


def renamed(row: Outgoing, **headers: str) -> Outgoing:
    """The same message, with other headers."""
    return Outgoing(row.seq, row.topic, row.key, row.value, [(name, headers.get(name, "").encode() or value) for name, value in row.headers])


@asynccontextmanager
async def talk(kafka: str, database: str, worker_url: str, tag: str) -> AsyncGenerator[Talk]:
    app, settings = application(tag), PostgresSettings(dsn=worker_url)
    told = f"told-{tag}"
    async with AsyncExitStack() as ending:
        admin = await ending.enter_async_context(KafkaAdmin(broker(kafka)))
        await admin.apply(plan([Topic(told, partitions=PARTITIONS), Topic(app.alerts, partitions=1)], {}))
        client = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await client.start()
        ending.push_async_callback(client.close)
        made = Talk(app, told, kafka, database, PostgresStore(settings), PostgresOutbox(settings), KafkaPublisher(broker(kafka)), client)
        ending.push_async_callback(made.store.close)
        ending.push_async_callback(made.outbox.close)
        await made.publisher.start()
        ending.push_async_callback(made.publisher.stop)
        yield made
