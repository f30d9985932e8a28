"""The demo: a made-up day through the whole path, on real parts. `python -m handlers.demo`; `KEEP=1` leaves it running until Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from handlers import app, demo_app
from handlers.demo_day import FLOW, TIMELINE, Day, day
from handlers.demo_people import TICKET, Dispute, Hook
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.adapters.postgres.statements import statements
from stream.core.record import Record
from stream.dev.stack import Stack, memory_home, remove_home
from stream.dev.stage import Stage
from stream.ports import Outgoing

SEED, TICKETS, CALLS, PROCESSES = 7, 500, 70, 2
CALM, CALM_RATE = 300, 60
"""So many events at the end of the day come at this rate a second: the time each takes is measured there, not in the flood."""

VERDICTS = ("records", "admitted", "duplicate", "conflict", "dead", "skipped")
OUTCOMES = ("concerned", "applied", "ignored", "deferred", "rejected", "parked", "drained")
console = Console(highlight=False, soft_wrap=True)
Rows = Sequence[Any]


class Demo:
    """One demo on a stack that runs. `sent` remembers when each event was first published."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rows = Connection(stage.postgres, {**QUERIES, **statements("stream.ops"), **statements("handlers", "demo.sql")})
        self._sent: dict[str, float] = {}
        self._published = 0

    async def run(self) -> None:
        await self._stage.prepare()
        made = day(SEED, datetime.now(UTC), TICKETS, CALLS)
        for _ in range(PROCESSES):
            self._stage.start("worker,relay")
        flood = len(made.records) - CALM
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            await self._until_ready(live)
            began = time.monotonic()
            await self._publish(made, 0, flood, live)
            await self._drained(live)
            took = time.monotonic() - began
            await self._publish(made, flood, len(made.records), live, rate=CALM_RATE)
            await self._drained(live)
            await self._ring(live)
        await self._tell(made, flood / took, await self._delays(made.ids[flood:]))
        await self._rows.close()

    async def _until_ready(self, live: Live) -> None:
        """Nothing is timed before the group has settled and every partition has an owner."""
        wanted = sum(app.topic(name).partitions for name in app.consumed)
        while len(await self._rows.fetch("partitions")) < wanted:
            await self._look(live)

    async def _publish(self, made: Day, start: int, end: int, live: Live, rate: int = 0) -> None:
        publisher, step = KafkaPublisher(self._stage.kafka), rate // 10 or 500
        await publisher.start()
        try:
            for first in range(start, end, step):
                last = min(first + step, end)
                for id in made.ids[first:last]:
                    self._sent.setdefault(id, time.time())
                await publisher.publish([_outgoing(n, made.records[n]) for n in range(first, last)])
                self._published = last
                live.update(await self._picture())
                if rate:
                    await anyio.sleep(0.1)
        finally:
            await publisher.stop()

    async def _drained(self, live: Live) -> None:
        while any(await self._stage.left()):
            await self._look(live)

    async def _ring(self, live: Live) -> None:
        """The ticker comes last: this day is told after the event, and a clock that rang before would be taken back by what is told later."""
        self._stage.start("ticker")
        while any(row["due"] for row in await self._rows.fetch("timers_of_machines")):
            await self._look(live)
        await self._drained(live)

    async def _look(self, live: Live) -> None:
        self._stage.check()
        live.update(await self._picture())
        await anyio.sleep(0.2)

    async def _picture(self) -> Table:
        counts = _sums(await self._rows.fetch("partitions"))
        shown = Table(box=None, title=f"{self._published:,} records published", title_justify="left")
        for names in (VERDICTS, OUTCOMES):
            shown.add_row(*(f"{counts[name]:,} {name}" for name in names))
        shown.add_row(f"{(await self._rows.fetch('backlog'))[0][0]:,} messages unsent")
        return shown

    async def _delays(self, ids: Sequence[str]) -> list[float]:
        """Milliseconds from just before the publishing of an event to the transaction that took it, sorted."""
        rows = await self._rows.fetch("taken_at", [id for id in ids if id])
        return sorted((r["at"].timestamp() - self._sent[r["event_id"]]) * 1000 for r in rows)

    async def _tell(self, made: Day, rate: float, delays: Sequence[float]) -> None:
        counts, fetch = _sums(await self._rows.fetch("partitions")), self._rows.fetch
        put_in = ", ".join(f"{n} {kind}" for kind, n in made.planted.items())
        console.print(
            f"[bold]{self._published:,} records published[/bold], among them {put_in}; the other records taken are our own, of the second hop"
        )
        console.print("[bold]each record[/bold]   ", ", ".join(f"{counts[name]:,} {name}" for name in VERDICTS))
        console.print("[bold]each entity[/bold]   ", ", ".join(f"{counts[name]:,} {name}" for name in OUTCOMES))
        console.print("[bold]set aside[/bold]     ", ", ".join(f"{r['n']} {r['reason']}" for r in await fetch("letters")))
        console.print("[bold]not allowed[/bold]   ", _lines(f"{r['n']} {r['from_state']} x {r['event_type']}" for r in await fetch("rejected")))
        console.print("[bold]follow-ups[/bold]    ", _lines(f"{r['n']:,} {r['type']} to {r['topic']}" for r in await fetch("said")))
        p50, p99 = (delays[int(len(delays) * share)] for share in (0.50, 0.99))
        console.print(f"[bold]speed[/bold]          {rate:,.0f} events a second in the flood, two hops and their sending included;")
        console.print(f"               from publishing to the transaction that took it, at {CALM_RATE} a second: p50 {p50:.0f} ms, p99 {p99:.0f} ms")


def _sums(rows: Rows) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in (*VERDICTS, *OUTCOMES)}


def _lines(texts: Iterable[str]) -> str:
    return "\n                ".join(texts)


def _outgoing(seq: int, record: Record) -> Outgoing:
    headers = [(name, value or b"") for name, value in record.headers]
    return Outgoing(seq, record.topic, record.key or b"", record.value or b"", headers)


def variables(stack: Stack) -> dict[str, str]:
    return stack.addresses.variables()


def show(stack: Stack, *words: str) -> None:
    """What a command prints: the same that you would see."""
    console.print(f"\n[bold]$ stream {' '.join(words)}[/bold]")
    env = {**os.environ, **variables(stack), "COLUMNS": str(console.width)}
    subprocess.run([sys.executable, "-m", "stream", *words], env=env, check=False)


def how_to_look_further(stack: Stack, *, keep: bool) -> None:
    if not keep:
        console.print(
            "\nTo look further: `make demo KEEP=1` leaves all this running; then `stream status`, `stream parked list`, `stream dead-letters list`."
        )
        return
    exports = " ".join(f"{name}='{value}'" for name, value in variables(stack).items())
    console.print(f"\nIt runs on until Ctrl-C. To look further, in another shell:\n  export {exports}", soft_wrap=True)
    console.print("  stream status; stream parked list; stream dead-letters list; stream entities list --machine call")
    if stack.jaeger_ui:
        console.print(f"  traces: {stack.jaeger_ui}")


def tell_dispute(stack: Stack, hook: Hook, task: int) -> None:
    """What the hook was told, and how a lead answers."""
    console.print(f"\n[bold]people[/bold]         {TICKET} changed hands four times; six days of the movable clock later nobody had answered.")
    for kind in ("task.opened", "sla.breached"):
        told = hook.about(kind) or {}
        words = told.get("question") or f"clock {told.get('clock')!r}, due {told.get('due')}"
        console.print(f"               the desk lead's web hook heard, signed: {kind}: {words}")
    console.print(f"               and {len(hook.told) - 2:,} further events, each once")
    show(stack, "why", "ticket", TICKET)
    show(stack, "tasks", "show", str(task))
    show(stack, "tasks", "answer", str(task), "ticket.taken_over", '{"assignee": "mo"}', "--comment", "mo knows this printer", "--yes")
    show(stack, "entities", "show", "ticket", TICKET)


def main() -> int:
    keep, home = os.environ.get("KEEP", "") not in ("", "0"), memory_home()
    try:
        console.print("starting Kafka, PostgreSQL and Jaeger ...")
        hook = Hook()
        with hook.listening(), Stack(home, profile="test", say=console.print) as stack, Stage(app, "handlers.demo_app:app", stack) as stage:
            os.environ.update({demo_app.HOOK: hook.address, demo_app.KEY: hook.key, "STREAM_APP": "handlers.demo_app:app", "STREAM_ACTOR": "ann"})
            anyio.run(Demo(stage).run)
            show(stack, "entities", "show", "ticket", TIMELINE)
            show(stack, "trace", FLOW)
            tell_dispute(stack, hook, anyio.run(Dispute(stage, hook).run))
            how_to_look_further(stack, keep=keep)
            if keep:
                stack.hold()
    finally:
        remove_home(home)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
