"""Families about fields: each one with every wrong kind of value, and what an event class must not let through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from stream.core.outcome import Reason
from tests.hostile.case import Case, Maker, family, own

WRONG: Mapping[str, tuple[str, ...]] = {
    "text": ("1", "1.5", "true", "null", "[]", "{}", '["a"]'),
    "n": ('"1"', "1.5", "true", "null", "[]", "{}", '""', "1e-1", "[1]"),
    "x": ('"1"', "true", "null", "[]", "{}", '""', '"NaN"', '"Infinity"'),
    "flag": ("0", "1", '"true"', "null", "[]", "{}", '""'),
    "at": (
        '"yesterday"',
        '"2026-13-01T00:00:00Z"',
        '"2026-02-30T00:00:00Z"',
        "true",
        "[]",
        "{}",
        '""',
        '"2026-01-01"',
        "1",
        '"99999-01-01T00:00:00Z"',
    ),
    "day": ('"2026-02-30"', '"today"', "1", "true", "[]", '"0000-01-01"', '"2026-1-1"'),
    "tags": ('"a"', "1", "{}", "[1]", "[null]", '["a",[]]', "null", "true", '["a",{}]'),
    "sizes": ("[]", '"x"', "1", '{"a":"b"}', '{"a":null}', '{"a":1.5}', "null", '{"a":{}}', "true"),
    "kind": ('"calm"', "1", "null", '"PLAIN"', '""', "[]", '"plain "', "true"),
    "part": ("[]", "1", '"x"', "{}", '{"name":1}', '{"share":1}', '{"name":"a","share":"b"}', "true", '{"name":null}', '{"Name":"a"}'),
    "uid": ('"x"', "1", '"00000000-0000-0000-0000-00000000000g"', "true", '""', "[]", '"00000000-0000-0000-0000-0000000000"'),
    "price": ('"abc"', "true", "[]", "{}", '""', '"1,5"', '"1.5.5"', '"0x1"'),
}


@family
def field_of_the_wrong_kind(m: Maker) -> Iterator[Case]:
    for name, values in WRONG.items():
        for value in values:
            yield m.dead(Reason.SCHEMA_INVALID, m.raw(b',"%s":%s' % (name.encode(), value.encode())))
            # Among good ones, and last: nothing that was read before it is kept.
            yield m.dead(Reason.SCHEMA_INVALID, m.raw(b',"other":1,"zz":[],"%s" : %s ' % (name.encode(), value.encode())))


@family
def id_of_the_wrong_kind(m: Maker) -> Iterator[Case]:
    for value in (b"1", b"null", b"true", b"[]", b"{}", b'["a"]', b"1.5"):
        yield m.dead(Reason.SCHEMA_INVALID, b'{"id":%s}' % value)


@family
def id_that_is_not_there(m: Maker) -> Iterator[Case]:
    for value in (b"{}", b'{"ID":"a"}', b'{"Id":"a"}', b'{"text":"a"}', b'{" id":"a"}', b'{"id ":"a"}', b'{"data":{"id":"a"}}', b'{"i\\u0064x":"a"}'):
        yield m.dead(Reason.SCHEMA_INVALID, value)


@family
def fields_at_random(m: Maker) -> Iterator[Case]:
    """Two fields exchanged, or one wrapped into a list: what a producer does who got its own mapping wrong."""
    good: dict[str, object] = {"text": "a", "n": 1, "flag": True, "tags": ["a"], "sizes": {"a": 1}, "part": {"name": "a"}}
    for _ in range(60):
        one, other = m.chance.sample(sorted(good), 2)
        yield m.dead(Reason.SCHEMA_INVALID, {**good, one: good[other], other: good[one]})
    for name in good:
        for wrapped in ([good[name]], {"value": good[name]}, json.dumps([good[name]])):
            if not (name == "text" and isinstance(wrapped, str)):
                yield m.dead(Reason.SCHEMA_INVALID, {**good, name: wrapped})


@family
def class_that_refuses(m: Maker) -> Iterator[Case]:
    """By an error that a decoder expects, and by others."""
    for said in ("value", "type", "key", "zero", "silent", "assert"):
        for _ in range(2):
            yield m.dead(Reason.SCHEMA_INVALID, {"id": f"{said}/{m.id()}"}, own(m.id(), type=b"note.checked"))
    yield m.taken(headers=own(m.id(), type=b"note.checked"))
