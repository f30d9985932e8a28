"""What does the whole path do in a second, from a broker to a broker, and what does tracing every event cost?

Real broker, real server, processes of the benchmark's App. A round: the processes settle and are halted, all events are published, the
processes go on, and the clock runs until the last follow-up is on the topic. Rounds with and without tracing take turns; medians count.

    python -m benchmarks.end_to_end --out end_to_end.json [--rounds 3] [--events 20000] [--processes 2] [--collector jaeger|sink]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import confluent_kafka
import orjson
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.workload import app, records
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.adapters.postgres.statements import statements
from stream.core.record import Record
from stream.dev.jaeger import built
from stream.dev.stack import Part, Stack
from stream.dev.stage import Stage

SHOWN = ("events_per_second", "python", "postgres", "broker")
LOOK = 0.02
LONGEST_HALT = 4.0
"""Seconds that processes may be halted: after six the broker takes their partitions away."""
AFTERWARDS = 2.0
"""Seconds after the last follow-up in which work still counts: spans are sent a second late."""

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`collector` is the address that takes spans."""

    rounds: int
    events: int
    processes: int
    collector: str


class _Sink(BaseHTTPRequestHandler):
    """Takes every span and forgets it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def sink() -> Generator[str]:
    """The address of a collector that costs next to nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Round:
    """One measurement on a stage that has no processes yet."""

    def __init__(self, stage: Stage, batch: Sequence[Record], processes: int) -> None:
        self._stage, self._batch, self._processes = stage, batch, processes
        self._expected = len({dict(record.headers)["ce_id"] for record in batch})
        self._rows = Connection(stage.postgres, {**QUERIES, **statements("stream.ops")})

    async def run(self) -> Figures:
        try:
            await self._settle()
            async with said(self._stage.stack.kafka) as count:
                before = await count()
                self._publish_to_halted()
                began, spent = time.perf_counter(), self._spent()
                while (told := await count() - before) < self._expected:
                    self._stage.check()
                    await anyio.sleep(LOOK)
                took = time.perf_counter() - began
            await anyio.sleep(AFTERWARDS)
            return self._figures(took, spent, told)
        finally:
            await self._rows.close()

    def _figures(self, took: float, before: Mapping[str, float], told: int) -> Figures:
        if told != self._expected:
            raise RuntimeError(f"{told} follow-ups where {self._expected} were due")
        after = self._spent()
        micros = {name: (after[name] - before[name]) * 1e6 / len(self._batch) for name in after}
        return {"events_per_second": len(self._batch) / took, **micros}

    async def _settle(self) -> None:
        """Every partition has a new owner, every process has some, and they came to rest."""
        old = {(row["topic"], row["partition"]): row["epoch"] for row in await self._rows.fetch("partitions")}
        for _ in range(self._processes):
            self._stage.start("worker,relay")
        wanted = sum(app.topic(name).partitions for name in app.consumed)
        while not _adopted(await self._rows.fetch("partitions"), old, wanted, self._processes):
            self._stage.check()
            await anyio.sleep(LOOK)
        await anyio.sleep(1)

    def _publish_to_halted(self) -> None:
        """The processes find everything there when they go on, and none had a start."""
        halted = [psutil.Process(child.pid) for child in self._stage.processes]
        began = time.perf_counter()
        try:
            for process in halted:
                process.suspend()
            publish(self._stage.stack.kafka, self._batch)
        finally:
            for process in halted:
                process.resume()
        if time.perf_counter() - began > LONGEST_HALT:
            raise RuntimeError("publishing took too long to keep processes halted: ask for fewer --events")

    def _spent(self) -> dict[str, float]:
        """Seconds of processor time so far."""
        children = self._stage.stack.children
        spent = {"python": sum(processor(child.pid) for child in self._stage.processes)}
        spent |= {"postgres": processor(children["postgres"].pid), "broker": processor(children["kafka"].pid)}
        return spent


def publish(kafka: str, batch: Sequence[Record]) -> None:
    """Returns when all are acknowledged. Raises `RuntimeError` when one is not."""
    failed: list[str] = []

    def done(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
        if error is not None:
            failed.append(str(error))

    producer = confluent_kafka.Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "partitioner": "murmur2_random"})
    for record in batch:
        headers: dict[str, str | bytes | None] = dict(record.headers)
        producer.produce(record.topic, record.value, record.key, headers=headers, on_delivery=done)
        producer.poll(0)
    if producer.flush(60) or failed:
        raise RuntimeError(f"not published: {failed[:1] or 'the broker does not answer'}")


def _adopted(rows: Sequence[Any], old: Mapping[tuple[str, int], int], wanted: int, processes: int) -> bool:
    new = [row for row in rows if row["epoch"] != old.get((row["topic"], row["partition"]))]
    return len(new) == wanted and len({row["owner"] for row in new}) == processes


@asynccontextmanager
async def said(kafka: str) -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """How many follow-ups are on the topic, to be asked again and again by one connection."""
    places = [TopicPartition(name, n) for name in app.emitted for n in range(app.topic(name).partitions)]
    reader = AIOKafkaConsumer(bootstrap_servers=kafka)

    async def count() -> int:
        return sum((await reader.end_offsets(places)).values())

    await reader.start()
    try:
        yield count
    finally:
        await reader.stop()


def processor(pid: int) -> float:
    """User and system time of a process, its children, and those of them that ended."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


async def measure(stack: Stack, wish: Wish, stage: Callable[[], Stage]) -> dict[str, object]:
    """Figures of both modes by interleaved rounds; the first round of each only warms broker and server up."""
    await stage().prepare()
    found: dict[str, list[Figures]] = {"untraced": [], "traced": []}
    for turn in range(wish.rounds + 1):
        for mode, kept in found.items():
            stack.addresses = replace(stack.addresses, otlp=wish.collector if mode == "traced" else None)
            batch = records(wish.events, max(wish.events // 5, 1), seed=2 * turn + (mode == "traced"))
            with stage() as one:
                kept.append(await Round(one, batch, wish.processes).run())
            print(f"round {turn} of {wish.rounds}, {mode}: " + ", ".join(f"{name} {kept[-1][name]:,.0f}" for name in SHOWN), flush=True)
    return summary({mode: kept[1:] for mode, kept in found.items()}, wish)


def summary(found: Mapping[str, Sequence[Figures]], wish: Wish) -> dict[str, object]:
    """Medians, every round, and the ratios."""
    medians = {mode: {name: statistics.median(f[name] for f in kept) for name in SHOWN} for mode, kept in found.items()}
    ratios = {name: round(medians["traced"][name] / medians["untraced"][name], 3) for name in SHOWN}
    return {
        "events_per_second": {mode: _rounded(found[mode], medians[mode], "events_per_second") for mode in found},
        "processor_microseconds_per_event": {mode: {name: _rounded(found[mode], medians[mode], name) for name in SHOWN[1:]} for mode in found},
        "traced_over_untraced": ratios,
        "events": wish.events,
        "processes": wish.processes,
    }


def _rounded(kept: Sequence[Figures], medians: Figures, name: str) -> dict[str, object]:
    return {"median": round(medians[name]), "rounds": [round(f[name]) for f in kept]}


def run(args: argparse.Namespace) -> dict[str, object]:
    jaeger = args.collector == "jaeger"
    parts: tuple[Part, ...] = ("kafka", "postgres", "jaeger") if jaeger else ("kafka", "postgres")
    with tempfile.TemporaryDirectory(prefix="opstream-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may run as another user
        with Stack(home, parts=parts, say=print) as stack, sink() as nowhere:
            wish = Wish(rounds=args.rounds, events=args.events, processes=args.processes, collector=stack.otlp or nowhere)
            found = anyio.run(measure, stack, wish, lambda: Stage(app, "benchmarks.workload:app", stack))
    return {**found, "collector": args.collector}


def main() -> None:
    """Run and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--collector", choices=("jaeger", "sink"), default="jaeger" if built() else "sink")
    text = orjson.dumps(run(args := parser.parse_args()), option=orjson.OPT_INDENT_2).decode()
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
