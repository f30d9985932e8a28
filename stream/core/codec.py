"""The codec: from a claim's records to routed envelopes. Whatever a record holds, it becomes an order or a dead letter, never an exception."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

import msgspec

from stream.core.app import App
from stream.core.catalog import Catalog
from stream.core.changes import Changes, DeadLetter
from stream.core.entity import Envelope, Trace
from stream.core.envelope import instant, read, write_headers
from stream.core.errors import RAISED, MalformedError, described
from stream.core.event import Fact, key_of, wire_type
from stream.core.identity import content_of, digest, identity_of, natural_identity
from stream.core.order import Claim, Decoded, Deliver, Stored
from stream.core.outcome import Reason, Verdict
from stream.core.record import Record, TopicPartition
from stream.core.route import Routes
from stream.core.text import unsafe_text
from stream.core.topic import Topic
from stream.core.trace import Sampling, parse_traceparent, span_id
from stream.core.upcast import lifted

__all__ = ["Codec", "record_of", "write_headers"]

is_correlation = re.compile(r"[A-Za-z0-9._:-]{1,128}").fullmatch
"""Whether a text may be a correlation id; one that may not is replaced by the identity."""
_AHEAD = timedelta(minutes=5)
_encoder = msgspec.json.Encoder(order="sorted")


class Codec:
    """The `Decode` of one App and consumer group. `limit` is in bytes of value; `horizon` how far behind stream time an identity is known."""

    def __init__(
        self, app: App, group: str, *, sample: Sampling, horizon: timedelta, limit: int = 1_000_000, continue_limit: timedelta = _AHEAD
    ) -> None:
        self._group, self._limit, self._sample, self._horizon = group, limit, sample, horizon
        self._continue_ms = continue_limit // timedelta(milliseconds=1)
        self._routes, self._catalog = Routes(app), Catalog(app.classes, limit)
        self._lifts = app.lifts
        self._topics = {topic.name: topic for topic in app.topics}
        self._spans: dict[tuple[str, int], blake2b] = {}

    def __call__(self, claim: Claim) -> Decoded:
        decoded = Decoded(list(claim.orders), Changes())
        clock = int(claim.clock.timestamp() * 1000)
        newest = claim.now + _AHEAD
        places: dict[tuple[str, int], tuple[TopicPartition, datetime | None]] = {}
        for record in claim.records:
            known = places.get((record.topic, record.partition))
            if known is None:
                known = places[record.place] = (record.place, self._oldest(claim, record.place))
            self._take(decoded, record, clock, known[0], known[1], newest)
        for place, n in Counter([(record.topic, record.partition) for record in claim.records]).items():
            decoded.changes.count(places[place][0], "records", n)
        for stored in claim.stored:
            self._take_back(decoded, claim, stored)
        return decoded

    def revive(self, record: Record) -> Envelope:
        """A stored record again: no age checks, a new trace linked to its producer's, no refs. Raises `MalformedError`."""
        return self._open(record, None, "line")

    def _take(self, decoded: Decoded, record: Record, clock: int, place: TopicPartition, oldest: datetime | None, newest: datetime) -> None:
        try:
            envelope = self._open(record, clock, "")
            if envelope.time > newest or (oldest is not None and envelope.time <= oldest):
                _check_age(envelope.time, oldest, newest)
        except MalformedError as error:
            self._refuse(decoded.changes, place, record, error)
        else:
            if self._route(decoded.changes, place, envelope):
                decoded.orders.append(Deliver(envelope, place))

    def _take_back(self, decoded: Decoded, claim: Claim, stored: Stored) -> None:
        try:
            envelope = self._open(stored.record, None, claim.door)
            _check_age(envelope.time, None, claim.now + _AHEAD)
        except MalformedError as error:
            self._refuse(decoded.changes, claim.door, stored.record, error)
            return
        if stored.admitted and stored.ref is not None:
            envelope.refs = (stored.ref,)
            decoded.orders.append(Deliver(envelope, admitted=True))
        elif self._route(decoded.changes, claim.door, envelope):
            decoded.orders.append(Deliver(envelope, admitted=stored.admitted))

    def _route(self, changes: Changes, where: TopicPartition | str, envelope: Envelope) -> bool:
        try:
            envelope.refs = self._routes.route(envelope.event)
        except RAISED as error:  # the author's routing function: pure code fails as a value
            changes.count(where, Verdict.DEAD)
            changes.dead.append(_letter(envelope.record, Reason.ROUTE_FAILED, described(error), envelope))
            return False
        return True

    def _refuse(self, changes: Changes, where: TopicPartition | str, record: Record, error: MalformedError) -> None:
        topic = self._topics.get(record.topic, Topic(record.topic))
        skips = (error.reason == Reason.UNKNOWN_TYPE and topic.unknown == "skip") or (error.reason == Reason.NO_DATA and topic.no_data == "skip")
        changes.count(where, Verdict.SKIPPED if skips else Verdict.DEAD)
        if not skips:
            changes.dead.append(_letter(record, Reason(error.reason), error.detail))

    def _open(self, record: Record, clock: int | None, door: str) -> Envelope:
        value = record.value
        if value is None:
            raise MalformedError(Reason.NO_DATA, "a null value")
        if len(value) > self._limit or len(record.key or b"") > self._limit:
            raise MalformedError(Reason.TOO_LARGE, f"{len(value)} bytes, the limit is {self._limit}")
        found, data = read(record, value, self._topics.get(record.topic) or Topic(record.topic), self._limit)
        cls = self._catalog.find(found["type"])
        if cls is None:
            raise MalformedError(Reason.UNKNOWN_TYPE, found["type"])
        sent = self._catalog.decode(cls, data)
        event = lifted(self._lifts, sent, self._catalog) if self._lifts else sent
        natural, subject = cls.__natural_key__, found.get("subject", "")
        identity = natural_identity(cls.__fact_type__, [getattr(sent, n) for n in natural]) if natural else identity_of(found["source"], found["id"])
        correlation = found.get("correlationid", "")
        # By position: this is the hot path, and keywords cost a microsecond.
        return Envelope(
            event,
            found["id"],
            found["source"],
            found["type"],
            instant(found.get("time"), record.timestamp),
            subject,
            correlation if is_correlation(correlation) else identity.hex(),
            found.get("causationid", ""),
            found.get("actor") or None,
            identity,
            content_of(found["type"], subject, sent),
            self._trace(record, found.get("traceparent", ""), identity, clock, door),
            record,
        )

    def _trace(self, record: Record, parent: str, identity: bytes, clock: int | None, door: str) -> Trace:
        """Same trace for what is fresh off the log; else a new one, with a link. `clock` (ms) is None for what comes back from storage."""
        context = parse_traceparent(parent)
        if clock is not None:
            own = self._process(record)
            if context and clock - record.timestamp < self._continue_ms:
                return Trace(context[0], own, context[1], context[2], context[:2])
        else:
            own = span_id("again", self._group, record.topic, str(record.partition), str(record.offset), identity.hex(), door)
        trace_id = digest("trace", identity.hex(), door).hex()
        return Trace(trace_id, own, "", self._sample(trace_id), context and context[:2])

    def _process(self, record: Record) -> str:
        """The id of the span that processes a record: a hash of group and place, begun once a partition, ended by the offset."""
        begun = self._spans.get((record.topic, record.partition))
        if begun is None:
            begun = blake2b(f"process {len(self._group)}:{self._group}{len(record.topic)}:{record.topic}{record.partition} ".encode(), digest_size=8)
            self._spans[record.place] = begun
        hasher = begun.copy()
        hasher.update(b"%d" % record.offset)
        return hasher.hexdigest()

    def _oldest(self, claim: Claim, place: TopicPartition) -> datetime | None:
        """What is not after this may have been forgotten by the inbox. Stream time is the claim's: the batch's own records do not move it."""
        stream_time, floor = claim.stream_times.get(place), claim.floors.get(place.topic)
        edge = None if stream_time is None else stream_time - self._horizon - timedelta(microseconds=1)
        return max((at for at in (edge, floor) if at is not None), default=None)


def record_of(event: Fact, *, id: str, source: str, time: datetime, trace: Trace | None = None, attributes: Sequence[tuple[str, str]] = ()) -> Record:
    """The record that says `event` in binary mode, not on any log yet. `attributes`: further ones, such as ("correlationid", "c1")."""
    named = {"id": id, "source": source, "type": wire_type(type(event)), **dict(attributes)}
    headers = tuple((name, text.encode()) for name, text in write_headers(named, time, trace))
    kind = type(event)
    key = key_of(event).encode() if kind.__key__ else None
    return Record(kind.__topic__, -1, -1, int(time.timestamp() * 1000), key, _encoder.encode(event), headers)


def _check_age(time: datetime, oldest: datetime | None, newest: datetime) -> None:
    if oldest is not None and time <= oldest:
        raise MalformedError(Reason.TOO_OLD, f"{time.isoformat()} is not after {oldest.isoformat()}")
    if time > newest:
        raise MalformedError(Reason.TOO_NEW, f"{time.isoformat()} is after {newest.isoformat()}")


def _letter(record: Record, reason: Reason, error: str, envelope: Envelope | None = None) -> DeadLetter:
    """A letter's text must be storable whatever the author or the bytes put into it; the record keeps its own bytes."""
    text = error if not unsafe_text(error) else ascii(error)
    if envelope is None:
        return DeadLetter(record, reason, text[:2000])
    e = envelope
    return DeadLetter(record, reason, text[:2000], e.id, e.type, e.correlation_id, e.trace.trace_id)
