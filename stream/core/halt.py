"""Halted partitions: why one is not read, what was seen, and what a person can choose.

A partition halts where reading on would pass something over in silence, or could never succeed. It stays halted, whoever owns it, until a
person decides; nothing is ever set back by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from stream.core.errors import ConfigurationError
from stream.core.record import TopicPartition


class HaltReason(StrEnum):
    """Closed: the store refuses any other."""

    OVERRUN = "overrun"
    OFFSET_AHEAD = "offset_ahead"
    TRUNCATED = "truncated"
    MADE_ANEW = "made_anew"
    PARTITION_ADDED = "partition_added"
    UNREADABLE_BATCH = "unreadable_batch"
    REFUSED = "refused"


ANOTHER_LOG = frozenset({HaltReason.OFFSET_AHEAD, HaltReason.TRUNCATED, HaltReason.MADE_ANEW})
"""The log is not the one that was read: its offsets mean other records than the ones applied."""
COMPARED = ANOTHER_LOG | {HaltReason.OVERRUN}
"""Found by comparing the position with the log, so a later comparison can prove that all is well (other settings, the right cluster)."""

MEANS: Mapping[HaltReason, str] = {
    HaltReason.OVERRUN: "records were deleted before they were read",
    HaltReason.OFFSET_AHEAD: "the log ends before the position: it was truncated, or is another one",
    HaltReason.TRUNCATED: "another record stands where the last one applied was: the log was truncated and has grown again",
    HaltReason.MADE_ANEW: "the topic was made anew: it has another id than the one that was read",
    HaltReason.PARTITION_ADDED: "the topic has grown by this partition: keys have moved to it from others",
    HaltReason.UNREADABLE_BATCH: "the next batch cannot be read",
    HaltReason.REFUSED: "the database refuses the next record, and even its parking",
}


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was seen at the halt; what the reason is not about is left out.

    `offset`: of the record that differs, or is refused; `expected` and `found` are fingerprints in hexadecimal. `partitions`: how many the
    topic had when it was first adopted. `fault`: what is wrong with the batch, or the database's own code (SQLSTATE).
    """

    position: int
    begin: int | None = None
    end: int | None = None
    topic_id: str = ""
    known_id: str = ""
    offset: int | None = None
    expected: str = ""
    found: str = ""
    partitions: int | None = None
    batch_start: int | None = None
    batch_end: int | None = None
    fault: str = ""


class Halt(msgspec.Struct, frozen=True):
    """A partition that is not read. `since` also tells it from any other halt of the partition; `owner` noticed it."""

    reason: HaltReason
    seen: Seen
    since: datetime
    owner: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How a halted partition goes on, by whom and why. Holds only while it is halted as `halt` says, at `position`.

    `forget`: the log is another one than was read, so the last record applied proves nothing about it any more.
    """

    place: TopicPartition
    halt: Halt
    position: int
    target: int
    forget: bool
    actor: str
    reason: str

    def before(self) -> bytes:
        """For the audit, JSON."""
        return msgspec.json.encode({"position": self.position, "halt": self.halt})

    def after(self) -> bytes:
        """For the audit, JSON."""
        return msgspec.json.encode({"position": self.target, "forget": self.forget})


def outside(seen: Seen) -> HaltReason | None:
    """What is wrong with a log by its id and its ends; only its records can tell more. Where nothing was read, nothing can be wrong."""
    if seen.known_id and seen.topic_id and seen.known_id != seen.topic_id and seen.position > 0:
        return HaltReason.MADE_ANEW
    if seen.begin is not None and seen.position < seen.begin:
        return HaltReason.OVERRUN
    if seen.end is not None and seen.position > seen.end:
        return HaltReason.OFFSET_AHEAD
    return None


# -- choices -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """`at` is what follows `--at`, empty for none; `text` says what it does."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a partition and its log stand at the moment of choosing."""

    position: int
    begin: int
    end: int


_AGAIN = "read the log from its beginning; events that were applied before are known and passed over"
_LATEST = "go on after what the log holds now: none of it is read"
_OWN = "go on at an offset of your own, between the log's begin and its end"


def choices(halt: Halt) -> Sequence[Choice]:
    """What makes sense for this halt, the most careful first."""
    match halt.reason:
        case HaltReason.OVERRUN:
            first = Choice(
                "begin", "go on where the log begins now: what was deleted is given up. Events sent again by their source are taken as usual"
            )
            return first, Choice("end", _LATEST), Choice("OFFSET", _OWN)
        case HaltReason.PARTITION_ADDED:
            text = "take it: read it from its first record. Best when the topic's other partitions have no lag, since keys moved here from them"
            return Choice("", text), Choice("end", _LATEST), Choice("OFFSET", _OWN)
        case HaltReason.UNREADABLE_BATCH:
            text = "try the batch again, after the broker's copy was repaired or with a release that can read it"
            return Choice("", text), Choice("batch-end", "go on after the batch: its records are given up"), Choice("end", _LATEST)
        case HaltReason.REFUSED:
            text = "try the record again, after what the database refused was mended"
            return Choice("", text), Choice(str(_past(halt)), "go on after the record: it is given up"), Choice("end", _LATEST)
        case _:
            return Choice("begin", _AGAIN), Choice("end", _LATEST), Choice("OFFSET", _OWN)


def target(halt: Halt, at: str, stand: Stand) -> int:
    """The offset a choice means. Raises `ConfigurationError` with what to choose instead where it makes no sense."""
    named = {"": stand.position, "begin": stand.begin, "end": stand.end, "batch-end": halt.seen.batch_end}
    if at not in named and not (at.isascii() and at.isdigit()):
        raise ConfigurationError(f"--at {at!r}: say begin, end, batch-end or an offset")
    wanted = named[at] if at in named else int(at)
    if wanted is None:
        raise ConfigurationError(f"--at batch-end: no batch is in the way, {MEANS[halt.reason]}")
    if fault := _senseless(halt, at, wanted, stand):
        sensible = ", ".join(f"--at {c.at}" if c.at else "no --at" for c in choices(halt))
        raise ConfigurationError(f"{fault}; what makes sense: {sensible}")
    return wanted


def _senseless(halt: Halt, at: str, wanted: int, stand: Stand) -> str:
    if not at and halt.reason in COMPARED:
        return f"it cannot go on as it stands, at {stand.position}: {MEANS[halt.reason]}"
    if not stand.begin <= wanted <= stand.end:
        return f"the log holds offsets {stand.begin} up to {stand.end}: {wanted} is not in it"
    if wanted != stand.position and wanted < _past(halt):
        return f"from {wanted} on it would come to the same place again: {MEANS[halt.reason]}"
    return ""


def _past(halt: Halt) -> int:
    """The first offset beyond what is in the way; 0 where nothing is."""
    seen = halt.seen
    if halt.reason is HaltReason.UNREADABLE_BATCH and seen.batch_end is not None:
        return seen.batch_end
    if halt.reason is HaltReason.REFUSED:
        return (seen.position if seen.offset is None else seen.offset) + 1
    return 0


@dataclass(frozen=True, slots=True)
class Preview:
    """What a decision does, in offsets (gaps included): `skipped` are not read, `again` are read a second time, `gone` no longer exist."""

    before: int
    after: int
    skipped: int
    again: int
    gone: int


def preview(reason: HaltReason, stand: Stand, after: int) -> Preview:
    """Of another log nothing was read yet: skipped is counted from where it begins."""
    if reason in ANOTHER_LOG:
        return Preview(stand.position, after, after - stand.begin, 0, 0)
    gone = max(0, min(stand.begin, after) - stand.position)
    return Preview(stand.position, after, max(0, after - stand.position - gone), max(0, stand.position - after), gone)
