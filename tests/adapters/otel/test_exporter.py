"""The exporter against a collector that is well, busy, refusing or away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest

from stream.adapters.otel import exporter as module
from stream.adapters.otel.encoder import Limits, request, resource_json
from stream.adapters.otel.exporter import Exporter
from stream.adapters.otel.settings import ExportSettings
from stream.core.spans import Kind, Link, Span

SPAN = Span(
    "a" * 32,
    "b" * 16,
    "",
    "process tickets",
    Kind.CONSUMER,
    1,
    2,
    (("messaging.system", "kafka"),),
    {"n": 1, "t": 'é"\n'},
    [Link("c" * 32, "d" * 16, {})],
)


class Collector:
    """Answers with `statuses` in turn, then 200; keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[bytes] = []
        self.release = threading.Event()
        self.release.set()
        self.pause = threading.Event()
        collector = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                collector.release.wait(10)
                self.send_response(collector.statuses.pop(0) if collector.statuses else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
                # Without a word of it in the answer, as one does that has waited long enough for another request.
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None: ...

        self.answer = Answer
        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def keeps(self) -> None:
        """From now on clients are let believe that a connection serves for further requests."""
        self.answer.protocol_version = "HTTP/1.1"

    def stop(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


def exporter_to(url: str, queue: int = 100) -> Exporter:
    made = Exporter(ExportSettings(endpoint=url, delay=0.01, queue=queue, batch=10), lambda spans: request(resource_json({}), "0", spans, Limits()))
    made.start()
    return made


def test_spans_arrive_as_otlp_json(collector: Collector) -> None:
    exporter = exporter_to(collector.url)
    exporter.offer(lambda: [SPAN], 1)
    assert exporter.close()
    span = orjson.loads(collector.bodies[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert (span["traceId"], span["spanId"], span["kind"], span["startTimeUnixNano"]) == ("a" * 32, "b" * 16, 5, "1")
    assert {"key": "n", "value": {"intValue": "1"}} in span["attributes"]
    assert {"key": "t", "value": {"stringValue": 'é"\n'}} in span["attributes"]
    assert span["links"][0]["traceId"] == "c" * 32
    assert (exporter.tally.exported, exporter.tally.dropped) == (1, 0)


def test_a_busy_collector_is_asked_again(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    collector.statuses = [503, 429]
    exporter = exporter_to(collector.url)
    while_waiting = threading.Event()
    exporter.offer(lambda: [SPAN], 1)
    while len(collector.bodies) < 3 and not while_waiting.wait(0.005):
        pass
    assert exporter.close()
    assert (len(collector.bodies), exporter.tally.exported) == (3, 1)


def test_a_refused_request_is_lost_and_counted_but_not_repeated(collector: Collector) -> None:
    collector.statuses = [400]
    exporter = exporter_to(collector.url)
    exporter.offer(lambda: [SPAN], 1)
    assert exporter.close()
    assert (len(collector.bodies), exporter.tally.failed) == (1, 1)


def test_a_connection_that_the_collector_closed_between_two_requests_costs_nothing(collector: Collector) -> None:
    collector.keeps()
    exporter = exporter_to(collector.url)
    for sent in (1, 2):
        exporter.offer(lambda: [SPAN], 1)
        while exporter.tally.exported + exporter.tally.dropped < sent:
            collector.pause.wait(0.005)
    assert exporter.close()
    assert (len(collector.bodies), exporter.tally.exported, exporter.tally.dropped) == (2, 2, 0)


def test_an_absent_collector_costs_spans_and_raises_nothing(collector: Collector) -> None:
    exporter = exporter_to("http://127.0.0.1:1/v1/traces")
    exporter.offer(lambda: [SPAN], 1)
    assert exporter.close()
    assert exporter.tally.failed == 1


def test_a_slow_collector_fills_the_queue_and_offers_return_at_once(collector: Collector) -> None:
    collector.release.clear()
    exporter = exporter_to(collector.url, queue=10)
    for _ in range(50):
        exporter.offer(lambda: [SPAN], 1)
    assert exporter.tally.full >= 30
    collector.release.set()
    assert exporter.close()
    assert exporter.tally.exported + exporter.tally.dropped == 50
