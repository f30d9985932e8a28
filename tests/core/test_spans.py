"""Spans of a batch: parents, links, and what an operator searches by."""

from __future__ import annotations

from datetime import UTC, datetime

from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.core.changes import Changes, DeadLetter, Handled, Message
from stream.core.entity import Envelope, Trace
from stream.core.event import Event
from stream.core.order import Claim
from stream.core.outcome import Outcome, Reason
from stream.core.record import Record, Ref
from stream.core.spans import Kind, created_span
from stream.ports import Outgoing
from tests.core.visits import V, played

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REF = Ref("ticket", "T-1")
RECORD = Record("tickets", 0, 7, 0, b"T-1", b"{}")


class Opened(Event, topic="tickets", type="ticket.opened"):
    title: str = ""


def one_handled(sampled: bool = True) -> Changes:
    trace = Trace("a" * 32, "b" * 16, "c" * 16, sampled, ("a" * 32, "c" * 16))
    envelope = Envelope(Opened(), "e1", "/x", "ticket.opened", NOW, "T-1", "corr", "", None, b"", b"", trace, RECORD)
    message = Message(REF, "out", b"k", b"{}", [], "m1", "told", 1, "corr", Trace("a" * 32, "d" * 16, "b" * 16, sampled))
    return Changes(handled=[Handled(envelope, REF, Outcome.APPLIED, "", "new", "open", "", [message])])


def test_one_hop_is_process_create_and_send_in_one_trace_with_one_correlation() -> None:
    telemetry = MemoryTelemetry()
    telemetry.processed(Claim("partitions", NOW, NOW, [RECORD]), one_handled(), 1, 2)
    headers = [("traceparent", f"00-{'a' * 32}-{'d' * 16}-01".encode()), ("ce_correlationid", b"corr"), ("ce_emitter", b"ticket/T-1")]
    telemetry.sent([Outgoing(1, "out", b"k", b"{}", headers)], 3, 4)
    process, create, send = telemetry.spans
    assert [s.name for s in telemetry.spans] == ["process tickets", "create out", "send out"]
    assert [s.kind for s in telemetry.spans] == [Kind.CONSUMER, Kind.PRODUCER, Kind.CLIENT]
    assert (create.parent_id, send.parent_id) == (process.span_id, create.span_id)
    for span in telemetry.spans:
        assert span.trace_id == "a" * 32
        assert span.attributes["messaging.message.conversation_id"] == "corr"
        assert (span.attributes["stream.entity.type"], span.attributes["stream.entity.id"]) == REF


def test_a_clock_fires_in_a_span_of_its_own_that_tells_owner_and_due() -> None:
    telemetry, play = MemoryTelemetry(), played((0, "booked", 1), (10, "begun"))
    fired = play.fire(V, 70)
    telemetry.processed(Claim("timers", NOW, NOW), fired, 1, 2)
    fire = [span for span in telemetry.spans if span.kind is Kind.INTERNAL]
    assert [span.name for span in fire] == ["fire solving", "fire solving"]
    ((name, told),) = fire[1].notes
    assert (name, told["stream.clock"], told["stream.clock.what"], told["stream.owner"]) == ("stream.clock", "solving", "breached", "desk")
    assert told["stream.clock.due"] == "2026-03-02T13:00:00+00:00"
    assert (fire[1].attributes["stream.transition.from"], fire[1].attributes["stream.transition.to"]) == ("working", "stuck")


def test_an_unsampled_trace_leaves_no_span() -> None:
    telemetry = MemoryTelemetry()
    telemetry.processed(Claim("partitions", NOW, NOW, [RECORD]), one_handled(sampled=False), 1, 2)
    assert telemetry.spans == []


def test_a_record_nobody_could_read_is_a_failed_span_with_its_reason() -> None:
    telemetry = MemoryTelemetry()
    telemetry.processed(Claim("partitions", NOW, NOW, [RECORD]), Changes(dead=[DeadLetter(RECORD, Reason.TOO_DEEP, "deep")]), 1, 2)
    assert (telemetry.spans[0].error, telemetry.spans[0].attributes["stream.deadletter.reason"]) == ("deep", "too_deep")


def test_a_record_nobody_could_read_still_names_the_flow_in_its_header() -> None:
    telemetry = MemoryTelemetry()
    record = Record("tickets", 0, 8, 0, b"T-1", b"{", [("ce_correlationid", b"call-7")])
    telemetry.processed(Claim("partitions", NOW, NOW, [record]), Changes(dead=[DeadLetter(record, Reason.TOO_DEEP, "deep")]), 1, 2)
    assert telemetry.spans[0].attributes["messaging.message.conversation_id"] == "call-7"


def test_a_record_drained_for_two_entities_has_a_span_for_each_with_its_own_messages_below() -> None:
    telemetry = MemoryTelemetry()
    for ref in (REF, Ref("ticket", "T-2")):
        changes = one_handled()
        changes.handled[0].ref = ref
        telemetry.processed(Claim("partitions", NOW, NOW, []), changes, 1, 2)
    first, told, second, told_again = telemetry.spans
    assert first.span_id != second.span_id
    assert (told.parent_id, told_again.parent_id) == (first.span_id, second.span_id)


def test_a_message_from_outside_is_the_root_of_its_trace() -> None:
    headers = [("traceparent", f"00-{'a' * 32}-{'d' * 16}-01".encode()), ("ce_correlationid", b"corr"), ("ce_id", b"m1")]
    span = created_span(Outgoing(0, "out", b"k", b"{}", headers), 3, 4)
    assert span is not None
    assert (span.name, span.trace_id, span.span_id, span.parent_id) == ("create out", "a" * 32, "d" * 16, "")
    assert span.attributes == {"messaging.message.conversation_id": "corr", "messaging.message.id": "m1"}
