"""Waits that end when the program stops, and backoff that says a trouble once and its end once."""

from __future__ import annotations

import random
from datetime import timedelta

import anyio
import structlog

from stream.ports import Wait

JITTER: random.Random = random.SystemRandom()
"""Where waits get their spread from: the one thing in the runtime that is left to chance."""


class Stop:
    """A flag that loops look at: those that hold Kafka I/O or a COMMIT are never cancelled, they stop at their next look."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    async def pause(self, seconds: float) -> None:
        """Wait `seconds`, or until the stop, whichever is first."""
        with anyio.move_on_after(seconds):
            await self._event.wait()


class Bell:
    """Wakes one waiting loop. Ringing with nobody there is remembered, ringing twice counts once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """True when it rang within `seconds`."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        rang = self._event.is_set()
        if rang:
            self._event = anyio.Event()
        return rang


class Waits:
    """What the loops of this process wait for, and since when: told to operators by `presence`."""

    def __init__(self) -> None:
        self._begun: dict[str, tuple[str, float]] = {}

    def begin(self, what: str, detail: str, ago: timedelta = timedelta()) -> None:
        """Begun again, it has been waited for since the first time."""
        since = self._begun[what][1] if what in self._begun else anyio.current_time() - ago.total_seconds()
        self._begun[what] = (detail, since)

    def end(self, what: str) -> None:
        self._begun.pop(what, None)

    def now(self) -> list[Wait]:
        return [Wait(what, detail, timedelta(seconds=anyio.current_time() - since)) for what, (detail, since) in self._begun.items()]


class Trouble:
    """One thing that fails for a while: logged when it starts and when it is over, waited for longer and longer (0.1 s to 5 s) between."""

    def __init__(self, what: str, stop: Stop, waits: Waits) -> None:
        self._what, self._stop, self._waits, self._log = what, stop, waits, structlog.get_logger("stream")
        self.failures = 0

    async def wait(self, error: BaseException) -> None:
        if self.failures == 0:
            self._log.warning("trouble", what=self._what, error=f"{type(error).__name__}: {error}")
        self.failures += 1
        self._waits.begin(self._what, f"{type(error).__name__}: {error}")
        # Jitter, so that lanes that failed together do not come back together.
        await self._stop.pause(min(5.0, 0.1 * 2 ** min(self.failures, 6)) * JITTER.uniform(0.5, 1.0))

    def over(self) -> None:
        if self.failures:
            self._log.info("recovered", what=self._what, after=self.failures)
        self.failures = 0
        self.gone()

    def gone(self) -> None:
        """Nobody waits for it any more, whatever became of it."""
        self._waits.end(self._what)
