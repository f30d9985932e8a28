"""A small App in a folder of its own, and the command line as a person there would use it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.record import Record
from stream.ops.cli import cli
from stream.ops.site import load_app
from stream.ports import Slice
from stream.runtime.app import carrying
from stream.runtime.doors import Partitions
from stream.runtime.settings import Settings
from tests.ops.talk import Talk, talk

LAMPS = """
from stream import App, Data, Event, Machine, Owner, Sla, State, Topic, hours, opens

class LampEvent(Event, topic="lamps_{token}", key="lamp"):
    lamp: str
class LampOn(LampEvent, type="lamp.on"):
    power: int = 1
class LampOff(LampEvent, type="lamp.off"): ...
class LampHit(LampEvent, type="lamp.hit"):
    force: int
class LampOut(Event, topic="dark_{token}", key="lamp", type="lamp.out"):
    lamp: str
class Lamp(Data):
    lamp: str
    power: int = 0

def make(e: LampOn) -> Lamp:
    return Lamp(lamp=e.lamp, power=e.power)
def tell(l: Lamp, e: LampOff) -> LampOut:
    return LampOut(lamp=l.lamp)
def hit(l: Lamp, e: LampHit) -> None:
    l.power = 10 // e.force

HOUSE, GUEST = Owner("house"), Owner("guest")
on = State[Lamp]("on", owner=HOUSE, sla=Sla(hours(2), escalate_to=GUEST))
off = State[Lamp]("off", owner=GUEST)
lamp = Machine[Lamp]("lamp", data=Lamp, events=(LampEvent,), transitions=(
    opens(LampOn, to=on, then=make), on.on(LampOff, to=off, emit=tell), off.on(LampOn, to=on), on.on(LampHit, then=hit)))
app = App("lamps", machines=(lamp,), alerts="alerts_{token}", topics=(Topic("lamps_{token}", partitions=2), Topic("dark_{token}", partitions=1)))
"""

Stream = Callable[..., Result]


@pytest.fixture
def lamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an App, `module:app`, in the current folder; its topics are its own. Nothing is configured but this."""
    token = secrets.token_hex(4)
    (tmp_path / f"lamps_{token}.py").write_text(LAMPS.replace("{token}", token))
    monkeypatch.chdir(tmp_path)
    for name in ("STREAM_KAFKA", "STREAM_DATABASE_URL", "STREAM_DATABASE_OWNER_URL", "STREAM_GROUP", "STREAM_SCHEMA", "STREAM_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STREAM_APP", f"lamps_{token}:app")
    monkeypatch.setenv("STREAM_ACTOR", "ann")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    # Nobody listens there: a test that needs a broker or a database says so.
    monkeypatch.setenv("STREAM_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("STREAM_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    return f"lamps_{token}:app"


@pytest.fixture
def stream(lamps: str) -> Stream:
    """The command: `stream("status", "--no-lag")`."""

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, words, prog_name="stream")

    return call


@pytest.fixture
def at_database(stream: Stream, database: str, worker_url: str, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The command with a migrated, empty database."""
    monkeypatch.setenv("STREAM_DATABASE_URL", worker_url)
    monkeypatch.setenv("STREAM_DATABASE_OWNER_URL", database)
    return stream


@pytest.fixture
def pottery(kafka: str, worker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tag of the pots' App: the command line is theirs, with a real broker and a migrated, empty database."""
    tag = secrets.token_hex(4)
    (tmp_path / f"pottery_{tag}.py").write_text(f"from tests.integration.runtime.world import application\napp = application({tag!r})\n")
    monkeypatch.chdir(tmp_path)
    for name in ("STREAM_DATABASE_OWNER_URL", "STREAM_GROUP", "STREAM_SCHEMA", "STREAM_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"STREAM_APP": f"pottery_{tag}:app", "STREAM_KAFKA": kafka, "STREAM_DATABASE_URL": worker_url}.items():
        monkeypatch.setenv(name, value)
    return tag


@pytest.fixture
async def quiet(kafka: str, database: str, worker_url: str, pottery: str) -> AsyncGenerator[Talk]:
    """Pots that have said nothing yet."""
    async with talk(kafka, database, worker_url, pottery) as made:
        yield made


@pytest.fixture
async def played(database: str, lamps: str) -> str:
    """A lamp that came and went, one that is parked with an event behind it, a refused move, and bytes that are nothing."""
    told = [
        ("lamp.on", b'{"lamp":"l1"}', "e1"),
        ("lamp.off", b'{"lamp":"l1"}', "e2"),
        ("lamp.off", b'{"lamp":"l1"}', "e3"),
        ("lamp.on", b'{"lamp":"l2"}', "e4"),
        ("lamp.hit", b'{"lamp":"l2","force":0}', "e5"),
        ("lamp.off", b'{"lamp":"l2"}', "e6"),
        ("lamp.on", b"no json", "e7"),
    ]
    app = load_app(lamps)
    topic = next(iter(app.consumed))
    start = datetime.now(UTC) - timedelta(hours=1)
    await play(database, lamps, [record(topic, n, *one, start + timedelta(minutes=n)) for n, one in enumerate(told)])
    return topic


def record(topic: str, offset: int, type: str, value: bytes, id: str, time: datetime) -> Record:
    said = {"specversion": "1.0", "id": id, "source": "/test", "type": type, "time": time.isoformat(), "correlationid": "flow-1", "actor": "bob"}
    headers = [(f"ce_{name}", text.encode()) for name, text in said.items()]
    return Record(topic, 0, offset, int(time.timestamp() * 1000), b"k", value, headers)


async def play(dsn: str, named: str, records: Sequence[Record]) -> None:
    """Take records of one partition, as a worker would."""
    app = load_app(named)
    store = PostgresStore(PostgresSettings(dsn=dsn))
    try:
        place = records[0].place
        position = await store.adopt(place, owner="test", generation=1, begin=0, partitions=1)
        carry = carrying(app, Settings(app=named), lambda trace_id: False)
        await carry(Partitions([Slice(place, position.epoch, 0, len(records), records)]), store, "")
    finally:
        await store.close()


def answer(result: Result) -> object:
    """What a command said to a program."""
    assert result.exit_code == 0, result.stderr
    return msgspec.json.decode(result.stdout)
