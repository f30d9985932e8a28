"""One process in a room, with a failpoint: what the matrix kills and stops."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio

from stream.runtime import notifier, ticker
from stream.runtime.logs import configure
from tests.chaos.failpoints import Fuse
from tests.chaos.room import SESSION, Room

OFTEN = 0.5
"""Seconds between two rotations; once a minute would be too seldom to meet one."""
SOON = timedelta(seconds=SESSION)
"""After which a notifier that died with a notice in its hands is given up; a case does not wait a minute."""
_processes = get_context("forkserver")
# A process forked from one that has everything imported starts at once; a new interpreter costs more than the whole case.
_processes.set_forkserver_preload(["__main__", "tests.chaos.armed", "tests.chaos.kiln_room"])


def begin(room: Room, fuse: Fuse, log: Path) -> ForkServerProcess:
    process = _processes.Process(target=_main, args=(room, fuse, log))
    process.start()
    return process


def _main(room: Room, fuse: Fuse, log: Path) -> None:
    ticker.ROTATE, notifier.TTL = OFTEN, SOON
    with log.open("w", encoding="utf-8", buffering=1) as out:
        sys.stderr = out
        configure("json", to=out)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        anyio.run(room.run, room.armed(fuse))
