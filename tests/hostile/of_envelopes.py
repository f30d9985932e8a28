"""Families about the envelope: CloudEvents attributes in binary mode, identities and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stream.core.outcome import Reason, Verdict
from tests.hostile.case import Case, Maker, family, own
from tests.hostile.texts import ALL, ODD_BYTES

NOW = datetime.now(UTC)
ATTRIBUTES = ("id", "source", "type", "specversion", "time", "subject", "correlationid", "causationid", "actor", "traceparent")


@family
def attribute_missing(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "specversion"):
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), **{name: None}))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), **{name: b""}))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), (f"ce_{name}".encode(), None), **{name: None}))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), (f"CE_{name}".encode(), b"a"), **{name: None}))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), (f"ce-{name}".encode(), b"a"), **{name: None}))
    yield m.dead(Reason.MISSING_ATTRIBUTE, headers=[])
    yield m.dead(Reason.MISSING_ATTRIBUTE, headers=[(b"content-type", b"application/json")])


@family
def attribute_too_long(m: Maker) -> Iterator[Case]:
    for name in ATTRIBUTES:
        if name not in ("specversion", "time"):
            yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), **{name: b"a" * 513}))
            yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), **{name: "\U0001f600".encode() * 513}))
    yield m.dead(Reason.HEADER_LIMIT, headers=own(m.id(), id=b"i" * 60_000))


@family
def attribute_at_the_limit(m: Maker) -> Iterator[Case]:
    for fill in ("a", "\u00e9", "\u4e2d", "\U0001f600"):
        id = (m.id() + fill * 512)[:512]
        yield m.taken(headers=own(m.id(), id=id.encode()), event_id=id)
        for name in ("source", "subject", "correlationid", "causationid", "actor"):
            yield m.taken(headers=own(m.id(), **{name: fill.encode() * 512}))


@family
def attribute_not_utf8(m: Maker) -> Iterator[Case]:
    for number, odd in enumerate(ODD_BYTES):
        name = ("id", "source", "type", "subject", "correlationid", "causationid", "actor")[number % 7]
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), **{name: odd}))
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), subject=b"a" + odd + b"b"))


@family
def attribute_with_nul(m: Maker) -> Iterator[Case]:
    for name in ("id", "source", "type", "subject", "correlationid", "causationid", "actor"):
        for text in (b"\0", b"a\0b", b"a\0"):
            yield m.dead(Reason.UNSAFE_TEXT, headers=own(m.id(), **{name: text}))


@family
def version_of_the_envelope(m: Maker) -> Iterator[Case]:
    for text in (b"0.3", b"1", b"1.1", b"2.0", b"1.0 ", b" 1.0", b"v1.0", b"1.0.0", b"1,0", b"\xef\xbc\x91.0", b"null", b"01.0"):
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), specversion=text))


@family
def time_that_is_none(m: Maker) -> Iterator[Case]:
    said = (
        *(
            "",
            "yesterday",
            "now",
            "NaN",
            "-1",
            "0",
            "1e9",
            "1735689600",
            "null",
            "2026",
            "2026-01",
            "2026-01-01",
            "20260101T000000Z",
            "2026-W01-1T00:00:00Z",
        ),
        *(
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
        ),
        *(
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+01",
        ),
        *(
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z ",
            "2026-01-01T00:00:00Z\n",
            "-2026-01-01T00:00:00Z",
        ),
        *(
            "12026-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
        ),
        *(
            "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
            "2026-01-01T00:00:00\u2212" + "01:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Europe/Vienna",
        ),
    )
    for text in said:
        yield m.dead(Reason.MISSING_ATTRIBUTE, headers=own(m.id(), time=text.encode()))


@family
def time_that_is_odd(m: Maker) -> Iterator[Case]:
    at = NOW - timedelta(hours=1)
    day = at.strftime("%Y-%m-%dT%H:%M:%S")
    for text in (f"{day}z", day.lower() + "Z", f"{day}.1Z", f"{day}.123456789012345678901Z", f"{day}-00:00", f"{day}+00:00", f"{day}.000000000Z"):
        yield m.taken(headers=own(m.id(), time=text.encode()))
    for hours in (-12, -1, 5, 14, 23):
        there = (at + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")
        yield m.taken(headers=own(m.id(), time=f"{there}{hours:+03d}:00".encode()))


@family
def time_too_old(m: Maker) -> Iterator[Case]:
    for days in (15, 16, 30, 365, 3_650, 18_000):
        for _ in range(3):
            yield m.dead(Reason.TOO_OLD, headers=own(m.id(), time=_instant(NOW - timedelta(days=days))))
    yield m.dead(Reason.TOO_OLD, headers=own(m.id(), time=b"1970-01-01T00:00:00Z"))


@family
def time_too_new(m: Maker) -> Iterator[Case]:
    for days in (1, 2, 30, 365, 36_500, 1_000_000):
        for _ in range(3):
            yield m.dead(Reason.TOO_NEW, headers=own(m.id(), time=_instant(NOW + timedelta(days=days))))
    yield m.dead(Reason.TOO_NEW, headers=own(m.id(), time=b"9998-12-31T23:59:59Z"))


def _instant(at: datetime) -> bytes:
    return at.isoformat().replace("+00:00", "Z").encode()


@family
def type_unknown(m: Maker) -> Iterator[Case]:
    for text in (
        *(
            "note.lost",
            "note.written.v2",
            "note.written.v1",
            "Note.Written",
            "note.written ",
            " note.written",
            "note_written",
            "note",
            "*",
            "__class__",
        ),
        *(
            "note.written\u200b",
            "note.wr\u0456tten",
            "../note.written",
            "note.written\n",
            "' or 1=1",
            "NoteWritten",
            "sla.lost",
            "\u202enote.written",
        ),
    ):
        yield m.dead(Reason.UNKNOWN_TYPE, headers=own(m.id(), type=text.encode()))


@family
def known_id_with_other_content(m: Maker) -> Iterator[Case]:
    for number in range(12):
        first = m.taken({"n": 1})
        yield first
        other = {"n": 2} if number % 2 else {"n": 1, "text": "more"}
        second = m.dead(Reason.ID_CONFLICT, {"id": first.name, **other}, own(first.name))
        yield replace(second, verdict=Verdict.CONFLICT)
        third = m.dead(Reason.ID_CONFLICT, {"id": first.name, "n": 1}, own(first.name, subject=b"another"))
        yield replace(third, verdict=Verdict.CONFLICT)


@family
def known_id_again(m: Maker) -> Iterator[Case]:
    for _ in range(10):
        first = m.taken({"n": 1})
        yield first
        # Spaces, order, fields nobody reads, headers and times are no content.
        for value in (b'{ "n":1 , "id":"%s" }', b'{"id":"%s","n":1,"other":2}', b'{"id":"%s","n":1,"text":""}'):
            headers = own(first.name, (b"x", b"y"), actor=b"somebody")
            again = m.dead(Reason.MANUAL, value % first.name.encode(), headers)
            yield replace(again, verdict=Verdict.DUPLICATE, reason=None)


@family
def attribute_of_hostile_text(m: Maker) -> Iterator[Case]:
    for text in ALL:
        if "\0" not in text:
            data = text.encode("utf-8")
            yield m.taken(headers=own(m.id(), id=data + b" " + m.id().encode(), subject=data, source=data, actor=data), event_id=f"{text} {m.id()}")
