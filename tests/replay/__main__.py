"""`python -m tests.replay LOG|tickets=500|calls=500 [--dup 0.05] [--workers 3] [--kill 10] [--reopen 20] [--crash]`.

Ends with 0 only when the fold agrees.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import anyio
from rich.console import Console

from handlers import app
from stream.dev.stack import Stack, memory_home, remove_home
from stream.dev.stage import Stage
from tests.fold.tally import Tally
from tests.replay.course import Course, Outcome, Wish
from tests.replay.load import Load, read

console = Console(highlight=False)


def asked() -> tuple[Load, Wish]:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument("log", help="events.csv.gz of the desk, or of dispatch; tickets=500 or calls=500 for so many made up")
    parser.add_argument("--dup", type=float, default=0.0, help="share of records published twice")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", type=int, default=0, help="how many times to kill -9 a worker")
    parser.add_argument("--reopen", type=int, default=0, help="billed calls to send a unit to at the end")
    parser.add_argument("--crash", action="store_true", help="kill -9 the broker and the database too, each once on the way, and start them again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=None, help="only so many events of the log")
    words = vars(parser.parse_args())
    try:
        load = read(words.pop("log"), words.pop("first"), words["seed"])
    except ValueError as error:
        parser.error(str(error))
    return load, Wish(**words)


async def replay(load: Load, wish: Wish, stage: Stage) -> Outcome:
    await stage.prepare()
    with console.status("preparing") as status:
        return await Course(load, wish, stage, lambda line: status.update(line)).run()


def report(outcome: Outcome, kills: int, took: float) -> None:
    v = outcome.verdicts
    console.print(f"{took:.0f} s, {kills} processes killed, {outcome.crashes} crashes of broker and database; ", end="")
    console.print(
        f"records taken {v['records']:,}: admitted {v['admitted']:,}, duplicate {v['duplicate']:,}, ",
        end="",
    )
    console.print(f"conflict {v['conflict']:,}, dead {v['dead']:,}")
    for (machine, what), n in sorted(outcome.found.outcomes.items()):
        console.print(f"  {machine:12} {what:10} {n:>9,}")
    console.print(f"rejected by kind ({sum(outcome.found.rejected.values()):,}):")
    for (machine, state, type, reason), n in outcome.found.rejected.most_common():
        console.print(f"  {n:>6,}  {machine}: {state or 'unborn'} x {type} ({reason})")
    console.print(f"final states of {len(outcome.found.states):,} entities, {outcome.found.breaches:,} breaches")
    report_clocks(outcome.found)
    console.print(f"said (repeats dropped: {outcome.heard.repeats:,}):")
    said = Counter({(topic, type): 0 for topic, type, _, _ in outcome.found.said})
    for (topic, type, _, _), n in outcome.found.said.items():
        said[topic, type] += n
    for (topic, type), n in sorted(said.items()):
        console.print(f"  {n:>6,}  {topic}: {type}")


def report_clocks(found: Tally) -> None:
    breached = found.breached()
    for machine, clock in sorted({(machine, clock) for machine, clock, _ in found.noted}):
        counts = {what: n for (owner, name, what), n in sorted(found.noted.items()) if (owner, name) == (machine, clock)}
        by = {priority: n for (owner, name, priority), n in sorted(breached.items()) if (owner, name) == (machine, clock) and priority}
        shares = f" (by priority: {', '.join(f'{priority} {n:,}' for priority, n in by.items())})" if by else ""
        console.print(f"  clock {machine}: {clock}: {', '.join(f'{what} {n:,}' for what, n in counts.items())}{shares}", soft_wrap=True)


def main() -> int:
    (load, wish), began, home = asked(), time.monotonic(), memory_home()
    try:
        with Stack(home, profile="test", parts=("kafka", "postgres")) as stack, Stage(app, "handlers:app", stack) as stage:
            outcome = anyio.run(replay, load, wish, stage)
            report(outcome, stage.kills, time.monotonic() - began)
    finally:
        remove_home(home)
    faults = outcome.faults()
    for line in faults:
        console.print(f"[red]differs[/red] {line}")
    console.print(
        "[red]NOT EQUAL to the fold[/red]" if faults else "[green]equal to the fold[/green]: states, counts, rejected moves, clocks, follow-ups"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
