"""One kind of fault, hundreds of times: `python -m tests.chaos.storms zombies|commits|rebalances|relays [--count 200]`."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.__main__ import console, told
from tests.chaos.course import Report, perform
from tests.chaos.scene import Scene

BRIEF = 1.0
"""Seconds of a session: the least the broker of the local stack allows."""
EVERY = 4000


@dataclass(frozen=True)
class Storm:
    """`blow(scene, count)` does it so often. `scene`: processes, their session and their roles."""

    blow: Callable[[Scene, int], None]
    count: int
    scene: Mapping[str, Any]


def zombies(scene: Scene, count: int) -> None:
    """Processes stopped beyond their session, three of five at a time, woken when others have taken over what they had."""
    woken = 0
    while woken < count:
        names = scene.chance.sample(scene.workers, 3)
        scene.feeder.feed(150)
        scene.await_work()
        children = [scene.process(name) for name in names]
        scene.signal([child.pid for child in children], signal.SIGSTOP)
        scene.feeder.feed(50)
        for child in children:
            scene.wait_for_heirs(child)
        scene.signal([child.pid for child in children], signal.SIGCONT)
        woken += len(names)
        scene.struck += [("zombie", name) for name in names]
        _tell(woken, count, "zombies woken")
    scene.wait_for_flow()


def commits(scene: Scene, count: int) -> None:
    """The answer to COMMIT lost, with its connection, ten times in a row and again."""
    wire = scene.ground.to_postgres
    while (lost := wire.counts["lost answer"]) < count:
        wire.lose("answer", min(10, count - lost))
        while wire.armed:
            if scene.feeder.idle:
                scene.feeder.feed(60)
            scene.pause(0.05)
        _tell(wire.counts["lost answer"], count, "answers to COMMIT lost")
    scene.struck += [("answer to COMMIT lost", "")] * count
    scene.wait_for_flow()


def rebalances(scene: Scene, count: int) -> None:
    """Two guests come and go beside two that stay, some leaving, some dying; counted by the group's own generations."""
    first = last = _generation(scene)
    turn = 0
    while last - first < count:
        turn += 1
        guest = f"w-guest-{turn}"
        child = scene.start(guest)
        scene.feeder.feed(60)
        while not scene.owned(child):
            scene.pause(0.05)
        leaving = scene.ground.stand.children.pop(guest)
        leaving.stop() if scene.chance.random() < 0.7 else leaving.kill()
        scene.struck.append(("guest", guest))
        last = _generation(scene)
        _tell(last - first, count, "rebalances")
    scene.wait_for_flow()


def _generation(scene: Scene) -> int:
    return max((row["generation"] for row in scene.ground.stand.rows("standing")), default=0)


def relays(scene: Scene, count: int) -> None:
    """The relay that holds most shards killed, once every four thousand messages that were sent."""
    scene.feeder.feed(EVERY * count)
    for turn in range(1, count + 1):
        while _sent(scene) < turn * EVERY:
            # How many messages come of an event is up to the events.
            if scene.feeder.idle:
                scene.feeder.feed(EVERY // 4)
            scene.pause(0.1)
        while not (name := _active(scene)):
            scene.pause(0.02)
        scene.kill(name)
        scene.start(name)
        scene.struck.append(("relay killed", name))
        _tell(turn, count, f"relays killed, {_sent(scene):,} messages sent")


def _sent(scene: Scene) -> int:
    rows = scene.ground.stand.rows("written")
    return int(rows[0]["n"]) - int(scene.ground.stand.rows("backlog")[0]["n"])


def _active(scene: Scene) -> str:
    """The relay that holds most shards; none while the leases of a dead one run."""
    owners = [row["owner"].split(":")[1] for row in scene.ground.stand.rows("leases") if row["owner"]]
    held = {name: owners.count(str(scene.process(name).pid)) for name in scene.workers if name.startswith("r")}
    name = max(held, key=lambda name: held[name])
    return name if held[name] else ""


def _tell(done: int, count: int, what: str) -> None:
    if done * 10 // count != (done - 1) * 10 // count:
        console.print(f"{done:>6,}/{count:,} {what}")


STORMS: Mapping[str, Storm] = {
    "zombies": Storm(zombies, 200, {"session": BRIEF, "workers": [f"w{n}" for n in range(5)]}),
    "commits": Storm(commits, 300, {"session": 6.0, "workers": ["w0", "w1"]}),
    "rebalances": Storm(rebalances, 200, {"session": BRIEF, "workers": ["w0", "w1"]}),
    "relays": Storm(
        relays,
        50,
        {
            "session": 3.0,
            "workers": ["w0", "w1", "r0", "r1"],
            "roles": {"w0": ("worker", "ticker"), "w1": ("worker",), "r0": ("relay",), "r1": ("relay",)},
        },
    ),
}


def blown(name: str, count: int | None, seed: int, keep: Path | None = None) -> Report:
    storm, began = STORMS[name], time.monotonic()
    times = count or storm.count
    report = Report(f"python -m tests.chaos.storms {name} --count {times} --seed {seed}")

    def suffer(scene: Scene) -> None:
        scene.feeder.feed(300)
        scene.wait_for_flow()
        storm.blow(scene, times)
        report.figures["blew"] = round(time.monotonic() - began, 1)

    return perform(report, seed, storm.scene, suffer, (console.print, keep))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storms", description=__doc__)
    parser.add_argument("storm", choices=list(STORMS))
    parser.add_argument("--count", type=int, default=None, help="how often; what the proof asks for when left out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="a file for the figures, as JSON")
    parser.add_argument("--logs", type=Path, default=None, help="a folder to keep the logs of all parts in")
    words = parser.parse_args()
    return told(blown(words.storm, words.count, words.seed, words.logs), words.out)


if __name__ == "__main__":
    raise SystemExit(main())
