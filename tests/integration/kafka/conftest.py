"""A broker to write to, and an ear at the clients."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from tests.conformance.broker import KafkaWorld, kafka_world
from tests.integration.kafka.asking import Asked


@pytest.fixture
async def world(kafka: str) -> AsyncGenerator[KafkaWorld]:
    async with kafka_world(kafka) as made:
        yield made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Every request of our clients from now on."""
    requests: list[Asked] = []
    send = AIOKafkaConnection.send

    def noted(connection: AIOKafkaConnection, request: Any, **how: Any) -> Any:
        if str(vars(connection)["_client_id"]).startswith("opstream"):
            known = vars(connection)["_versions"]
            form: object = request.prepare(known) if known else request
            requests.append((type(request).__name__, vars(form)))
        return send(connection, request, **how)

    monkeypatch.setattr(AIOKafkaConnection, "send", noted)
    return requests
