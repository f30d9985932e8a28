"""What a person orders: through the same path as every event, with a line in the audit in the same transaction.

Theory of operation. A line is tried again in one transaction. Where the database refuses what one of its events causes, the order is tried with
fewer and fewer of them, each time without committing, until the most that it takes are found; that is committed, and the next event parks again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import anyio

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresStore, PostgresTransaction
from stream.core.changes import Changes
from stream.core.errors import ConfigurationError, FencedError, StreamError, UnavailableError, UnstorableError
from stream.core.order import Claim, Lift, Move, Retry
from stream.core.outcome import Outcome
from stream.ops.parts import checked, tracing
from stream.ops.queries import STATEMENTS, questions
from stream.ops.render import as_json
from stream.ops.site import Site
from stream.pipeline import Door
from stream.ports import Transaction
from stream.runtime.app import carrying
from stream.runtime.doors import Carry, Desk, Letters, Lines

TRIES = 5


class NotOpenError(StreamError):
    """Somebody else dealt with it before, or it never was there: nothing was done."""


@dataclass(frozen=True)
class Note:
    """One line of the audit. `before` and `after` are what the order changed, where that is not in the history already."""

    actor: str
    action: str
    target: str
    reason: str = ""
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None

    @property
    def row(self) -> tuple[str | None, ...]:
        """As the statement takes it."""
        told = (None if what is None else as_json(what) for what in (self.before, self.after))
        return (self.actor, self.action, self.target, self.reason, *told)


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
            await self.store.connection.script(STATEMENTS["note_order"], *note.row)
        return claim


class AgreedStore(PostgresStore):
    """A store whose transactions are shown to `agree` before they are committed; what it raises undoes them."""

    def __init__(self, settings: PostgresSettings, agree: Callable[[Changes], None]) -> None:
        super().__init__(settings)
        self._agree = agree

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresTransaction]:
        async with super().transaction() as tx:
            yield tx
            self._agree(tx.saved or Changes())


class _WouldDoError(Exception):
    """What was tried would be taken."""


def _would_do(changes: Changes) -> None:
    raise _WouldDoError


async def carry_out(site: Site, door: Door, notes: Sequence[Note], by: PostgresStore | None = None) -> tuple[Claim, Changes]:
    """Carry an order to its commit, through the store `by` or a plain one; again when an entity is busy. Raises what the path raises."""
    await checked(site)
    async with AsyncExitStack() as ending:
        telemetry = ending.enter_context(tracing(site))
        store = by or PostgresStore(site.postgres)
        ending.push_async_callback(store.close)
        carry = carrying(site.app, site.settings, telemetry.sampling)
        refused: UnstorableError | None = None
        for left in reversed(range(TRIES)):
            try:
                if refused and isinstance(door, Lines):
                    door = Lines([await _up_to(site, retry, carry, refused) for retry in door.retries])
                return await carry(Audited(door, notes, store), store, "")
            except UnstorableError as error:
                # Looked for once, so that what is refused for another reason ends it.
                if not left or not isinstance(door, Lines) or refused:
                    raise
                refused = error
            except (UnavailableError, FencedError):
                if not left:
                    raise
                await anyio.sleep(0.2)
            except KeyError as error:
                raise ConfigurationError(f"this App has no machine {error}: is it the right --app?") from error
    raise AssertionError("unreachable")


async def order_all(site: Site, orders: Sequence[Move | Lift], note: Note) -> Changes:
    """Orders in one transaction, with one line in the audit; each is done only where it still fits its entity."""
    return (await carry_out(site, Desk(orders=orders), [note]))[1]


async def rehearse_all(site: Site, orders: Sequence[Move | Lift], note: Note) -> Changes:
    """What `order_all` would come to: all of it is done, and undone."""
    seen: list[Changes] = []

    def look(changes: Changes) -> None:
        seen.append(changes)
        raise _WouldDoError

    with suppress(_WouldDoError):
        await carry_out(site, Desk(orders=orders), [note], AgreedStore(site.postgres, look))
    return seen[-1]


async def _up_to(site: Site, retry: Retry, carry: Carry, error: UnstorableError) -> Retry:
    """The order, up to the event whose effects are refused. Raises `error` where not even the first can be booked."""
    async with questions(site.postgres) as ask:
        length = sum(waits.outcome == Outcome.PARKED for waits in await ask.line(retry.ref))
    trial = AgreedStore(site.postgres, _would_do)

    async def fits(events: int) -> bool:
        try:
            await carry(Lines([replace(retry, fault=str(error), refused=events)]), trial, "")
        except _WouldDoError:
            return True
        except UnstorableError:
            return False
        raise AssertionError("a trial commits nothing")

    try:
        # All of them are known to be too many. A skipped head is rejected, not tried: the next may be the one.
        most, too_many = (1 if retry.skip else 0), length
        if most >= too_many or not await fits(most):
            raise error
        while too_many - most > 1:
            middle = (most + too_many) // 2
            most, too_many = (middle, too_many) if await fits(middle) else (most, middle)
    finally:
        await trial.close()
    return replace(retry, fault=str(error), refused=most)
