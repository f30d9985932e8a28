"""The codec on whatever a record may hold: what is written reads the same, everything is counted once, two names are two identities."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stream.core.codec import record_of
from stream.core.identity import identity_of
from stream.core.record import Record
from tests.core.lamps import Lit, decode, lit, on_log, one

storable = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(
    event=st.builds(
        Lit, lamp=storable.filter(lambda t: 0 < len(t) < 500 and t != "boom"), watts=st.integers(-(2**63), 2**63 - 1), note=st.none() | storable
    ),
    id=storable.filter(lambda t: 0 < len(t) <= 512),
    time=st.datetimes(datetime(1971, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
)
def test_what_record_of_writes_decodes_to_the_same(event: Lit, id: str, time: datetime) -> None:
    envelope = one(decode(on_log(record_of(event, id=id, source="/porch", time=time)))).envelope
    assert (envelope.event, envelope.id, envelope.time) == (event, id, time)


names = st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_specversion", "ce_time", "ce_subject", "content-type", "traceparent", "x", "\udcff"])
values = st.none() | st.binary(max_size=40) | st.sampled_from([b"1.0", b"lamp.lit", b"application/cloudevents+json", b"2026-03-01T12:00:00Z"])
bodies = st.none() | st.binary(max_size=60) | st.sampled_from([b'{"lamp":"a"}', b'{"lamp":"boom"}', b'{"specversion":"1.0","id":"1","data":{}}'])


@given(
    value=bodies,
    key=st.none() | st.binary(max_size=5),
    headers=st.lists(st.tuples(names, values), max_size=8),
    good=st.booleans(),
    timestamp=st.integers(-(2**63), 2**63 - 1),
    topic=st.sampled_from(["lamps", "quiet", "plain"]),
)
def test_whatever_a_record_holds_it_is_counted_once(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]], good: bool, timestamp: int, topic: str
) -> None:
    record = Record(topic, 0, 1, timestamp, key, value, [*(lit().headers if good else ()), *headers])
    decoded = decode(record)
    counts = decoded.changes.counts[record.place]
    assert counts["records"] == 1 == len(decoded.orders) + counts["dead"] + counts["skipped"]
    assert counts["dead"] == len(decoded.changes.dead)
    assert all(letter.record is record and "\0" not in letter.error and letter.error.encode() for letter in decoded.changes.dead)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_two_pairs_of_source_and_id_are_two_identities(pairs: list[tuple[str, str]]) -> None:
    (first, second) = pairs
    assert identity_of(*first) != identity_of(*second)
