"""How late are clocks told, and what does one cost, when very many fall due within minutes?

Real broker, real server, two tickers beside a worker. A round, for a machine without and one with a calendar: entities are born at one instant,
with targets that spread their breaches evenly, as many a second whatever the size: 100,000 over ten minutes. The clock is moved once past all
warnings, which are told as fast as they can be; then to just before the first breach, and runs on by itself. Ends with 1 unless each rung was
told once and none early.

    python -m benchmarks.clocks --out clocks.json [--size 5000] [--tickers 2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import orjson

from benchmarks.end_to_end import processor, publish
from stream import App, Calendar, Data, Event, Machine, Owner, Sla, State, hours, minutes, opens, seconds
from stream.adapters.postgres.connection import QUERIES, Connection
from stream.adapters.postgres.statements import statements
from stream.core.codec import record_of
from stream.core.record import Record
from stream.dev.stack import Stack
from stream.dev.stage import Stage

FULL, WINDOW = 100_000, minutes(10)
LOOK = 0.2
ROUNDS = {"plain": "without calendar", "shift": "with calendar"}
"""By machine."""
SHIFTS = Calendar("shifts", "Europe/Berlin", {"mon-sun": "06:00-14:00, 14:00-22:00, 22:00-06:00"})
"""Always open, so that both rounds are due at the same instants; a clock reckons its three shifts a day all the same."""


class TaskEvent(Event, topic="tasks", key="id"):
    """What becomes of tasks."""

    id: str


class PlainGiven(TaskEvent, type="plain.given"):
    """Opens one without a calendar."""

    within: float


class ShiftGiven(TaskEvent, type="shift.given"):
    """Opens one with."""

    within: float


class PlainDone(TaskEvent, type="plain.done"):
    """Never said."""


class ShiftDone(TaskEvent, type="shift.done"):
    """Never said."""


class Work(Data):
    """What a task knows."""

    id: str
    within: float


def give(e: PlainGiven | ShiftGiven) -> Work:
    """A new task."""
    return Work(id=e.id, within=e.within)


def target(w: Work) -> timedelta:
    """How long it may take."""
    return seconds(w.within)


def _machine(name: str, given: type[PlainGiven | ShiftGiven], done: type[Event], calendar: Calendar | None) -> Machine[Work]:
    owner = Owner("team")
    waiting = State[Work]("waiting", owner=owner, sla=Sla(target, warn_at=0.5, escalate_to=owner, calendar=calendar))
    over = State[Work](f"{name} over", final=True)
    return Machine[Work](name, data=Work, events=(given, done), transitions=(opens(given, to=waiting, then=give), waiting.on(done, to=over)))


app = App(
    "clocks",
    machines=(_machine("plain", PlainGiven, PlainDone, None), _machine("shift", ShiftGiven, ShiftDone, SHIFTS)),
)


@dataclass(frozen=True)
class Wish:
    """`size` clocks a round."""

    size: int
    tickers: int

    @property
    def window(self) -> timedelta:
        """Within which they fall due."""
        return WINDOW * self.size / FULL


def born(machine: str, wish: Wish, at: datetime) -> Iterator[Record]:
    """The events that open them: the first is due after an hour, the last one window later."""
    kind = PlainGiven if machine == "plain" else ShiftGiven
    for n in range(wish.size):
        within = (hours(1) + wish.window * n / wish.size).total_seconds()
        yield record_of(kind(id=f"{machine}-{n}", within=within), id=f"{machine}-{n}", source="/bench", time=at)


class Round:
    """One machine's clocks, on a stage whose processes run."""

    def __init__(self, stage: Stage, machine: str, wish: Wish) -> None:
        self._stage, self._machine, self._wish = stage, machine, wish
        self._rows = Connection(stage.postgres, {**QUERIES, **statements("benchmarks", "clocks.sql")})

    async def run(self) -> dict[str, object]:
        try:
            at: datetime = (await self._rows.fetch("now"))[0]["now"]
            publish(self._stage.stack.kafka, list(born(self._machine, self._wish, at)))
            await self._until("born", self._machine)
            warned = await self._measured("sla.warned", at + hours(0.5) + self._wish.window + seconds(1))
            breached = await self._measured("sla.breached", at + hours(1) - seconds(3))
        finally:
            await self._rows.close()
        return {"warned at once": warned, "breached as time passes": breached}

    async def _measured(self, kind: str, to: datetime) -> dict[str, object]:
        await self._stage.set_clock(to)
        began, spent = time.perf_counter(), self._spent()
        await self._until("told", self._machine, kind)
        took, after = time.perf_counter() - began, self._spent()
        found: dict[str, Any] = dict((await self._rows.fetch("rungs", self._machine, kind))[0])
        late = [round(x, 3) for x in found.pop("late")]
        micros = {name: round((after[name] - spent[name]) * 1e6 / self._wish.size) for name in after}
        return {
            **found,
            "seconds": round(took, 1),
            "late_p50_s": late[0],
            "late_p99_s": late[1],
            "late_most_s": late[2],
            "processor_microseconds_per_clock": micros,
        }

    async def _until(self, look: str, *about: str) -> None:
        while (await self._rows.fetch(look, *about))[0]["n"] < self._wish.size:
            self._stage.check()
            await anyio.sleep(LOOK)

    def _spent(self) -> dict[str, float]:
        tickers = [child for child in self._stage.processes if child.command.words[-1] == "ticker"]
        return {"tickers": sum(processor(child.pid) for child in tickers), "postgres": processor(self._stage.stack.children["postgres"].pid)}


async def measure(stack: Stack, wish: Wish) -> dict[str, object]:
    """Figures by machine."""
    found: dict[str, object] = {}
    with Stage(app, "benchmarks.clocks:app", stack) as stage:
        await stage.prepare()
        for roles in ("worker,relay", *("ticker",) * wish.tickers):
            stage.start(roles)
        for machine, name in ROUNDS.items():
            found[name] = await Round(stage, machine, wish).run()
            print(f"{name}: {found[name]}", flush=True)
    return {"size": wish.size, "tickers": wish.tickers, "window_s": wish.window.total_seconds(), **found}


def wrong(found: dict[str, Any]) -> list[str]:
    """What is not as it must be: each rung once, none early."""
    rungs: list[tuple[str, dict[str, Any]]] = [(f"{name}, {kind}", told) for name in ROUNDS.values() for kind, told in found[name].items()]
    return [f"{name}: {told}" for name, told in rungs if (told["told"], told["entities"], told["early"]) != (found["size"], found["size"], 0)]


def main() -> None:
    """Run, write the figures, and end with 1 where a clock rang twice or early."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", type=int, default=5_000)
    parser.add_argument("--tickers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="opstream-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may run as another user
        with Stack(home, parts=("kafka", "postgres"), say=print) as stack:
            found = anyio.run(measure, stack, Wish(args.size, args.tickers))
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    if bad := wrong(found):
        sys.exit("not each once, or early: " + "; ".join(bad))


if __name__ == "__main__":
    main()
