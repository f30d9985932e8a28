"""Thousands of hostile records and batches on one broker: each gets its verdict and reason, its bytes are kept, and nobody is held up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
import pytest

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.partitions import halt_of
from stream.adapters.postgres.store import PostgresStore
from stream.core.halt import MEANS, Decision, HaltReason, Stand, target
from stream.core.outcome import Reason
from stream.core.record import TopicPartition
from stream.runtime.waiting import Stop
from tests.hostile import of_envelopes, of_json, of_records, of_schemas, of_structured, of_texts, of_traces
from tests.hostile.case import FAMILIES, corpus
from tests.hostile.judge import Judge, Place, known
from tests.hostile.land import Land, Lane, land
from tests.hostile.of_frames import COUNT, frames

ROOT = Path(__file__).parents[2]
WITHIN = 240.0
"""Seconds; only there to end a test that hangs."""
ENTRIES = (of_envelopes, of_json, of_records, of_schemas, of_structured, of_texts, of_traces)
SEED = int(os.environ.get("STREAM_TEST_SEED", "1"))
STALL = 5.0
"""Seconds of the processor's time that nothing between two batches may take."""
GROWTH = 256
"""MiB that a process may weigh more after the corpus than before: a room for unpacking, a batch, and what the allocator keeps."""
PEAK = 768
"""MiB that it may weigh more at any moment. One bomb let through is a thousand at least."""

GIVEN_UP = "the log client is given up, and built anew"
"""What the watchdog says of a client that stands still."""


@asynccontextmanager
async def worker(place: Land, dsn: str) -> AsyncGenerator[Process]:
    command = (sys.executable, "-m", "tests.hostile.child", place.tag, place.kafka, dsn, str(place.forged))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_")}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environ, cwd=ROOT, limit=1 << 24)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()


class Operator:
    """Goes on after each batch that nobody can read, and notes what was said of it."""

    def __init__(self, place: Land, link: asyncpg.Connection, dsn: str) -> None:
        self._lanes = {lane.place: lane for lane in place.lanes}
        self._link, self.store = link, PostgresStore(PostgresSettings(dsn=dsn))
        self.halts: dict[Place, str] = {}

    async def until(self, process: Process, lanes: Sequence[Lane]) -> None:
        """Until every partition is read to its end."""
        ends = {lane.place: lane.end for lane in lanes}
        at: dict[TopicPartition, int] = {}
        with anyio.move_on_after(WITHIN):
            while any(at.get(place, 0) < end for place, end in ends.items()) and process.returncode is None:
                rows = await self._link.fetch("select * from partition")
                at = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
                for row in rows:
                    if row["halt_reason"] is not None:
                        await self._decide(row, self._lanes[TopicPartition(row["topic"], row["partition"])])
                await Stop().pause(0.05)
        assert {place: at.get(place) for place in ends} == ends

    async def _decide(self, row: asyncpg.Record, lane: Lane) -> None:
        halt = halt_of(row)
        assert halt is not None
        seen, at = halt.seen, row["next_offset"]
        assert halt.reason is HaltReason.UNREADABLE_BATCH, (lane.pulse, halt)
        assert (lane.place, at) not in self.halts, f"{lane.pulse} halts at {at} a second time"
        frame = lane.frames[at if at in lane.frames else at - 1]
        assert seen.batch_end == (at + 1 if frame.blind else at + COUNT), (frame.name, halt)
        self.halts[lane.place, at] = seen.fault or ""
        goes_on = target(halt, "batch-end", Stand(at, 0, lane.end))
        await self.store.resume(Decision(lane.place, halt, at, goes_on, forget=False, actor="ann", reason="hostile"))


async def ended(process: Process) -> tuple[dict[str, float], list[dict[str, object]]]:
    """What it cost, and the lines of its log."""
    process.send_signal(signal.SIGTERM)
    said, logged = await process.communicate()
    assert process.returncode == 0, logged.decode()[-5_000:]
    return json.loads(said), [json.loads(line) for line in logged.splitlines()]


def test_there_are_enough_of_them_and_every_reason_that_bytes_can_give() -> None:
    cases = corpus(SEED)
    assert len(cases) + len(frames(SEED)) >= 1_500
    assert len(FAMILIES) >= 40
    of_entities = (
        "no_transition",
        "guard_refused",
        "early",
        "unborn",
        "deferred_too_long",
        "handler_failed",
        "behind",
        "manual",
        "not_allowed",
        "gap",
        "late",
    )
    assert {str(reason) for reason in Reason} - {*map(str, known(cases)), *of_entities} == set()


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    tmp_path.joinpath("forged").mkdir()
    return tmp_path / "forged"


async def test_each_has_its_verdict_and_reason_and_nobody_is_held_up(kafka: str, database: str, worker_url: str, forged: Path) -> None:
    print("seed", SEED)
    link = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    async with land(uuid4().hex[:8], kafka, forged) as place:
        operator = Operator(place, link, worker_url)
        await place.begin()
        place.forge(frames(SEED))
        async with worker(place, worker_url) as process:
            # Stream time has begun on each of them when the rest comes.
            await operator.until(process, place.lanes)
            await place.lay(corpus(SEED))
            await place.lay_frames()
            await operator.until(process, place.lanes)
            cost, logged = await ended(process)
        judge = Judge(place.lanes, operator.halts)
        await judge.look(link)
    await operator.store.close()
    await link.close()
    faults = list(judge.faults())
    assert not faults, "\n".join(faults[:50])
    # A loop that failed is an error too.
    assert {line["event"] for line in logged if line["level"] == "error"} == {f"partition halted: {MEANS[HaltReason.UNREADABLE_BATCH]}"}
    assert GIVEN_UP not in {line["event"] for line in logged}
    print(cost)
    assert cost["longest"] < STALL
    assert cost["after"] - cost["before"] < GROWTH
    assert cost["peak"] - cost["before"] < PEAK
