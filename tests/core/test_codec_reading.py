"""Reading CloudEvents: the catalog's checks and both content modes, below routing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stream.core.catalog import Catalog
from stream.core.envelope import instant, read
from stream.core.errors import MalformedError
from stream.core.event import Event
from stream.core.record import Header, Record
from stream.core.topic import Topic


class Opened(Event, type="ticket.opened", topic="tickets", key="ticket_id"):
    ticket_id: str
    size: int = 0


CATALOG = Catalog([Opened])
TOPIC = Topic("tickets")
OWN: list[Header] = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/desk"), ("ce_type", b"ticket.opened")]


def record(value: bytes, headers: list[Header]) -> Record:
    return Record("tickets", 0, 0, 0, None, value, headers)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\xfe", "undecodable"),
        (b"{nonsense", "undecodable"),
        (b'{"ticket_id":5}', "schema_invalid"),
        (b"{}", "schema_invalid"),
        (b'{"ticket_id":"a\\u0000"}', "unsafe_text"),
        (b'{"ticket_id":"\\ud800"}', "unsafe_text"),
        (b'{"ticket_id":"\\udc00\\ud800"}', "unsafe_text"),
        (b'{"ticket_id":"a","size":9223372036854775808}', "unsafe_number"),
        (b'{"ticket_id":"a","other":1e999}', "unsafe_number"),
        (b'{"ticket_id":"a","other":' + b"[" * 1025 + b"]" * 1025 + b"}", "too_deep"),
        (b'{"ticket_id":"' + b"a" * 1_000_000 + b'"}', "too_large"),
    ],
)
def test_bad_data_has_its_own_reason(value: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        CATALOG.decode(Opened, value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "value", [b'{"ticket_id":"\\\\u0000"}', b'{"ticket_id":"\\ud83d\\ude00"}', b'{"ticket_id":"123456789012345678901234567890"}']
)
def test_what_only_looks_unsafe_is_read(value: bytes) -> None:
    assert isinstance(CATALOG.decode(Opened, value), Opened)


@pytest.mark.parametrize("mode", [b"application/cloudevents+json", b"application/cloudevents+json; charset=utf-8", b"Application/CloudEvents+JSON"])
def test_a_structured_event_is_read_whatever_the_case_of_its_content_type(mode: bytes) -> None:
    value = b'{"specversion":"1.0","id":"1","source":"/desk","type":"ticket.opened","data":{"ticket_id":"a"}}'
    attributes, data = read(record(value, [("content-type", mode)]), value, TOPIC, 1000)
    assert (attributes["id"], data) == ("1", b'{"ticket_id":"a"}')


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([("ce_id", b"2")], "missing_attribute"),
        ([("ce_time", b"\xff")], "missing_attribute"),
        ([("ce_subject", b"a\0b")], "unsafe_text"),
        ([("content-type", b"application/cloudevents-batch+json")], "unsupported_content_mode"),
        ([("\udcff", b"")], "undecodable"),
        ([("x", b"")] * 200, "header_limit"),
        ([("x", b"a" * 70_000)], "header_limit"),
    ],
)
def test_bad_headers_have_their_own_reason(more: list[Header], reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read(record(b"{}", OWN + more), b"{}", TOPIC, 1000)
    assert caught.value.reason == reason


def test_foreign_null_and_repeated_headers_are_harmless() -> None:
    attributes, data = read(record(b"{}", [*OWN, ("ce_id", b"1"), ("x", None), ("x", b"\xff\0")]), b"{}", TOPIC, 1000)
    assert (attributes["source"], data) == ("/desk", b"{}")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "2026-01-01T00:00:00", "yesterday", "2026-13-01T00:00:00Z"])
def test_an_unusable_time_is_a_missing_attribute(text: str) -> None:
    with pytest.raises(MalformedError, match="missing_attribute"):
        instant(text, 0)


def test_without_a_time_the_record_timestamp_counts() -> None:
    assert instant(None, 1_000) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
