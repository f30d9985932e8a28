"""CloudEvents 1.0 on Kafka: the three cases of the conformance suite, and the foundation's own SDK as an oracle in both directions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from stream.core.app import App
from stream.core.codec import Codec, record_of
from stream.core.entity import Envelope, Trace
from stream.core.event import Data, Event
from stream.core.machine import Machine
from stream.core.record import Header, Record
from stream.core.row import State, opens


class PullOpened(Event, type="pull.opened", topic="pulls", key="number"):
    number: str
    title: str = ""


class Pull(Data):
    number: str


def begin(e: PullOpened) -> Pull:
    return Pull(number=e.number)


DONE: State[Pull] = State("Done", final=True)
APP = App("forge", machines=[Machine("pull", data=Pull, events=(PullOpened,), transitions=(opens(PullOpened, to=DONE, then=begin),))])
CODEC = Codec(APP, "g", sample=lambda trace_id: True, horizon=timedelta(days=14))
TIME = datetime(2026, 4, 5, 17, 31, tzinfo=UTC)
BODY = b'{"number":"123","title":"Mend the gate"}'
STRUCTURED = (
    b'{"specversion":"1.0","id":"A-1","source":"https://forge.example/pull","type":"pull.opened","subject":"123","time":"2026-04-05T17:31:00Z",'
    b'"datacontenttype":"application/json","data":' + BODY + b"}"
)
BINARY: list[Header] = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"pull.opened"),
    ("ce_source", b"https://forge.example/pull"),
    ("ce_subject", b"123"),
    ("ce_id", b"A-1"),
    ("ce_time", b"2026-04-05T17:31:00Z"),
    ("content-type", b"application/json"),
]


def read(value: bytes, headers: list[Header]) -> Envelope:
    return CODEC.revive(Record("pulls", 0, 0, 0, b"partition-key", value, headers))


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        pytest.param(BODY, BINARY, id="binary mode"),
        pytest.param(STRUCTURED, [("content-type", b"application/cloudevents+json")], id="structured mode"),
        pytest.param(STRUCTURED, [("content-type", b"application/cloudevents+json; charset=UTF-8")], id="structured mode with a charset"),
    ],
)
def test_the_conformance_cases_for_kafka_are_read(value: bytes, headers: list[Header]) -> None:
    e = read(value, headers)
    assert (e.id, e.source, e.type, e.subject, e.time) == ("A-1", "https://forge.example/pull", "pull.opened", "123", TIME)
    assert e.event == PullOpened(number="123", title="Mend the gate")


def test_both_modes_are_one_event() -> None:
    binary, structured = read(BODY, BINARY), read(STRUCTURED, [("content-type", b"application/cloudevents+json")])
    assert (binary.identity, binary.content) == (structured.identity, structured.content)


def foreign() -> CloudEvent:
    attributes = {"id": "7", "source": "/forge", "type": "pull.opened", "time": TIME, "datacontenttype": "application/json", "specversion": "1.0"}
    return CloudEvent(attributes={**attributes, "correlationid": "c-7"}, data={"number": "9"})


@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_what_the_sdk_writes_is_read(write: Callable[[CloudEvent, JSONFormat], KafkaMessage]) -> None:
    message = write(foreign(), JSONFormat())
    e = read(message.value, list(message.headers.items()))
    assert (e.id, e.source, e.time, e.correlation_id, e.event) == ("7", "/forge", TIME, "c-7", PullOpened(number="9"))


def test_the_sdk_reads_what_we_write() -> None:
    record = record_of(
        PullOpened(number="9", title="Grüße"), id="7", source="/forge", time=TIME, trace=Trace("ab" * 16, "cd" * 8), attributes=[("subject", "9")]
    )
    headers = {key: value for key, value in record.headers if value is not None}
    event = from_binary(KafkaMessage(headers, record.key, record.value or b""), JSONFormat())
    assert (event.get_id(), event.get_source(), event.get_type(), event.get_subject()) == ("7", "/forge", "pull.opened", "9")
    assert (event.get_time(), event.get_datacontenttype(), event.get_specversion()) == (TIME, "application/json", "1.0")
    assert event.get_data() == {"number": "9", "title": "Grüße"}
    assert headers["traceparent"] == b"00-" + b"ab" * 16 + b"-" + b"cd" * 8 + b"-01"
