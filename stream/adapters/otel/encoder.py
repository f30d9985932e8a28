"""Spans to the bytes of an OTLP/HTTP JSON request.

Written by hand and not through a serializer of objects: attributes that spans share are encoded once, and a key's text is made once, so a
span costs about what its own values cost. Ids are hex and 64-bit numbers are strings, as the OTLP JSON mapping demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote

from stream.core.spans import Attributes, Link, Span, Value


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a span is kept; what is cut is counted in the span itself. None: no limit."""

    attributes: int | None = 128
    length: int | None = None
    links: int | None = 128
    notes: int | None = 128


def resource_json(attributes: Mapping[str, Value]) -> str:
    return '{"attributes":[' + _pairs(tuple(attributes.items()), None) + "]}"


def request(resource: str, version: str, spans: Iterable[Span], limits: Limits) -> bytes:
    """One export request. `resource` comes from `resource_json`; `version` is the instrumentation scope's (ours)."""
    body = ",".join([span_json(span, limits) for span in spans])
    scope = f'{{"name":"stream","version":{quote(version)}}}'
    return f'{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"scope":{scope},"spans":[{body}]}}]}}]}}'.encode("ascii")


def span_json(span: Span, limits: Limits) -> str:
    """One span; the text is ASCII, lone surrogates come out as the replacement character's escape."""
    room = None if limits.attributes is None else max(0, limits.attributes - len(span.shared))
    own, cut = _fit(span.attributes, room)
    pairs = ",".join(part for part in (_shared(span.shared, limits.length), _pairs(own.items(), limits.length)) if part)
    text = (
        f'{{"traceId":"{span.trace_id}","spanId":"{span.span_id}","flags":1,"name":{_text(span.name, None)},"kind":{int(span.kind)},'
        f'"startTimeUnixNano":"{span.start}","endTimeUnixNano":"{span.end}","attributes":[{pairs}]'
    )
    if span.parent_id:
        text += f',"parentSpanId":"{span.parent_id}"'
    if cut:
        text += f',"droppedAttributesCount":{cut}'
    if span.links:
        text += _links(span.links, limits)
    if span.notes:
        text += _notes(span.notes, span.end, limits)
    if span.error:
        text += f',"status":{{"code":2,"message":{_text(span.error, limits.length)}}}'
    return text + "}"


def _fit(attributes: Attributes, room: int | None) -> tuple[Attributes, int]:
    if room is None or len(attributes) <= room:
        return attributes, 0
    return dict(list(attributes.items())[:room]), len(attributes) - room


def _links(links: Sequence[Link], limits: Limits) -> str:
    kept = links if limits.links is None else links[: limits.links]
    parts = [
        f'{{"traceId":"{link.trace_id}","spanId":"{link.span_id}","attributes":[{_pairs(link.attributes.items(), limits.length)}]}}' for link in kept
    ]
    dropped = len(links) - len(kept)
    return f',"links":[{",".join(parts)}]' + (f',"droppedLinksCount":{dropped}' if dropped else "")


def _notes(notes: Sequence[tuple[str, Attributes]], at: int, limits: Limits) -> str:
    kept = notes if limits.notes is None else notes[: limits.notes]
    parts = [
        f'{{"timeUnixNano":"{at}","name":{_text(name, None)},"attributes":[{_pairs(attributes.items(), limits.length)}]}}'
        for name, attributes in kept
    ]
    dropped = len(notes) - len(kept)
    return f',"events":[{",".join(parts)}]' + (f',"droppedEventsCount":{dropped}' if dropped else "")


@lru_cache(8192)
def _shared(pairs: tuple[tuple[str, Value], ...], length: int | None) -> str:
    return _pairs(pairs, length)


def _pairs(pairs: Iterable[tuple[str, Value]], length: int | None) -> str:
    parts: list[str] = []
    for key, value in pairs:
        # The common case at the spot: a call for each value was half of what a span costs.
        if length is None and isinstance(value, str) and value.isascii():
            parts.append(f'{_key(key)}{{"stringValue":{quote(value)}}}}}')
        else:
            parts.append(f"{_key(key)}{_other(value, length)}}}")
    return ",".join(parts)


@lru_cache(1024)
def _key(key: str) -> str:
    return f'{{"key":{quote(key)},"value":'


def _text(value: Value, length: int | None) -> str:
    text = str(value)
    if length is not None and len(text) > length:
        text = text[:length]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return quote(text)


def _other(value: Value, length: int | None) -> str:
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{value}}}'
    if isinstance(value, tuple):
        items = ",".join(f'{{"stringValue":{_text(item, length)}}}' for item in value)
        return f'{{"arrayValue":{{"values":[{items}]}}}}'
    return f'{{"stringValue":{_text(value, length)}}}'
