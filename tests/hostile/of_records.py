"""Families about the record itself: its header keys and values, its key, its value, its timestamp."""

from __future__ import annotations

from collections.abc import Iterator

from stream.core.outcome import Reason, Verdict
from tests.hostile.case import Case, Maker, family, own
from tests.hostile.texts import ODD_BYTES

LIMIT = 1_000_000


@family
def header_key_not_utf8(m: Maker) -> Iterator[Case]:
    for odd in ODD_BYTES:
        yield m.dead(Reason.UNDECODABLE, headers=own(m.id(), (odd, b"x")))
        yield m.dead(Reason.UNDECODABLE, headers=[(b"x-" + odd, None), *own(m.id())])


@family
def header_key_unusual(m: Maker) -> Iterator[Case]:
    for key in (
        b"",
        b"\0",
        b" ",
        b"\n",
        b"CE_ID",
        b"Ce_Type",
        b"ce_",
        b"ce_data",
        b"ce-id",
        b"ce_id ",
        b"\xc3\xa9",
        b"k" * 20_000,
        b"__proto__",
        b"a=b",
        b";",
    ):
        yield m.taken(headers=own(m.id(), (key, b"x"), (key, b"y"), (key, None)))


@family
def header_value(m: Maker) -> Iterator[Case]:
    for value in (None, b"", b"\0", b"\xff" * 99, b"v" * 60_000, bytes(60_000)):
        yield m.taken(headers=own(m.id(), (b"x", value)))
    for size in (66_000, 1_000_000, 1_048_576):
        yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), (b"x", b"v" * size)))
    for pieces in (70, 100, 120):
        yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), *[(b"x", b"v" * 1000)] * pieces))
    for size in (70_000, 500_000):
        yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), (b"k" * size, None)))


@family
def headers_without_number(m: Maker) -> Iterator[Case]:
    for count in (0, 1, 100, 124):
        yield m.taken(headers=own(m.id(), *[(b"x", b"")] * count))
    for count in (125, 126, 200, 1_000, 10_000, 100_000):
        yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), *[(b"", None)] * count))
        yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), *[(b"ce_id", m.id().encode())] * count))


@family
def attribute_twice(m: Maker) -> Iterator[Case]:
    for name in (b"id", b"source", b"type", b"specversion", b"time", b"subject", b"correlationid", b"causationid", b"actor", b"traceparent"):
        key = b"ce_" + name
        said = {"id": m.id().encode(), "source": b"/hostile", "type": b"note.written", "specversion": b"1.0", "time": b"2020-01-01T00:00:00Z"}
        one = said.get(name.decode(), b"a")
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), (key, one), (key, one + b" ")))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=[(key, one + b"x"), *own(m.id(), (key, one))])
    for name in (b"id", b"source", b"type", b"specversion"):
        headers = own(m.id())
        again = next(pair for pair in headers if pair[0] == b"ce_" + name)
        yield m.taken(headers=[*headers, again, again])
        yield m.taken(headers=[(again[0], None), *own(m.id())])


@family
def no_value(m: Maker) -> Iterator[Case]:
    for key in (None, b"", b"k", b"\xff", b"k" * 1000):
        yield m.dead(Reason.NO_DATA, None, key=key)
        yield m.dead(Reason.NO_DATA, None, [], key=key)


@family
def record_key(m: Maker) -> Iterator[Case]:
    for key in (None, b"", b"\0", b"k" * LIMIT, *ODD_BYTES):
        yield m.taken(key=key)
    for _ in range(20):
        yield m.taken(key=m.chance.randbytes(m.chance.randrange(1, 200)))
    for size in (LIMIT + 1, LIMIT + 2, 1 << 20, 2 << 20):
        yield m.dead(Reason.TOO_LARGE, key=b"k" * size)


@family
def record_value_too_large(m: Maker) -> Iterator[Case]:
    for size in (LIMIT + 1, 1 << 20, 5 << 20):
        for fill in (b" ", b"[", b"\xff", b"\0"):
            yield m.dead(Reason.TOO_LARGE, m.raw(b',"text":"%s"' % (fill * size))[:size])


@family
def record_value_at_the_limit(m: Maker) -> Iterator[Case]:
    for fill in ("a", "\u00e9", "\U0001f600"):
        # What is made of it is stored with every field it has, and that has the same limit.
        text = fill * (999_000 // len(fill.encode()))
        value = m.raw(b',"text":"%s"' % text.encode())
        yield m.taken(value + b" " * (LIMIT - len(value)), note={"text": text})
    yield m.taken(b" " * (LIMIT - len(m.raw(b""))) + m.raw(b""))


@family
def skipped_by_its_topic(m: Maker) -> Iterator[Case]:
    for kind in (b"other.thing", b"note.written.v2", b"\xc3\xa9", b"note.skimmed.v2", b"' or 1=1"):
        yield _skipped(m, b"{}", kind)
        yield _skipped(m, b"not JSON at all \xff", kind)
    for _ in range(5):
        yield _skipped(m, None, b"note.skimmed")


def _skipped(m: Maker, value: bytes | None, kind: bytes) -> Case:
    name = m.next()
    return Case(name=name, key=None, value=value, headers=own(name, type=kind), verdict=Verdict.SKIPPED, where="skipping")


@family
def dead_where_others_are_skipped(m: Maker) -> Iterator[Case]:
    for value, reason in ((b"", Reason.UNDECODABLE), (b"{}", Reason.SCHEMA_INVALID), (b'{"id":"\\u0000"}', Reason.UNSAFE_TEXT)):
        yield m.dead(reason, value, own(m.id(), type=b"note.skimmed"), where="skipping")
        yield m.dead(Reason.MISSING_ATTRIBUTE, value, [], where="skipping")


@family
def record_timestamp(m: Maker) -> Iterator[Case]:
    """It stands for `time`, where that is not said."""
    for when in (253_402_300_799_000, 253_402_300_800_000, 10**15, (1 << 63) - 1, 1 << 53):
        yield m.dead(Reason.MISSING_ATTRIBUTE, timestamp=when)
    for when in (0, 1, 86_400_000, 946_684_800_000):
        yield m.dead(Reason.TOO_OLD, timestamp=when)
    for when in (4_102_444_800_000, 253_370_764_800_000 - 1):
        yield m.dead(Reason.TOO_NEW, timestamp=when)


@family
def mapper_that_fails(m: Maker) -> Iterator[Case]:
    for said in ("raise", "number", "null", "nothing", "late", "empty", "old"):
        for _ in range(2):
            yield m.dead(Reason.MISSING_ATTRIBUTE, headers=[], key=f"{said}/{m.id()}".encode(), where="plain")


@family
def mapper_that_holds(m: Maker) -> Iterator[Case]:
    for _ in range(5):
        yield m.taken(headers=[], where="plain")
    for reason, value in ((Reason.UNDECODABLE, b"<xml/>"), (Reason.UNDECODABLE, b"a,b,c"), (Reason.NO_DATA, None)):
        yield m.dead(reason, value, headers=[], where="plain")


@family
def route_that_fails(m: Maker) -> Iterator[Case]:
    for said in ("raise", "number", "none", "deep", "empty", "long", "silent"):
        for _ in range(2):
            yield m.dead(Reason.ROUTE_FAILED, {"id": f"{said}/{m.id()}"}, own(m.id(), type=b"note.routed"))
