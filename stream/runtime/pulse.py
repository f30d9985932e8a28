"""How late the event loop comes to what is due: while it is held up, no heartbeat leaves and no deadline of ours is looked at."""

from __future__ import annotations

import anyio
import structlog

from stream.runtime.waiting import Stop

EVERY = 0.5
LATE = 1.0
"""Seconds, a third of the usual heartbeat. Business code that computes for so long, or a machine without time for us, is to be heard of."""


async def watch_pulse(stop: Stop) -> None:
    """Until the stop, says by how much whatever was due came late, each time that is too much."""
    while not stop:
        due = anyio.current_time() + EVERY
        await stop.pause(EVERY)
        late = anyio.current_time() - due
        if late > LATE:
            structlog.get_logger("stream").warning("the event loop was held up", seconds=round(late, 1), limit=LATE)
