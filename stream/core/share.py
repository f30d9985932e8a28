"""How shards are divided among relays: by rank, so that nothing moves between two relays that stay."""

from __future__ import annotations


def share(shards: int, rank: int, relays: int) -> int:
    """How many of `shards` fall to the relay of this rank among so many; rank 0 is there longest.

    All shares together are all shards. Who comes takes the last rank, so the shares of the others only shrink; when one leaves they only grow.
    """
    return (shards - rank + relays - 1) // relays
