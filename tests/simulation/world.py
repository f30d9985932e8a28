"""A world: one database, one broker, and programs that run the real engine on them; what hurts them, and what they committed."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_log import MemoryBroker, MemoryLog, MemoryPublisher
from stream.adapters.memory_notices import MemoryNotices
from stream.adapters.memory_outbox import MemoryOutbox, MemoryTimetable
from stream.adapters.memory_store import MemoryStore
from stream.core.changes import Changes
from stream.core.order import Claim
from stream.core.record import Header, TopicPartition
from stream.ports import Log, Outbox, Outgoing, Publisher, Slice, Store
from stream.ports.notices import Notices
from stream.ports.timetable import Timetable
from stream.runtime import waiting
from stream.runtime.app import Parts, run
from stream.runtime.notifier import Telling
from stream.runtime.settings import Settings
from tests.simulation.app import PARTITIONS, app, handlers
from tests.simulation.loop import SeededLoop
from tests.simulation.program import SESSION, Fault, Program, Servers
from tests.simulation.trace import Trace
from tests.simulation.wires import Post, Session, WiredLog, WiredOutbox, WiredPublisher, WiredStore, wired

GROUP = app.name
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Adapters:
    """What the world is made of; a planted bug replaces one of them."""

    store: Callable[[MemoryDatabase], Store] = MemoryStore
    outbox: Callable[[MemoryDatabase], Outbox] = MemoryOutbox
    timetable: Callable[[MemoryDatabase], Timetable] = MemoryTimetable
    notices: Callable[[MemoryDatabase], Notices] = MemoryNotices
    log: Callable[[MemoryBroker], Log] = MemoryLog
    publisher: Callable[[MemoryBroker], Publisher] = MemoryPublisher
    wired_store: type[WiredStore] = WiredStore
    wired_publisher: type[WiredPublisher] = WiredPublisher


@dataclass(frozen=True)
class Commit:
    """A transaction that took effect: who did it, and whether the broken handlers were mended when it was decided."""

    by: str
    claim: Claim
    slices: Sequence[Slice]
    changes: Changes
    mended: bool


class Silent:
    """Telemetry that only counts."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None:
        self._trace.count(f"batch of {claim.door}")

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None:
        self._trace.count("batch sent" if not error else "batch sent or not")


class World:
    """Lives on one loop. `settings` are those of every program.

    `advances`: (shard, epoch) of each round a relay took note of; `heads`: the event ids of parked rows that people's orders named;
    `questions`: the names of the tasks that they answered. `told`: how often owners were told, by key.
    """

    def __init__(self, seed: int, loop: SeededLoop, trace: Trace, settings: Settings, adapters: Adapters) -> None:
        self.loop, self.trace, self.settings, self.adapters = loop, trace, settings, adapters
        self.database = MemoryDatabase(self.clock)
        self.broker = MemoryBroker(PARTITIONS)
        self.consumed = [place for topic in sorted(app.consumed) for place in self.broker.places(topic)]
        self.servers = Servers(self.database.lock.locked)
        self.programs: dict[str, Program] = {}
        self.roles: dict[str, tuple[str, ...]] = {}
        self.commits: list[Commit] = []
        self.advances: list[tuple[int, int]] = []
        self.heads: dict[int, str] = {0: ""}
        self.questions: dict[int, str] = {}
        self.told: Counter[str] = Counter()
        self._members: dict[Program, list[MemoryLog]] = {}
        self._runs: dict[Program, asyncio.Task[None]] = {}
        self._births = 0
        self._ending = False
        waiting.JITTER = Random(seed)

    def clock(self) -> datetime:
        return MIDNIGHT + timedelta(seconds=self.loop.time())

    def stamp(self) -> None:
        self.broker.clock = int(self.clock().timestamp() * 1000)

    # -- programs ------------------------------------------------------------------------------------------------------------------------

    def program(self, name: str) -> Program:
        made = Program(name, self.loop, self.trace, self.servers)
        made.struck = self._struck
        self._members[made] = []
        return made

    def start(self, name: str) -> None:
        """A new process under an old name; nothing if that runs, or if the world is ending."""
        if name in self.programs or self._ending:
            return
        self._births += 1
        program = self.programs[name] = self.program(f"{name}.{self._births}")
        self._runs[program] = self.loop.create_task(self._run(program), context=program.context)

    async def _run(self, program: Program) -> None:
        with program.scope:
            try:
                await run(app, self.settings, self.parts(program), self.roles[program.name.partition(".")[0]], stop=program.stop)
            except Exception as error:
                if not program.dead:
                    self.trace.errors.append(f"{program.name} ended: {error!r}")

    def parts(self, program: Program) -> Parts:
        return Parts(
            store=lambda: self.store(program),
            log=lambda: self._log(program),
            publisher=lambda: self._publisher(program),
            outbox=lambda: wired(self.adapters.outbox(self.database), program, WiredOutbox, advanced=self.advances),
            timetable=lambda: wired(self.adapters.timetable(self.database), program),
            telling=Telling(
                notices=lambda: wired(self.adapters.notices(self.database), program),
                messengers=lambda: {"log": Post(self.told, program)},
                every=0.2,
            ),
            telemetry=Silent(self.trace),
            sampling=lambda trace_id: True,
            owner=program.name,
        )

    def store(self, program: Program) -> Store:
        return wired(self.adapters.store(self.database), program, self.adapters.wired_store, committed=self._committed)

    def _log(self, program: Program) -> Log:
        return wired(self.adapters.log(self.broker), program, WiredLog, members=self._members[program])

    def _publisher(self, program: Program) -> Publisher:
        by, broker = self.adapters.wired_publisher, self.broker
        return wired(self.adapters.publisher(broker), program, by, stamp=self.stamp, another=lambda: MemoryPublisher(broker))

    def _committed(self, program: Program, session: Session) -> None:
        assert session.claim is not None
        assert session.changes is not None
        made = Commit(program.name, session.claim, session.slices, session.changes, session.mended)
        self.commits.append(made)
        moved = " ".join(f"{s.place.topic}/{s.place.partition}:{s.start}-{s.end}@{s.epoch}" for s in made.slices)
        self.trace.note(program.name, f"committed {made.claim.door} {moved} {len(made.changes.history)} {len(made.changes.messages)}")

    # -- what hurts them -----------------------------------------------------------------------------------------------------------------

    def _struck(self, program: Program, fault: Fault) -> None:
        if fault.action == "crash":
            self.kill(program)
            self.loop.call_later(fault.seconds, self.start, program.name.partition(".")[0], context=self.loop.outside.context)
        else:
            self.freeze(program, fault.seconds)

    def kill(self, program: Program) -> None:
        """As by `kill -9`: nothing it does from now on has an effect. The broker notices after a while."""
        if program.dead:
            return
        self.trace.note(program.name, "killed")
        program.dead = True
        self.loop.thaw(program)
        name = program.name.partition(".")[0]
        if self.programs.get(name) is program:
            del self.programs[name]
        self.later(SESSION, self._expel, program)
        program.context.copy().run(program.scope.cancel)

    def freeze(self, program: Program, seconds: float) -> None:
        """As by SIGSTOP and, after a while, SIGCONT."""
        if program.dead or program.frozen:
            return
        self.trace.note(program.name, f"frozen for {seconds:.3f}")
        self.loop.freeze(program)
        timers = [*program.silence(), self.later(SESSION, self._expel, program)]
        self.later(seconds, self._thaw, program, timers)

    def _thaw(self, program: Program, timers: Sequence[asyncio.TimerHandle]) -> None:
        self.trace.note(program.name, "thawed")
        for timer in timers:
            timer.cancel()
        self.loop.thaw(program)
        group = self.broker.group(GROUP)
        gone = [member for member in self._members[program] if member not in group.members]
        if gone:
            self.trace.count("zombie woken")
            self.later(self.loop.draw(), self._rejoin, program, gone)

    def _rejoin(self, program: Program, gone: Sequence[MemoryLog]) -> None:
        """The client of one that was silent for too long notices, and joins again by itself."""
        group = self.broker.group(GROUP)
        # One that froze again at once is thawed twice before it notices.
        back = [member for member in gone if member in self._members[program] and member not in group.members]
        if back and not program.dead:
            group.members.extend(back)
            self.rebalance()

    def _expel(self, program: Program) -> None:
        group, gone = self.broker.group(GROUP), self._members[program]
        if found := [member for member in gone if member in group.members]:
            for member in found:
                member.drop()
                group.members.remove(member)
            self.rebalance()

    def rebalance(self) -> None:
        self.trace.note("broker", "rebalance")
        self.trace.count("rebalance")
        self.broker.rebalance(GROUP)

    def move_clock(self, seconds: float) -> None:
        self.trace.note("database", f"clock moved by {seconds:.3f}")
        self.database.ahead += timedelta(seconds=seconds)

    def away(self, server: str, seconds: float) -> None:
        self.trace.note(server, f"away for {seconds:.3f}")
        if server == "broker":
            self.broker.away = True
        self.servers.away.add(server)
        self.later(seconds, self.back, server)

    def back(self, server: str) -> None:
        self.trace.note(server, "back")
        self.servers.away.discard(server)
        if server == "broker":
            self.broker.away = False

    def somebody_is_frozen(self) -> bool:
        """Also one that was asked to end: it may send once more when it thaws."""
        return any(program.frozen and not program.dead for program, task in self._runs.items() if not task.done())

    def leave(self, name: str, seconds: float = math.inf) -> None:
        """End in good order, and come back after a while."""
        if program := self.programs.pop(name, None):
            self.trace.note(program.name, "leaves")
            program.context.copy().run(program.stop.set)
            if seconds < math.inf:
                self.later(seconds, self.start, name)

    def mend(self) -> None:
        """Another release: handlers that raised for what is `BROKEN` no longer do."""
        self.trace.note("handlers", "mended")
        handlers.mended = True

    def append(self, place: TopicPartition, key: bytes, value: bytes | None, headers: Sequence[Header], *, aborted: bool = False) -> None:
        self.stamp()
        offset = self.broker.append(place, value, key=key, headers=headers, aborted=aborted)
        if aborted:
            self.trace.count("aborted record")
        self.trace.note("broker", f"{place.topic}/{place.partition} {offset} {key.decode()}")

    def later(self, seconds: float, go: Callable[..., None], *args: object) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, go, *args, context=self.loop.outside.context)

    # -- the end -------------------------------------------------------------------------------------------------------------------------

    async def end(self, within: float) -> bool:
        """Ask every program to end; whether all did in time."""
        self._ending = True
        for program in self.programs.values():
            program.context.copy().run(program.stop.set)
        running = [task for task in self._runs.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=within)
        late = [task for task in self._runs.values() if not task.done()]
        for program, task in self._runs.items():
            if not task.done():
                program.context.copy().run(program.scope.cancel)
        if late:
            await asyncio.wait(late)
        return not late
