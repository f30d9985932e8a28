"""The proof that outbox and topics agree: what is noted, then read, then compared.

Theory of operation. Relays may be at work, so the order decides. First the positions of the shards and the clock are noted: what they have passed
was acknowledged before, or is held. Then the ends of the logs: all of that stands before them. Then the topics are read up to these ends, then
how far each entity has counted, then a snapshot is taken, and the outbox read as it sees it: whatever stands before the ends was committed by then.
What is committed, sent, held or dropped meanwhile is therefore no difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import anyio
import orjson

from stream.adapters.kafka.admin import Existing, KafkaAdmin
from stream.adapters.kafka.sweep import Span, Sweep
from stream.adapters.postgres.columns import message_headers
from stream.core.errors import ConfigurationError
from stream.core.record import Record, TopicPartition
from stream.ops.proof import Proof, TopicProof
from stream.ops.queries import Questions, questions
from stream.ops.site import Site
from stream.ops.spool import KINDS, Finding, Lane, Said, Spool, is_ours, said, said_of

Tell: TypeAlias = Callable[[str, int, int], None]
"""Hears how far it is: what is being done, how much of it, of how much (0: nobody knows)."""
Row: TypeAlias = dict[str, Any]

ROWS, BYTES = 5000, 4 * 1024 * 1024
"""Of the outbox at once."""
SKEW = timedelta(minutes=1)
"""How far the clocks of database, relays and brokers may differ where the age of a message decides."""
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be proven. No `topics`: all that the App speaks into, and all that the outbox has messages for. `limit`: findings told, or all."""

    topics: frozenset[str] = frozenset()
    since: datetime | None = None
    limit: int | None = 50


@dataclass(frozen=True)
class Parts:
    """What one look works with. `app`: whose messages these are."""

    app: str
    ask: Questions
    admin: KafkaAdmin
    sweep: Sweep
    spool: Spool
    tell: Tell


@dataclass
class _Noted:
    """What was seen before anything was read: the positions as columns, the clock, and how far the movable clock is ahead of it."""

    positions: tuple[list[int], list[str], list[str], list[int]]
    clock: datetime
    ahead: timedelta

    def written(self, at: datetime) -> int:
        """In milliseconds of the clock that everybody else has."""
        return milliseconds(at - self.ahead)


@dataclass
class _Read:
    """What reading told of the topics: which there are, where their logs begin, how many records of others, when the first of ours was written."""

    there: Mapping[str, Existing]
    spans: Sequence[Span]
    foreign: Counter[str] = field(default_factory=Counter[str])
    oldest: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])

    def add(self, span: Span, begin: int, records: Sequence[Record], ours: Sequence[Record]) -> None:
        self.foreign[span.place.topic] += len(records) - len(ours)
        if span.begin != begin:
            self.oldest.pop(span.place, None)
        if ours:
            self.oldest.setdefault(span.place, ours[0].timestamp)


def milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


async def verify(site: Site, question: Question, tell: Tell) -> Proof:
    """Raises `ConfigurationError` for a topic nobody knows, or we may not see, `UnavailableError` when a broker or the database does not answer."""
    began, proof, seen = anyio.current_time(), Proof(), set[str]()
    names: frozenset[str] = question.topics or site.app.emitted
    async with questions(site.postgres) as ask, KafkaAdmin(site.kafka) as admin, Sweep(site.kafka) as sweep:
        while names:
            with Spool() as spool:
                others = await _look(Parts(site.app.name, ask, admin, sweep, spool, tell), proof, names, question)
            seen |= names
            # The outbox may have messages for topics that the App has forgotten.
            names = frozenset() if question.topics else frozenset(others - seen)
    proof.seconds = anyio.current_time() - began
    return proof


async def _look(parts: Parts, proof: Proof, names: frozenset[str], question: Question) -> set[str]:
    """All of it once, for these topics; the other topics for which the outbox has messages."""
    ask, spool = parts.ask, parts.spool
    noted = await _note(ask)
    there = await parts.admin.topics(names)
    if hidden := await parts.admin.hidden(names - there.keys()):
        raise ConfigurationError(f"Kafka gives no right to see {', '.join(hidden)}: ask for the rights to describe and read it")
    read = _Read(there, await parts.sweep.spans([TopicPartition(t.name, n) for t in there.values() for n in range(t.partitions)]))
    await _read_topics(parts, read)
    others = await _read_database(parts, noted, names)
    since = milliseconds(question.since) if question.since else None
    bounds = {name: _bounds(name, read, milliseconds(noted.clock), since) for name in names}
    for name, (trimmed, at) in bounds.items():
        spool.add_topic(name, trimmed=trimmed, since=at)
    parts.tell("comparing", 0, 0)
    spool.settle((await ask.rows("begins_with", "outbox"))[0]["id"], since)
    _judge(proof, spool, read, bounds, question.limit)
    proof.clock = proof.clock or noted.clock
    if unknown := sorted(name for name in question.topics if name not in there and not proof.topics[name].messages):
        raise ConfigurationError(f"no topic {', '.join(unknown)}: neither Kafka nor the outbox knows it")
    return others


async def _note(ask: Questions) -> _Noted:
    rows = await ask.rows("outbox_noted")
    columns = [[row[name] for row in rows] for name in ("shard", "lo", "hi", "seq")]
    return _Noted((columns[0], columns[1], columns[2], columns[3]), rows[0]["clock"], rows[0]["ahead"])


async def _read_topics(parts: Parts, read: _Read) -> None:
    done, whole = 0, sum(span.end - span.begin for span in read.spans)
    for span in read.spans:
        before, begin = done, span.begin
        async for records in parts.sweep.read(span):
            ours = [record for record in records if is_ours(record, parts.app)]
            read.add(span, begin, records, ours)
            begin = span.begin
            parts.spool.add_records((said_of(record), record.partition, record.offset) for record in ours)
            done = before + (records[-1].offset + 1 - span.begin if records else 0)
            parts.tell("reading topics", done, whole)
        done = before + span.end - span.begin


async def _read_database(parts: Parts, noted: _Noted, names: Collection[str]) -> set[str]:
    """Entities, then the outbox, then what is held. The topics of messages that are not among `names`."""
    ask, spool, others = parts.ask, parts.spool, set[str]()
    async for rows in _pages(lambda after: ask.rows("said", *after, 4 * ROWS), ("", ""), ("machine", "id")):
        spool.count_said(_counts(rows, names))
    snapshot = (await ask.rows("snapshot"))[0]["snapshot"]
    done = 0
    async for rows in _pages(lambda after: ask.rows("outbox_rows", *after, snapshot, ROWS, BYTES, *noted.positions, list(names)), (0,), ("seq",)):
        others |= {row["topic"] for row in rows if not row["wanted"]}
        mine = [row for row in rows if row["wanted"]]
        spool.add_messages((r["seq"], _said(r), noted.written(r["written_at"]), "due" if r["passed"] else "unsent") for r in mine)
        parts.tell("reading the outbox", done := done + len(rows), 0)
    async for rows in _pages(lambda after: ask.rows("held_rows", *after, ROWS, BYTES), (0,), ("seq",)):
        others |= {row["topic"] for row in rows} - set(names)
        mine = [row for row in rows if row["topic"] in names]
        spool.add_held((r["seq"], _said(r), noted.written(r["held_at"]), _status(r, noted.clock)) for r in mine)
    return others


async def _pages(ask: Callable[[tuple[object, ...]], Any], after: tuple[object, ...], key: Sequence[str]) -> AsyncIterator[list[Row]]:
    """Page after page, each from after the last row of the one before."""
    while rows := await ask(after):
        yield rows
        after = tuple(rows[-1][name] for name in key)


def _counts(rows: Sequence[Row], names: Collection[str]) -> Iterator[tuple[Lane, int]]:
    for row in rows:
        for place, count in orjson.loads(row["sequences"] or b"{}").items():
            topic, _, key = place.partition("/")
            if topic in names:
                yield Lane(topic, f"{row['machine']}/{row['id']}", key.encode()), count


def _said(row: Row) -> Said:
    return said(row["topic"], row["key"], row["value"], message_headers(row["headers"]))


def _status(row: Row, clock: datetime) -> str:
    """A held message has to be on its topic when it was sent before the ends were looked up."""
    if row["status"] == "dropped":
        return "skipped"
    return "due" if row["status"] == "sent" and row["settled_at"] <= clock else "held"


def _bounds(name: str, read: _Read, clock: int, since: int | None) -> tuple[bool, int]:
    """Whether something was deleted from a topic, and from when on what was written must still be there.

    A partition's log is complete from its first record on, and for as long as the topic keeps what it has. All partitions are looked at, for a key
    may have moved when the topic grew.
    """
    topic, begun = read.there.get(name), since or 0
    cut = [span.place for span in read.spans if span.place.topic == name and span.begin > 0]
    if topic is None or (not cut and not topic.compacted):
        return topic is None or since is not None, begun
    if topic.compacted:
        return True, max(begun, clock)
    by_time = clock if topic.retention is None or topic.sized else clock - topic.retention // _MILLISECOND
    return True, max(begun, max(min(read.oldest.get(place, clock), by_time) for place in cut) + SKEW // _MILLISECOND)


def _judge(proof: Proof, spool: Spool, read: _Read, bounds: Mapping[str, tuple[bool, int]], limit: int | None) -> None:
    for row in spool.totals():
        name = row["topic"]
        trimmed, at = bounds[name]
        proof.topics[name] = TopicProof(foreign=read.foreign[name], since=_instant(at) if trimmed and at else None, **row)
        proof.records += row["records"] + read.foreign[name]
    for kind in KINDS:
        for proven, finding in spool.findings(kind):
            if proven:
                proof.add(finding, limit)
            elif kind != "gap":
                proof.topics[finding.topic].unverifiable += 1
    for span in read.spans:
        for broken in span.broken:
            proof.add(Finding("unreadable", *span.place, broken.start, broken.stop - 1, "", b"", 0, "", None), limit)
    reach = spool.reach()
    proof.outbox_since = _instant(reach) if reach is not None else proof.outbox_since


def _instant(at: int) -> datetime:
    return _EPOCH + at * _MILLISECOND
