"""One suite for both telemetries: what a committed batch and a send leave behind, and that neither blocks nor raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import orjson
import pytest

from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.otel.telemetry import OtelTelemetry, from_environment
from stream.core.changes import Changes
from stream.core.order import Claim
from stream.ports import Outgoing, Telemetry
from tests.adapters.otel.test_exporter import Collector
from tests.core.jobs import JobDone, JobOpened, JobStarted, app
from tests.core.play import NOON, Play

Spans = list[tuple[str, str, str]]
"""Name, span id and parent of each, in any order."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()
    made.thread.join()
    made.server.server_close()


@pytest.fixture(params=["memory", "otel"])
def world(request: pytest.FixtureRequest, collector: Collector) -> tuple[Telemetry, Callable[[], Spans]]:
    if request.param == "memory":
        memory = MemoryTelemetry(group="g")
        return memory, lambda: sorted((s.name, s.span_id, s.parent_id) for s in memory.spans)
    otel = from_environment({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url}, service="jobs", group="g")
    otel.start()

    def read() -> Spans:
        assert otel.close()
        scopes = [scope for body in collector.bodies for resource in orjson.loads(body)["resourceSpans"] for scope in resource["scopeSpans"]]
        return sorted((s["name"], s["spanId"], s.get("parentSpanId", "")) for scope in scopes for s in scope["spans"])

    return otel, read


def batch() -> tuple[Claim, Changes]:
    play = Play(app)
    changes = play.send((JobOpened(job_id="a"), 0, "1"), (JobStarted(job_id="a"), 1, "2"), (JobDone(job_id="a"), 2, "3"))
    return Claim("partitions", NOON, datetime.now(UTC)), changes


def test_every_record_and_every_message_has_a_span_under_its_cause(world: tuple[Telemetry, Callable[[], Spans]]) -> None:
    telemetry, read = world
    claim, changes = batch()
    telemetry.processed(claim, changes, 1, 2)
    spans = read()
    process = {id for name, id, _ in spans if name == "process jobs"}
    create = [parent for name, _, parent in spans if name.startswith("create ")]
    assert len(process) == len({h.envelope.id for h in changes.handled}) > 0
    assert len(create) == len(changes.messages) > 0
    assert set(create) <= process


def test_a_send_has_a_span_and_nothing_sent_has_none(world: tuple[Telemetry, Callable[[], Spans]]) -> None:
    telemetry, read = world
    _, changes = batch()
    message = changes.messages[0]
    telemetry.sent([], 1, 2)
    telemetry.sent([Outgoing(1, message.topic, message.key, message.value, [(k, v.encode()) for k, v in message.headers])], 1, 2, "refused")
    assert [name for name, _, _ in read()] == [f"send {message.topic}"]


def test_where_nobody_listens_nothing_blocks_and_the_loss_is_counted() -> None:
    telemetry: OtelTelemetry = from_environment({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, service="jobs", group="g")
    telemetry.start()
    claim, changes = batch()
    telemetry.processed(claim, changes, 1, 2)
    telemetry.close(within=5)
    assert telemetry.tally.exported == 0
    assert telemetry.tally.dropped > 0
