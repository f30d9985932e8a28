"""What people order of held messages, and what becomes of an order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Protocol


class Reply(Enum):
    """What became of a person's order. GONE: the message is not held, or no more. BUSY: its line is on its way. BEHIND: others stand before it."""

    DONE = "done"
    GONE = "gone"
    BUSY = "busy"
    BEHIND = "behind"


class HeldLines(Protocol):
    """A person's side of the outbox. A line is what is held of one topic and key, in `seq` order; it lasts until all of it was sent or dropped.

    Orders are written down with a line in the audit; it is the shard's relay that sends. A line whose first message was never refused itself
    goes on without an order: what stood before it is gone.
    """

    async def retry(self, seqs: Collection[int], actor: str) -> Mapping[int, Reply]:
        """Send the lines of these messages, each from its first one on."""
        ...

    async def skip(self, seq: int, actor: str, reason: str) -> Reply:
        """Drop the first message of a line; what is behind it goes on."""
        ...

    async def close(self) -> None: ...
