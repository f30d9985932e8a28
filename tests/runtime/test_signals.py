"""Signals are heard while code of the author's keeps the loop busy."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

BUSY = """
import anyio
from stream.runtime.app import listen
from stream.runtime.waiting import Stop

async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, Stop())
        await anyio.wait_all_tasks_blocked()
        print("busy", flush=True)
        while True:
            pass

anyio.run(main, backend_options={"use_uvloop": %s})
"""


@pytest.mark.parametrize("fast", [False, pytest.param(True, marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="no uvloop here"))])
def test_the_second_signal_ends_a_process_whose_handler_never_returns(fast: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY % fast], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
