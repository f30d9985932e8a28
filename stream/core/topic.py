"""A topic as the application declares it: partitions, retention, and what to do with what it cannot take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from stream.core.record import Record

Mapper: TypeAlias = Callable[[Record], Mapping[str, str]]
"""Gives a plain record its CloudEvents attributes (`id source type`, and `time subject` where known); the value stays the data.

It is the author's code: what it raises makes the record a dead letter, reason `missing_attribute`.
"""


@dataclass(frozen=True)
class Topic:
    """One topic. `unknown` and `no_data` say whether an unknown type, or a null value, is a dead letter or skipped (counted either way).

    `retention` is for `stream topics apply` (None: the broker's default). `mapper` is for producers of plain JSON.
    """

    name: str
    partitions: int = 8
    retention: timedelta | None = None
    unknown: Literal["dead", "skip"] = "dead"
    no_data: Literal["dead", "skip"] = "dead"
    mapper: Mapper | None = None
