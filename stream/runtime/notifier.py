"""The notifier: carries what was written for owners to them, at least once, each target apart from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import anyio
import structlog
from anyio.abc import TaskGroup

from stream.core.directory import origin
from stream.core.errors import UnavailableError
from stream.ports.notices import Delivery, Fate, Leased, Messenger, Notices
from stream.runtime.waiting import Stop, Trouble, Waits

TTL = timedelta(seconds=60)
"""Whoever has not settled a notice by then is given up, and it is sent again."""
TARGETS, EACH = 8, 10
"""So many targets at once, and so many notices of one in turn."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What a notifier works with; `messengers` by channel. Seconds: `every` between two looks."""

    notices: Callable[[], Notices]
    messengers: Callable[[], Mapping[str, Messenger]]
    every: float = 1.0


class Notifier:
    """Any number of them may run. A notice that was sent and not settled, because its process died, is sent again under the same key."""

    def __init__(self, parts: Telling, stop: Stop, waits: Waits) -> None:
        self._parts, self._stop = parts, stop
        self._notices, self._messengers = parts.notices(), parts.messengers()
        self._busy: set[str] = set()
        self._places = anyio.CapacityLimiter(TARGETS)
        self._turns = anyio.Lock()
        self._outages = Trouble("notifier", stop, waits)

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                while not self._stop:
                    if not await self.turn(tasks):
                        await self._stop.pause(self._parts.every)
        finally:
            with anyio.CancelScope(shield=True):
                for messenger in self._messengers.values():
                    await messenger.close()
                await self._notices.close()

    async def turn(self, tasks: TaskGroup) -> bool:
        """One look; what is due of each target that is free is sent by a task of its own. True when there was any."""
        if len(self._busy) >= TARGETS:
            return False
        try:
            async with self._turns:
                due = await self._notices.lease(TTL, TARGETS * EACH, tuple(self._busy))
            self._outages.over()
        except UnavailableError as error:
            await self._outages.wait(error)
            return False
        targets: dict[str, list[Leased]] = defaultdict(list)
        for leased in due:
            targets[leased.notice.target].append(leased)
        for target, notices in targets.items():
            self._busy.add(target)
            tasks.start_soon(self._tell, target, notices)
        return bool(targets)

    async def _tell(self, target: str, notices: Sequence[Leased]) -> None:
        """In turn, until one does not arrive: a target that is away is asked once, not once for each notice."""
        ends, away = anyio.current_time() + TTL.total_seconds() / 2, Delivery(Fate.SENT)
        try:
            async with self._places:
                for leased in notices:
                    if self._stop or anyio.current_time() > ends:
                        return
                    # What it asked to wait holds for all that was taken with it.
                    delivery = away if away.fate is Fate.AGAIN else await self._messenger(leased).send(leased)
                    await self._settle(leased, delivery)
                    away = delivery
        finally:
            self._busy.discard(target)

    def _messenger(self, leased: Leased) -> Messenger:
        return self._messengers[leased.notice.channel]

    async def _settle(self, leased: Leased, delivery: Delivery) -> None:
        if delivery.fate is Fate.NEVER:
            n = leased.notice
            log = structlog.get_logger("stream")
            log.error("owner not told", notice=leased.id, owner=n.owner, channel=n.channel, target=origin(n.target), error=delivery.error)
        try:
            async with self._turns:
                await self._notices.settle(leased, delivery)
        except UnavailableError as error:
            # What was sent and could not be noted is sent again, under the same key.
            await self._outages.wait(error)
