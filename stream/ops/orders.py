"""What a person orders: through the same path as every event, with a line in the audit in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from stream.adapters.postgres.store import PostgresStore
from stream.core.changes import Changes
from stream.core.errors import ConfigurationError, FencedError, StreamError, UnavailableError
from stream.core.order import Claim
from stream.ops.parts import checked, tracing
from stream.ops.queries import STATEMENTS
from stream.ops.site import Site
from stream.pipeline import Door
from stream.ports import Transaction
from stream.runtime.app import carrying
from stream.runtime.doors import Letters

TRIES = 5


class NotOpenError(StreamError):
    """Somebody else dealt with it before, or it never was there: nothing was done."""


@dataclass(frozen=True)
class Note:
    """One line of the audit."""

    actor: str
    action: str
    target: str
    reason: str = ""


@dataclass(frozen=True)
class Audited:
    """Another door, with notes that are committed only together with what they say."""

    door: Door
    notes: Sequence[Note]
    store: PostgresStore

    async def claim(self, tx: Transaction) -> Claim:
        claim = await self.door.claim(tx)
        if isinstance(self.door, Letters) and len(claim.stored) < len(set(self.door.ids)):
            raise NotOpenError("not all of these dead letters are there and open: nothing was replayed")
        for note in self.notes:
            await self.store.connection.script(STATEMENTS["note_order"], note.actor, note.action, note.target, note.reason)
        return claim


async def carry_out(site: Site, door: Door, notes: Sequence[Note]) -> tuple[Claim, Changes]:
    """Carry an order to its commit; tried again a few times when an entity is busy. Raises what the path raises."""
    await checked(site)
    async with AsyncExitStack() as ending:
        telemetry = ending.enter_context(tracing(site))
        store = PostgresStore(site.postgres)
        ending.push_async_callback(store.close)
        carry = carrying(site.app, site.settings, telemetry.sampling)
        for left in reversed(range(TRIES)):
            try:
                return await carry(Audited(door, notes, store), store, "")
            except (UnavailableError, FencedError):
                if not left:
                    raise
                await anyio.sleep(0.2)
            except KeyError as error:
                raise ConfigurationError(f"this App has no machine {error}: is it the right --app?") from error
    raise AssertionError("unreachable")
