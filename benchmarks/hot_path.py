"""How much does the engine's path gain over a hand-written transaction per event, and what does it cost over a hand-written batch?

Same server, same tables, same events, one connection each; rounds are interleaved, medians reported. What counts are the ratios.

    python -m benchmarks.hot_path --out hot_path.json [--rounds 5] [--events 10000]

The server is STREAM_TEST_DATABASE_URL, or one of its own that is started for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import orjson

from benchmarks.by_hand import ByHand
from benchmarks.workload import app, records
from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.codec import Codec
from stream.core.record import Record, TopicPartition
from stream.core.route import Routes
from stream.dev.stack import Stack
from stream.pipeline import process
from stream.ports import Slice
from stream.runtime.doors import Partitions

BATCH = 500
PLACE = TopicPartition("orders", 0)
Mode = Callable[[str, list[Record]], Awaitable[float]]


async def fresh_database(server: str, name: str) -> str:
    """An empty database with the tables; returns its DSN."""
    admin = await asyncpg.connect(server)
    await admin.execute(f'drop database if exists "{name}"')
    await admin.execute(f'create database "{name}"')
    await admin.close()
    dsn = server.rsplit("/", 1)[0] + "/" + name
    await migrate.apply(PostgresSettings(dsn=dsn))
    return dsn


async def engine(dsn: str, batch: list[Record]) -> float:
    """Seconds for all records through `process`, as a lane does it."""
    store = PostgresStore(PostgresSettings(dsn=dsn))
    codec, routes = Codec(app, "bench", sample=lambda _: True, horizon=timedelta(days=14)), Routes(app)
    epoch = (await store.adopt(PLACE, owner="bench", generation=1, begin=0, partitions=1)).epoch
    began = time.perf_counter()
    for start in range(0, len(batch), BATCH):
        part = batch[start : start + BATCH]
        door = Partitions([Slice(PLACE, epoch, start, start + len(part), part)])
        await process(door, decode=codec, revive=codec.revive, routes=routes, store=store)
    took = time.perf_counter() - began
    await store.close()
    return took


async def per_event(dsn: str, batch: list[Record]) -> float:
    """Seconds for a hand-written transaction per event."""
    async with ByHand(dsn) as hand:
        began = time.perf_counter()
        for record in batch:
            await hand.one(record)
        return time.perf_counter() - began


async def per_batch(dsn: str, batch: list[Record]) -> float:
    """Seconds for a hand-written transaction per batch, statements over arrays."""
    async with ByHand(dsn) as hand:
        began = time.perf_counter()
        for start in range(0, len(batch), BATCH):
            await hand.many(batch[start : start + BATCH])
        return time.perf_counter() - began


MODES: dict[str, tuple[Mode, int]] = {"engine": (engine, 1), "transaction_per_event": (per_event, 10), "hand_written_batch": (per_batch, 1)}


async def measure(server: str, rounds: int, events: int) -> dict[str, object]:
    """Events per second of every mode, by interleaved rounds; a slow mode gets a tenth of the events."""
    rates: dict[str, list[float]] = {name: [] for name in MODES}
    for turn in range(rounds):
        for name, (mode, share) in MODES.items():
            batch = records(events // share, max(events // share // 5, 1), seed=turn)
            dsn = await fresh_database(server, f"bench_{name}")
            gc.collect()
            gc.freeze()  # the load itself is no garbage to look through
            rates[name].append(len(batch) / await mode(dsn, batch))
        print(f"round {turn + 1} of {rounds}: " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in rates.items()), flush=True)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "events_per_second": {name: {"median": round(medians[name]), "rounds": [round(r) for r in found]} for name, found in rates.items()},
        "ratios": {
            "engine_over_transaction_per_event": round(medians["engine"] / medians["transaction_per_event"], 2),
            "engine_over_hand_written_batch": round(medians["engine"] / medians["hand_written_batch"], 2),
        },
        "batch": BATCH,
        "events": events,
    }


def main() -> None:
    """Run and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=10_000)
    args = parser.parse_args()
    if server := os.environ.get("STREAM_TEST_DATABASE_URL"):
        found = asyncio.run(measure(server, args.rounds, args.events))
    else:
        with tempfile.TemporaryDirectory(prefix="opstream-bench-") as home, Stack(Path(home), parts=("postgres",), say=print) as stack:
            found = asyncio.run(measure(stack.database_owner_url, args.rounds, args.events))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
