"""The notifier's side of the store, and whoever carries a notice to its owner."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from stream.core.changes import Notice


@dataclass(frozen=True, slots=True)
class Leased:
    """A notice to send now, for the `attempt`-th time, counted from 1."""

    id: int
    attempt: int
    notice: Notice


class Fate(StrEnum):
    """What became of an attempt."""

    SENT = "sent"
    AGAIN = "again"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Delivery:
    """`error` says why not; `wait` is what the target asked for at least."""

    fate: Fate
    error: str = ""
    wait: timedelta = timedelta(0)


class Notices(Protocol):
    """Notices that wait, over one connection. Between two notices there is no order, and no promise of one."""

    async def lease(self, ttl: timedelta, limit: int, busy: Collection[str]) -> Sequence[Leased]:
        """The longest due, none for a target of `busy`. For `ttl` nobody else is given them; then they are due again."""
        ...

    async def settle(self, leased: Leased, delivery: Delivery) -> None:
        """What became of it. AGAIN: due again after a wait that grows with each attempt, until it is given up as failed after a day.

        Of one that somebody else was given meanwhile, only that it was sent is believed.
        """
        ...

    async def close(self) -> None: ...


class Messenger(Protocol):
    """Carries notices of one channel."""

    async def send(self, leased: Leased) -> Delivery:
        """One attempt, ended within seconds. Raises nothing."""
        ...

    async def close(self) -> None: ...
