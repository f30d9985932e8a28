"""The tables of docs/bad-input.md: every row is a record that goes through the codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import msgspec
import pytest

from stream.core.app import App
from stream.core.codec import Codec
from stream.core.entity import Envelope
from stream.core.event import Data, Event
from stream.core.machine import Machine
from stream.core.order import Claim, Decoded, Deliver
from stream.core.record import Header, Record, TopicPartition
from stream.core.row import State, about, opens
from stream.core.topic import Topic

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = b'{"id":"a","size":1}'


class Sent(Event, type="parcel.sent", topic="parcels", key="id"):
    id: str
    size: int = 0
    weight: float = 0.0

    def __post_init__(self) -> None:
        if self.id == "refuse":
            raise KeyError(self.id)
        if self.id == "exit":
            raise SystemExit


class Parcel(Data):
    id: str


def which(e: Sent) -> str:
    if e.id == "raise":
        raise KeyError(e.id)
    return "" if e.id == "none" else e.id


def begin(e: Sent) -> Parcel:
    return Parcel(id=e.id)


def mapped(record: Record) -> Mapping[str, str]:
    raise RuntimeError("no idea")


AWAY: State[Parcel] = State("Away", final=True)
PARCEL = Machine("parcel", data=Parcel, events=(about(Sent, which),), transitions=(opens(Sent, to=AWAY, then=begin),))
CODEC = Codec(App("post", machines=[PARCEL], topics=[Topic("mapped", mapper=mapped)]), "g", sample=lambda trace_id: True, horizon=timedelta(days=14))
CLAIM = Claim("partitions", NOW, NOW, stream_times={TopicPartition("parcels", 0): NOW})
OWN: dict[str, bytes | None] = {
    "ce_specversion": b"1.0",
    "ce_id": b"1",
    "ce_source": b"/van",
    "ce_type": b"parcel.sent",
    "ce_time": b"2026-03-01T12:00:00Z",
}
PLAIN = Record("parcels", 0, 5, int(NOW.timestamp() * 1000), b"a", GOOD, tuple(OWN.items()))


def data(value: bytes | None) -> Record:
    return msgspec.structs.replace(PLAIN, value=value)


def headers(*more: Header, **changed: bytes | None) -> Record:
    own = {**OWN, **{f"ce_{name}": value for name, value in changed.items()}}
    return msgspec.structs.replace(PLAIN, headers=(*own.items(), *more))


def structured(value: bytes, mode: bytes = b"application/cloudevents+json") -> Record:
    return msgspec.structs.replace(PLAIN, headers=[("content-type", mode)], value=value)


BAD: dict[str, Record | Sequence[Record]] = {
    "a null value (a tombstone)": data(None),
    "a structured event without `data`": structured(b'{"specversion":"1.0","id":"1","source":"/van","type":"parcel.sent"}'),
    "an empty value": data(b""),
    "bytes that are not UTF-8": [data(b"\xff\xfe\x00"), data(b'{"id":"a","other":"\xff"}'), data(b'{"id":"\xed\xa0\x80"}')],
    "text that is not JSON": [data(b"hello"), data(b'{"id":"a"'), data(b'{"id":NaN}')],
    "JSON with something behind it": data(GOOD + b"}"),
    "UTF-16": data('{"id":"ä"}'.encode("utf-16")),
    "a header key that is not UTF-8": headers(("x-\udcff", b"1")),
    "a value above the limit (1 MB)": data(b'{"id":"' + b"a" * 1_000_000 + b'"}'),
    "a key above the limit (1 MB)": msgspec.structs.replace(PLAIN, key=b"k" * 1_000_001),
    "more than 128 headers": headers(*[("x", b"")] * 129),
    "more than 64 KiB of headers": [headers(("x", b"a" * 66_000)), headers(("x" * 66_000, None))],
    "an attribute longer than 512 characters": headers(subject=b"s" * 513),
    "no `id`": headers(id=None),
    "an empty `id`": headers(id=b""),
    "no CloudEvents attributes at all, and no mapper": msgspec.structs.replace(PLAIN, headers=()),
    "an attribute that is not UTF-8": [headers(id=b"\xff"), headers(subject=b"a\xe4")],
    "two different values of one attribute": headers(("ce_id", b"2")),
    "a specversion other than 1.0": headers(specversion=b"0.3"),
    "a `time` that is no RFC 3339 instant": [headers(time=text) for text in (b"yesterday", b"2026-02-30T00:00:00Z", b"20260301T120000Z", b"")],
    "a `time` without an offset": headers(time=b"2026-03-01T12:00:00"),
    "a `time` in the year 0001 or 9999": [headers(time=b"0001-01-01T00:00:00+01:00"), headers(time=b"9999-12-31T23:59:59-01:00")],
    "a structured event whose `id` is a number": structured(b'{"specversion":"1.0","id":1,"source":"/van","type":"parcel.sent","data":{}}'),
    "a mapper that raises": Record("mapped", 0, 0, 0, None, GOOD),
    "batch mode": structured(b"[]", b"application/cloudevents-batch+json"),
    "a structured format other than JSON": structured(b"\x0a", b"application/cloudevents+avro"),
    "an unknown type": headers(type=b"parcel.lost"),
    "a field of the wrong type": [data(b'{"id":5}'), data(b'{"id":"a","size":"1"}'), data(b'{"id":"a","size":1.5}'), data(b'{"id":null}')],
    "a required field that is missing": data(b"{}"),
    "a key that the class reads, twice in one object": [
        data(b'{"id":"b","id":"a"}'),
        data(b'{"id":"a","size":1,"size" : 1}'),
        data(b'{"id":"b","i\\u0064":"a"}'),
        structured(b'{"specversion":"1.0","id":"1","id":"2","source":"/van","type":"parcel.sent","data":{"id":"a"}}'),
        structured(b'{"specversion":"1.0","id":"1","source":"/van","type":"parcel.sent","data":{"id":"a","size":1,"size":2}}'),
    ],
    "a class whose `__post_init__` raises": [data(b'{"id":"refuse"}'), data(b'{"id":"exit"}')],
    "a JSON array, not an object": [data(b"[]"), data(b"null"), data(b'"a"')],
    "a NUL character in text": [data(b'{"id":"a\\u0000"}'), data(b'{"id":"a\0"}')],
    "a NUL character in a field nobody reads": [data(b'{"id":"a","other":["\\u0000"]}'), data(b'{"id":"a","\\u0000":1}')],
    "a NUL character in an attribute": [headers(id=b"a\0"), headers(subject=b"\0"), headers(actor=b"\0")],
    "a lone surrogate in text": [
        data(b'{"id":"\\ud800"}'),
        data(b'{"id":"\\uDFFF"}'),
        data(b'{"id":"\\ud800\\n\\udc00"}'),
        data(b'{"id":"\\ud800x\\udc00"}'),
    ],
    "a pair of surrogates the wrong way round": data(b'{"id":"\\udc00\\ud800"}'),
    "an integer beyond 64 bits": [data(b'{"id":"a","size":9223372036854775808}'), data(b'{"id":"a","size":-9223372036854775809}')],
    "an integer of ten thousand digits": [data(b'{"id":"a","size":' + b"1" * 10_000 + b"}"), data(b'{"id":"a","other":[' + b"1" * 10_000 + b"]}")],
    "a number beyond a double": [data(b'{"id":"a","weight":' + n + b"}") for n in (b"1e999", b"-1.5E+0309", b"1" * 400 + b".0", b"12e308")],
    "1,025 arrays in each other": data(b'{"id":"a","other":' + b"[" * 1025 + b"]" * 1025 + b"}"),
    "a `time` before what the inbox remembers": headers(time=b"2026-02-15T11:59:59Z"),
    "a `time` more than five minutes ahead": headers(time=b"2026-03-01T12:05:01Z"),
    "a routing function that raises": data(b'{"id":"raise"}'),
    "a routing function that returns no text": data(b'{"id":"none"}'),
}


def rows(heading: str) -> dict[str, str]:
    """The rows of the table whose second column is called `heading`."""
    lines = iter((Path(__file__).parents[2] / "docs" / "bad-input.md").read_text().splitlines())
    next(line for line in lines if line == f"| input | {heading} |")
    next(lines)
    found: dict[str, str] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, answer = (cell.strip() for cell in line.strip("|").split(" | "))
        found[name] = answer
    return found


def decode(*records: Record) -> Decoded:
    return CODEC(replace(CLAIM, records=records))


def test_the_table_and_the_cases_are_the_same() -> None:
    assert list(rows("reason")) == list(BAD)
    assert list(rows("taken as")) == list(LET_THROUGH)


@pytest.mark.parametrize(("name", "reason"), rows("reason").items())
def test_each_row_is_a_dead_letter_and_the_partition_goes_on(name: str, reason: str) -> None:
    case = BAD[name]
    for bad in (case,) if isinstance(case, Record) else case:
        decoded = decode(bad, PLAIN)
        assert [f"`{letter.reason}`" for letter in decoded.changes.dead] == [reason]
        assert decoded.changes.dead[0].record is bad
        assert [order.envelope.record for order in decoded.orders if isinstance(order, Deliver)] == [PLAIN]


def opened(record: Record) -> Envelope:
    decoded = decode(record)
    assert decoded.changes.dead == []
    (order,) = decoded.orders
    assert isinstance(order, Deliver)
    return order.envelope


SAME = opened(PLAIN)
FOREIGN = headers(("x", None), ("x", b"\xff\0"), ("x", b"1"), ("CE_ID", b"2"))
LET_THROUGH: dict[str, tuple[Record, str, object]] = {
    "a key that is not UTF-8": (msgspec.structs.replace(PLAIN, key=b"\xff\0"), "record.key", b"\xff\0"),
    "headers of others, null header values, repeated headers": (FOREIGN, "record.headers", FOREIGN.headers),
    "the same attribute twice with the same value": (headers(("ce_id", b"1")), "identity", SAME.identity),
    "an attribute whose header value is null": (headers(subject=None), "content", SAME.content),
    "a `traceparent` that is invalid": (headers(("traceparent", b"00-zz")), "trace", SAME.trace),
    "a correlation id of other characters than `A-Za-z0-9._:-`, or longer than 128": (
        headers(correlationid=b"c" * 129),
        "correlation_id",
        SAME.identity.hex(),
    ),
    "no `time`": (headers(time=None), "time", NOW),
    "fields that the class does not know": (data(b'{"id":"a","size":1,"other":[1e30,{"deep":[[]]}]}'), "event", Sent(id="a", size=1)),
    "a repeated key that the class does not read": (data(b'{"id":"a","x":1,"x":{"y":2,"y":3}}'), "event", Sent(id="a")),
    "a key's name in a text, or in another object": (data(b'{"id":"\\"id\\"","x":{"id":["id"]}}'), "event", Sent(id='"id"')),
}


@pytest.mark.parametrize("name", rows("taken as"))
def test_each_row_of_the_second_table_is_let_through(name: str) -> None:
    record, attribute, wanted = LET_THROUGH[name]
    assert attrgetter(attribute)(opened(record)) == wanted


@pytest.mark.parametrize("size", [2**63 - 1, -(2**63)])
def test_the_whole_range_of_a_bigint_is_read(size: int) -> None:
    assert opened(data(b'{"id":"a","size":%d}' % size)).event == Sent(id="a", size=size)


@pytest.mark.parametrize("id", ["1e999", "0b1e4449-aa", "12345678901234567890", "[[[[" * 100, "\\\\u0000"])
def test_text_that_looks_like_a_bad_number_is_text(id: str) -> None:
    assert opened(data(b'{"id":"%s"}' % id.encode())).event
