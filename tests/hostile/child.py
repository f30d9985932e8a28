"""The process under test: `python -m tests.hostile.child TAG KAFKA DSN FORGED`. When it is ended it prints what it cost, as JSON.

`FORGED` is a folder: a batch that holds the name of a file of it arrives as that file says.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import psutil

from stream.adapters.kafka import consumer, log
from stream.adapters.kafka.consumer import Consumer
from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import PostgresTimetable
from stream.core.changes import Changes
from stream.core.order import Claim
from stream.core.spans import batch_spans
from stream.ports import Outgoing
from stream.runtime import reader
from stream.runtime.app import Parts, run
from stream.runtime.logs import configure
from stream.runtime.settings import Settings
from tests.forged import forging
from tests.hostile.app import application


class Meter(MemoryTelemetry):
    """Telemetry that keeps nothing but how much of the processor lay between two batches, at most: fetching, reading, deciding and storing one."""

    def __init__(self) -> None:
        super().__init__()
        self.longest, self.made, self._last = 0.0, 0, time.process_time()

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None:
        self.made += sum(1 for _ in batch_spans(claim, changes, began, ended, "hostile"))
        now = time.process_time()
        self.longest, self._last = max(self.longest, now - self._last), now

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None: ...


def memory() -> int:
    """MiB."""
    gc.collect()
    return int(psutil.Process().memory_info().rss) >> 20


class Hasty(Consumer):
    """A long poll that is over at once: a question about a partition otherwise waits for one, and each batch that nobody can read asks several."""

    def __init__(self, **way: Any) -> None:
        hasty: dict[str, Any] = {**way, "fetch_max_wait_ms": 5}
        super().__init__(**hasty)


def hurry() -> None:
    """What is tried here is what becomes of hostile bytes, and not how long a partition rests."""
    reader.REST = 0.05
    consumer.PAUSE = 0.01
    log.__dict__["Consumer"] = Hasty


def peak() -> int:
    """MiB, at most so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) >> 10 if found else 0


def read(folder: Path) -> dict[bytes, bytes]:
    return {file.name.encode(): file.read_bytes() for file in folder.iterdir()}


async def main(*words: str) -> None:
    tag, kafka, dsn, forged = words
    configure("json")
    hurry()
    found = read(Path(forged))
    meter, settings, database = Meter(), KafkaSettings(bootstrap=kafka), PostgresSettings(dsn=dsn)
    parts = Parts(
        store=lambda: PostgresStore(database),
        log=lambda: KafkaLog(settings),
        publisher=lambda: KafkaPublisher(settings),
        outbox=lambda: PostgresOutbox(database),
        timetable=lambda: PostgresTimetable(database),
        telemetry=meter,
        sampling=meter.sampling,
    )
    with forging() as forger:
        for name, data in found.items():
            forger.replace(name, data)
        before = memory()
        await run(application(tag), Settings(group=f"hostile-{tag}"), parts, ["worker"])
    print(json.dumps({"before": before, "after": memory(), "peak": peak(), "longest": meter.longest, "spans": meter.made}), flush=True)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
