"""Planted bugs: each puts one broken adapter into the world, and must be caught by some seed, or the oracles are worth nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

import msgspec

from stream.adapters.memory_database import Lease, MemoryDatabase, NoticeRow, Written
from stream.adapters.memory_log import MemoryLog
from stream.adapters.memory_notices import MemoryNotices
from stream.adapters.memory_outbox import MemoryOutbox, MemoryTimetable
from stream.adapters.memory_partitions import Place
from stream.adapters.memory_store import MemoryStore, MemoryTransaction
from stream.core.changes import Changes
from stream.core.entity import Entity
from stream.core.errors import UnavailableError, UncertainError
from stream.core.order import Claim, Order
from stream.core.outcome import Outcome, Reason, Verdict
from stream.core.record import Record, Ref, TopicPartition
from stream.ports import Outgoing, Refusal, Round, Slice
from stream.ports.notices import Delivery, Fate, Leased
from stream.ports.timetable import Feeds
from tests.simulation.wires import Session, WiredPublisher, WiredStore
from tests.simulation.world import Adapters


class Store(MemoryStore):
    """A store whose transactions are of another kind."""

    kind: type[MemoryTransaction] = MemoryTransaction

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[MemoryTransaction]:
        async with super().transaction() as tx:
            tx.__class__ = self.kind
            yield tx


def transacting(kind: type[MemoryTransaction]) -> Adapters:
    return Adapters(store=type(f"{kind.__name__}Store", (Store,), {"kind": kind}))


# -- partitions ------------------------------------------------------------------------------------------------------------------------


class Unfenced(MemoryTransaction):
    """No fence: neither epoch nor position is looked at."""

    def _held(self, slice: Slice) -> Place | None:
        return self._db.partitions.get(slice.place)


class Ungated(MemoryLog):
    """No gate: reading begins where the group's offsets say, and what is sought comes to nothing."""

    def take(self, places: Collection[TopicPartition], generation: int) -> None:
        super().take(places, generation)
        offsets = self._broker.group(self._group).offsets
        self._positions = {place: offsets.get(place, 0) for place in places}

    async def seek(self, place: TopicPartition, offset: int) -> None:
        self._mine(place)


class Forward(MemoryLog):
    """No seek back: a fetch whose reply is lost has moved the position."""

    fetched = 0

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        found = await super().fetch(place, limit=limit, within=within)
        self.fetched += bool(found)
        if found and self.fetched % 5 == 0:
            raise UnavailableError("the reply was lost")
        return found


class BlindStore(WiredStore):
    """An unknown COMMIT is taken for one that failed, and its batch goes again, past the fence."""

    async def _commit(self, session: Session) -> None:
        waiting = [fault for fault in self.program.faults if (fault.point, fault.action) == ("commit", "landed")]
        await super()._commit(session)
        if any(fault not in self.program.faults for fault in waiting):
            rows = self.inner.database.partitions
            for cut in session.slices:
                rows[cut.place] = replace(rows[cut.place], next_offset=cut.start)
            raise UnavailableError("nobody knows what became of it")


# -- what a transaction writes ---------------------------------------------------------------------------------------------------------


class Forgetful(MemoryTransaction):
    """Identities are noted after the effects, by the next transaction."""

    def _sight(self, key: bytes, content: bytes) -> Verdict:
        known = next((generation[key] for generation in self._db.inbox if key in generation), None)
        if known is None:
            _late.setdefault(self._db, {})[key] = content
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if known == content else Verdict.CONFLICT

    async def claim_partitions(self, slices: Sequence[Slice]) -> Claim:
        self._db.inbox[0].update(_late.pop(self._db, {}))
        return await super().claim_partitions(slices)


_late: WeakKeyDictionary[MemoryDatabase, dict[bytes, bytes]] = WeakKeyDictionary()


class Swallowing(MemoryTransaction):
    """What nobody can read leaves no letter."""

    async def save(self, changes: Changes) -> None:
        changes.dead[:] = [letter for letter in changes.dead if letter.reason is not Reason.UNDECODABLE]
        await super().save(changes)


class Bare(MemoryTransaction):
    """Parked without its bytes."""

    async def save(self, changes: Changes) -> None:
        for waiting in changes.lines:
            if waiting.outcome is Outcome.PARKED:
                waiting.record = msgspec.structs.replace(waiting.record, value=b"")
        await super().save(changes)


class Outside(MemoryTransaction):
    """Messages are written beside the transaction: what is rolled back was said nevertheless."""

    async def save(self, changes: Changes) -> None:
        messages, changes.messages = changes.messages, []
        await super().save(changes)
        for message in messages:
            self._db.outbox[self._db.number("outbox")] = Written(message, self._db.now())
        changes.messages = messages


# -- people and owners -----------------------------------------------------------------------------------------------------------------


class Apart(MemoryTransaction):
    """Notices are written beside the transaction: of what is rolled back an owner is told nevertheless, and once more when it is done again."""

    async def save(self, changes: Changes) -> None:
        notices, changes.notices = changes.notices, []
        await super().save(changes)
        for notice in notices:
            self._db.notices[self._db.number("notice")] = NoticeRow(notice, self._db.clock(), self._db.clock())
        changes.notices = notices


class Lingering(MemoryTransaction):
    """Leaving a state closes no task that was asked in an earlier batch."""

    async def save(self, changes: Changes) -> None:
        closed, changes.closed = changes.closed, []
        await super().save(changes)
        changes.closed = closed


class Settling(MemoryNotices):
    """A notice counts as sent once somebody has it in hand."""

    async def lease(self, ttl: timedelta, limit: int, busy: Collection[str]) -> Sequence[Leased]:
        found = await super().lease(ttl, limit, busy)
        for leased in found:
            await super().settle(leased, Delivery(Fate.SENT))
        return found


# -- timers ----------------------------------------------------------------------------------------------------------------------------


class Early(MemoryTimetable):
    """No feed ever lags behind: what is due by the clock fires."""

    async def feeds(self) -> Feeds:
        look = await super().feeds()
        return replace(look, partitions=[replace(feed, drained_at=look.now) for feed in look.partitions], unsent={})


class Remembering(MemoryTimetable):
    """For `Stale`: what was set when the ticker looked."""

    async def due(self, until: Mapping[str, datetime], limit: int) -> Sequence[tuple[Ref, datetime]]:
        found = await super().due(until, limit)
        _looked[self._db] = {key: timer.due for key, timer in self._db.timers.items() if timer.due is not None}
        return found


class Stale(MemoryTransaction):
    """A timer fires as it was when the ticker looked, whatever became of it since."""

    _fires: Sequence[Order] = ()

    async def claim_timers(self, fires: Sequence[Order]) -> Claim:
        self._fires = fires
        return await super().claim_timers(fires)

    async def load(self, refs: Collection[Ref]) -> Mapping[Ref, Entity]:
        found = await super().load(refs)
        for (ref, name), due in _looked.get(self._db, {}).items() if self._fires else ():
            if ref in found:
                found[ref].timers.setdefault(name, due)
        return found


_looked: WeakKeyDictionary[MemoryDatabase, dict[tuple[Ref, str], datetime]] = WeakKeyDictionary()

# -- relays ----------------------------------------------------------------------------------------------------------------------------


class Hasty(MemoryOutbox):
    """The position moves before the broker has acknowledged anything."""

    async def read(self, shard: int, limit: int) -> Round:
        round = await super().read(shard, limit)
        if round.rows:
            await super().advance(round, ())
        return round

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None: ...


class Timeless(MemoryOutbox):
    """A lease without an epoch: whoever once had a shard moves it for ever."""

    def _lease(self, shard: int) -> Lease:
        return self._db.leases.get(shard, Lease())

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        self._db.leases[round.shard] = replace(self._lease(round.shard), seq=self._ends[round.shard])


class Trusting(WiredPublisher):
    """A send with an unknown end is taken for one that landed."""

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        try:
            return await super().publish(batch)
        except UncertainError:
            return ()


BUGS: Mapping[str, Adapters] = {
    "no fence": transacting(Unfenced),
    "no gate": Adapters(log=Ungated),
    "no seek back": Adapters(log=Forward),
    "unknown commit redone blindly": Adapters(wired_store=BlindStore),
    "inbox after effect": transacting(Forgetful),
    "swallowed decode error": transacting(Swallowing),
    "parked without bytes": transacting(Bare),
    "messages beside the transaction": transacting(Outside),
    "notices beside the transaction": transacting(Apart),
    "task left open": transacting(Lingering),
    "notice settled before it was told": Adapters(notices=Settling),
    "clock ahead of its feeds": Adapters(timetable=Early),
    "timer without a second look": replace(transacting(Stale), timetable=Remembering),
    "position before acknowledgement": Adapters(outbox=Hasty),
    "lease without epoch": Adapters(outbox=Timeless),
    "uncertain send taken for sent": Adapters(wired_publisher=Trusting),
}
