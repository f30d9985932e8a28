"""An App on a stack of its own: schema and topics made, processes started, killed, and started again."""

import os
import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.adapters.kafka.admin import KafkaAdmin, plan
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.postgres import migrate
from stream.adapters.postgres.address import read_address
from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.statements import statements
from stream.core.app import App
from stream.core.errors import ConfigurationError
from stream.core.topic import Topic
from stream.dev import clock
from stream.dev.child import Child, Command
from stream.dev.stack import Addresses, Stack

QUICK = {"STREAM_SESSION_TIMEOUT": "6", "STREAM_HEARTBEAT": "1", "STREAM_RELAY_LEASE": "6", "STREAM_LOG_FORMAT": "text"}
"""A process that was killed is missed after six seconds: the least a broker allows."""

_LOOKS = {**QUERIES, **statements("stream.ops")}


@dataclass
class Stage:
    """One App in processes of its own. `named` is the App as `--app` takes it; `folder` is where its module lies.

    Enter it in the main thread: processes end with that thread, in whatever way it ends.
    """

    app: App
    named: str
    stack: Stack
    folder: Path = field(default_factory=Path.cwd)
    processes: list[Child] = field(default_factory=list[Child])
    kills: int = 0

    @property
    def postgres(self) -> PostgresSettings:
        """As the owner: what the stage itself does. Its processes run as the worker."""
        return PostgresSettings(dsn=self.stack.database_owner_url, statement=60.0)

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap=self.stack.kafka)

    async def prepare(self) -> None:
        """Make schema and topics: the declared ones, and those that are only named, with every default."""
        await migrate.apply(self.postgres)
        await migrate.grant(self.postgres, read_address(self.stack.database_url).user)
        topics = [self.app.topic(name) for name in sorted(self.app.consumed | self.app.emitted | {t.name for t in self.app.topics})]
        async with KafkaAdmin(self.kafka) as admin:
            await admin.apply(plan(topics, await admin.topics(_names(topics))))

    async def set_clock(self, to: datetime) -> None:
        """Move the database's clock so that it shows `to`."""
        shown = await clock.move(self.stack.database_owner_url, timedelta(0))
        await clock.move(self.stack.database_owner_url, to - shown)

    async def left(self) -> tuple[int, int]:
        """Records not taken yet, of all topics the App takes, and messages not sent yet. (0, 0): drained, every hop of it.

        The ends are asked last: what they show was taken before the outbox was looked at, so nothing can have been said since.
        """
        rows = Connection(self.postgres, _LOOKS)
        try:
            stored = {(r["topic"], r["partition"]): r["next_offset"] for r in await rows.fetch("partitions")}
            unsent = (await rows.fetch("backlog"))[0][0]
        finally:
            await rows.close()
        async with KafkaAdmin(self.kafka) as admin:
            ends = await admin.bounds(self.app.consumed)
        return sum(end - stored.get(place, begin) for place, (begin, end) in ends.items()), unsent

    def start(self, roles: str) -> Child:
        """One more process with these roles, comma-separated."""
        log = self.stack.home / f"{roles.replace(',', '-')}-{len(self.processes)}.log"
        words = [sys.executable, "-m", "stream", "run", "--app", self.named, "--role", roles]
        addresses = Addresses(kafka=self.stack.kafka, database_url=self.stack.database_url, otlp=self.stack.otlp).variables()
        traces = {} if self.stack.otlp else {"OTEL_TRACES_EXPORTER": "none"}
        env = {**os.environ, **QUICK, **traces, **addresses, "PYTHONPATH": str(self.folder)}
        child = Child(Command(name=f"stream run --role {roles}", words=words, log=log, env=env, patience=20.0))
        self.processes.append(child)
        return child

    def kill_one(self, chance: random.Random) -> None:
        """kill -9 of any process, and another in its place at once."""
        place = chance.randrange(len(self.processes))
        words = self.processes[place].command.words
        self.processes[place].kill()
        self.kills += 1
        self.start(words[-1])
        self.processes[place] = self.processes.pop()

    def check(self) -> None:
        """Raises `ConfigurationError` with the last words of a process that ended by itself."""
        for child in self.processes:
            if not child.is_alive:
                raise ConfigurationError(f"{child.command.name} ended by itself; the end of its log:\n{child.last_words()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as ending:
            for child in self.processes:
                ending.callback(child.stop)


def _names(topics: Sequence[Topic]) -> list[str]:
    return [topic.name for topic in topics]
