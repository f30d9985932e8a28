"""Notices that wait, in PostgreSQL: whoever is given one has it for a while, and no row waits for another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from stream.adapters.postgres import columns as col
from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.ports.notices import Delivery, Leased

_MOST = 1000
"""Characters of an error that are kept."""


class PostgresNotices:
    """See `ports.notices.Notices`."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.connection = Connection(settings, keyed=True)

    async def lease(self, ttl: timedelta, limit: int, busy: Collection[str]) -> Sequence[Leased]:
        rows = await self.connection.fetch("lease_notices", ttl, limit, list(busy))
        return sorted((Leased(row["id"], row["attempts"], col.notice_of(row)) for row in rows), key=lambda leased: leased.id)

    async def settle(self, leased: Leased, delivery: Delivery) -> None:
        error = col.clean(delivery.error)[:_MOST]
        await self.connection.execute("settle_notice", leased.id, leased.attempt, delivery.fate.value, error, delivery.wait)

    async def close(self) -> None:
        await self.connection.close()
