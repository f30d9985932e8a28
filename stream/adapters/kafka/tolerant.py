"""Tame the client: put our reading of batches into it, once it is proven to hold, and silence its loggers.

aiokafka decodes what anybody wrote: one foreign header key would stop its partition for ever, one bomb the process. `batch.py` reads instead, by a
name within the client. Such a name may change with any release, so planted batches are read at the start.
"""

from __future__ import annotations

import logging
from functools import cache

import aiokafka.consumer.fetcher as fetcher

from stream.adapters.kafka.batch import Records
from stream.adapters.kafka.planted import prove


def quieten() -> None:
    """At DEBUG the client writes whole requests, passwords included, and in an outage hundreds of lines; what matters is raised to us."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@cache
def tame() -> None:
    """Once a process. Raises `ConfigurationError` when this release of the client does not read as we need it."""
    fetcher.MemoryRecords = Records
    prove()
