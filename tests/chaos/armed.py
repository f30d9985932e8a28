"""One process in a room, with a failpoint: what the matrix kills and stops."""

from __future__ import annotations

import logging
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio

from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.runtime import ticker
from stream.runtime.logs import configure
from tests.chaos.failpoints import Fuse, arm
from tests.chaos.room import Room

OFTEN = 0.5
"""Seconds between two rotations; once a minute would be too seldom to meet one."""
_processes = get_context("forkserver")
# A process forked from one that has everything imported starts at once; a new interpreter costs more than the whole case.
_processes.set_forkserver_preload(["__main__", "tests.chaos.armed"])


def begin(room: Room, fuse: Fuse, log: Path) -> ForkServerProcess:
    process = _processes.Process(target=_main, args=(room, fuse, log))
    process.start()
    return process


def _main(room: Room, fuse: Fuse, log: Path) -> None:
    ticker.ROTATE = OFTEN
    with log.open("w", encoding="utf-8", buffering=1) as out:
        sys.stderr = out
        configure("json", to=out)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        anyio.run(room.run, arm(room.parts(MemoryTelemetry()), fuse))
