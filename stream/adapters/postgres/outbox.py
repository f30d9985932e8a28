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
from stream.adapters.postgres.held import hold, settle
from stream.core.errors import FencedError
from stream.core.share import share
from stream.ports import ROUND_BYTES, Leases, Outgoing, Refusal, Round


@dataclass(frozen=True, slots=True)
class _Passage:
    """Where a round ends: within the snapshots up to `seq`, or at `hi`, which then is finished. `passed`: rows that go to their lines."""

    hi: str
    seq: int
    finished: bool
    passed: Sequence[Outgoing]


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
            if rows[0]["again"]:
                return await self._read_lines(shard, epoch, limit)
            found = [r for r in rows if r["seq"] is not None]
            within, half = bool(found) and (len(found) == limit or len(found) < found[0]["n"]), rows[0]["half"]
            passed = [_outgoing(r) for r in found if r["held"]]
            self._passages[shard] = _Passage(rows[0]["hi"], found[-1]["seq"] if found else 0, not within, passed)
            free = [_outgoing(r) for r in found if not r["held"]]
            # After the end of a pass that was begun before, what was written since is to be had at once.
            round = Round(shard, epoch, free, more=within or half, within=within)
            if free or not (found or half):
                return round
            await self.advance(round, ())

    async def _read_lines(self, shard: int, epoch: int, limit: int) -> Round:
        rows = await self.connection.fetch("read_lines", shard, limit, ROUND_BYTES)
        return Round(shard, epoch, [_outgoing(r) for r in rows], more=True, within=True, again=True)

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        async with self.connection.transaction("begin_plain"):
            if round.again:
                await self._fence(round)
                await settle(self.connection, round, refused)
            else:
                await self._move(round, refused, self._passages[round.shard])

    async def _move(self, round: Round, refused: Sequence[Refusal], passage: _Passage) -> None:
        """Messages enter their lines in the transaction that moves the position past them: each is unsent, or sent, or held."""
        if refused or passage.passed:
            await self._fence(round)
            await hold(self.connection, round, refused, passage.passed)
        place = (round.shard, round.epoch, self._owner)
        if not await self.connection.execute("move_shard", *place, passage.hi, passage.seq, passage.finished):
            raise self._lost(round.shard)

    async def _fence(self, round: Round) -> None:
        if not await self.connection.fetch("fence_shard", round.shard, round.epoch, self._owner):
            raise self._lost(round.shard)

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
