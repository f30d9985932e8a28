"""An event loop without a clock and without chance: time is a number, and which process takes the next step is drawn from a seed.

Theory of operation. Several processes live on one loop; each is a context, inherited by every task and callback made in it. Within a process
callbacks run in the order in which they were called for, as on any loop. Which process is next is drawn. A step takes `STEP` seconds; when nobody has
one to take, time jumps to the next timer. A frozen process keeps its callbacks, those of its timers too, until it thaws: that is what a stopped
process looks like from outside.

Equal seeds take equal steps: nothing goes by addresses. anyio cancels tasks in the order of its sets; tasks therefore hash by number, and the
wake-ups of tasks cancelled in one step are put in the order of their numbers.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio.events import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Coro = Coroutine[Any, Any, T] | Generator[Any, None, T]

STEP = 20e-6
START = 1000.0
"""Virtual seconds at which a run begins; not 0, as no machine's uptime is."""
MOST_STEPS = 1_000_000


class StuckError(Exception):
    """Nobody has anything left to do, or never comes to an end of it."""


class Process:
    """What belongs together: stops together, and keeps its callbacks in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[tuple[Handle, object]] = deque()
        self.listed = self.frozen = False
        self.context = copy_context()
        self.context.run(_current.set, self)


_current: ContextVar[Process] = ContextVar("process")


class NumberedTask(asyncio.Task[T]):
    """A task whose place in a set is the same in every run."""

    def __init__(self, number: int, coro: Coro[T], loop: SeededLoop, name: str | None, context: Context | None) -> None:
        self.number, self._home, self._process = number, loop, loop.process_of(context)
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: object = None) -> bool:
        self._home.cancelling(self._process)
        return super().cancel(msg)


class SeededLoop(asyncio.BaseEventLoop):
    """`outside` is the process of whatever belongs to none: the servers, the load, the faults."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw = Random(seed).random
        self.outside = Process("outside")
        self.steps = 0
        self._now = START
        self._runnable: list[Process] = []
        self._timers: list[tuple[float, int, TimerHandle, Process]] = []
        self._timer_number = self._task_number = 0
        self._cancelled: dict[Process, int] = {}

    # -- what asyncio asks of a loop ---------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Handle:
        handle = Handle(callback, args, self, context)
        self._add(handle, callback, self.process_of(context))
        return handle

    def call_at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, handle, self.process_of(context)))
        return handle

    def call_later(self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(self, coro: Coro[T], *, name: object = None, context: Context | None = None) -> asyncio.Task[T]:
        self._task_number += 1
        return NumberedTask(self._task_number, coro, self, None if name is None else str(name), context)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """It stays where it is, and is passed over when its time comes."""

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise StuckError(f"no end after {MOST_STEPS} steps")
        if not self._runnable and not self._jump():
            raise StuckError("nobody has anything left to do")
        self._now += STEP
        if self._timers and self._timers[0][0] <= self._now:
            self._due()
        count = len(self._runnable)
        process = self._runnable[int(self.draw() * count) if count > 1 else 0]
        handle, _ = process.ready.popleft()
        if not handle.cancelled():
            handle._run()
            if self._cancelled:
                self._sort()
        if process.listed and not process.ready:
            self._unlist(process)

    # -- processes -----------------------------------------------------------------------------------------------------------------------

    def process_of(self, context: Context | None) -> Process:
        return _current.get(self.outside) if context is None else context.get(_current, self.outside)

    def freeze(self, process: Process) -> None:
        process.frozen = True
        if process.listed:
            self._unlist(process)

    def thaw(self, process: Process) -> None:
        process.frozen = False
        if process.ready and not process.listed:
            self._list(process)

    def cancelling(self, process: Process) -> None:
        self._cancelled.setdefault(process, len(process.ready))

    def _add(self, handle: Handle, callback: object, process: Process) -> None:
        process.ready.append((handle, callback))
        if not process.listed and not process.frozen:
            self._list(process)

    def _list(self, process: Process) -> None:
        process.listed = True
        self._runnable.append(process)

    def _unlist(self, process: Process) -> None:
        process.listed = False
        self._runnable.remove(process)

    def _due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(timers)
            if not handle.cancelled():
                self._add(handle, None, process)

    def _jump(self) -> bool:
        """To the next timer, however far away it is; false when there is none."""
        while self._timers and not self._runnable:
            self._now = max(self._now, self._timers[0][0])
            self._due()
        return bool(self._runnable)

    def _sort(self) -> None:
        for process, before in self._cancelled.items():
            added = [process.ready.pop() for _ in range(len(process.ready) - before)]
            added.reverse()
            process.ready.extend(sorted(added, key=_number))
        self._cancelled.clear()


def _number(ready: tuple[Handle, object]) -> int:
    """That of the task a callback wakes; 0 for any other callback."""
    return getattr(getattr(ready[1], "__self__", None), "number", 0)
