"""Run seeds: python -m tests.simulation --seeds 10000 --jobs 2. Replay one that failed: python -m tests.simulation --seed 1234 --trace."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from tests.simulation.bugs import BUGS
from tests.simulation.seed import Result, play
from tests.simulation.world import Adapters

CHUNK = 50
MUST = (
    *("log: fenced", "landed at commit", "lost at commit", "session ended by the server", "zombie woken", "rebalance with a batch in flight"),
    *("lost at publish", "landed at publish", "part at publish", "later at publish", "log: outbox shard taken over by another relay"),
    *("crash at commit", "crash at commit.", "crash at publish.", "freeze at commit", "freeze at publish", "freeze at due.", "log: intake paused"),
    *("ledger: duplicate", "ledger: conflict", "ledger: dead", "ledger: deferred", "ledger: rejected", "ledger: parked", "ledger: ignored"),
    *("sla.breached by timers", "after.elapsed by timers", "wait.expired said", "sla.withdrawn said", "batch of timers", "batch of replay"),
    *("rejected: manual", "rejected: deferred_too_long", "rejected: unborn", "message on its topic twice", "aborted record"),
    *(
        "task closed by ann",
        "task closed by /shop",
        "task closed by /shop/order",
        "owner told twice",
        "batch of desk",
        "freeze at tell",
        "lost at tell.",
    ),
)
"""What has to come about somewhere in a run of thousands; otherwise it says less than it seems to."""


@dataclass
class Tally:
    """What came of many seeds."""

    seeds: int = 0
    seconds: float = 0.0
    failed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    counts: Counter[str] = field(default_factory=Counter[str])

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.counts += result.counts
        if result.faults:
            self.failed[result.seed] = result.faults

    def join(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.seconds += other.seconds
        self.failed |= other.failed
        self.counts += other.counts

    def missing(self) -> list[str]:
        return [name for name in MUST if not self.counts[name]]


def play_all(seeds: Sequence[int], adapters: Adapters | None = None) -> Tally:
    """One after another, in this process."""
    gc.collect()
    gc.freeze()
    tally, began = Tally(), time.process_time()
    for seed in seeds:
        tally.add(play(seed, adapters))
    tally.seconds = time.process_time() - began
    return tally


def play_many(first: int, count: int, jobs: int) -> Tally:
    """In `jobs` processes; failing seeds are printed as they are found."""
    whole = Tally()
    seeds = range(first, first + count)
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(play_all, seeds[at : at + CHUNK]) for at in range(0, count, CHUNK)]):
            tally = done.result()
            for seed, faults in sorted(tally.failed.items()):
                print(told(seed, faults), flush=True)
            whole.join(tally)
    return whole


def told(seed: int, faults: Sequence[str]) -> str:
    return "\n".join(
        [f"seed {seed} failed; replay it: python -m tests.simulation --seed {seed} --trace", *(f"    {fault[:400]}" for fault in faults)]
    )


def main(words: Sequence[str] | None = None) -> int:
    asked = _asked(words)
    if asked.seed is not None:
        return _one(asked.seed, BUGS[asked.bug] if asked.bug else None, trace=asked.trace)
    began = time.monotonic()
    tally = play_many(asked.first, asked.seeds, asked.jobs)
    elapsed = time.monotonic() - began
    for name, n in sorted(tally.counts.items()):
        print(f"{n:10}  {name}")
    print(f"{tally.seeds} seeds in {elapsed:.0f} s, {1000 * tally.seconds / tally.seeds:.0f} ms of CPU each; {len(tally.failed)} failed")
    missing = tally.missing() if tally.seeds >= 1000 else []
    if missing:
        print(f"never came about: {', '.join(missing)}")
    return 1 if tally.failed or missing else 0


def _one(seed: int, adapters: Adapters | None, *, trace: bool) -> int:
    result = play(seed, adapters, keep=trace)
    for line in result.lines:
        print(line)
    print(f"seed {seed}: trace {result.digest}")
    if result.faults:
        print(told(seed, result.faults))
    return 1 if result.faults else 0


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes to run them in (2)")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    parser.add_argument("--bug", choices=sorted(BUGS), help="with --seed: in a world with this bug")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
