"""The relay's side of the outbox: a position between two snapshots, moved under a lease with an epoch.

A number taken at INSERT is visible at COMMIT, and not in that order, so "everything after seq n" forgets whoever commits late. The position is a
pair of snapshots instead: what `hi` sees and `lo` does not is sent in the order of `seq`; then `lo` becomes `hi`. Nothing is passed over, nothing
is read twice, and an open transaction elsewhere delays its own rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from stream.adapters.postgres.columns import SHARDS, message_headers
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.core.errors import FencedError
from stream.core.share import share
from stream.ports import ROUND_BYTES, Leases, Outgoing, Refusal, Round

_BEHIND = ("behind", "an earlier message of its key is held")


@dataclass(frozen=True, slots=True)
class _Passage:
    """Where a round ends: within the snapshots up to `seq`, or at `hi`, which then is finished."""

    hi: str
    seq: int
    finished: bool


class PostgresOutbox:
    """See `ports.Outbox`. `owner` must be one process's own name: epochs are kept here, and a namesake's are taken over."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.connection = Connection(settings, keyed=True)
        self._owner = ""
        self._epochs: dict[int, int] = {}
        self._passages: dict[int, _Passage] = {}

    async def lease(self, owner: str, ttl: timedelta) -> Leases:
        self._owner = owner
        seen = (await self.connection.fetch("see_relay", owner, ttl))[0]
        mine = share(SHARDS, seen["earlier"], seen["others"] + 1)
        rows = await self.connection.fetch("lease_shards", owner, *self._known(), ttl, mine)
        self._epochs = {row["shard"]: row["epoch"] for row in rows}
        await self.connection.execute("release_shards", owner, sorted(self._epochs))
        await self.connection.execute("forget_relays", "")
        return Leases(sorted(self._epochs), mine)

    async def renew(self, owner: str, ttl: timedelta) -> None:
        await self.connection.fetch("see_relay", owner, ttl)
        await self.connection.execute("renew_shards", owner, *self._known(), ttl)

    def _known(self) -> tuple[list[int], list[int]]:
        return list(self._epochs), list(self._epochs.values())

    async def read(self, shard: int, limit: int) -> Round:
        while True:
            epoch = self._epoch(shard)
            rows = await self.connection.fetch("read_shard", shard, epoch, self._owner, limit, ROUND_BYTES)
            if not rows:
                raise self._lost(shard)
            found = [r for r in rows if r["seq"] is not None]
            within, half = bool(found) and (len(found) == limit or len(found) < found[0]["n"]), rows[0]["half"]
            self._passages[shard] = _Passage(rows[0]["hi"], found[-1]["seq"] if found else 0, not within)
            await self._pass_over([r["seq"] for r in found if r["held"]])
            free = [_outgoing(r) for r in found if not r["held"]]
            # After the end of a pass that was begun before, what was written since is to be had at once.
            round = Round(shard, epoch, free, more=within or half, within=within)
            if free or not (found or half):
                return round
            await self.advance(round, ())

    async def _pass_over(self, held: Sequence[int]) -> None:
        if held:
            await self.connection.execute("hold", held, [_BEHIND[0]] * len(held), [_BEHIND[1]] * len(held))

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        passage = self._passages[round.shard]
        async with self.connection.transaction("begin_plain"):
            if refused:
                await self._hold(round, refused)
            moved = await self.connection.execute("move_shard", round.shard, round.epoch, self._owner, passage.hi, passage.seq, passage.finished)
            if not moved:
                raise self._lost(round.shard)

    async def _hold(self, round: Round, refused: Sequence[Refusal]) -> None:
        """What was refused, and what came after it under the same topic and key."""
        by_seq = {r.seq: r for r in refused}
        closed: set[tuple[str, bytes]] = set()
        rows: list[tuple[int, str, str]] = []
        for row in round.rows:
            refusal = by_seq.get(row.seq)
            if (row.topic, row.key) in closed:
                rows.append((row.seq, *_BEHIND))
            elif refusal:
                closed.add((row.topic, row.key))
                rows.append((row.seq, refusal.reason, refusal.error))
        await self.connection.execute("hold", *([r[i] for r in rows] for i in range(3)))

    async def release(self, owner: str) -> None:
        self._epochs.clear()
        await self.connection.execute("release_shards", owner, [])
        await self.connection.execute("forget_relays", owner)

    async def close(self) -> None:
        await self.connection.close()

    def _epoch(self, shard: int) -> int:
        if shard not in self._epochs:
            raise FencedError((shard,))
        return self._epochs[shard]

    def _lost(self, shard: int) -> FencedError:
        self._epochs.pop(shard, None)
        return FencedError((shard,))


def _outgoing(row: asyncpg.Record) -> Outgoing:
    return Outgoing(row["seq"], row["topic"], row["key"], row["value"], message_headers(row["headers"]))
