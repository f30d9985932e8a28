"""An event loop that is held up is heard of, with the number."""

from __future__ import annotations

import itertools

import anyio
import pytest
from structlog.testing import capture_logs

from stream.runtime import pulse
from stream.runtime.waiting import Stop


async def test_a_loop_that_comes_late_says_by_how_much_and_one_that_does_not_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    # Each turn looks twice: before its pause and after.
    times = itertools.chain([0.0, 0.9, 1.0, 4.25], itertools.repeat(5.0))

    def now() -> float:
        if (at := next(times)) == 4.25:
            stop.set()
        return at

    monkeypatch.setattr(pulse, "EVERY", 0.0)
    monkeypatch.setattr(anyio, "current_time", now)
    with capture_logs() as lines:
        await pulse.watch_pulse(stop)
    assert [(line["event"], line["seconds"]) for line in lines] == [("the event loop was held up", 3.2)]
