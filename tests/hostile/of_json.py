"""Families about JSON: what is none, what one reader takes otherwise than another, what costs more than it should."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stream.core.outcome import Reason
from tests.hostile.case import Case, Maker, family
from tests.hostile.texts import ODD_BYTES


@family
def not_json(m: Maker) -> Iterator[Case]:
    for value in (
        b"hello",
        b"<a/>",
        b"a: b",
        b"id=1",
        b"\x08\x05",
        b"PK\x03\x04",
        b"'id'",
        b"undefined",
        b"nul",
        b"tru",
        b"True",
        b"{id:1}",
        b"{'id':'a'}",
    ):
        yield m.dead(Reason.UNDECODABLE, value)
    for _ in range(40):
        # No quote ends what the first one begins.
        yield m.dead(Reason.UNDECODABLE, b'{"' + bytes(m.chance.choice(b"abc{}[]:,019.-+ ") for _ in range(m.chance.randrange(40))))


@family
def cut_short(m: Maker) -> Iterator[Case]:
    whole = m.raw(b',"text":"a\\n\xc3\xa9","n":12,"x":1.5,"flag":true,"tags":["a","b"],"part":{"name":"p"}')
    for end in range(1, len(whole) - 1):
        if whole[:end].isascii() or whole[end : end + 1] != b"\xa9":
            yield m.dead(Reason.UNDECODABLE, whole[:end])


@family
def something_behind(m: Maker) -> Iterator[Case]:
    for more in (b"}", b"{}", b",", b"null", b"\x01", b"]", b"//", b"#", b"x", b"1", b'"', b":", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x0b", b"\x0c"):
        yield m.dead(Reason.UNDECODABLE, m.raw(b"") + more)


@family
def nothing_but_space(m: Maker) -> Iterator[Case]:
    for value in (b"", b" ", b"\n", b"\t\r\n", b" " * 999_999, b"\xef\xbb\xbf", b"\xc2\xa0"):
        yield m.dead(Reason.UNDECODABLE, value)


@family
def byte_order_mark(m: Maker) -> Iterator[Case]:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        for text in (m.raw(b"").decode(), '{"id":"\u00e4"}'):
            yield m.dead(Reason.UNDECODABLE, text.encode(encoding))
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        # Without a mark it is UTF-8, of many NULs.
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b"").decode().encode(encoding))


@family
def not_utf8(m: Maker) -> Iterator[Case]:
    for odd in ODD_BYTES:
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"text":"%s"' % odd))
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"other":{"%s":1}' % odd))


@family
def control_in_a_string(m: Maker) -> Iterator[Case]:
    for code in range(1, 32):
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"text":"a%cb"' % code))


@family
def broken_escape(m: Maker) -> Iterator[Case]:
    for escape in (b"\\x41", b"\\u12", b"\\uZZZZ", b"\\U00000041", b"\\", b"\\'", b"\\a", b"\\0", b"\\u{41}", b"\\u 041", b"\\u+041", b"\\v"):
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"text":"%s"' % escape))


@family
def json_with_extras(m: Maker) -> Iterator[Case]:
    for text in (
        b',"n":1,',
        b",",
        b',"other":[1,]',
        b'/**/,"n":1',
        b',//\n"n":1',
        b",'n':1",
        b",n:1",
        b',"n"=1',
        b',"n":1 2',
        b',"n"',
        b',"n":',
        b",,",
        b',"n":1;"x":2',
    ):
        yield m.dead(Reason.UNDECODABLE, m.raw(text))


@family
def not_an_object(m: Maker) -> Iterator[Case]:
    for value in (
        b"[]",
        b"null",
        b"true",
        b"false",
        b'"a"',
        b"0",
        b"-1.5",
        b"1e5",
        b"[{}]",
        b'["id","a"]',
        b"[[[[]]]]",
        b'""',
        b" null ",
        b'[{"id":"a"}]',
    ):
        yield m.dead(Reason.SCHEMA_INVALID, value)


@family
def too_deep(m: Maker) -> Iterator[Case]:
    for depth in (128, 129, 500, 1_023, 1_024, 1_025, 10_000, 100_000):
        yield m.dead(Reason.TOO_DEEP, m.raw(b',"other":' + b"[" * depth + b"]" * depth))
        yield m.dead(Reason.TOO_DEEP, m.raw(b',"other":' + b'{"a":' * depth + b"1" + b"}" * depth))
        # Never closed: a parser finds out at its end only.
        yield m.dead(Reason.TOO_DEEP, m.raw(b',"other":' + b"[" * depth)[:-1])
        yield m.dead(Reason.TOO_DEEP, b"[" * (depth + 1))
    yield m.dead(Reason.TOO_DEEP, b'[{"a":' * 140_000)


@family
def deep_enough(m: Maker) -> Iterator[Case]:
    for depth in (1, 64, 126, 127):
        yield m.taken(m.raw(b',"other":' + b"[" * depth + b"]" * depth))
        yield m.taken(m.raw(b',"other":' + b'{"a":' * depth + b"1" + b"}" * depth))
    for text in ("[" * 9_000, '{"a":' * 9_000, '\\"[' * 300):
        yield m.taken({"text": text})


@family
def masses(m: Maker) -> Iterator[Case]:
    yield m.taken(m.raw(b"".join(b',"k%d":0' % n for n in range(80_000))))
    yield m.taken(m.raw(b',"k":0' * 160_000))
    yield m.taken(m.raw(b',"other":[' + b"{}," * 320_000 + b"{}]"))
    yield m.taken(m.raw(b',"other":[' + b"0," * 480_000 + b"0]"))
    yield m.taken(m.raw(b',"other":[' + b'"\\u00e9",' * 100_000 + b"0]"))
    yield m.taken(m.raw(b',"other":[' + b'{"id":1},' * 100_000 + b"0]"))
    yield m.taken(m.raw(b',"tags":[' + b'"",' * 300_000 + b'""]'), note={"tags": [""] * 300_001})
    yield m.dead(Reason.SCHEMA_INVALID, m.raw(b',"id":"a"' * 100_000))
    yield m.dead(Reason.UNDECODABLE, b'{"' * 100 + b'"' * 900_000)
    yield m.dead(Reason.UNDECODABLE, m.raw(b',"text":"' + b'\\"' * 450_000)[:-1])


@family
def lone_surrogate(m: Maker) -> Iterator[Case]:
    for text in (
        b"\\ud800",
        b"\\uDFFF",
        b"\\ud800\\ud800",
        b"\\udc00\\ud800",
        b"\\ud800\\n\\udc00",
        b"\\ud800x\\udc00",
        b"\\ud83d",
        b"a\\udbff",
        b"\\ud83d\\u0041",
    ):
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"text":"%s"' % text))
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"other":"%s"' % text))
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"%s":1' % text))


@family
def surrogate_pair(m: Maker) -> Iterator[Case]:
    for text in ("\U0001f600", "\U00010000", "\U0010ffff", "a\U0001f600b\U0001f601", "\U0001f600" * 99, "\\ud800", "\\\U0001f600"):
        yield m.taken(m.raw(b',"text":%s' % json.dumps(text).encode()), note={"text": text})
        yield m.taken({"text": text})


@family
def nul(m: Maker) -> Iterator[Case]:
    for text in (b"\\u0000", b"a\\u0000", b"\\u0000a", b"a\\\\\\u0000", b"\0", b"a\0b", b"\\u0000" * 99):
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"text":"%s"' % text))
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"other":[{"a":"%s"}]' % text))
        yield m.dead(Reason.UNSAFE_TEXT, m.raw(b',"%s":1' % text))
    for text in (b"\\\\u0000", b"\\\\\\\\u0000", b"u0000"):
        yield m.taken(m.raw(b',"text":"%s"' % text), note={"text": text.decode().replace("\\\\", "\\")})


@family
def not_a_number(m: Maker) -> Iterator[Case]:
    for text in (
        b"NaN",
        b"nan",
        b"Infinity",
        b"-Infinity",
        b"inf",
        b"01",
        b"-01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b"1e",
        b"1e+",
        b"--1",
        b"-",
        b"1_000",
        b"1e1.5",
        b"0b1",
        b"1f",
    ):
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"x":' + text))
        yield m.dead(Reason.UNDECODABLE, m.raw(b',"other":' + text))


@family
def beyond_a_double(m: Maker) -> Iterator[Case]:
    for text in (
        b"1e400",
        b"-1e400",
        b"1e309",
        b"1E+309",
        b"1.8e308",
        b"9" * 400 + b".0",
        b"12e308",
        b"1e99999999999",
        b"0.1e310",
        b"1" * 310 + b"e0",
    ):
        yield m.dead(Reason.UNSAFE_NUMBER, m.raw(b',"x":' + text))
        yield m.dead(Reason.UNSAFE_NUMBER, m.raw(b',"other":[%s]' % text))


@family
def within_a_double(m: Maker) -> Iterator[Case]:
    said = (
        "1e308",
        "-1.7976931348623157e308",
        "5e-324",
        "1e-400",
        "0e999",
        "0.0e99999",
        "-0.0",
        "1e+0000000000000000000001",
        "0." + "0" * 9_000 + "1",
        "0." + "3" * 9_000,
    )
    for text in said:
        yield m.taken(m.raw(b',"x":' + text.encode()), note={"x": float(text)})
    yield m.taken(m.raw(b',"x":0.' + b"1" * 900_000), note={"x": 1 / 9})


@family
def integer_at_the_edge(m: Maker) -> Iterator[Case]:
    for edge in (2**31, 2**53, 2**63):
        for number in (edge - 1, -edge, -edge + 1):
            yield m.taken({"n": number})
    for number in (2**53 + 1, -(2**53) - 1, 0, 10**18):
        yield m.taken({"n": number})


@family
def integer_beyond(m: Maker) -> Iterator[Case]:
    for number in (2**63, -(2**63) - 1, 2**64 - 1, 2**64, 2**64 + 1, -(2**64), 10**19, 10**30, -(10**30)):
        yield m.dead(Reason.UNSAFE_NUMBER, {"n": number})
        yield m.dead(Reason.UNSAFE_NUMBER, {"other": [number]})
    for digits in (30, 4_300, 4_301, 5_000, 900_000):
        yield m.dead(Reason.UNSAFE_NUMBER, m.raw(b',"n":' + b"7" * digits))
        yield m.dead(Reason.UNSAFE_NUMBER, m.raw(b',"other":-' + b"7" * digits))


@family
def key_twice(m: Maker) -> Iterator[Case]:
    for text in (
        b'"n":1,"n":1',
        b'"n":1,"n":2',
        b'"n":1,"\\u006e":2',
        b'"text":"a","text" :"b"',
        b'"\\u0069d":"b"',
        b'"id":"b"',
        b'"part":{"name":"a","name":"b"}',
    ):
        yield m.dead(Reason.SCHEMA_INVALID, m.raw(b"," + text))
        yield m.dead(Reason.SCHEMA_INVALID, m.raw(b"," + text + b',"other":"\\"n\\""'))
    for text in (b'"z":1,"z":2', b'"other":{"z":1,"z":2}', b'"other":{"a":1},"Other":{"a":2}', b'"N":1,"n ":2', b'"":1,"":2'):
        yield m.taken(m.raw(b"," + text))


@family
def names_with_a_meaning_elsewhere(m: Maker) -> Iterator[Case]:
    for name in (
        "__proto__",
        "constructor",
        "prototype",
        "__class__",
        "__init__",
        "$where",
        "$ref",
        "@type",
        "type",
        "toString",
        "__struct_fields__",
        "self",
        "",
    ):
        yield m.taken(m.raw(b',"%s":{"a":1}' % name.encode()))
        yield m.taken({"sizes": {name: 1}})
