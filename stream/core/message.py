"""What an entity says, made into outbox messages with their final headers: ids, sequence and trace are derived, so a retry says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from stream.core.app import App
from stream.core.changes import Message
from stream.core.entity import Entity, Envelope
from stream.core.event import Fact, key_of, wire_type
from stream.core.identity import emitted_id
from stream.core.telling import addressee
from stream.core.text import LIMIT, check_storable
from stream.core.trace import created, traceparent

_COPY = 1_000_000
"""Copies of a message for an owner's topics are numbered from here on: what is said besides keeps its number, and so its id."""

_encoder = msgspec.json.Encoder(order="sorted")
_decoders: dict[type[Fact], msgspec.json.Decoder[Any]] = {}


def compose(app: App, entity: Entity, envelope: Envelope, facts: Sequence[Fact], start: int) -> list[Message]:
    """`facts` as messages, numbered from `start` among all that this entity says for this cause. Counts nothing on the entity yet.

    A fact without a topic goes to the App's alerts under the entity's id, and to the topics of the owner whom it is for. Raises `MalformedError`
    or `msgspec.ValidationError` for a fact that could not be stored or read again.
    """
    made: list[Message] = []
    taken: dict[str, int] = {}
    for n, fact in enumerate(facts, start):
        kind, tells = type(fact), ""
        places = [(n, kind.__topic__, key_of(fact))] if kind.__topic__ else []
        if not places:
            tells = addressee(fact)
            copies = [channel.topic for channel in app.owners.channels_of(tells) if channel.topic] if tells else []
            places = [(n + k * _COPY, topic, entity.ref.id) for k, topic in enumerate([app.alerts, *copies])]
        value = _encoded(kind, fact)
        for number, topic, key in places:
            lane = f"{topic}/{key}"
            taken[lane] = sequence = taken.get(lane, entity.sequences.get(lane, 0)) + 1
            made.append(_message(app.name, entity, envelope, kind, number, (topic, key, value, sequence)))
            made[-1].tells, tells = tells, ""
    return made


def count_said(entity: Entity, messages: Sequence[Message]) -> None:
    """Note on the entity what was said, so that the next message of each topic and key continues its count."""
    for message in messages:
        entity.sequences[f"{message.topic}/{message.key.decode()}"] = message.sequence


def _encoded(kind: type[Fact], fact: Fact) -> bytes:
    value = _encoder.encode(fact)
    check_storable(value, LIMIT)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    decoder.decode(value)
    return value


def _message(app: str, entity: Entity, envelope: Envelope, kind: type[Fact], n: int, put: tuple[str, str, bytes, int]) -> Message:
    topic, key, value, sequence = put
    ref, type_ = entity.ref, wire_type(kind)
    id = emitted_id(envelope.identity, ref, n, envelope.time)
    trace = created(envelope.trace, id)
    name = f"{ref.machine}/{ref.id}"
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", f"/{app}/{ref.machine}"),
        ("ce_type", type_),
        ("ce_subject", ref.id),
        ("ce_correlationid", envelope.correlation_id),
        ("ce_causationid", envelope.id),
        ("ce_emitter", name),
        ("ce_sequence", f"{sequence:020d}"),
        ("ce_time", envelope.time.isoformat().replace("+00:00", "Z")),
        ("content-type", "application/json"),
        ("traceparent", traceparent(trace)),
    ]
    return Message(ref, topic, key.encode(), value, headers, id, type_, sequence, envelope.correlation_id, trace)
