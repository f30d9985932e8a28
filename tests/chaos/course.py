"""The course of a run: a load, faults one after another while it goes on, then peace, an operator's part, and the oracles."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream.core.errors import StreamError
from stream.core.record import Ref
from tests.chaos.evidence import Evidence, gather
from tests.chaos.ground import Ground
from tests.chaos.hits import check_hits, expected, hits
from tests.chaos.load import Maker, Publisher
from tests.chaos.nemesis import FAULTS, course
from tests.chaos.oracle import faults
from tests.chaos.scene import Feeder, Scene
from tests.chaos.wires import Weather

HAZE, HAZY = Weather(delay=0.01, jitter=0.01, stalls=0.002, stall=0.5), 0.3
"""Every third fault falls on ways that are slow already."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for. `session`: seconds after which a silent process is taken for dead; `kinds`: of the faults."""

    events: int = 20_000
    faults: int = 20
    seed: int = 1
    workers: int = 3
    session: float = 6.0
    kinds: Sequence[str] = tuple(FAULTS)

    def command(self) -> str:
        """The words that do the same again."""
        said = {"events": self.events, "faults": self.faults, "seed": self.seed, "workers": self.workers, "session": f"{self.session:g}"}
        kinds = "" if tuple(self.kinds) == tuple(FAULTS) else f" --kinds {','.join(self.kinds)}"
        return "python -m tests.chaos " + " ".join(f"--{name} {value}" for name, value in said.items()) + kinds


@dataclass
class Report:
    """What came of it. `command`: the words that do the same again; `faults` is empty when every oracle holds."""

    command: str
    faults: list[str] = field(default_factory=list[str])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


def run(wish: Wish, say: Say, keep: Path | None = None) -> Report:
    """Faults of all kinds, in an order of the seed."""
    scene_of = {"session": wish.session, "workers": [f"w{n}" for n in range(wish.workers)]}
    return perform(Report(wish.command()), wish.seed, scene_of, lambda scene: _suffer(scene, wish, say), (say, keep))


def perform(report: Report, seed: int, scene_of: Mapping[str, Any], suffer: Callable[[Scene], None], to: tuple[Say, Path | None]) -> Report:
    """Let a scene suffer, and judge. Raises nothing of the stream's own: what goes wrong is a fault in the report.

    `scene_of`: what the scene is given; `to`: whom to tell, and a folder for the logs of all parts.
    """
    (say, keep), began = to, time.monotonic()
    with Ground(seed) as ground:
        ground.stand.prepare()
        publisher = Publisher(ground.stand.kafka, ground.stand.names)
        feeder = Feeder(Maker(seed), publisher)
        scene = Scene(ground, feeder, random.Random(seed), **scene_of)
        try:
            for name in scene.workers:
                scene.start(name)
            suffer(scene)
            feeder.finish()
            ground.heal()
            report.figures |= {"suffered": round(time.monotonic() - began, 1)}
            evidence = _recover(scene, publisher, report, say)
            report.faults += [*faults(evidence), *check_hits(evidence, expected(Counter(kind for kind, _ in scene.struck)))]
            report.figures |= _figures(scene, evidence)
        except StreamError as error:
            report.faults.append(f"the run failed: {error}")
        finally:
            feeder.stop()
            if keep:
                _keep_logs(ground, keep)
        kinds = dict(Counter(kind for kind, _ in scene.struck))
        report.figures |= {"took": round(time.monotonic() - began, 1), "kinds struck": kinds, "struck": scene.struck}
    return report


def _keep_logs(ground: Ground, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for log in (*ground.stand.logs, ground.home / "kafka" / "broker.log", ground.server.home / "server.log"):
        shutil.copy(log, keep / log.name)


def _suffer(scene: Scene, wish: Wish, say: Say) -> None:
    kinds = course(scene, wish.faults, wish.kinds)
    scene.feeder.feed(_share(scene, wish, len(kinds) + 1))
    scene.wait_for_flow()
    for n, kind in enumerate(kinds):
        began = time.monotonic()
        scene.feeder.feed(_share(scene, wish, len(kinds) - n))
        scene.slow = scene.chance.random() < HAZY
        if scene.slow:
            for wire in (scene.ground.to_kafka, scene.ground.to_postgres):
                wire.weather(HAZE)
        scene.struck.append((kind, FAULTS[kind](scene)))
        scene.ground.heal()
        say(f"{n + 1:>3}/{len(kinds)} {kind:12} {scene.struck[-1][1]} ({time.monotonic() - began:.1f} s)")


def _share(scene: Scene, wish: Wish, left: int) -> int:
    return max(0, wish.events - scene.feeder.maker.made) // left


def _recover(scene: Scene, publisher: Publisher, report: Report, say: Say) -> Evidence:
    stand = scene.ground.stand
    report.figures["drained after"] = round(stand.drain(180.0), 1)
    say(f"all taken and sent, {report.figures['drained after']} s after the last fault")
    parked = frozenset(Ref(row["machine"], row["entity_id"]) for row in stand.rows("parked"))
    stand.mend(scene.setups())
    stand.drain()
    say(f"handlers mended, {len(parked)} parked lines retried")
    stand.ring()
    say("every clock has run out")
    for child in stand.children.values():
        child.stop()
    return gather(stand, publisher.acknowledged, parked)


def _figures(scene: Scene, evidence: Evidence) -> dict[str, Any]:
    sent = sum(len(records) for records in evidence.said.values())
    return {
        "events": scene.feeder.maker.made,
        "records": sum(len(records) for records in evidence.logs.values()),
        "load": dict(scene.feeder.maker.counts),
        "hits": dict(hits(evidence)),
        "sent again": sent - len(evidence.tables["messages"]),
        "wires": {name: dict(wire.counts) for name, wire in (("kafka", scene.ground.to_kafka), ("postgres", scene.ground.to_postgres))},
        "recovery": _spread(scene.took),
        "rows": {name: len(rows) for name, rows in evidence.tables.items()},
    }


def _spread(took: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {what: {"times": len(all), "median": round(sorted(all)[len(all) // 2], 1), "most": round(max(all), 1)} for what, all in took.items()}
