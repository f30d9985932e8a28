"""The client's consumer, and what it does not tell in public: whether its tasks live, and when the group last answered it.

All of this is internals of aiokafka; `planted.prove` refuses a release in which the names looked at here mean something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

import aiokafka
from aiokafka.errors import NodeNotReadyError

from stream.adapters.kafka import identity
from stream.adapters.kafka.diagnosis import Network
from stream.ports import TopicNow

PAUSE = 0.1
"""Seconds that a fetch which brought nothing takes at least: as long as the broker itself waits for more to come."""


class Consumer(aiokafka.AIOKafkaConsumer):
    """`heard`: when the group last answered us, by the monotonic clock. `overslept`: seconds between two heartbeats that were beyond the session."""

    heard: float
    tried: float
    overslept: float
    _heartbeat: Callable[[], Awaitable[bool]]
    _fetch: Callable[[object, int, object], Awaitable[bool]]

    async def start(self) -> None:
        await super().start()
        self.heard = self.tried = monotonic()
        self.overslept = 0.0
        self._heartbeat, self._coordinator._do_heartbeat = self._coordinator._do_heartbeat, self._beat
        self._fetch, self._fetcher._proc_fetch_request = self._fetcher._proc_fetch_request, self._ask

    async def _beat(self) -> bool:
        late, self.tried = monotonic() - max(self.tried, self.heard), monotonic()
        # Whoever is this late was thrown out, and what the client still holds is somebody else's.
        if late * 1000 > self._session_timeout_ms:
            self.overslept = late
        answered = await self._heartbeat()
        if answered:
            self.heard = monotonic()
        return answered

    async def _ask(self, assignment: object, node: int, request: object) -> bool:
        """One fetch. The client repeats one that failed at once, and for errors it does not know it does so without end: a loop without a pause."""
        ends = monotonic() + PAUSE
        found = await self._fetch(assignment, node, request)
        if not found:
            # The client awaits what it has cancelled, and expects no error of it.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(ends - monotonic())
        return found

    def network(self) -> Network:
        return self._client

    def generation(self) -> int:
        return self._coordinator.generation

    def in_touch(self) -> bool:
        return self._coordinator.coordinator_id is not None

    def dead(self) -> str:
        """Which of its tasks has ended though it should not, or nothing: it would wait for that one for ever."""
        return next((name for name, task in self._tasks() if task is None or task.done()), "")

    def _tasks(self) -> list[tuple[str, asyncio.Task[None] | None]]:
        return [
            ("fetching", self._fetcher._fetch_task),
            ("the group", self._coordinator._coordination_task),
            ("metadata", self._client._sync_task),
        ]

    def abandon(self) -> None:
        """For one whose stop does not end: without this it would go on telling the group that it is there."""
        for _, task in [*self._tasks(), ("heartbeats", self._coordinator._heartbeat_task)]:
            if task is not None:
                task.cancel()
        for link in list(self._client._conns.values()):
            link.close()

    async def identify(self, topic: str) -> TopicNow:
        node = self._client.get_random_node()
        if node is None:
            raise NodeNotReadyError
        try:
            return identity.read(await self._client.send(node, identity.Ask(topic)))
        except NotImplementedError:
            # A broker from before topics had ids.
            return TopicNow(None, len(self.partitions_for_topic(topic) or ()))
