"""What a committed batch looks like in a trace: spans as values, made from a claim and its changes.

Ids come from the traces in the envelopes and messages, which are derived from identities; nothing here is random, and a span is made only
after the commit, so a retried batch leaves one span and not two. All spans of a batch share its times: a record has no time of its own in
a batch that is decided and committed as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol, TypeAlias

import msgspec

from stream.core.changes import Changes, DeadLetter, Handled, Message
from stream.core.errors import outlined
from stream.core.ladder import Note
from stream.core.order import Claim
from stream.core.outcome import Outcome, Reason

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]


_CORRELATION = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Kind(IntEnum):
    """Numbers as in the OTLP protocol."""

    INTERNAL = 1
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Link(msgspec.Struct, gc=False):
    trace_id: str
    span_id: str
    attributes: Attributes


class Span(msgspec.Struct, gc=False):
    """One span; times are nanoseconds since the epoch. `shared` are attributes that many spans have in common, as one cached tuple.

    `error` is the status message of a failed one, empty otherwise. `notes` are span events: a name and attributes, at the span's end.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    start: int
    end: int
    shared: tuple[tuple[str, Value], ...]
    attributes: Attributes
    links: list[Link]
    error: str = ""
    notes: Sequence[tuple[str, Attributes]] = ()


class Published(Protocol):
    """What a `send` span needs to know of a message that was sent."""

    @property
    def seq(self) -> int: ...
    @property
    def topic(self) -> str: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def batch_spans(claim: Claim, changes: Changes, began: int, ended: int, group: str) -> Iterator[Span]:
    """`process` or `fire` spans of what was handled, a `create` span a message, and a failed `process` span a record nobody could read.

    Unsampled traces give none. An event that concerns several entities has one span, and a note for each further one.
    """
    arrived = {(r.topic, r.partition, r.offset) for r in claim.records} if claim.door == "partitions" else None
    clock_ms = int(claim.clock.timestamp() * 1000)
    seen: dict[str, Span] = {}
    for done in changes.handled:
        if not done.envelope.trace.sampled:
            continue
        span = _handled(done, began, ended, group, clock_ms, arrived)
        first = seen.setdefault(span.span_id, span)
        if first is span:
            yield span
        else:
            _join(first, done)
        for message in done.messages:
            yield _create(message, began, ended, span.span_id if message.trace.parent_id == done.envelope.trace.span_id else message.trace.parent_id)
    for letter in changes.dead:
        if letter.ref is None:
            yield _dead(letter, began, ended, group)


def send_spans(batch: Iterable[Published], began: int, ended: int, error: str = "") -> Iterator[Span]:
    """One CLIENT span a topic of a relay's batch, linked to every message's `create` span.

    Where all messages belong to one trace it joins that trace, under the first of them; else it has a trace of its own.
    """
    topics: dict[str, list[Published]] = {}
    for message in batch:
        topics.setdefault(message.topic, []).append(message)
    for topic, messages in topics.items():
        links = [link for m in messages if (link := _context(m)) is not None]
        if links:
            yield _send(topic, messages, links, began, ended, error)


def created_span(message: Published, began: int, ended: int) -> Span | None:
    """The `create` span of a message from outside a batch, by its own headers: the root of its trace. None where it is not sampled."""
    own = _context(message)
    if own is None:
        return None
    return Span(own.trace_id, own.span_id, "", f"create {message.topic}", Kind.PRODUCER, began, ended, _created_in(message.topic), own.attributes, [])


def _handled(done: Handled, began: int, ended: int, group: str, clock_ms: int, arrived: set[tuple[str, int, int]] | None) -> Span:
    envelope, record = done.envelope, done.envelope.record
    trace, own = envelope.trace, envelope.trace.span_id
    attributes: Attributes = {
        "messaging.message.conversation_id": envelope.correlation_id,
        "messaging.message.id": envelope.id,
        "cloudevents.event_id": envelope.id,
        "cloudevents.event_source": envelope.source,
        "cloudevents.event_type": envelope.type,
    }
    if envelope.subject:
        attributes["cloudevents.event_subject"] = envelope.subject
    _tell(attributes, done)
    # A link to the parent itself says nothing more, and a trace viewer that merges the two shows no child but a follower.
    links = [] if trace.link is None or trace.link == (trace.trace_id, trace.parent_id) else [Link(trace.link[0], trace.link[1], {})]
    if trace.link is not None and trace.link[0] != trace.trace_id:
        attributes["stream.origin.trace_id"] = trace.link[0]
    if record.partition < 0:
        name, kind = f"fire {getattr(envelope.event, 'clock', '') or envelope.type}", Kind.INTERNAL
        shared: tuple[tuple[str, Value], ...] = ()
    else:
        name, kind = f"process {record.topic}", Kind.CONSUMER
        shared = shared_of(record.topic, record.partition, group)
        attributes["messaging.kafka.offset"] = record.offset
        attributes["stream.dedupe.result"] = "new"
        attributes["stream.queue.milliseconds"] = max(0, clock_ms - record.timestamp)
        _tell_key(attributes, record.key, done.ref.id)
        if arrived is not None and (record.topic, record.partition, record.offset) not in arrived:
            # It waited in a line and was drained by another record, in a trace of its own (see `Codec.revive`).
            attributes["stream.drained"] = True
            # It may wait in the lines of several entities and leave each in another batch: a span a time.
            own = _hash(8, "drained", own, *done.ref)
    failed = (outlined(done.error) or done.reason) if done.outcome is Outcome.PARKED else ""
    span = Span(trace.trace_id, own, trace.parent_id, name, kind, began, ended, shared, attributes, links, failed)
    if done.clocks:
        span.notes = tuple(map(_clock, done.clocks))
    return span


def _clock(note: Note) -> tuple[str, Attributes]:
    """A span event: what became of a clock."""
    told: Attributes = {"stream.clock": note.clock, "stream.clock.what": note.what, "stream.clock.late_seconds": note.late}
    if note.owner:
        told["stream.owner"] = note.owner
    if note.took is not None:
        told["stream.clock.took_seconds"] = note.took
    if note.due is not None:
        told["stream.clock.due"] = note.due.isoformat()
    return "stream.clock", told


def _tell(attributes: Attributes, done: Handled) -> None:
    attributes["stream.entity.type"], attributes["stream.entity.id"] = done.ref
    attributes["stream.outcome"] = done.outcome.value
    if done.reason:
        attributes["stream.reason"] = str(done.reason)
    if done.outcome is Outcome.APPLIED:
        attributes["stream.transition.from"] = done.from_state
        attributes["stream.transition.to"] = done.to_state


def _tell_key(attributes: Attributes, key: bytes | None, id: str) -> None:
    """A key is payload, and not for a trace, unless it is the entity's id, which the span names anyway."""
    if key is not None and key == id.encode():
        attributes["messaging.kafka.message.key"] = id


def _join(span: Span, done: Handled) -> None:
    note: Attributes = {}
    _tell(note, done)
    span.notes = (*span.notes, ("stream.entity", note), *map(_clock, done.clocks))
    if done.outcome is Outcome.PARKED and not span.error:
        span.error = outlined(done.error) or str(done.reason)


def _create(message: Message, began: int, ended: int, parent_id: str) -> Span:
    attributes: Attributes = {
        "messaging.message.conversation_id": message.correlation_id,
        "messaging.message.id": message.id,
        "cloudevents.event_id": message.id,
        "cloudevents.event_type": message.type,
        "stream.entity.type": message.emitter.machine,
        "stream.entity.id": message.emitter.id,
        "stream.sequence": message.sequence,
    }
    _tell_key(attributes, message.key, message.emitter.id)
    trace = message.trace
    return Span(
        trace.trace_id,
        trace.span_id,
        parent_id,
        f"create {message.topic}",
        Kind.PRODUCER,
        began,
        ended,
        _created_in(message.topic),
        attributes,
        [],
    )


def _dead(letter: DeadLetter, began: int, ended: int, group: str) -> Span:
    record = letter.record
    place = (group, record.topic, record.partition, record.offset)
    attributes: Attributes = {
        "messaging.kafka.offset": record.offset,
        "stream.deadletter.reason": letter.reason.value,
        "stream.dedupe.result": "conflict" if letter.reason is Reason.ID_CONFLICT else "stale" if letter.reason is Reason.TOO_OLD else "unread",
        "error.type": letter.reason.value,
    }
    for key, value in (
        ("messaging.message.conversation_id", letter.correlation_id or _said(letter)),
        ("messaging.message.id", letter.event_id),
        ("cloudevents.event_id", letter.event_id),
        ("cloudevents.event_type", letter.event_type),
    ):
        if value:
            attributes[key] = value
    trace_id = letter.trace_id or _hash(16, "dead", *place)
    shared = shared_of(record.topic, record.partition, group)
    name = f"process {record.topic}"
    return Span(
        trace_id,
        _hash(8, "dead", *place),
        "",
        name,
        Kind.CONSUMER,
        began,
        ended,
        shared,
        attributes,
        [],
        outlined(letter.error) or letter.reason.value,
    )


def _said(letter: DeadLetter) -> str:
    """The correlation id in the header of a record that could not be read further; empty where there is none that could be trusted."""
    said = dict(letter.record.headers).get("ce_correlationid") or b""
    return said.decode("ascii") if _CORRELATION.fullmatch(said) else ""


def _send(topic: str, messages: Sequence[Published], links: list[Link], began: int, ended: int, error: str) -> Span:
    first, seqs = links[0], (messages[0].seq, messages[-1].seq)
    one = all(link.trace_id == first.trace_id for link in links)
    attributes: Attributes = {"messaging.batch.message_count": len(messages)} if len(messages) > 1 else {}
    for key in ("messaging.message.conversation_id", "stream.entity.type", "stream.entity.id"):
        values = {link.attributes.get(key, "") for link in links}
        if len(values) == 1 and "" not in values:
            attributes[key] = values.pop()
    if error:
        attributes["error.type"] = error.split(":")[0]
    trace_id = first.trace_id if one else _hash(16, "send", topic, *seqs, began)
    parent_id = first.span_id if one else ""
    span_id = _hash(8, "send", topic, *seqs, began)
    return Span(trace_id, span_id, parent_id, f"send {topic}", Kind.CLIENT, began, ended, _sent_to(topic), attributes, links, error)


def _context(message: Published) -> Link | None:
    """The `create` span of a message by the headers that we wrote ourselves; None where it is not sampled."""
    headers = dict(message.headers)
    version, _, rest = headers.get("traceparent", b"").decode("latin-1").partition("-")
    trace_id, _, rest = rest.partition("-")
    span_id, _, flags = rest.partition("-")
    if version != "00" or flags != "01":
        return None
    machine, _, entity = headers.get("ce_emitter", b"").decode("utf-8", "replace").partition("/")
    found = {
        "messaging.message.id": headers.get("ce_id", b"").decode("utf-8", "replace"),
        "messaging.message.conversation_id": headers.get("ce_correlationid", b"").decode("utf-8", "replace"),
        "stream.entity.type": machine,
        "stream.entity.id": entity,
    }
    return Link(trace_id, span_id, {key: value for key, value in found.items() if value})


@lru_cache(4096)
def shared_of(topic: str, partition: int, group: str) -> tuple[tuple[str, Value], ...]:
    """What all `process` spans of one partition say."""
    return (
        *_operation("process", topic),
        ("messaging.destination.partition.id", str(partition)),
        ("messaging.consumer.group.name", group),
    )


@lru_cache(1024)
def _created_in(topic: str) -> tuple[tuple[str, Value], ...]:
    return _operation("create", topic)


@lru_cache(1024)
def _sent_to(topic: str) -> tuple[tuple[str, Value], ...]:
    return _operation("send", topic)


def _operation(verb: str, topic: str) -> tuple[tuple[str, Value], ...]:
    return (
        ("messaging.system", "kafka"),
        ("messaging.operation.name", verb),
        ("messaging.operation.type", verb),
        ("messaging.destination.name", topic),
    )


def _hash(size: int, *parts: object) -> str:
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
