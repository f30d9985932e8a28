"""Planted bugs of the other half: each takes one rule away by which people are asked, answer and are told once, and numbers come in order."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from stream.adapters.postgres import columns
from stream.adapters.postgres.connection import Connection
from stream.adapters.postgres.notices import PostgresNotices
from stream.adapters.postgres.store import PostgresStore, PostgresTransaction
from stream.core import asking, booking
from stream.core.changes import Changes, Notice
from stream.ports.notices import Delivery, Fate, Leased
from tests.chaos.bugs import Plant, cut


def closed_task_answered(patch: pytest.MonkeyPatch) -> None:
    """The task's row is not the receipt of its answer."""
    cut(patch, "tasks", " and t.status = 'open'")


def task_left_open(patch: pytest.MonkeyPatch) -> None:
    """Leaving a state closes no task."""

    def stays(*_: object) -> None: ...

    patch.setattr(asking, "left", stays)


def notice_apart(patch: pytest.MonkeyPatch) -> None:
    """What owners are to be told is written in a transaction of its own, after that of the state."""
    begin, save = PostgresStore.transaction, PostgresTransaction.save
    late: weakref.WeakKeyDictionary[Connection, list[Notice]] = weakref.WeakKeyDictionary()

    async def without(self: PostgresTransaction, changes: Changes) -> None:
        late[vars(self)["_connection"]] = changes.notices
        changes.notices = []
        await save(self, changes)

    @asynccontextmanager
    async def transaction(self: PostgresStore) -> AsyncGenerator[PostgresTransaction]:
        late.pop(self.connection, None)
        async with begin(self) as tx:
            yield tx
        if notices := late.pop(self.connection, None):
            await self.connection.execute("add_notices", *columns.notice_columns(notices))

    patch.setattr(PostgresTransaction, "save", without)
    patch.setattr(PostgresStore, "transaction", transaction)


def settled_before_told(patch: pytest.MonkeyPatch) -> None:
    """A notice counts as sent once somebody has it in hand."""
    lease: Any = PostgresNotices.lease

    async def settling(self: PostgresNotices, ttl: timedelta, limit: int, busy: Collection[str]) -> Sequence[Leased]:
        found: Sequence[Leased] = await lease(self, ttl, limit, busy)
        for leased in found:
            await self.settle(leased, Delivery(Fate.SENT))
        return found

    patch.setattr(PostgresNotices, "lease", settling)


def out_of_turn(patch: pytest.MonkeyPatch) -> None:
    """Numbers are taken as they come."""

    def anybody(*_: object) -> None: ...

    patch.setattr(booking, "turn", anybody)


BUGS: Mapping[str, Plant] = {
    "closed task answered": closed_task_answered,
    "task left open": task_left_open,
    "notice written apart": notice_apart,
    "notice settled before it was told": settled_before_told,
    "number out of turn": out_of_turn,
}
