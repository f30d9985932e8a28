"""A person at the desk, as `stream tasks answer` would have it: looks for tasks, looks at what an answer would do, and gives it.

What is done is a row of failpoints, led by `desk/`; what is only looked at is none, for it leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresTransaction
from stream.core.changes import Changes
from stream.core.errors import StreamError
from stream.ops import desk
from stream.ops.orders import AgreedStore, Note
from stream.ops.queries import STATEMENTS
from stream.ops.site import Site
from stream.ops.tasks import TaskLine, Wanted, order_of, read_tasks
from stream.runtime.doors import Desk
from stream.runtime.waiting import Stop
from tests.chaos.failpoints import ArmedConnection, PlantedError, Trip, late

MOST = 100
Answering = Callable[[str, str], "tuple[str | None, str] | None"]
"""From an entity and a task's name to the event and the reason code; None where that person does not answer."""


@dataclass
class Person:
    """`trip`: what happens on the way, where anything does. Any number of persons of one name may be at work, in any number of processes."""

    site: Site
    name: str
    answering: Answering
    trip: Trip | None = None

    async def work(self, stop: Stop) -> None:
        """Until the stop: what fails is looked at again."""
        while not stop:
            with suppress(StreamError, PlantedError):
                for task in await read_tasks(self.site, Wanted(), MOST):
                    await self._again(task)
            await stop.pause(0.2)

    async def _again(self, task: TaskLine) -> None:
        """Of what comes in between (the clock, a rival, a busy entity) a person reads, and looks again later."""
        chosen = self.answering(task.entity_id, task.name)
        if chosen is None:
            return
        kind, reason = chosen
        order, line = await order_of(self.site, task.id, self.name, kind, b"{}", reason)
        door = Desk(orders=[order])
        shown = await desk.rehearse(self.site, door)
        if desk.refused(shown):
            return
        with self._armed():
            await desk.perform(self.site, door, [desk.completed(Note(self.name, "tasks answer", line.target, reason), shown)], shown)

    @contextmanager
    def _armed(self) -> Generator[None]:
        trip = self.trip
        if trip is None:
            yield
            return

        def made(settings: PostgresSettings, agree: Callable[[Changes], None]) -> AgreedStore:
            return ArmedDesk(settings, agree, trip)

        with patch.object(desk, "AgreedStore", made):
            yield


class DeskConnection(ArmedConnection):
    """The line in the audit is a step as well."""

    async def script(self, text: str, *args: object) -> str:
        said = partial(super().script, text, *args)
        return await self.trip.around("desk/note order", said, self.hang) if text == STATEMENTS["note_order"] else await said()


class ArmedDesk(AgreedStore):
    """Every statement of an order a failpoint, and `desk/committed`, when its person has not been told yet."""

    def __init__(self, settings: PostgresSettings, agree: Callable[[Changes], None], trip: Trip) -> None:
        super().__init__(settings, agree)
        self._trip = trip
        self.connection = DeskConnection(self.connection, trip, "desk/")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresTransaction]:
        async with super().transaction() as tx:
            yield tx
        await self._trip.at("desk/committed:after", late)
