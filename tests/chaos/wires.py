"""Wires: the ways of the processes under test to Kafka and PostgreSQL, on which everything can go wrong that goes wrong on networks."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tests.chaos.aside import Aside

Speech = Literal["kafka", "postgres"]
Part = Literal["answer", "request"]
CHUNK = 1 << 16
COMMIT = b"Q\x00\x00\x00\x0bcommit"
PRODUCE = 0
_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Seconds and bytes a second. `up`, `down`: whether requests, or answers, are carried at all; what is not waits, as behind a lost route."""

    delay: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    up: bool = True
    down: bool = True
    stalls: float = 0.0
    stall: float = 1.0


CALM = Weather()


class Frames:
    """Follows Kafka's frames through chunks: the first bytes of each one that begins."""

    def __init__(self, head: int) -> None:
        self._want, self._head, self._left = head, b"", 0

    def feed(self, data: bytes) -> list[bytes]:
        found: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left, at = self._left - step, at + step
                continue
            part = data[at : at + self._want - len(self._head)]
            self._head, at = self._head + part, at + len(part)
            if len(self._head) == self._want:
                found.append(self._head)
                self._left, self._head = int.from_bytes(self._head[:4], "big") + 4 - self._want, b""
        return found


class _Link:
    """One connection through a wire. `name`: whose it is, once it has said so. `doomed`: it ends when that answer comes (None: with the next one)."""

    def __init__(self, inner: asyncio.StreamWriter, outer: asyncio.StreamWriter) -> None:
        self.inner, self.outer, self.name = inner, outer, ""
        self.requests, self.answers = Frames(12), Frames(8)
        self.doomed = False
        self.correlation: bytes | None = None

    def reset(self) -> None:
        for writer in (self.inner, self.outer):
            found = writer.get_extra_info("socket")
            if found is not None:
                with suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()


class Wire:
    """Carries every connection made to its port. Faults may be meant for all, or for one process by the name it gives itself."""

    def __init__(self, aside: Aside, target: Callable[[], tuple[str, int]], speech: Speech, seed: int) -> None:
        self._aside, self._target, self._speech, self._chance = aside, target, speech, random.Random(seed)
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._weather: dict[str, Weather] = {}
        self._armed: list[tuple[Part, str]] = []
        self._changed = asyncio.Event()
        self.refusing = False
        self.port = 0
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        self._aside.run(self._start())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._aside.run(self._stop())

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in tuple(self._links):
            link.reset()

    # -- what can be done to it, from any thread

    def weather(self, weather: Weather, name: str = "") -> None:
        """For one process, or for all that have none of their own."""
        self._aside.run(self._change({**self._weather, name: weather}))

    def clear(self) -> None:
        """As if nothing had been done to it."""
        self._armed, self.refusing = [], False
        self._aside.run(self._change({}))

    async def _change(self, weather: dict[str, Weather]) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    def reset(self, name: str = "") -> int:
        """End connections at once; how many."""
        return self._aside.run(self._reset(name))

    async def _reset(self, name: str) -> int:
        links = [link for link in self._links if name in ("", link.name)]
        for link in links:
            link.reset()
        self.counts["reset"] += len(links)
        return len(links)

    def lose(self, part: Part, times: int, name: str = "") -> None:
        """Lose so many answers to a COMMIT (or a Produce), each with its connection; or the requests themselves."""
        self._armed.extend((part, name) for _ in range(times))

    @property
    def armed(self) -> int:
        """How many of them are still to be lost."""
        return len(self._armed)

    # --

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            answers, inner = await asyncio.open_connection(*self._target())
        except OSError:
            writer.transport.abort()
            return
        link = _Link(inner, writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._carry(link, reader, inner, self._asked), self._carry(link, answers, writer, self._answered))
        finally:
            self._links.discard(link)

    async def _carry(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: Callable[[_Link, bytes], bool]) -> None:
        up = sink is link.inner
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if not look(link, data):
                    link.reset()
                    return
                await self._pass(link, len(data), up=up)
                sink.write(data)
                await sink.drain()
        with suppress(OSError):
            sink.close()

    async def _pass(self, link: _Link, size: int, *, up: bool) -> None:
        now = self._now(link)
        if now is CALM:
            return
        if now.delay or now.jitter:
            await asyncio.sleep(max(0.0, now.delay + self._chance.uniform(-now.jitter, now.jitter)))
        if now.rate:
            await asyncio.sleep(size / now.rate)
        if now.stalls and self._chance.random() < now.stalls:
            await asyncio.sleep(now.stall)
        while not (self._now(link).up if up else self._now(link).down):
            await self._changed.wait()

    def _now(self, link: _Link) -> Weather:
        return self._weather.get(link.name) or self._weather.get("") or CALM

    def _asked(self, link: _Link, data: bytes) -> bool:
        """False: this request is lost."""
        if not link.name:
            link.name = _kafka_name(data) if self._speech == "kafka" else _postgres_name(data)
        if self._speech == "postgres":
            return COMMIT not in data or self._strike(link, None)
        produced = [head for head in link.requests.feed(data) if int.from_bytes(head[4:6], "big") == PRODUCE]
        return not produced or self._strike(link, produced[-1][8:12])

    def _strike(self, link: _Link, correlation: bytes | None) -> bool:
        found = next((armed for armed in self._armed if armed[1] in ("", link.name)), None)
        if found is None:
            return True
        self._armed.remove(found)
        self.counts[f"lost {found[0]}"] += 1
        if found[0] == "answer":
            link.doomed, link.correlation = True, correlation
        return found[0] == "answer"

    def _answered(self, link: _Link, data: bytes) -> bool:
        """False: this is the answer to be lost. It was given: what was asked for is done."""
        if self._speech == "postgres":
            return not link.doomed
        heads = link.answers.feed(data)
        return not (link.doomed and any(head[4:8] == link.correlation for head in heads))


def _kafka_name(data: bytes) -> str:
    """The client id of a request that begins this chunk."""
    size = int.from_bytes(data[12:14], "big", signed=True)
    return data[14 : 14 + size].decode(errors="replace") if size > 0 else ""


def _postgres_name(data: bytes) -> str:
    """The application name of a start-up message, if this is one."""
    _, mark, rest = data.partition(b"application_name\0")
    return rest.partition(b"\0")[0].decode(errors="replace") if mark else ""
