"""The path: carry one batch through a door to a commit. Every door, every entity, every event goes this way."""

from __future__ import annotations

from typing import Protocol

from stream.core.changes import Changes
from stream.core.decide import decide, outdated, refs_of, sift
from stream.core.errors import UnavailableError
from stream.core.ledger import Revive
from stream.core.order import Claim, Deliver
from stream.core.route import Routes
from stream.ports import Decode, Store, Transaction


class Door(Protocol):
    """A way to claim a batch; its receipt is whatever makes a second claim of the same batch fail."""

    async def claim(self, tx: Transaction) -> Claim: ...


async def process(door: Door, *, decode: Decode, revive: Revive, routes: Routes, store: Store) -> tuple[Claim, Changes]:
    """Claim a batch, decode it, sort out what was seen before, lock and load its entities, decide, save, commit.

    Everything or nothing is committed. Raises what the store raises, and `UnavailableError` where a later version of a machine wrote an entity;
    pure code's failures are values in the changes.
    """
    async with store.transaction() as tx:
        claim = await door.claim(tx)
        decoded = decode(claim)
        unseen = [o for o in decoded.orders if isinstance(o, Deliver) and not o.admitted]
        verdicts = await tx.first_sight([(o.envelope.identity, o.envelope.content) for o in unseen]) if unseen else ()
        orders = sift(decoded, verdicts, claim.door)
        entities = await tx.load(refs_of(orders))
        if why := outdated(routes, entities, orders):
            # Until a program that is as new takes over: then nobody has to put anything right by hand.
            raise UnavailableError(why)
        changes = decide(routes, entities, orders, claim.now, door=claim.door, begun=decoded.changes, revive=revive)
        await tx.save(changes)
    return claim, changes
