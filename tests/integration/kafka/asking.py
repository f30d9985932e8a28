"""What our clients ask a broker, and what it says of a partition, for the tests of traps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from stream.core.record import Record, TopicPartition
from stream.ports import Log

LONG = timedelta(seconds=10)
Asked: TypeAlias = tuple[str, Mapping[str, Any]]
"""A request as it goes to the broker: its name, and its fields."""


def of(requests: Sequence[Asked], name: str) -> list[Mapping[str, Any]]:
    return [fields for kind, fields in requests if kind == name]


async def some(log: Log, place: TopicPartition) -> list[Record]:
    async with asyncio.timeout(30):
        while not (found := await log.fetch(place, limit=100, within=LONG)):
            pass
    return list(found)
