"""The handler language is typed: planted mistakes are refused by both checkers, and nothing else in the file is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLANTED = HERE / "must_fail.py"


def marked() -> dict[int, str]:
    found = {n: re.search(r"# (F\d+)$", line) for n, line in enumerate(PLANTED.read_text().splitlines(), 1)}
    return {n: mark[1] for n, mark in found.items() if mark}


def refused(command: list[str], pattern: str, cwd: Path = ROOT) -> set[int]:
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)
    return {int(n) for n in re.findall(pattern, done.stdout, re.MULTILINE)}


def hold(found: set[int]) -> None:
    lines = marked()
    assert len(lines) >= 32
    assert sorted(mark for n, mark in lines.items() if n not in found) == []
    assert sorted(found - lines.keys()) == []


def test_mypy_refuses_every_planted_mistake_and_nothing_else() -> None:
    hold(refused(["mypy", "--strict", "--no-error-summary", str(PLANTED)], r"must_fail\.py:(\d+)(?::\d+)?: error:"))


def test_pyright_refuses_every_planted_mistake_and_nothing_else(tmp_path: Path) -> None:
    # In a project of its own: the real one excludes this file, and pyright then says nothing of it even when it is named.
    (tmp_path / "must_fail.py").write_text(PLANTED.read_text())
    settings = {"include": ["must_fail.py"], "typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "reportUnusedExpression": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    hold(refused(["pyright", "--pythonpath", sys.executable], r"must_fail\.py:(\d+):\d+ - error:", tmp_path))
