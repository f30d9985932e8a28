"""Presence: says in the store, every few seconds, that this process runs and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence

from stream.core.errors import UnavailableError
from stream.ports import Store
from stream.runtime.waiting import Stop, Trouble, Waits

EVERY = 2.0
"""Seconds between two times. Whoever was not heard for several of them is taken for gone."""


class Presence:
    """Until the stop, over a connection of its own: a loop that is stuck in its own must not make it look gone."""

    def __init__(self, store: Store, owner: str, roles: Sequence[str], waits: Waits, stop: Stop) -> None:
        self._store, self._owner, self._roles, self._waits, self._stop = store, owner, roles, waits, stop
        self._outages = Trouble("presence", stop, waits)

    async def run(self) -> None:
        try:
            while not self._stop:
                try:
                    await self._store.note_instance(self._owner, self._roles, self._waits.now())
                    self._outages.over()
                    await self._stop.pause(EVERY)
                except UnavailableError as error:
                    await self._outages.wait(error)
        finally:
            await self._store.close()
