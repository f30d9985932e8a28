"""Is a log still the one that was read? By its id, by its ends, and by records that were read and must stand where they stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from stream.core.errors import UnavailableError, UnreadableBatchError
from stream.core.halt import HaltReason, Seen, outside
from stream.core.record import Record, TopicPartition, fingerprint
from stream.ports import Log

WITHIN = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Mark:
    """A record that was read: where it stood, and what it was."""

    offset: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong, if anything. `proven`: a record that was read stands where it stood, so this is the log it came from."""

    reason: HaltReason | None
    seen: Seen
    proven: bool


async def look(log: Log, place: TopicPartition, position: int, known_id: str | None) -> Seen:
    """The position beside the log as it is now."""
    topic = await log.topic(place.topic)
    begin, end = await log.bounds(place)
    return Seen(position, begin=begin, end=end, topic_id=topic.id or "", known_id=known_id or "")


async def compare(log: Log, place: TopicPartition, seen: Seen, marks: Sequence[Mark]) -> Found:
    """Judge a look, reading the marks again, the newest first. Leaves the log's position anywhere: whoever calls must seek."""
    reason, proven = outside(seen), False
    for mark in marks:
        record = await _at(log, place, mark.offset) if _within(seen, mark.offset) else None
        if record is None:
            continue
        is_now = fingerprint(record)
        if is_now == mark.fingerprint:
            proven = True
        elif reason is None:
            differs = msgspec.structs.replace(seen, offset=mark.offset, expected=mark.fingerprint.hex(), found=is_now.hex())
            return Found(HaltReason.TRUNCATED, differs, proven)
    return Found(reason, seen, proven)


def _within(seen: Seen, offset: int) -> bool:
    return seen.begin is not None and seen.end is not None and seen.begin <= offset < seen.end


async def _at(log: Log, place: TopicPartition, offset: int) -> Record | None:
    """The record at an offset; None where it was compacted away, or its batch cannot be read: both prove nothing."""
    await log.seek(place, offset)
    try:
        found = await log.fetch(place, limit=1, within=WITHIN)
    except UnreadableBatchError:
        return None
    if not found and await log.position(place) <= offset:
        raise UnavailableError(f"the log does not say which record is at {offset}")
    return found[0] if found and found[0].offset == offset else None
