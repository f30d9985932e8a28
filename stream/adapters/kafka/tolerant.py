"""Tame the client: put our reading of batches into it, once it is proven to hold, let it make no topics, and silence its loggers.

aiokafka decodes what anybody wrote: one foreign header key would stop its partition for ever, one bomb the process. `batch.py` reads instead, by a
name within the client. Such a name may change with any release, so planted batches are read at the start.
"""

from __future__ import annotations

import logging
from functools import cache

import aiokafka.admin.client as admin
import aiokafka.client as client
import aiokafka.consumer.fetcher as fetcher
from aiokafka.protocol.metadata import MetadataRequest

from stream.adapters.kafka.batch import Records
from stream.adapters.kafka.planted import prove


def quieten() -> None:
    """At DEBUG the client writes whole requests, passwords included, and in an outage hundreds of lines; what matters is raised to us."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def look_only() -> None:
    """The client lets the broker make whatever topic it asks about; a misspelt or deleted one would come into being, with settings nobody chose."""
    client.MetadataRequest = admin.MetadataRequest = _looking


def _looking(topics: list[str] | None) -> MetadataRequest:
    return MetadataRequest(topics, False)


@cache
def tame() -> None:
    """Once a process. Raises `ConfigurationError` when this release of the client does not read as we need it."""
    fetcher.MemoryRecords = Records
    prove()
