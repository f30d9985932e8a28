"""CloudEvents 1.0 on Kafka: the attributes of a record (binary or structured mode, or a topic's mapper), and the headers we write."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from stream.core.entity import Trace
from stream.core.errors import RAISED, MalformedError, UnusableError, described
from stream.core.outcome import Reason
from stream.core.record import Record
from stream.core.repeats import Repeats
from stream.core.text import check_json, unsafe_text
from stream.core.topic import Topic
from stream.core.trace import traceparent

MAX_HEADERS, MAX_HEADER_BYTES, MAX_ATTRIBUTE = 128, 64 * 1024, 512
_REQUIRED = ("specversion", "id", "source", "type")
_OPTIONAL = ("time", "subject", "correlationid", "causationid", "actor", "traceparent")
_FOREIGN = {"traceparent": "hop", "content-type": "content-type"}
_NAMES = {**{f"ce_{name}": name for name in (*_REQUIRED, *_OPTIONAL)}, **_FOREIGN}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt](?!24)\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_Attributes = dict[str, str]


class _Structured(msgspec.Struct):
    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    time: str | None = None
    subject: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    actor: str | None = None
    traceparent: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


_structured = msgspec.json.Decoder(_Structured)
_repeats = Repeats(_Structured)


def read(record: Record, value: bytes, topic: Topic, limit: int) -> tuple[_Attributes, bytes]:
    """The attributes and the data. The transport's own `traceparent` goes before the producer's. Raises `MalformedError`."""
    attributes = _headers(record)
    mode = attributes.pop("content-type", "").lower()
    hop = attributes.pop("hop", "")
    if mode.startswith("application/cloudevents"):
        attributes, value = _unfold(mode, value, limit)
    elif topic.mapper is not None and any(name not in attributes for name in _REQUIRED):
        attributes = _map(record, topic)
    for name in _REQUIRED:
        if not attributes.get(name):
            raise MalformedError(Reason.MISSING_ATTRIBUTE, f"no {name}")
    _check(attributes)
    if hop:
        attributes["traceparent"] = hop
    return attributes, value


def instant(text: str | None, timestamp: int) -> datetime:
    """`time` by RFC 3339, aware; without one the record's timestamp. Years before 1970 or after 9998 are refused: they overflow in a zone."""
    try:
        if text is None:
            made = datetime.fromtimestamp(timestamp / 1000, UTC)
        elif _INSTANT.fullmatch(text):
            made = datetime.fromisoformat(text.upper())
            if made.tzinfo is not UTC:
                made = made.astimezone(UTC)
        else:
            raise ValueError("not RFC 3339")
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedError(Reason.MISSING_ATTRIBUTE, f"no usable time: {error}") from error
    if not 1970 <= made.year <= 9998 or (text is None and timestamp < 0):
        raise MalformedError(Reason.MISSING_ATTRIBUTE, "no usable time: out of range")
    return made


def write_headers(attributes: Mapping[str, str], time: datetime, trace: Trace | None = None) -> list[tuple[str, str]]:
    """Binary mode. `attributes` need `id source type`; those of empty value are left out. `time` is aware."""
    headers = [("ce_specversion", "1.0"), *((f"ce_{name}", value) for name, value in attributes.items() if value)]
    headers.append(("ce_time", time.astimezone(UTC).isoformat().replace("+00:00", "Z")))
    headers.append(("content-type", "application/json"))
    return headers if trace is None else [*headers, ("traceparent", traceparent(trace))]


def _headers(record: Record) -> _Attributes:
    found: _Attributes = {}
    size = 0
    own = _NAMES.get
    if len(record.headers) > MAX_HEADERS:
        raise MalformedError(Reason.HEADER_LIMIT, f"{len(record.headers)} headers, the limit is {MAX_HEADERS}")
    for key, value in record.headers:
        size += len(key)
        if value is not None:
            size += len(value)
            if name := own(key):
                text = value.decode("utf-8", "surrogateescape")
                if name in found and found[name] != text and key not in _FOREIGN:
                    raise MalformedError(Reason.MISSING_ATTRIBUTE, f"{name} is there twice, with different values")
                found[name] = text
                continue
            if key.lower() == "content-type":
                found["content-type"] = value.decode("latin-1")
        if not key.isascii() and unsafe_text(key):
            raise MalformedError(Reason.UNDECODABLE, "a header key is not UTF-8")
    if size > MAX_HEADER_BYTES:
        raise MalformedError(Reason.HEADER_LIMIT, f"{size} bytes of headers, the limit is {MAX_HEADER_BYTES}")
    return found


def _unfold(mode: str, value: bytes, limit: int) -> tuple[_Attributes, bytes]:
    if mode.split(";")[0].strip() != "application/cloudevents+json":
        raise MalformedError(Reason.UNSUPPORTED_CONTENT_MODE, "neither binary mode nor application/cloudevents+json")
    check_json(value, limit)
    try:
        event = _structured.decode(value)
        data = base64.b64decode(event.data_base64, validate=True) if event.data_base64 is not None else bytes(event.data)
    except msgspec.ValidationError as error:
        raise MalformedError(Reason.MISSING_ATTRIBUTE, str(error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError, binascii.Error, ValueError) as error:
        raise MalformedError(Reason.UNDECODABLE, str(error)) from error
    _repeats.refuse(value)
    if not data or data == b"null":
        raise MalformedError(Reason.NO_DATA, "a structured event without data")
    values = ((name, getattr(event, name)) for name in (*_REQUIRED, *_OPTIONAL))
    return {name: text for name, text in values if text is not None}, data


def _map(record: Record, topic: Topic) -> _Attributes:
    assert topic.mapper is not None
    try:
        return {"specversion": "1.0", **{str(name): _text(value) for name, value in topic.mapper(record).items()}}
    except RAISED as error:  # the author's code, like a routing function
        raise MalformedError(Reason.MISSING_ATTRIBUTE, f"the mapper raised {described(error)}") from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise UnusableError(f"an attribute is text, not {type(value).__name__}")


def _check(attributes: _Attributes) -> None:
    if attributes["specversion"] != "1.0":
        raise MalformedError(Reason.MISSING_ATTRIBUTE, "specversion is not 1.0")
    whole = "".join(attributes.values())
    if len(whole) <= MAX_ATTRIBUTE and whole.isascii() and "\0" not in whole:
        return
    for name, text in attributes.items():
        if len(text) > MAX_ATTRIBUTE:
            raise MalformedError(Reason.HEADER_LIMIT, f"{name} is longer than {MAX_ATTRIBUTE}")
        if why := unsafe_text(text):
            raise MalformedError(Reason.UNSAFE_TEXT if "\0" in text else Reason.MISSING_ATTRIBUTE, f"{name} holds {why}")
