"""What stands on the topics and what the outbox says, side by side in a temporary SQLite file, and where the two differ.

The file is SQLite's own temporary one: it has no name, lies where `TMPDIR` says, and is gone with the connection. Memory stays as it is however
long the topics are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from stream.adapters.postgres.statements import statements
from stream.core.record import Header, Record

KINDS = ("missing", "uncommitted", "changed", "reordered", "twofold", "gap")
"""What can be found, each by the statement of its name."""
_SQL = statements("stream.ops", "spool.sql")
_REMEMBERED = 100_000
_NEVER = 1 << 62
_pack = msgspec.msgpack.Encoder().encode


class Lane(msgspec.Struct, frozen=True):
    """What is counted: one emitter's messages into one topic under one key."""

    topic: str
    emitter: str
    key: bytes


class Said(msgspec.Struct, frozen=True):
    """A message as it was committed, or as it stands on a topic. `number` 0: it says none that can be read."""

    lane: Lane
    number: int
    id: str
    digest: bytes


class Finding(msgspec.Struct):
    """Where outbox and topic differ. Of a gap, `number` is its first and `seq` its last; `written` is in milliseconds since the epoch."""

    kind: str
    topic: str
    partition: int | None
    at: int | None
    seq: int | None
    emitter: str
    key: bytes
    number: int
    id: str
    written: int | None


def said(topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> Said:
    """By its own headers, whoever wrote it: what cannot be read is empty, or 0."""
    named = dict(headers)
    lane = Lane(topic, _text(named, "ce_emitter"), key or b"")
    return Said(lane, _number(named.get("ce_sequence") or b""), _text(named, "ce_id"), digest(topic, key, value, headers))


def said_of(record: Record) -> Said:
    return said(record.topic, record.key, record.value, record.headers)


def is_ours(record: Record, app: str) -> bool:
    """Whether an entity of this App is said to have written it."""
    named = dict(record.headers)
    return "ce_emitter" in named and (named.get("ce_source") or b"").startswith(f"/{app}/".encode())


def digest(topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> bytes:
    """16 bytes over all that a consumer sees but the time."""
    whole = topic, key, value, [(name.encode("utf-8", "surrogateescape"), said) for name, said in headers]
    return blake2b(_pack(whole), digest_size=16).digest()


def _number(said: bytes) -> int:
    """0 also for one that no counter reaches."""
    number = int(said) if said.isdigit() and len(said) <= 20 else 0
    return number if number < _NEVER else 0


def _text(named: Mapping[str, bytes | None], name: str) -> str:
    return (named.get(name) or b"").decode("utf-8", "replace")


class Spool:
    """First everything is put in, then `settle` is called once, then it is asked."""

    def __init__(self) -> None:
        self._link = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -16384"):
            self._link.execute(f"pragma {pragma}")
        self._link.executescript(_SQL["make"])
        self._lanes: dict[Lane, int] = {}
        self._aged = False

    def close(self) -> None:
        self._link.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_records(self, records: Iterable[tuple[Said, int, int]]) -> None:
        """What stands on topics, with partition and offset, in the order of each log."""
        self._many("add_records", ((self._lane(s.lane), s.number, s.id, s.digest, partition, at) for s, partition, at in records))

    def add_messages(self, messages: Iterable[tuple[int, Said, int, str]]) -> None:
        """Rows of the outbox: number in it, when written, and `due` or `unsent`."""
        self._many("add_messages", self._messages(messages))

    def add_held(self, messages: Iterable[tuple[int, Said, int, str]]) -> None:
        """Held ones: `held`, `skipped` or `due`; what they say of a row of the outbox goes before what it says itself."""
        self._many("add_held", self._messages(messages))

    def count_said(self, counts: Iterable[tuple[Lane, int]]) -> None:
        """How far entities have counted."""
        self._many("count_said", ((count, self._lane(lane)) for lane, count in counts))

    def add_topic(self, name: str, *, trimmed: bool, since: int) -> None:
        """A topic that was read; when `trimmed`, it proves only what was written from `since` on."""
        self._link.execute(_SQL["add_topic"], (name, trimmed, since))

    def settle(self, begin: int, since: int | None) -> None:
        """Everything is in. The outbox begins at `begin`: before it, or before the first message `since`, it proves nothing."""
        self._link.execute(_SQL["forget_later"], (begin,))
        if since is not None:
            first = self._link.execute(_SQL["first_since"], (since,)).fetchone()[0]
            begin = max(begin, first or _NEVER)
        self._aged = begin > 0
        self._link.execute(_SQL["forget"], (begin,))
        self._link.execute(_SQL["disown"], (begin,))
        self._link.executescript(_SQL["index"])
        self._link.execute(_SQL["find_strangers"], (self._aged,))

    def findings(self, kind: str) -> Iterator[tuple[bool, Finding]]:
        """With each, whether it is proven, or may be a matter of age."""
        rows = self._link.execute(_SQL[kind], (self._aged,) if kind == "gap" else ())
        for proven, *values in rows:
            yield bool(proven), Finding(kind, *values)

    def totals(self) -> list[dict[str, Any]]:
        """Of each topic: records, repeats, messages, unsent, held, skipped."""
        cursor = self._link.execute(_SQL["totals"])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def reach(self) -> int | None:
        """When the oldest message was written that the outbox still has; None where it has all, or none."""
        found = self._link.execute(_SQL["reach"]).fetchone() if self._aged else None
        return int(found[0]) if found else None

    def _messages(self, messages: Iterable[tuple[int, Said, int, str]]) -> Iterator[tuple[object, ...]]:
        return ((seq, self._lane(s.lane), s.number, s.id, s.digest, written, status) for seq, s, written, status in messages)

    def _lane(self, lane: Lane) -> int:
        found = self._lanes.get(lane)
        if found is None:
            if len(self._lanes) >= _REMEMBERED:
                self._lanes.clear()
            named = lane.topic, lane.emitter, lane.key
            self._link.execute(_SQL["add_lane"], named)
            found = self._lanes[lane] = int(self._link.execute(_SQL["lane"], named).fetchone()[0])
        return found

    def _many(self, name: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._link.execute("begin")
        self._link.executemany(_SQL[name], list(rows))
        self._link.execute("commit")
