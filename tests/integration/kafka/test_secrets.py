"""Whatever is printed, at whatever level: no password is in it. And who is refused does not knock again and again."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.core.record import TopicPartition
from stream.core.topic import Topic
from tests.conformance.broker import Watch
from tests.integration.kafka.secured import KEY_PASSWORD, PASSWORD, Secured, Way
from tests.integration.kafka.wire import Wire
from tests.integration.runtime.world import reaches

ROOT = Path(__file__).parents[3]
APP = """
from stream import App, Data, Event, Machine, State, opens

class DoorEvent(Event, topic="doors", key="id"):
    id: str
class DoorOpened(DoorEvent, type="door.opened"): ...
class Door(Data):
    id: str
def make(e: DoorOpened) -> Door:
    return Door(id=e.id)

door = Machine[Door]("door", data=Door, events=(DoorEvent,), transitions=(opens(DoorOpened, to=State[Door]("open", final=True), then=make),))
app = App("doors", machines=(door,))
"""


@pytest.fixture
def site(strict: Secured, worker_url: str, tmp_path: Path) -> dict[str, str]:
    """A folder with an App, told everything by the environment: a password in plain text to the broker, and every line that can be had."""
    (tmp_path / "doors.py").write_text(APP)
    given = {
        "APP": "doors:app",
        "KAFKA": strict.settings("plain").bootstrap,
        "KAFKA_SECURITY": "SASL_PLAINTEXT",
        "KAFKA_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "ann",
        "KAFKA_PASSWORD": PASSWORD,
        "DATABASE_URL": worker_url,
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "HOME": str(tmp_path),
    }
    ours = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_")}
    return {**ours, "PYTHONPATH": f"{ROOT}:{tmp_path}", "OTEL_SDK_DISABLED": "true", **{f"STREAM_{name}": value for name, value in given.items()}}


async def begun(site: Mapping[str, str], *words: str) -> asyncio.subprocess.Process:
    both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "stream", *words, env=dict(site), stdout=both[0], stderr=both[1])


async def told(site: Mapping[str, str], *words: str) -> tuple[int, str]:
    """How a command ended, and everything it printed."""
    process = await begun(site, *words)
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def taken(database: str) -> int:
    link = await asyncpg.connect(database)
    try:
        return int((await link.fetch("select coalesce(sum(records), 0) as n from stream.partition"))[0]["n"])
    finally:
        await link.close()


def in_the_open(said: str, *passwords: str) -> list[str]:
    """The passwords that can be read in it: as they are, as they travel, or as they are encoded on the way."""
    forms = {word: (word, base64.b64encode(f"\0ann\0{word}".encode()).decode(), word.encode().hex()) for word in passwords}
    return [word for word, shapes in forms.items() if any(shape in said for shape in shapes)]


async def test_no_command_prints_a_password_even_when_told_to_print_everything(site: dict[str, str]) -> None:
    printed: list[str] = []

    async def well(*words: str) -> str:
        code, said = await told(site, *words)
        printed.append(said)
        assert code == 0, said
        return said

    for words in (["config", "show"], ["topics", "apply"], ["publish", "door.opened", '{"id": "d1"}']):
        await well(*words)
    running = await begun(site, "run")
    await reaches(lambda: taken(site["STREAM_DATABASE_URL"]), 1)
    await well("status")
    running.send_signal(signal.SIGTERM)
    said, _ = await running.communicate()
    printed.append(said.decode())
    assert '"running"' in printed[-1]
    database = urlsplit(site["STREAM_DATABASE_URL"]).password or ""
    assert in_the_open("".join(printed), PASSWORD, database) == []


@pytest.fixture
async def wire(strict: Secured) -> AsyncGenerator[Wire]:
    wire = Wire(strict.settings("plain").bootstrap)
    await wire.start()
    yield wire
    await wire.stop()


async def test_who_is_refused_ends_with_one_line_and_does_not_knock_again(site: dict[str, str], wire: Wire) -> None:
    wrong = "Wrong-9-Hush"
    code, said = await told({**site, "STREAM_KAFKA": f"127.0.0.1:{wire.port}", "STREAM_KAFKA_PASSWORD": wrong}, "run", "--role", "worker")
    assert code == 2, said
    lines = [line for line in said.splitlines() if "kafka_password" in line]
    assert len(lines) == 1
    assert lines[0] == said.splitlines()[-1]
    assert in_the_open(said, wrong, PASSWORD) == []
    # Once to start, and once to ask why not.
    assert wire.links == 2


@pytest.mark.parametrize("way", ["plain", "mutual"])
async def test_the_client_stays_silent_in_a_process_that_logs_everything(strict: Secured, caplog: pytest.LogCaptureFixture, way: Way) -> None:
    caplog.set_level(logging.DEBUG)
    settings = strict.settings(way)
    place = TopicPartition(f"silent-{uuid4().hex}", 0)
    async with KafkaAdmin(settings) as admin:
        await admin.apply(plan([Topic(place.topic, partitions=1)], {}))
        publisher, log, watch = KafkaPublisher(settings), KafkaLog(settings), Watch()
        await publisher.start()
        await log.start([place.topic], uuid4().hex, watch)
        await watch.until(lambda: place in watch.owned)
        await log.stop()
        await publisher.stop()
    assert in_the_open(caplog.text, PASSWORD, KEY_PASSWORD) == []
    assert not [record for record in caplog.records if record.name.startswith("aiokafka")]


LOUD = """
import logging, sys
from stream.ops import cli
from stream.runtime.logs import configure
configure("json", sys.argv[1])
names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "aiokafka"]
print(len(names), [name for name in names if logging.getLogger(name).isEnabledFor(logging.DEBUG)])
"""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_no_level_of_ours_lets_the_client_write_whole_requests(level: str) -> None:
    said = subprocess.run([sys.executable, "-c", LOUD, level], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    count, loud = said.split(maxsplit=1)
    assert int(count) > 10
    assert loud == "[]\n"
