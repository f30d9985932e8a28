"""Which partitions are ours now, and what of each is fetched but not yet committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import structlog

from stream.core.record import Record, TopicPartition
from stream.ports import Slice
from stream.runtime.waiting import Bell


class Holding:
    """One partition between its assignment and its revocation.

    The reader fills the slot, the lane takes from its front; what was taken stays known only to the lane until it is committed or lost.
    `next_offset` is the stored position; None: to be adopted (again) before anything is read.
    """

    def __init__(self, place: TopicPartition, generation: int) -> None:
        self.place, self.generation = place, generation
        self.live, self.halted = True, False
        self.epoch = 0
        self.next_offset: int | None = None
        self.taken = False
        self.drained_at: datetime | None = None
        self.room = Bell()
        self._records: Sequence[Record] = ()
        self._start = self._end = 0

    @property
    def full(self) -> bool:
        return self._end > self._start

    def open(self, epoch: int, next_offset: int) -> None:
        """Adopted and sought: the slot is empty and starts at the stored position."""
        self.epoch, self.next_offset = epoch, next_offset
        self._records, self._start, self._end, self.drained_at = (), next_offset, next_offset, None

    def put(self, records: Sequence[Record], end: int) -> None:
        """Fill the empty slot; `end` is the log position after it, and may lie beyond the last record (or alone: a gap)."""
        self._records, self._end = records, end

    def take(self, most: int, most_bytes: int) -> Slice | None:
        """What fits of the slot, in order; at least one record. None when there is nothing, or an earlier part is not committed yet."""
        if not self.full or self.taken or self.next_offset is None or not self.live:
            return None
        n = _fitting(self._records, most, most_bytes)
        part, self._records = self._records[:n], self._records[n:]
        end = part[-1].offset + 1 if self._records else self._end
        cut = Slice(self.place, self.epoch, self._start, end, part)
        self._start, self.taken = end, True
        if not self.full:
            self.room.ring()
        return cut

    def committed(self, end: int) -> None:
        """Ignored for what was lost meanwhile: the position is somebody else's word then."""
        if self.taken:
            self.next_offset, self.taken = end, False

    def lost(self) -> None:
        """Fenced: drop everything; the reader adopts again if the partition is still assigned."""
        self.next_offset, self.taken, self.drained_at = None, False, None
        self._records, self._end = (), self._start
        self.room.ring()

    def let_go(self) -> None:
        self.live = False
        self.lost()


def _fitting(records: Sequence[Record], most: int, most_bytes: int) -> int:
    size = 0
    for n, record in enumerate(records):
        size += len(record.value or b"") + len(record.key or b"")
        if n >= most or (n and size > most_bytes):
            return n
    return len(records)


class Holdings:
    """The group's assignment as this member has it: the client's callbacks write it, readers and lanes look at it."""

    def __init__(self, arrived: Callable[[Holding], None]) -> None:
        self._arrived = arrived
        self.places: dict[TopicPartition, Holding] = {}

    def assigned(self, places: Collection[TopicPartition], generation: int) -> None:
        self.revoked(places)
        structlog.get_logger("stream").info("partitions assigned", partitions=len(places), generation=generation)
        for place in sorted(places):
            holding = self.places[place] = Holding(place, generation)
            self._arrived(holding)

    def revoked(self, places: Collection[TopicPartition]) -> None:
        gone = [held for place in places if (held := self.places.pop(place, None))]
        if gone:
            # `busy`: what was fetched of them, or is on its way to a commit, is dropped and read again by the next owner.
            busy = sum(held.taken or held.full for held in gone)
            structlog.get_logger("stream").info("partitions revoked", partitions=len(gone), busy=busy)
        for held in gone:
            held.let_go()

    def holding(self, cut: Slice) -> Holding | None:
        """The partition a slice was cut from; None when it is ours no more, also if it came back and was adopted anew."""
        held = self.places.get(cut.place)
        return held if held and held.epoch == cut.epoch else None

    def of_lane(self, lane: int, lanes: int) -> list[Holding]:
        """Same partition number, same lane: entities keyed alike in two topics meet in one connection, not in a lock."""
        return [h for h in self.places.values() if h.place.partition % lanes == lane]
