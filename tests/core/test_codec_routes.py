"""The codec whole: verdicts, letters, traces, ages, replays, and what two foreign oracles say of the records we write."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from stream.core.codec import record_of
from stream.core.order import Claim, Decoded, Deliver, Stored
from stream.core.record import Record, Ref, TopicPartition
from tests.core.lamps import NOW, PARENT, PLACE, Billed, Lit, codec, decode, lit, on_log, one


def reasons(decoded: Decoded) -> list[str]:
    return [str(letter.reason) for letter in decoded.changes.dead]


def test_an_event_is_routed_with_all_that_is_known_of_it() -> None:
    order = one(decode(lit()))
    e = order.envelope
    assert (e.event, e.refs, order.place) == (Lit(lamp="a"), (Ref("lamp", "a"),), PLACE)
    assert (e.id, e.source, e.type, e.time, e.actor) == ("1", "/porch", "lamp.lit", NOW, None)


def test_a_fresh_record_stays_in_the_trace_of_its_producer() -> None:
    trace = one(decode(lit(trace=PARENT))).envelope.trace
    assert (trace.trace_id, trace.parent_id, trace.link) == (PARENT.trace_id, PARENT.span_id, (PARENT.trace_id, PARENT.span_id))


def test_a_record_five_minutes_old_begins_a_trace_and_links() -> None:
    trace = one(decode(lit(trace=PARENT), now=NOW + timedelta(minutes=5))).envelope.trace
    assert trace.trace_id != PARENT.trace_id
    assert (trace.parent_id, trace.link) == ("", (PARENT.trace_id, PARENT.span_id))


@pytest.mark.parametrize(
    "text", [b"00-" + b"0" * 32 + b"-" + b"c" * 16 + b"-01", b"garbage", b"\xff", b"ff-" + b"a" * 32 + b"-" + b"c" * 16 + b"-01"]
)
def test_an_invalid_trace_context_costs_only_the_trace(text: bytes) -> None:
    plain = lit()
    trace = one(decode(msgspec.structs.replace(plain, headers=[*plain.headers, ("traceparent", text)]))).envelope.trace
    assert (trace.parent_id, trace.link) == ("", None)


def test_a_retried_batch_makes_the_same_span_ids_and_its_records_different_ones() -> None:
    first, again = (one(decode(lit(trace=PARENT))).envelope.trace for _ in range(2))
    other = one(decode(on_log(lit(trace=PARENT), offset=8))).envelope.trace
    assert first == again
    assert other.span_id != first.span_id


def test_a_routing_function_that_would_end_the_process_makes_a_letter() -> None:
    decoded = decode(lit("exit"), lit("b", id="2"))
    assert reasons(decoded) == ["route_failed"]
    assert one(decoded).envelope.refs == (Ref("lamp", "b"),)


def test_a_routing_function_that_raises_makes_a_letter_that_can_be_stored() -> None:
    decoded = decode(lit("boom"), lit("b", id="2"))
    (letter,) = decoded.changes.dead
    assert (letter.reason, letter.event_id, letter.record) == ("route_failed", "1", lit("boom"))
    assert "\0" not in letter.error
    assert one(decoded).envelope.refs == (Ref("lamp", "b"),)
    assert decoded.changes.counts == {PLACE: {"records": 2, "dead": 1}}


@pytest.mark.parametrize(("topic", "verdict"), [("quiet", "skipped"), ("lamps", "dead")])
@pytest.mark.parametrize("tombstone", [True, False])
def test_a_topic_says_whether_the_unknown_and_the_empty_are_skipped(topic: str, verdict: str, tombstone: bool) -> None:
    plain = on_log(lit(), topic)
    if tombstone:
        plain = msgspec.structs.replace(plain, value=None)
    else:
        plain = msgspec.structs.replace(plain, headers=[(k, b"lamp.sold" if k == "ce_type" else v) for k, v in plain.headers])
    decoded = decode(plain)
    assert decoded.changes.counts == {TopicPartition(topic, 0): {"records": 1, verdict: 1}}
    assert [letter.record for letter in decoded.changes.dead] == ([] if verdict == "skipped" else [plain])


def test_a_mapper_gives_plain_json_its_attributes() -> None:
    envelope = one(decode(Record("plain", 0, 3, int(NOW.timestamp() * 1000), b"k1", b'{"lamp":"a"}'))).envelope
    assert (envelope.id, envelope.source, envelope.time, envelope.event) == ("k1", "/plain", NOW, Lit(lamp="a"))


def test_a_mapper_that_raises_costs_one_letter() -> None:
    assert reasons(decode(Record("plain", 0, 3, 0, b"\xff", b"{}"))) == ["missing_attribute"]


def test_what_the_inbox_may_have_forgotten_is_too_old() -> None:
    old = NOW - timedelta(days=14)
    assert reasons(decode(lit(time=old), stream_time=NOW)) == []
    assert reasons(decode(lit(time=old - timedelta(microseconds=1)), stream_time=NOW)) == ["too_old"]
    assert reasons(decode(lit(), floor=NOW)) == ["too_old"]


def test_the_batch_itself_does_not_move_its_stream_time() -> None:
    late = lit(id="2", time=NOW - timedelta(days=15))
    assert reasons(decode(lit(), late, stream_time=NOW - timedelta(days=2))) == []


def test_more_than_five_minutes_ahead_is_too_new() -> None:
    assert reasons(decode(lit(time=NOW + timedelta(minutes=5)), lit(time=NOW + timedelta(minutes=5, microseconds=1)))) == ["too_new"]


def test_an_admitted_letter_goes_back_to_its_entity_alone() -> None:
    claim = Claim("replay", NOW, NOW, stored=(Stored(lit(trace=PARENT), Ref("lamp", "z"), True),))
    order = one(codec()(claim))
    assert (order.envelope.refs, order.admitted, order.place) == ((Ref("lamp", "z"),), True, None)
    assert order.envelope.trace.link == (PARENT.trace_id, PARENT.span_id)
    assert order.envelope.trace.trace_id != PARENT.trace_id


def test_a_replayed_letter_that_was_never_admitted_is_routed_and_never_too_old() -> None:
    claim = Claim("replay", NOW, NOW, stored=(Stored(lit(), None, False),), floors={"lamps": NOW + timedelta(days=1)})
    order = one(codec()(claim))
    assert (order.envelope.refs, order.admitted, order.place) == ((Ref("lamp", "a"),), False, None)


def test_a_replayed_letter_that_is_still_bad_counts_for_its_door() -> None:
    bad = msgspec.structs.replace(lit(), value=b"{")
    assert codec()(Claim("replay", NOW, NOW, stored=(Stored(bad, None, False),))).changes.counts["replay"]["dead"] == 1


def test_the_same_business_fact_has_one_identity_under_two_ids() -> None:
    first, second = (on_log(record_of(Billed(lamp="a", month="2026-02"), id=id, source="/till", time=NOW)) for id in ("1", "2"))
    one_of, other = decode(first, second).orders
    assert isinstance(one_of, Deliver)
    assert isinstance(other, Deliver)
    assert one_of.envelope.identity == other.envelope.identity
    assert one_of.envelope.type == "lamp.billed.v2"


def test_an_unusable_correlation_id_is_replaced_by_one_that_is_derived() -> None:
    plain = lit()
    bad = msgspec.structs.replace(plain, headers=[*plain.headers, ("ce_correlationid", b"a b;drop")])
    envelope = one(decode(bad)).envelope
    assert envelope.correlation_id == envelope.identity.hex()


def test_revive_reads_a_stored_record_without_asking_its_age() -> None:
    assert codec().revive(lit(time=NOW - timedelta(days=4000))).event == Lit(lamp="a")
