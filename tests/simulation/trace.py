"""What happened, step by step: a hash of it always, its lines on demand, and counts of what a run is worth nothing without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b

import structlog

from stream.core.errors import UnavailableError


class Trace:
    """Two runs of one seed have the same trace, to the byte."""

    def __init__(self, time: Callable[[], float], *, keep: bool = False) -> None:
        self._time, self._hash = time, blake2b(digest_size=16)
        self.lines: list[str] | None = [] if keep else None
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def note(self, who: str, what: str) -> None:
        line = f"{self._time():.6f} {who} {what}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def lost(self, context: Mapping[str, object]) -> None:
        """What no task was left to hear of: a server's refusal to a client that is gone, or an error of ours."""
        error = context.get("exception")
        if not isinstance(error, UnavailableError):
            self.errors.append(f"{context.get('message')}: {error!r}")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Listener:
    """The end of the log for as long as a seed runs: what the engine says goes into its trace."""

    def __init__(self, trace: Trace, who: Callable[[], str]) -> None:
        self._trace, self._who = trace, who

    def __call__(self, logger: object, level: str, said: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event, error = str(said.pop("event")), said.pop("exc_info", None)
        self._trace.note(self._who(), f"says {event} {said}" + (f" {error!r}" if error else ""))
        self._trace.count(f"log: {event}")
        if error:
            self._trace.errors.append(f"{self._who()}: {event}: {error!r}")
        raise structlog.DropEvent

    def listen(self) -> None:
        structlog.configure(processors=[self], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
