"""Notices that wait, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from stream.adapters.memory_database import MemoryDatabase
from stream.ports.notices import Delivery, Fate, Leased

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


class MemoryNotices:
    """See `ports.notices.Notices`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    async def lease(self, ttl: timedelta, limit: int, busy: Collection[str]) -> Sequence[Leased]:
        db = self.database
        async with db.alone():
            now = db.clock()
            due = [(row.next, id) for id, row in db.notices.items() if row.status == "waiting" and row.next <= now and row.notice.target not in busy]
            found: list[Leased] = []
            for _, id in sorted(due)[:limit]:
                row = db.notices[id] = replace(db.notices[id], attempts=db.notices[id].attempts + 1, next=now + ttl)
                found.append(Leased(id, row.attempts, row.notice))
            return sorted(found, key=lambda leased: leased.id)

    async def settle(self, leased: Leased, delivery: Delivery) -> None:
        db, sent = self.database, delivery.fate is Fate.SENT
        async with db.alone():
            row, now = db.notices[leased.id], db.clock()
            if row.status != "waiting" or not (sent or row.attempts == leased.attempt):
                return
            ended = delivery.fate is Fate.NEVER or row.written < now - _DAY
            wait = min(timedelta(seconds=2 ** min(row.attempts, 12)), _HOUR) * (0.75 + leased.id % 100 / 200)
            status = "sent" if sent else "failed" if ended else "waiting"
            db.notices[leased.id] = replace(row, status=status, error=delivery.error, next=now + max(wait, delivery.wait))

    async def close(self) -> None:
        """Nothing to let go of."""
