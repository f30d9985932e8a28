"""Processes killed at seeded moments, records published twice, and in the end what the fold says: on real parts, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fold import logs

ROOT = Path(__file__).parents[2]
LONGEST = 1800

pytestmark = pytest.mark.proof


def replay(log: str, *words: str) -> str:
    """What a replay with repeats and kills prints; the test fails with it unless the fold agrees."""
    command = [sys.executable, "-m", "tests.replay", log, "--dup", "0.05", "--workers", "3", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return ended.stdout


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_made_up_tickets_end_as_the_fold_says_though_ten_processes_are_killed(seed: int) -> None:
    told = replay("tickets=3000", "--kill", "10", "--seed", str(seed))
    assert "10 processes killed" in told
    assert "equal to the fold" in told


@pytest.mark.parametrize("seed", [1, 2])
def test_made_up_calls_end_as_the_fold_says_over_two_hops_though_ten_processes_are_killed(seed: int) -> None:
    told = replay("calls=1000", "--kill", "10", "--seed", str(seed), "--reopen", "20")
    assert "10 processes killed" in told
    assert "equal to the fold" in told


@pytest.mark.parametrize("name", [logs.DESK, logs.DISPATCH])
def test_a_real_log_ends_as_the_fold_says_though_processes_broker_and_database_are_killed(name: str) -> None:
    path = logs.data(name)
    if path is None:
        pytest.skip(logs.ABSENT)
    told = replay(str(path.absolute()), "--kill", "20", "--crash")
    assert "20 processes killed, 2 crashes" in told
    assert "equal to the fold" in told
