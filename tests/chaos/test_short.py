"""Faults by a seed on real parts: a small form with every suite, and the forms that `make proof` runs, which hold recovery times to their bars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.storms import STORMS

ROOT = Path(__file__).parents[2]
LONGEST = 3600
# A guest that joins and leaves upsets the group twice.
LEAST = {"zombies": 200, "commits": 300, "rebalances": 80, "relays": 50}
SMALL = "F1,F2,F4,F7,F8,F10-weather,F11-commits,F12"


def chaos(folder: Path, *words: str, module: str = "tests.chaos") -> dict[str, Any]:
    """The figures of a run; the test fails with what it printed unless every oracle holds."""
    out, logs = folder / "out.json", folder / "logs"
    command = [sys.executable, "-m", module, *words, "--out", str(out), "--logs", str(logs)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-4000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def within_bars(figures: dict[str, Any], session: float) -> None:
    bars = {"worker killed": session + 5, "postgres back": 5, "broker back": 15}
    assert {what: its["most"] for what, its in figures["recovery"].items() if its["most"] > bars.get(what, 60)} == {}


def test_eight_kinds_of_faults_lose_and_double_nothing(tmp_path: Path) -> None:
    figures = chaos(tmp_path, "--events", "3000", "--faults", "8", "--seed", "1", "--session", "3", "--kinds", SMALL)
    assert len(figures["kinds struck"]) == 8


@pytest.mark.proof
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twenty_faults_on_twenty_thousand_events(seed: int, tmp_path: Path) -> None:
    figures = chaos(tmp_path, "--events", "20000", "--faults", "20", "--seed", str(seed))
    assert len(figures["kinds struck"]) >= 8
    within_bars(figures, session=6)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(1, 11))
def test_sixty_faults_on_two_hundred_thousand_events(seed: int, tmp_path: Path) -> None:
    figures = chaos(tmp_path, "--events", "200000", "--faults", "60", "--seed", str(seed))
    assert len(figures["kinds struck"]) >= 12
    within_bars(figures, session=6)


@pytest.mark.proof
@pytest.mark.parametrize("storm", STORMS)
def test_one_kind_of_fault_hundreds_of_times(storm: str, tmp_path: Path) -> None:
    figures = chaos(tmp_path, storm, module="tests.chaos.storms")
    assert sum(figures["kinds struck"].values()) >= LEAST[storm]
