"""What a nemesis works with: the ground, the processes on it, a load that goes on meanwhile, and a stopwatch for how long recovery takes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from stream.core.errors import ConfigurationError, UnavailableError
from stream.core.record import TopicPartition
from stream.dev.child import Child
from tests.chaos.app import app
from tests.chaos.child import Setup
from tests.chaos.ground import Ground
from tests.chaos.load import Maker, Mix, Publisher, Said

LOOK = 0.05
SLICES = 4
Positions = Mapping[TopicPartition, int]


class Feeder:
    """Makes and publishes in a thread of its own, chunk by chunk, each in a few slices so that it lasts into the fault it is meant for."""

    def __init__(self, maker: Maker, publisher: Publisher, every: float = 1.0) -> None:
        self.maker, self.publisher, self._every = maker, publisher, every
        self._wanted: deque[tuple[int, Mix | None]] = deque()
        self._more, self._idle, self._end = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._fault: BaseException | None = None
        self._thread.start()

    def feed(self, count: int, mix: Mix | None = None) -> None:
        self._idle.clear()
        self._wanted.append((count, mix))
        self._more.set()

    @property
    def idle(self) -> bool:
        return self._idle.is_set()

    def finish(self) -> None:
        """Wait until all was published. Raises what the thread raised."""
        while not self._idle.wait(0.1):
            if not self._thread.is_alive():
                break
        if self._fault:
            raise self._fault

    def stop(self) -> None:
        self._end.set()
        self._more.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                if not self._wanted:
                    self._idle.set()
                    self._more.wait()
                    self._more.clear()
                    continue
                self._chunk(*self._wanted[0])
                self._wanted.popleft()
        except BaseException as error:
            self._fault = error

    def _chunk(self, count: int, mix: Mix | None) -> None:
        for n in range(SLICES):
            made: Sequence[Said] = self.maker.make(count // SLICES + (n < count % SLICES), mix)
            self.publisher.publish(made)
            # A chunk that waits behind this one is for a fault that is on already.
            if n + 1 < SLICES and len(self._wanted) == 1:
                self._end.wait(self._every)


@dataclass
class Scene:
    """`struck` notes each fault that was done, by kind; `took` how long it was, in seconds, until work went on again.

    `roles`: of processes that do not have all of them. `slow`: the ways to broker and database are.
    """

    ground: Ground
    feeder: Feeder
    chance: random.Random
    session: float
    workers: list[str]
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    struck: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slow: bool = False

    def setups(self) -> dict[str, Setup]:
        return {name: self._setup(name) for name in self.workers}

    def _setup(self, name: str) -> Setup:
        made = self.ground.setup(name, self.session)
        return replace(made, roles=self.roles.get(name, made.roles))

    # -- processes

    def start(self, name: str) -> Child:
        return self.ground.stand.start(self._setup(name))

    def any_worker(self) -> str:
        return self.chance.choice(self.workers)

    def process(self, name: str) -> Child:
        return self.ground.stand.children[name]

    def kill(self, name: str) -> None:
        self.ground.stand.children.pop(name).kill()

    def signal(self, pids: Sequence[int], number: signal.Signals) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def recovered(self, what: str, seconds: float) -> None:
        """Note how long it took. Over slow ways every round trip costs more than the whole recovery otherwise: that is a figure of its own."""
        self.took[what + " on slow ways" if self.slow else what].append(seconds)

    # -- looks and waits

    def pause(self, seconds: float) -> None:
        """Let a fault last. Raises `ConfigurationError` when a process ends by itself."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._check()
            time.sleep(min(LOOK, left))

    def _check(self) -> None:
        for child in self.ground.stand.children.values():
            if not child.is_alive:
                raise ConfigurationError(f"{child.command.name} ended by itself; the end of its log:\n{child.last_words()}")

    def positions(self) -> Positions:
        return {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in self.ground.stand.rows("standing")}

    def owned(self, child: Child) -> Positions:
        """The partitions that a process has, as the store sees it."""
        rows = self.ground.stand.rows("standing")
        return {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in rows if r["owner"].split(":")[1:2] == [str(child.pid)]}

    def wait_for_heirs(self, child: Child, within: float = 120.0) -> float:
        """Until nothing is left under the name of a dead process, and what it left was taken further, or is empty; how long that took."""
        began, left = time.monotonic(), self.owned(child)
        while time.monotonic() - began < within:
            if not self.owned(child) and not self.lagging(left):
                return time.monotonic() - began
            self._check()
            time.sleep(LOOK)
        raise ConfigurationError(f"still with the dead after {within:.0f} s: {sorted(self.owned(child))}, not moved: {sorted(self.lagging(left))}")

    def lagging(self, places: Positions) -> Positions:
        """Those of `places` that have something to take, and were not taken further than said."""
        now, ends = self.positions(), self.ground.stand.topics.ends()
        return {place: at for place, at in places.items() if now[place] == at and ends[place] > at and place.topic in app.consumed}

    def wait_for_flow(self, within: float = 120.0) -> float:
        """Until any partition moves, or nothing is left to take; how long that took."""
        began, before = time.monotonic(), None
        while time.monotonic() - began < within:
            try:
                now = self.positions()
                if (before is not None and now != before) or not self.lagging(now):
                    return time.monotonic() - began
                before = before or now
            except UnavailableError:
                pass
            self._check()
            time.sleep(LOOK)
        raise ConfigurationError(f"nothing moved within {within:.0f} s; left {self.ground.stand.left()}")

    def await_work(self) -> None:
        """Until records are being taken: then a fault falls on work. Given up after a few seconds, when all was taken before we looked."""
        began, before = time.monotonic(), self.positions()
        while time.monotonic() - began < 5.0 and self.positions() == before:
            time.sleep(0.01)
