"""The parts the suite starts are real and ready."""

import json
import socket
import urllib.request

import asyncpg

from stream.dev.jaeger import Jaeger


async def test_a_database_is_migrated_and_empty(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetch("select number from stream.schema_migration")
        assert not await connection.fetch("select id from stream.history")
    finally:
        await connection.close()


def test_a_broker_listens(kafka: str) -> None:
    host, _, port = kafka.rpartition(":")
    socket.create_connection((host, int(port)), 5).close()


def test_a_jaeger_takes_spans_and_answers_questions(jaeger: Jaeger) -> None:
    spans = urllib.request.Request(f"{jaeger.otlp}/v1/traces", b'{"resourceSpans": []}', {"content-type": "application/json"})
    with urllib.request.urlopen(spans, timeout=5) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{jaeger.api}/api/services", timeout=5) as answer:
        assert "data" in json.load(answer)
