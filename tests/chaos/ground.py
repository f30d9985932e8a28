"""Parts of a run's own, which may be hurt: a broker and a server on their own data, and the wires that lead to them."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psutil

from stream.dev.kafka import Broker
from stream.dev.ports import HOST, free_ports
from stream.dev.postgres import Server
from stream.dev.stack import memory_home, quiet, remove_home
from tests.chaos.aside import Aside
from tests.chaos.child import Setup
from tests.chaos.stand import Stand
from tests.chaos.wires import Wire


class WiredBroker(Broker):
    """A broker with a second door: whoever comes in there is told that it stands at the wire's port."""

    def __init__(self, home: Path, port: int, door: int) -> None:
        super().__init__(home, port, quiet)
        self.door, self.advertised = door, door

    def _settings(self) -> Path:
        path = super()._settings()
        lines: list[str] = []
        for line in path.read_text().splitlines():
            name = line.partition("=")[0]
            more = {"listeners": self.door, "advertised.listeners": self.advertised}.get(name)
            line += f",WIRE://{HOST}:{more}" if more else ""
            lines.append(line + (",WIRE:PLAINTEXT" if name == "listener.security.protocol.map" else ""))
        path.write_text("\n".join(lines))
        return path


class Ground:
    """Enter it in the main thread; everything on it has ended and is gone when it is left."""

    def __init__(self, seed: int = 1) -> None:
        self.home = memory_home()
        kafka, postgres, door = free_ports(3)
        self.broker = WiredBroker(self.home / "kafka", kafka, door)
        self.server = Server(self.home / "postgres", postgres, "test", quiet)
        self.aside = Aside()
        self.to_kafka = Wire(self.aside, lambda: (HOST, self.broker.door), "kafka", seed)
        self.to_postgres = Wire(self.aside, lambda: (HOST, self.server.port), "postgres", seed + 1)
        self.stand: Stand
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.callback(remove_home, self.home)
            started.enter_context(self.aside)
            for wire in (self.to_kafka, self.to_postgres):
                wire.start()
                started.callback(wire.stop)
            self.broker.advertised = self.to_kafka.port
            for part in (self.broker, self.server):
                started.callback(part.stop)
                part.start()
            self.stand = started.enter_context(Stand(self.broker.address, self.server.url(), self.home, self.aside, tag=""))
            self._exit = started.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.heal()
        self._exit.close()

    def setup(self, name: str, session: float) -> Setup:
        """A process that goes by the wires, and gives up a producer as soon as others give up a process: else no run of minutes would see it."""
        at = urlsplit(self.server.url())
        dsn = urlunsplit(at._replace(netloc=f"{at.netloc.rpartition('@')[0]}@{HOST}:{self.to_postgres.port}"))
        ways = replace(self.stand.setup(name), kafka=f"{HOST}:{self.to_kafka.port}", dsn=dsn)
        return replace(ways, session=session, lease=session, send=session)

    def postgres_processes(self) -> list[int]:
        """The server and its backends, each of which is a process of its own session."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.server.child.pid)
            return [root.pid, *(child.pid for child in root.children(recursive=True))]
        return []

    def heal(self) -> None:
        """Wires calm, nobody stopped; what is down stays down."""
        for wire in (self.to_kafka, self.to_postgres):
            wire.clear()
        stopped = [child.pid for child in self.stand.children.values() if child.is_alive] if hasattr(self, "stand") else []
        for pid in (*stopped, self.broker.child.pid, *self.postgres_processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
