"""Records of producers that are not ours, over a real broker: librdkafka (another implementation of the protocol), and the CloudEvents SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cloudevents.core.bindings.kafka import to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import KafkaException, Producer

from handlers import app
from schemas.tickets import TicketOpened
from stream.core.codec import Codec
from stream.core.order import Claim, Decoded, Deliver
from stream.core.record import Header, Record, Ref, TopicPartition
from tests.conformance.broker import kafka_world, member

TIME = datetime(2026, 4, 5, 17, 31, tzinfo=UTC)
OPENED = b'{"ticket_id":"T-1","title":"Printer on fire","priority":2}'
BINARY: list[Header] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"a1"),
    ("ce_source", b"/librdkafka"),
    ("ce_type", b"ticket.opened"),
    ("ce_time", b"2026-04-05T17:31:00Z"),
    ("x-empty", b""),
    ("x-null", None),
    ("x-again", b"1"),
    ("x-again", b"\xff\x00"),
]


def produce(bootstrap: str, topic: str, key: bytes, value: bytes, headers: Sequence[Header], compression: str = "none") -> None:
    """One record by librdkafka, written and acknowledged when this returns."""
    refused: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": compression, "linger.ms": 0})
    producer.produce(topic, value, key, headers=list(headers), on_delivery=lambda error, _: refused.append(error) if error else None)
    if producer.flush(20) or refused:
        raise KafkaException(*refused)


async def over_the_broker(bootstrap: str, key: bytes, value: bytes, headers: Sequence[Header], compression: str = "none") -> Record:
    """What our consumer makes of that record."""
    async with kafka_world(bootstrap) as world:
        place = TopicPartition(await world.topic(), 0)
        await asyncio.to_thread(produce, bootstrap, place.topic, key, value, headers, compression)
        async with asyncio.timeout(30), member(world, [place.topic], uuid4().hex) as (log, watch):
            await watch.until(lambda: place in watch.owned)
            await log.seek(place, 0)
            while not (records := await log.fetch(place, limit=10, within=timedelta(seconds=5))):
                pass
            (record,) = records
            return record


def decoded(record: Record) -> Decoded:
    return Codec(app, "foreign", sample=lambda trace_id: True, horizon=timedelta(days=14))(Claim("partitions", TIME, TIME, [record]))


def one(result: Decoded) -> Deliver:
    assert result.changes.dead == []
    (order,) = result.orders
    assert isinstance(order, Deliver)
    return order


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_a_record_of_librdkafka_is_read_whatever_its_compression(kafka: str, compression: str) -> None:
    record = await over_the_broker(kafka, b"T-1", OPENED, BINARY, compression)
    assert (record.key, record.value, list(record.headers)) == (b"T-1", OPENED, BINARY)
    envelope = one(decoded(record)).envelope
    assert (envelope.id, envelope.source, envelope.time, envelope.refs) == ("a1", "/librdkafka", TIME, (Ref("ticket", "T-1"),))
    assert isinstance(envelope.event, TicketOpened)


async def test_a_structured_event_of_the_sdk_is_read(kafka: str) -> None:
    attributes = {"id": "b2", "source": "/sdk", "type": "ticket.opened", "time": TIME, "datacontenttype": "application/json", "correlationid": "c-2"}
    message = to_structured(CloudEvent(attributes=attributes, data={"ticket_id": "T-2", "title": "Grüße", "priority": 1}), JSONFormat())
    record = await over_the_broker(kafka, b"T-2", message.value, list(message.headers.items()))
    envelope = one(decoded(record)).envelope
    assert (envelope.id, envelope.source, envelope.time, envelope.correlation_id) == ("b2", "/sdk", TIME, "c-2")
    assert envelope.event == TicketOpened(ticket_id="T-2", title="Grüße", priority=1)
    assert envelope.refs == (Ref("ticket", "T-2"),)
