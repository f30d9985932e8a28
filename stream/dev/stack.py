"""The parts a stream needs, started and ended together.

A home folder holds the data of a stack, a lock and `stack.json`, by which other commands find it. The lock, not the file, says whether it
runs: the kernel lets go of it when the launcher dies, in whatever way.
"""

import fcntl
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal, Self, TypeVar

from stream.core.errors import ConfigurationError
from stream.dev.child import TICK, Child
from stream.dev.jaeger import HOW_TO_GET, Jaeger, built
from stream.dev.jars import Say
from stream.dev.kafka import Broker
from stream.dev.ports import KNOWN, Ports, free_ports, prefer
from stream.dev.postgres import Profile, Server, stand_in

Part = Literal["kafka", "postgres", "jaeger"]
AnyPart = TypeVar("AnyPart", Broker, Server, Jaeger)
PARTS: tuple[Part, ...] = ("kafka", "postgres", "jaeger")
HOME = Path(".stream")
STATE = "stack.json"
LOCK = "lock"
MEMORY_NEEDED = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the parts are; None: there is none."""

    kafka: str | None = None
    database_url: str | None = None
    database_owner_url: str | None = None
    otlp: str | None = None
    jaeger_ui: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """The addresses somebody configured, which win over parts of our own."""
        return cls(
            kafka=environ.get("STREAM_KAFKA") or None,
            database_url=environ.get("STREAM_DATABASE_URL") or None,
            database_owner_url=environ.get("STREAM_DATABASE_OWNER_URL") or None,
            otlp=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        )

    def variables(self) -> dict[str, str]:
        """The same as environment variables, for a process that is to use them."""
        named = {
            "STREAM_KAFKA": self.kafka,
            "STREAM_DATABASE_URL": self.database_url,
            "STREAM_DATABASE_OWNER_URL": self.database_owner_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stack that another process holds."""

    pid: int
    children: dict[str, int]
    addresses: Addresses


def quiet(line: str) -> None:
    """Say nothing."""


class Stack:
    """A broker, a server and a Jaeger under one home, less those that `given` has an address of; `with Stack(home) as stack:`.

    Enter it in the main thread (see `Child`); entering blocks for seconds, at the first use for as long as 44 MB take to come.
    ConfigurationError when another process holds the home or a part does not start; then nothing is left running.
    Without a Jaeger to start, `otlp` is None and `say` is told how to get one.
    """

    def __init__(
        self,
        home: Path = HOME,
        *,
        profile: Profile = "dev",
        given: Addresses | None = None,
        parts: Iterable[Part] = PARTS,
        say: Say = quiet,
    ) -> None:
        self.home, self.given, self.parts, self._say = home.absolute(), given or Addresses(), frozenset(parts), say
        self.profile: Profile = profile
        self.addresses = self.given
        self.children: dict[Part, Child] = {}
        self._own: dict[Part, Broker | Server | Jaeger] = {}
        self._exit = ExitStack()

    @property
    def kafka(self) -> str:
        """The bootstrap servers."""
        return _known(self.addresses.kafka, "kafka")

    @property
    def database_url(self) -> str:
        """A DSN by which a stream runs; of a server of our own that of a role that owns nothing."""
        return _known(self.addresses.database_url, "postgres")

    @property
    def database_owner_url(self) -> str:
        """A DSN by which schemas are made; of a server of our own its superuser's."""
        return self.addresses.database_owner_url or self.database_url

    @property
    def otlp(self) -> str | None:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
        return self.addresses.otlp

    @property
    def jaeger_ui(self) -> str | None:
        """Jaeger's page."""
        return self.addresses.jaeger_ui

    def start(self) -> Self:
        """Start what is missing; the broker, the slowest, first."""
        with ExitStack() as started:
            self.home.mkdir(parents=True, exist_ok=True)
            started.enter_context(_held(self.home))
            started.callback((self.home / STATE).unlink, missing_ok=True)
            found = self._start_parts(started)
            self.addresses = Addresses(**found)
            self._write()
            self._exit = started.pop_all()
        return self

    def stop(self) -> None:
        """End all parts, the last started first; fine to call twice."""
        self._exit.close()

    def crash(self, name: Part) -> None:
        """kill -9 of a part of our own, and a start on what it left behind; blocks until it answers. Main thread only."""
        part = self._own[name]
        part.child.kill()
        part.start()
        self.children[name] = part.child
        self._write()

    def dead(self) -> list[Part]:
        """The parts that ended by themselves."""
        return [name for name, child in self.children.items() if not child.is_alive]

    def hold(self) -> None:
        """Block until SIGINT or SIGTERM (returns) or until a part ends by itself (ConfigurationError). Main thread only."""
        asked: list[int] = []
        before = {one: signal.signal(one, lambda number, _: asked.append(number)) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not asked:
                if dead := self.dead():
                    raise ConfigurationError(f"{', '.join(dead)} ended by itself; its log is below {self.home}")
                time.sleep(0.2)
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_parts(self, started: ExitStack) -> dict[str, str | None]:
        found = asdict(self.given)
        ports = self._ports()
        if "kafka" in self.parts and not self.given.kafka:
            broker = Broker(self.home / "kafka", ports.kafka, self._say)
            found["kafka"] = self._started("kafka", broker, started).address
        if "postgres" in self.parts and not self.given.database_url:
            server = Server(self.home / "postgres", ports.postgres, self.profile, self._say)
            found["database_owner_url"] = self._started("postgres", server, started).url()
            found["database_url"] = server.worker_url()
        if "jaeger" in self.parts and not self.given.otlp:
            found |= self._jaeger(ports, started)
        return found

    def _jaeger(self, ports: Ports, started: ExitStack) -> dict[str, str | None]:
        if built() is None:
            self._say(HOW_TO_GET)
            return {}
        jaeger = self._started("jaeger", Jaeger(self.home / "jaeger", ports.otlp, ports.jaeger_ui, self._say), started)
        return {"otlp": jaeger.otlp, "jaeger_ui": jaeger.api}

    def _started(self, name: Part, part: AnyPart, started: ExitStack) -> AnyPart:
        started.callback(part.stop)  # before the start: one that fails half-way is ended too
        part.start()
        self._own[name], self.children[name] = part, part.child
        return part

    def _ports(self) -> Ports:
        """A dev stack keeps the known ports where it can, so that an address stays good; tests take any, for many run at once."""
        if self.profile == "test":
            return Ports(*free_ports(4))
        return Ports(*(prefer(port) for port in asdict(KNOWN).values()))

    def _write(self) -> None:
        running = Running(pid=os.getpid(), children={name: child.pid for name, child in self.children.items()}, addresses=self.addresses)
        draft = self.home / f"{STATE}.new"
        draft.touch(mode=0o600)  # the database's password is in it
        draft.write_text(json.dumps(asdict(running)))
        draft.rename(self.home / STATE)


def running(home: Path = HOME) -> Running | None:
    """The stack that runs on `home`, or None."""
    if not _is_held(home):
        return None
    try:
        told = json.loads((home / STATE).read_text())
    except FileNotFoundError:  # held, but still starting
        return None
    return Running(pid=told["pid"], children=told["children"], addresses=Addresses(**told["addresses"]))


def stop_running(home: Path = HOME, within: float = 30.0) -> bool:
    """Ask the launcher of the stack on `home` to end it, and wait until it has. False: none ran. ConfigurationError after `within` seconds."""
    found = running(home)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + within
    while _is_held(home):
        if time.monotonic() > deadline:
            raise ConfigurationError(f"the stack on {home} (process {found.pid}) did not end within {within:.0f} s")
        time.sleep(TICK)
    return True


def memory_home() -> Path:
    """A new folder for a stack of tests: in memory where a gigabyte is free there, since copies of databases take 15 ms there, not 300."""
    memory = Path("/dev/shm")
    try:
        room = os.statvfs(memory)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="opstream-"))
    roomy = room.f_bavail * room.f_frsize >= MEMORY_NEEDED and os.access(memory, os.W_OK)
    home = Path(tempfile.mkdtemp(prefix="opstream-", dir=memory if roomy else None))
    home.chmod(0o755)  # the server may run as another user
    return home


def remove_home(home: Path) -> None:
    """Delete the data of a stack that has ended."""
    for folder in (home, stand_in(home.absolute() / "postgres")):
        shutil.rmtree(folder, ignore_errors=True)


def _known(address: str | None, part: Part) -> str:
    assert address is not None, f"{part} was not asked for, or is not started"
    return address


def _held(home: Path) -> IO[bytes]:
    """The lock of `home` as an open file; closing it lets go. ConfigurationError when another process has it."""
    file = (home / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(f"a stack already runs on {home}: use it, end it with `stream dev down`, or give another --home") from error
    return file


def _is_held(home: Path) -> bool:
    try:
        _held(home).close()
    except FileNotFoundError:
        return False
    except ConfigurationError:
        return True
    return False
