"""One event through three hops, on real parts: producer, assignment, call, customer message; read back as one trace from a real Jaeger."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stream.dev.jaeger import Jaeger

ROOT = Path(__file__).parents[3]
CORRELATION = "messaging.message.conversation_id"
TRIES = 300
Span = dict[str, Any]


def stream(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "stream", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def spans_of(jaeger: Jaeger, correlation_id: str) -> list[Span]:
    """Every span of the flow's traces, whatever service made it."""
    tags = urllib.parse.quote(json.dumps({CORRELATION: correlation_id}))
    with urllib.request.urlopen(f"{jaeger.api}/api/traces?service=operations&limit=50&tags={tags}", timeout=5) as answer:
        return [span for trace in json.load(answer)["data"] for span in trace["spans"]]


def tags_of(span: Span) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def parent_of(span: Span) -> str:
    return next((ref["spanID"] for ref in span["references"] if ref["refType"] == "CHILD_OF"), "")


def awaited_trace(jaeger: Jaeger, correlation_id: str, name: str) -> list[Span]:
    """The spans of the one trace that holds `name`, when it is there."""
    pause = threading.Event()
    for _ in range(TRIES):
        spans = spans_of(jaeger, correlation_id)
        if found := [span["traceID"] for span in spans if span["operationName"] == name]:
            return [span for span in spans if span["traceID"] == found[0]]
        pause.wait(0.1)
    raise AssertionError(f"no {name!r} among {sorted({span['operationName'] for span in spans_of(jaeger, correlation_id)})}")


@pytest.fixture
def working(kafka: str, worker_url: str, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of the reference application, and the id of a call of its own."""
    call = f"hop-{secrets.token_hex(4)}"
    given = {
        "STREAM_APP": "handlers:app",
        "STREAM_KAFKA": kafka,
        "STREAM_DATABASE_URL": worker_url,
        "STREAM_GROUP": call,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp,
        "PYTHONPATH": str(ROOT),
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    stream("topics", "apply")
    return call


def test_three_hops_are_one_trace_with_one_correlation_id_and_no_orphan(working: str, jaeger: Jaeger) -> None:
    call, flow = working, f"flow-{working}"
    unit = json.dumps({"call_id": call, "unit_id": "E1"})
    with subprocess.Popen([sys.executable, "-m", "stream", "run", "--role", "worker,relay"], cwd=ROOT, env=dict(os.environ)) as running:
        try:
            stream("publish", "call.received", json.dumps({"call_id": call, "priority": "3"}), "--correlation-id", flow)
            stream("publish", "unit.dispatched", unit, "--correlation-id", flow)
            stream("publish", "unit.en_route", unit, "--correlation-id", flow)
            awaited_trace(jaeger, flow, "create customers")
        finally:
            running.terminate()
    # Everything was exported by now: the worker hands its spans over before it ends.
    spans = awaited_trace(jaeger, flow, "create customers")
    by_id = {span["spanID"]: span for span in spans}
    path = [span := next(s for s in spans if s["operationName"] == "create customers")]
    while parent_of(span):
        path.append(span := by_id[parent_of(span)])
    assert [s["operationName"] for s in reversed(path)] == [
        *("create dispatch", "process dispatch"),
        *("create assignments", "process assignments"),
        "create customers",
    ]
    assert {tags_of(span)[CORRELATION] for span in spans} == {flow}
    assert [span["operationName"] for span in spans if parent_of(span) not in {"", *by_id}] == []
    entities = {(tags["stream.entity.type"], tags["stream.entity.id"]) for span in path if "stream.entity.type" in (tags := tags_of(span))}
    assert entities == {("assignment", f"{call}:E1"), ("call", call)}
