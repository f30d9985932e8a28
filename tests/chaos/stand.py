"""Where a run takes place: topics and a watched schema of its own, processes that are started, killed and replaced, and what is left to do."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.core.errors import ConfigurationError, UnavailableError
from stream.core.record import TopicPartition
from stream.dev import clock
from stream.dev.child import Child, Command
from tests.chaos.app import Names, app
from tests.chaos.aside import Aside
from tests.chaos.child import AUDIT, Setup
from tests.chaos.topics import Topics

ROOT = Path(__file__).parents[2]


@dataclass
class Stand:
    """`kafka` and `dsn` are the straight ways, for looks from outside; processes are started with the ways that `setup` names.

    Enter it in the main thread, where processes are started and killed.
    """

    kafka: str
    dsn: str
    home: Path
    aside: Aside
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    children: dict[str, Child] = field(default_factory=dict[str, Child])
    logs: list[Path] = field(default_factory=list[Path])

    @property
    def names(self) -> Names:
        return Names(self.tag)

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.kafka, [topic.name for topic in self.names.topics])

    def setup(self, name: str) -> Setup:
        """A process on the straight ways; give it other ways, roles or a shorter session with `dataclasses.replace`."""
        return Setup(name=name, kafka=self.kafka, dsn=self.dsn)

    # -- before and after

    def prepare(self) -> None:
        """Topics, stamped by the broker as records are appended; schema, and the trigger that notes each move of a position."""
        self.aside.run(self._prepare())
        self.topics.make(self.names.topics)

    async def _prepare(self) -> None:
        await migrate.apply(PostgresSettings(dsn=self.dsn))
        rows = Connection(PostgresSettings(dsn=self.dsn), AUDIT)
        await rows.script(AUDIT["watch_moves"])
        await rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as ending:
            ending.callback(self.topics.close)
            ending.callback(lambda: self.aside.run(self._connection.close()))
            for child in self.children.values():
                ending.callback(child.stop)

    # -- processes

    def start(self, setup: Setup, **variables: str) -> Child:
        """Start or replace the process of that name; `variables` are added to its environment. It logs to a file of its own."""
        log = self.home / f"{setup.name}-{len(self.logs)}.log"
        self.logs.append(log)
        env = {**os.environ, **setup.variables(self.tag), **variables, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "tests.chaos.child"]
        child = self.children[setup.name] = Child(Command(name=setup.name, words=words, log=log, env=env, patience=30.0))
        return child

    def said(self) -> list[dict[str, Any]]:
        """Every log line of every process, with the name of its file as `log`."""
        return [{"log": log.name, **line} for log in self.logs for line in _lines(log)]

    # -- looks

    def rows(self, name: str, *args: object) -> list[asyncpg.Record]:
        """Rows of a statement of `audit.sql`, or of the store's own."""
        return self.aside.run(self._connection.fetch(name, *args))

    @cached_property
    def _connection(self) -> Connection:
        return Connection(PostgresSettings(dsn=self.dsn, statement=120.0, application="oracle"), AUDIT)

    def left(self) -> tuple[int, int]:
        """Records not taken and messages not sent. The ends are asked last: nothing can have been said since."""
        stored = {TopicPartition(r["topic"], r["partition"]): r["next_offset"] for r in self.rows("standing")}
        unsent = self.rows("backlog")[0]["n"]
        taken = {self.names.topic(topic) for topic in app.consumed}
        return sum(end - stored.get(place, 0) for place, end in self.topics.ends().items() if place.topic in taken), unsent

    def wait(self, what: str, until: Callable[[], bool], within: float = 120.0) -> float:
        """Look until it is so; how long that took. Raises `ConfigurationError` when it never is, or a process ends by itself."""
        began = time.monotonic()
        while not self._holds(until):
            if time.monotonic() - began > within:
                raise ConfigurationError(f"not so within {within:.0f} s: {what}; left {self.left()}")
            for child in self.children.values():
                if not child.is_alive:
                    raise ConfigurationError(f"{child.command.name} ended by itself; the end of its log:\n{child.last_words()}")
            time.sleep(0.1)
        return time.monotonic() - began

    def _holds(self, until: Callable[[], bool]) -> bool:
        try:
            return until()
        except UnavailableError:
            return False

    def drain(self, within: float = 120.0) -> float:
        """Wait until every log is at its end and nothing is unsent."""
        return self.wait("everything taken and sent", lambda: self.left() == (0, 0), within)

    # -- an operator's part

    def mend(self, setups: Mapping[str, Setup], within: float = 120.0) -> None:
        """Replace every process by one whose handlers were mended, then retry parked lines until none is left."""
        for child in self.children.values():
            child.stop()
        self.children.clear()
        for setup in setups.values():
            self.start(setup, CHAOS_MENDED="1")
        orders = replace(self.setup("operator"), roles=("retry",))
        self.wait("no line parked", lambda: self._retried(orders), within)

    def _retried(self, orders: Setup) -> bool:
        if not self.rows("parked"):
            return True
        child = self.start(orders, CHAOS_MENDED="1")
        while child.is_alive:
            time.sleep(0.05)
        del self.children[orders.name]
        return False

    def halted(self) -> dict[str, str]:
        """Why, by place."""
        return {f"{row['topic']}/{row['partition']}": row["halt_reason"] for row in self.rows("standing") if row["halt_reason"]}

    def decide(self, place: str) -> None:
        """Let a halted partition go on where it stands: by the command, again where its owner changed meanwhile."""
        words = [sys.executable, "-m", "stream", "partitions", "resume", place, "--reason", "seen to", "--yes"]
        env = {**os.environ, "STREAM_KAFKA": self.kafka, "STREAM_DATABASE_URL": self.dsn, "STREAM_ACTOR": "operator", "PYTHONPATH": str(ROOT)}
        self.wait(f"{place} goes on", lambda: subprocess.run(words, env=env, capture_output=True, check=False).returncode == 0)

    def ring(self, by: float = 3600.0, within: float = 120.0) -> None:
        """Move the movable clock on and wait until every timer that is due has fired, and all that it caused was sent and taken."""
        self.aside.run(clock.move(self.dsn, timedelta(seconds=by)))
        self.wait("no timer due", lambda: self.rows("due")[0]["n"] == 0, within)
        self.drain(within)


def _lines(log: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"event": line, "level": "raw"})
    return found
