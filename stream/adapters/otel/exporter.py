"""Sends spans in a thread of its own: a slow or absent collector costs spans, never records.

Theory of operation. The event loop only appends a job (a function that makes spans, and how many there may be) to a bounded deque; making,
encoding and sending happen in the thread. Past the bound a job is dropped and counted. One request is in flight at a time. 429 and 503 are
tried again with backoff (or after what `Retry-After` says), and at once what meets a connection that the collector has closed since the last
request, as it does when it heard nothing for a while; every other failure loses that request's spans: counted, and said once until it works again.
"""

from __future__ import annotations

import gzip
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import islice
from time import monotonic
from urllib.parse import urlsplit

import msgspec
import structlog

from stream.adapters.otel.settings import ExportSettings
from stream.core.spans import Span

Job = Callable[[], Iterable[Span]]
Encode = Callable[[Iterable[Span]], bytes]

ATTEMPTS = 5
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0


class _Partial(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _Partial = msgspec.field(default_factory=_Partial)


@dataclass(slots=True)
class Tally:
    """What became of spans: written by the exporter's thread and by `offer`, read by anybody."""

    exported: int = 0
    full: int = 0
    failed: int = 0
    refused: int = 0

    @property
    def dropped(self) -> int:
        return self.full + self.failed + self.refused


class Exporter:
    """A bounded queue and the thread that empties it. `offer` never blocks and never raises."""

    def __init__(self, settings: ExportSettings, encode: Encode) -> None:
        self.tally = Tally()
        self._settings, self._encode = settings, encode
        self._jobs: deque[tuple[Job, int]] = deque()
        self._queued = 0
        self._guard = threading.Lock()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._deadline = float("inf")
        self._connection: HTTPConnection | None = None
        self._silent = False
        self._log = structlog.get_logger("stream.tracing")
        self._thread = threading.Thread(target=self._run, name="stream-exporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, job: Job, weight: int) -> None:
        """Queue what makes about `weight` spans; dropped and counted when there is no room."""
        with self._guard:
            if self._queued + weight > self._settings.queue or self._ending.is_set():
                self.tally.full += weight
                return
            self._jobs.append((job, weight))
            self._queued += weight
            ripe = self._queued >= self._settings.batch
        if ripe:
            self._wake.set()

    def close(self, within: float = 5.0) -> bool:
        """Send what is queued, at most `within` seconds; True when all of it was tried. Blocks: call it from a worker thread."""
        self._deadline = monotonic() + within
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._settings.delay)
            self._wake.clear()
            ending = self._ending.is_set()
            self._round()
            if ending:
                self._hang_up()
                return

    def _round(self) -> None:
        try:
            spans = self._taken()
            while batch := list(islice(spans, self._settings.batch)):
                self._export(batch)
        except Exception as error:  # the top of a supervised loop: tracing must not end because one batch could not be drawn
            self.tally.failed += 1
            self._say(repr(error))

    def _taken(self) -> Iterator[Span]:
        while True:
            with self._guard:
                if not self._jobs:
                    return
                job, weight = self._jobs.popleft()
                self._queued -= weight
            yield from job()

    def _export(self, batch: list[Span]) -> None:
        if monotonic() > self._deadline:
            self.tally.failed += len(batch)
            return
        body = self._encode(batch)
        if self._settings.gzip:
            body = gzip.compress(body, 5)
        rejected = self._deliver(body)
        if rejected is None:
            self.tally.failed += len(batch)
            return
        self.tally.refused += rejected
        self.tally.exported += len(batch) - rejected
        if self._silent:
            self._silent = False
            self._log.info("traces are exported again", dropped=self.tally.dropped)

    def _deliver(self, body: bytes) -> int | None:
        """How many spans the collector refused, or None when it did not take the request."""
        wait = FIRST_WAIT
        for attempt in range(1, ATTEMPTS + 1):
            kept = self._connection is not None
            try:
                status, answer, after = self._post(body)
            except (OSError, HTTPException) as error:
                self._hang_up()
                if kept and isinstance(error, ConnectionError):
                    continue
                self._say(f"{type(error).__name__}: {error}")
                return None
            if 200 <= status < 300:
                return _rejected(answer)
            if status not in (429, 503) or attempt == ATTEMPTS:
                self._say(f"the collector answers {status}")
                return None
            if self._ending.wait(min(after or wait, LONGEST_WAIT, max(0.0, self._deadline - monotonic()))):
                self._say(f"the collector answers {status}")
                return None
            wait *= 2
        return None

    def _post(self, body: bytes) -> tuple[int, bytes, float]:
        parts = urlsplit(self._settings.endpoint)
        headers = {**self._settings.headers, "Content-Type": "application/json"}
        if self._settings.gzip:
            headers["Content-Encoding"] = "gzip"
        connection = self._connected()
        connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
        response = connection.getresponse()
        answer = response.read(65_536)
        if not response.isclosed():
            self._hang_up()
        after = response.getheader("Retry-After", "")
        return response.status, answer, float(after) if after.isdigit() else 0.0

    def _connected(self) -> HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self._settings.endpoint)
            host, timeout = parts.hostname or "localhost", self._settings.timeout
            if parts.scheme == "https":
                context = ssl.create_default_context(cafile=self._settings.certificate or None)
                self._connection = HTTPSConnection(host, parts.port, timeout=timeout, context=context)
            else:
                self._connection = HTTPConnection(host, parts.port, timeout=timeout)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _say(self, why: str) -> None:
        if not self._silent:
            self._silent = True
            self._log.warning("traces cannot be exported; they are dropped until it works again", endpoint=self._settings.endpoint, why=why)


def _rejected(answer: bytes) -> int:
    try:
        return int(msgspec.json.decode(answer or b"{}", type=_Answer).partial_success.rejected_spans)
    except (msgspec.DecodeError, ValueError):
        return 0
