"""Doors: the ways to claim a batch, one per source of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stream.core.changes import Changes
from stream.core.order import Answer, Claim, Fire, Lift, Move, Release, Retry, Steer
from stream.core.record import Record
from stream.pipeline import Door
from stream.ports import Slice, Store, Transaction

Carry: TypeAlias = Callable[[Door, Store, str], Awaitable[tuple[Claim, Changes]]]
"""`process` with the application's decoding and routes filled in. The text is a fault for every event of the batch (empty: none)."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """Fetched records; the receipt is the fence on each partition's row."""

    slices: Sequence[Slice]

    async def claim(self, tx: Transaction) -> Claim:
        return await tx.claim_partitions(self.slices)


@dataclass(frozen=True, slots=True)
class Timers:
    """Entities with something due; the receipt is the timer row, seen under its entity's lock."""

    fires: Sequence[Fire]

    async def claim(self, tx: Transaction) -> Claim:
        return await tx.claim_timers(self.fires)


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters that a person replays; those already closed are left out of the claim."""

    ids: Sequence[int]
    actor: str

    async def claim(self, tx: Transaction) -> Claim:
        return await tx.claim_letters(self.ids, self.actor)


@dataclass(frozen=True, slots=True)
class Lines:
    """A person's orders on parked lines."""

    retries: Sequence[Retry]

    async def claim(self, tx: Transaction) -> Claim:
        return await tx.claim_orders("replay", self.retries)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a person says of entities: events by hand, which concern whom they say, and orders on single ones."""

    records: Sequence[Record] = ()
    orders: Sequence[Move | Answer | Steer | Release | Lift] = ()

    async def claim(self, tx: Transaction) -> Claim:
        return await tx.claim_orders("desk", self.orders, self.records)
