"""Families about structured mode: an envelope and its data in one JSON, so that everything hostile can be said twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence

from stream.core.outcome import Reason
from tests.hostile.case import Case, Maker, family, own
from tests.hostile.frames import Pair
from tests.hostile.texts import ODD_BYTES

MODE = b"application/cloudevents+json"
WRONG: Sequence[object] = (1, 1.5, True, list[str](), dict[str, str](), ["a"])


def folded(m: Maker, data: bytes = b"", /, **changed: object) -> bytes:
    """`data` as it is, or a good one; an attribute of None is left out."""
    said: dict[str, object] = {"specversion": "1.0", "id": m.id(), "source": "/hostile", "type": "note.written", **changed}
    attributes = json.dumps({k: v for k, v in said.items() if v is not None}, ensure_ascii=False).encode()
    return attributes[:-1] + b',"data":%s}' % (data or m.raw(b""))


def mode(text: bytes = MODE, *more: Pair) -> list[Pair]:
    return [(b"content-type", text), *more]


@family
def structured_good(m: Maker) -> Iterator[Case]:
    for text in (MODE, MODE.upper(), MODE + b"; charset=utf-8", MODE + b" ;a=b", MODE + b";charset=UTF-16", MODE + b";;;"):
        yield m.taken(folded(m), mode(text), note={})
        yield m.taken(folded(m), [(b"Content-Type", text)], note={})
    for more in ((b"ce_id", b"other"), (b"ce_type", b"note.lost"), (b"x", b"\xff"), (b"ce_specversion", b"9")):
        # What the headers say beside it is not read.
        yield m.taken(folded(m), mode(MODE, more), note={})
    for name in ("subject", "time", "actor", "extension", "dataschema", "datacontenttype"):
        yield m.taken(folded(m, **{name: None}), mode(), note={})
    yield m.taken(folded(m, extension={"a": [1, 2, {"b": None}]}), mode(), note={})


@family
def structured_base64(m: Maker) -> Iterator[Case]:
    def sealed(data: object) -> bytes:
        said = {"specversion": "1.0", "id": m.id(), "source": "/hostile", "type": "note.written", "data_base64": data}
        return json.dumps(said).encode()

    for more in (b"", b',"n":0', b',"other":[]'):
        yield m.taken(sealed(base64.b64encode(m.raw(more)).decode()), mode(), note={})
    for text in ("*", "e30", "e30===", "e3 0=", "\u00e9", "eyJpZCI6ICJhIn0\n", "_-8="):
        yield m.dead(Reason.UNDECODABLE, sealed(text), mode())
    for odd in ODD_BYTES:
        yield m.dead(Reason.UNDECODABLE, sealed(base64.b64encode(m.raw(b',"text":"%s"' % odd)).decode()), mode())
    for data, reason in ((b"[" * 2_000, Reason.TOO_DEEP), (b'{"id":"\0"}', Reason.UNSAFE_TEXT), (b'{"id":1}', Reason.SCHEMA_INVALID)):
        yield m.dead(reason, sealed(base64.b64encode(data).decode()), mode())
    yield m.dead(Reason.NO_DATA, sealed(""), mode())
    for wrong in WRONG:
        yield m.dead(Reason.MISSING_ATTRIBUTE, sealed(wrong), mode())


@family
def structured_without_data(m: Maker) -> Iterator[Case]:
    bare: dict[str, object] = {"specversion": "1.0", "source": "/hostile", "type": "note.written"}
    for name in ("data", "data_base64", "Data", "other"):
        yield m.dead(Reason.NO_DATA, json.dumps({**bare, "id": m.id(), name: None}).encode(), mode())


@family
def structured_attribute_of_the_wrong_kind(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "specversion", "time", "subject", "correlationid", "causationid", "actor", "traceparent"):
        for value in WRONG:
            yield m.dead(Reason.MISSING_ATTRIBUTE, folded(m, **{name: value}), mode())


@family
def structured_attribute_missing(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "specversion"):
        yield m.dead(Reason.MISSING_ATTRIBUTE, folded(m, **{name: None}), mode())
        yield m.dead(Reason.MISSING_ATTRIBUTE, folded(m, **{name: ""}), mode())
        yield m.dead(Reason.MISSING_ATTRIBUTE, folded(m, **{name: None, name.upper(): "a"}), mode())
    yield m.dead(Reason.MISSING_ATTRIBUTE, b'{"data":{}}', mode())
    for value in (b"[]", b"null", b'"a"', b"1"):
        yield m.dead(Reason.MISSING_ATTRIBUTE, value, mode())


@family
def structured_attribute_twice(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "specversion", "subject", "data"):
        yield m.dead(Reason.SCHEMA_INVALID, folded(m, subject="a")[:-1] + b',"%s":"a"}' % name.encode(), mode())
    yield m.dead(Reason.SCHEMA_INVALID, folded(m)[:-1] + b',"i\\u0064":"a"}', mode())
    yield m.dead(Reason.SCHEMA_INVALID, folded(m, m.raw(b',"n":1,"n":2')), mode())


@family
def structured_broken(m: Maker) -> Iterator[Case]:
    for value in (b"", b"hello", b"{", b"<a/>", b"\xff\xfe", b"\xef\xbb\xbf{}"):
        yield m.dead(Reason.UNDECODABLE, value, mode())
    whole = folded(m)
    for _ in range(20):
        yield m.dead(Reason.UNDECODABLE, whole[: m.chance.randrange(1, len(whole))], mode())
    for odd in ODD_BYTES:
        yield m.dead(Reason.UNDECODABLE, folded(m, m.raw(b',"text":"%s"' % odd)), mode())


@family
def structured_of_unsafe_data(m: Maker) -> Iterator[Case]:
    for data, reason in (
        (b',"text":"\\u0000"', Reason.UNSAFE_TEXT),
        (b',"text":"\\ud800"', Reason.UNSAFE_TEXT),
        (b',"n":9223372036854775808', Reason.UNSAFE_NUMBER),
        (b',"x":1e400', Reason.UNSAFE_NUMBER),
        (b',"other":' + b"[" * 200 + b"]" * 200, Reason.TOO_DEEP),
        (b',"n":"1"', Reason.SCHEMA_INVALID),
    ):
        yield m.dead(reason, folded(m, m.raw(data)), mode())
        yield m.dead(reason, folded(m, m.raw(data + b',"other":[[]]' if reason != Reason.TOO_DEEP else data)), mode(MODE + b"; a=b"))


@family
def structured_of_unsafe_attributes(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "subject", "actor"):
        yield m.dead(Reason.UNSAFE_TEXT, folded(m)[:-1] + b',"%s2":"\\u0000"}' % name.encode(), mode())
        yield m.dead(Reason.UNSAFE_TEXT, folded(m, **{name: "XX"}).replace(b'"XX"', b'"a\\ud800"'), mode())
        yield m.dead(Reason.HEADER_LIMIT, folded(m, **{name: "a" * 513}), mode())


@family
def structured_too_large(m: Maker) -> Iterator[Case]:
    for size in (1_000_001, 2_000_000):
        yield m.dead(Reason.TOO_LARGE, folded(m, b'"' + b"a" * size + b'"'), mode())


@family
def content_mode_not_read(m: Maker) -> Iterator[Case]:
    for text in (
        *("application/cloudevents-batch+json", "application/cloudevents+avro", "application/cloudevents+protobuf", "application/cloudevents+xml"),
        *(
            "application/cloudevents",
            "application/cloudevents+",
            "application/cloudevents+json2",
            "application/cloudevents+JSONP",
            "application/cloudevents,x",
        ),
        *("application/cloudevents+" + "x" * 5_000, "application/cloudevents+\u00e9", "application/cloudevents\n", "application/cloudevents%2Bjson"),
    ):
        yield m.dead(Reason.UNSUPPORTED_CONTENT_MODE, folded(m), mode(text.encode()))


@family
def content_type_without_meaning(m: Maker) -> Iterator[Case]:
    for text in (
        b"",
        b"text/plain",
        b"application/xml",
        b"\xff\xfe",
        b"application/json; charset=utf-16",
        b"x" * 3_000,
        b"\0",
        b" application/cloudevents+json",
    ):
        yield m.taken(headers=own(m.id(), (b"content-type", text)))
