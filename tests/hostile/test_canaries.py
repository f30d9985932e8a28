"""What an event holds stays in the event, its entity and its letter: no log line, span, text of an error or answer of a command tells it."""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.topic import Topic
from stream.ops.cli import cli
from stream.ports import Outgoing
from stream.runtime.logs import configure
from tests.hostile.vault import FAILURES, application
from tests.integration.runtime.world import World, broker, reaches

PAYLOAD, KEY, HEADER = "Canary-in-payload", "Canary-in-key", "Canary-in-header"
BIRDS = ("Canary", "canary", "CANARY", "Q2FuYXJ5", "43616e617279")
"""The word as it is, shouted, and as it is written in base64 and hex."""
# Noise, so that it stays too large for the broker when compressed.
LARGE = "".join(map(chr, random.Random(7).choices(range(0x4E00, 0x9FFF), k=2_000)))


@contextmanager
def lines() -> Generator[io.StringIO]:
    """Everything that is logged, at every level, as it is written; afterwards as before."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    configure("json", "debug", to=written)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        structlog.reset_defaults()
        root.handlers = handlers
        root.setLevel(level)


@dataclass
class Vaults:
    world: World
    sent: int = 0
    records: list[Outgoing] = field(default_factory=list[Outgoing])

    async def tell(self, kind: str, fields: Mapping[str, object] | bytes, *, id: str = "", topic: str = "vaults", **more: str) -> None:
        self.sent += 1
        said = {"specversion": "1.0", "id": id or f"e{self.sent}", "source": "/hostile", "type": kind, "secret": HEADER}
        headers = [(f"ce_{name}", value.encode()) for name, value in said.items() if topic != "mapped"]
        headers += [("x-" + HEADER, HEADER.encode()), *((name.replace("_", "-"), value.encode()) for name, value in more.items())]
        value = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        row = Outgoing(self.sent, f"{topic}-{self.world.tag}", KEY.encode(), value, headers)
        assert not await self.world.publisher.publish([row])

    async def taken(self) -> int:
        return int((await self.world.rows("select coalesce(sum(records), 0) as n from partition"))[0]["n"])

    async def held(self) -> int:
        return int((await self.world.rows("select count(*) as n from outbox_held"))[0]["n"])


@pytest.fixture
async def vaults(kafka: str, database: str) -> AsyncGenerator[Vaults]:
    tag = uuid4().hex[:8]
    app = application(tag)
    async with KafkaAdmin(broker(kafka)) as admin:
        await admin.apply(plan([*app.topics, Topic(app.alerts, partitions=1)], {}))
    publisher = KafkaPublisher(broker(kafka))
    await publisher.start()
    try:
        yield Vaults(World(tag, app, kafka, database, MemoryTelemetry(), publisher))
    finally:
        await publisher.stop()


async def tell_everything(vaults: Vaults) -> None:
    """Every way an event can go, with a canary in all that is not its name."""
    tell = vaults.tell
    for id in ("well", "refused", "large", *FAILURES):
        await tell("vault.made", {"id": id, "words": PAYLOAD})
    for _ in range(2):
        await tell("vault.told", {"id": "well", "words": PAYLOAD}, id="twice")
    await tell("vault.told", {"id": "well", "words": PAYLOAD + " too"}, id="twice")
    await tell("vault.told", {"id": "refused", "words": f"unlucky {PAYLOAD}"})
    await tell("vault.told", {"id": "large", "words": PAYLOAD + LARGE})
    for how in FAILURES:
        await tell("vault.failed", {"id": how, "how": how, "words": PAYLOAD})
        await tell("vault.told", {"id": how, "words": PAYLOAD})
        await tell("vault.checked", {"id": how, "words": PAYLOAD})
        await tell("vault.routed", {"id": how, "words": PAYLOAD})
    for value in (
        {"id": "well", "mood": PAYLOAD},
        {"id": "well", "sizes": {PAYLOAD: PAYLOAD}},
        {"id": [PAYLOAD]},
        {"id": "well", "words": PAYLOAD + "\0"},
        {PAYLOAD: PAYLOAD},
        [PAYLOAD],
        PAYLOAD,
    ):
        await tell("vault.told", json.dumps(value).encode())
    await tell("vault.strict", {"id": "well", PAYLOAD: PAYLOAD, f"{PAYLOAD} - at `$.{PAYLOAD}`": 1})
    for data in (f'{{"words":"{PAYLOAD}"', f'{{"id":"well","words":"a","words":"{PAYLOAD}"}}', f"{PAYLOAD}", f'"{PAYLOAD}\\ud800"'):
        await tell("vault.told", data.encode())
    await tell("vault.told", PAYLOAD.encode() + b"\xff")
    await tell("vault.told", {"id": "well", "words": PAYLOAD}, content_type=f"application/cloudevents+{HEADER}")
    await tell("vault.told", {"id": "well", "words": PAYLOAD}, ce_time=f"2026-01-01T00:00:00Z {HEADER}")
    await tell("vault.told", {"id": "well", "words": PAYLOAD}, ce_actor=HEADER * 99)
    await tell("vault.told", {"id": "well", "words": PAYLOAD}, ce_source=HEADER)
    await tell("vault.told", {"id": "well", "words": PAYLOAD}, traceparent=HEADER, baggage=HEADER, ce_correlationid=f"{HEADER} ")
    await tell("", {"id": "well"}, topic="mapped")


async def refuse(vaults: Vaults) -> None:
    """The database refuses one message, and names in its error the whole row; the broker refuses another."""
    unlucky = "position(convert_to('unlucky', 'utf8') in value) = 0"
    await vaults.world.rows(f"alter table outbox add constraint unlucky check ({unlucky})")
    client = AIOKafkaAdminClient(bootstrap_servers=vaults.world.kafka)
    await client.start()
    try:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"said-{vaults.world.tag}", {"max.message.bytes": "2000"})])
    finally:
        await client.close()


COMMANDS = (
    "status",
    "config show",
    "outbox list",
    "partitions list",
    "entities list",
)
BY_NAME = "parked show vault key"
"""Who asks for one event is shown what it holds."""


def answers(*commands: str) -> str:
    """What an operator is told, on paper and as JSON."""
    told: list[str] = []
    for words in commands:
        for output in ("table", "json"):
            done = CliRunner().invoke(cli, [*words.split(), "--output", output], prog_name="stream")
            assert done.exit_code in (0, 1), (words, done.output)
            told.append(f"{words}: {done.output}")
    return "\n".join(told)


async def texts(vaults: Vaults) -> str:
    """What is stored of what went wrong by itself; events, entities, and the words of an author's error are where they belong."""
    found: list[str] = []
    for table, columns in (
        ("dead_letter", "reason, error"),
        ("waiting", "reason, error"),
        ("history", "reason, error, clocks"),
        ("outbox_held", "reason, error"),
        ("partition", "halt_seen::text"),
        ("instance", "waits::text"),
    ):
        # An author's error is told as one: by where it was raised.
        found += [f"{table}: {list(row)}" for row in await vaults.world.rows(f"select {columns} from {table}") if ", line " not in str(row)]
    return "\n".join(found)


def caught(text: str) -> list[str]:
    return [line[:500] for line in text.splitlines() if any(bird in line for bird in BIRDS)]


async def test_nothing_an_event_holds_is_told_by_anything_but_itself(vaults: Vaults, monkeypatch: pytest.MonkeyPatch, worker_url: str) -> None:
    await refuse(vaults)
    await tell_everything(vaults)
    with lines() as logged:
        async with vaults.world.running():
            await reaches(vaults.taken, vaults.sent)
            await reaches(vaults.held, 1)
    reasons = {row["reason"] for row in await vaults.world.rows("select reason from dead_letter union select reason from waiting")}
    assert reasons >= {"handler_failed", "behind", "id_conflict", "route_failed", "schema_invalid", "undecodable", "unsafe_text", "missing_attribute"}
    assert caught(await texts(vaults)) == []
    assert caught("\n".join(map(repr, vaults.world.telemetry.spans))) == []
    assert "trouble" in logged.getvalue() or "held" in logged.getvalue()
    assert caught(logged.getvalue()) == []
    for name, value in {"APP": "tests.hostile.vault:app", "KAFKA": vaults.world.kafka, "DATABASE_URL": worker_url}.items():
        monkeypatch.setenv(f"STREAM_{name}", value)
    monkeypatch.setattr("tests.hostile.vault.app", vaults.world.app, raising=False)
    assert caught(await anyio.to_thread.run_sync(answers, *COMMANDS)) == []
    assert caught(await anyio.to_thread.run_sync(answers, BY_NAME)) != []


SECRET = "Canary-in-password"
DSNS = (
    "postgresql://ann:{}@127.0.0.1:1/x",
    "postgresql://ann:{}@more@127.0.0.1:1/x",
    "postgresql://ann:{}/more@127.0.0.1:1/x",
    "postgresql://ann:more/{}@127.0.0.1:1/x",
    "postgresql://ann:more#{}@127.0.0.1:1/x",
    "postgresql://ann:more?{}@127.0.0.1:1/x",
    "postgresql://ann:more:{}@127.0.0.1:1/x",
    "postgresql://ann:more@{}@127.0.0.1:1/x",
    "postgresql://ann:[{}]@127.0.0.1:1/x",
    "postgresql://ann:[{}@127.0.0.1:1/x",
    "postgresql://ann:{}@far.example/x",
    "postgresql://ann:more@{}@far.example/x",
    "postgresql://ann:{}@127.0.0.1:port/x",
    "postgresql://127.0.0.1:1/x?user=ann&password={}",
    "postgresql://127.0.0.1:1/x?user=ann&password={}&sslmode=never",
    "postgresql://127.0.0.1:1/x?password={}&unknown=1",
    "postgresql://127.0.0.1:1/x?password={}&sslrootcert=/nowhere",
    "postgresql://127.0.0.1:1/x?password={}&passfile=/nowhere&target_session_attrs=none",
    "postgresql//ann:{}@127.0.0.1:1/x",
    "mysql://ann:{}@127.0.0.1:1/x",
    "ann:{}@127.0.0.1",
    "{}",
    "host=127.0.0.1 password={}",
    " postgresql://ann:{}@127.0.0.1:1/x",
    "postgresql://ann:{}\n@127.0.0.1:1/x",
)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("tests.hostile.vault.app", application("none"), raising=False)
    for name, value in {"APP": "tests.hostile.vault:app", "KAFKA": "127.0.0.1:1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}.items():
        monkeypatch.setenv(f"STREAM_{name}", value)
    for name in ("STREAM_DATABASE_OWNER_URL", "STREAM_GROUP", "STREAM_SCHEMA", "STREAM_HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def says(*words: str) -> str:
    done = CliRunner().invoke(cli, words, prog_name="stream")
    return f"{done.output}\n{done.stderr}\n{done.exception!r}"


@pytest.mark.parametrize("dsn", DSNS)
@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_OWNER_URL"])
def test_a_database_url_is_never_told_however_wrong_it_is(site: pytest.MonkeyPatch, name: str, dsn: str) -> None:
    site.setenv(f"STREAM_{name}", dsn.format(SECRET))
    for words in (["config", "show"], ["migrate"] if name == "DATABASE_OWNER_URL" else ["status"]):
        assert caught(says(*words)) == []


@pytest.mark.parametrize(
    "said",
    [
        {"KAFKA_PASSWORD": SECRET},
        {"KAFKA_PASSWORD": SECRET, "KAFKA_SECURITY": "SASL_PLAINTEXT"},
        {"KAFKA_PASSWORD": SECRET, "KAFKA_SECURITY": "SASL_PLAINTEXT", "KAFKA_USERNAME": "ann", "KAFKA": "far.example:9092"},
        {"KAFKA_PASSWORD": SECRET + "\n", "KAFKA_SECURITY": "SASL_SSL", "KAFKA_USERNAME": "ann"},
        {"KAFKA_KEY_PASSWORD": SECRET, "KAFKA_SECURITY": "SSL", "KAFKA_CERT_FILE": __file__},
        {"KAFKA_PASSWORD": SECRET, "KAFKA_MECHANISM": "none", "KAFKA_SECURITY": "SASL_SSL"},
        {"KAFKA_PASSWORD": SECRET, "KAFKA_PASSWORD_FILE": __file__},
        {"DATABASE_PASSWORD": SECRET, "DATABASE_URL": "postgresql://ann@127.0.0.1:port/x"},
    ],
)
def test_a_password_is_never_told_however_wrong_the_rest_is(site: pytest.MonkeyPatch, said: Mapping[str, str]) -> None:
    for name, value in said.items():
        site.setenv(f"STREAM_{name}", value)
    for words in (["config", "show"], ["status"], ["topics", "apply"]):
        assert caught(says(*words)) == []


def test_a_file_of_settings_that_cannot_be_read_is_not_told(site: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    site.chdir(tmp_path_factory.mktemp("site"))
    for text in (f'kafka_password = "{SECRET}', f"kafka_password = {SECRET}", f'kafka_password = ["{SECRET}"]', f'kafka_password = "a" {SECRET}'):
        with open("stream.toml", "w", encoding="utf-8") as file:
            file.write(text)
        assert caught(says("config", "show")) == []
