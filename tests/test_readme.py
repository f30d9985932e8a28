"""The README's first handler and its commands, done as they stand there, on real parts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for line in re.findall(r"^    (stream .*)$", README, re.MULTILINE)]
PLACES = {"CORRELATION_ID": "c-1"}


def stream(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_every_command_that_is_named_is_there() -> None:
    assert len(COMMANDS) > 10
    for words in COMMANDS:
        names = [word for word in words[1:3] if re.fullmatch(r"[a-z-]+", word)]
        for depth in range(len(names), 0, -1):
            if stream(ROOT, *names[:depth], "--help").returncode == 0:
                break
        else:
            pytest.fail(f"no such command: {' '.join(words)}")


def test_the_first_handler_runs_by_the_commands_below_it(
    tmp_path: Path, kafka: str, database: str, worker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Topics of its own: other tests make theirs, with other partitions, on the same broker.
    code = CODE[0].replace('topic="', 'topic="readme-').replace('App("desk", ', 'App("desk", alerts="readme-alerts", ')
    assert code.count("readme-") == 3
    (tmp_path / "desk.py").write_text(code)
    for name, value in {
        "STREAM_APP": "desk:app",
        "STREAM_KAFKA": kafka,
        "STREAM_DATABASE_URL": worker_url,
        "STREAM_DATABASE_OWNER_URL": database,
        "STREAM_SCHEMA": "readme",
    }.items():
        monkeypatch.setenv(name, value)
    for words in (["migrate"], ["topics", "apply"], ["health"]):
        done = stream(tmp_path, *words)
        assert done.returncode == 0, done.stderr
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "stream", "run"], cwd=tmp_path, env=environ, stderr=subprocess.DEVNULL) as running:
        try:
            published = next(words for words in COMMANDS if words[1] == "publish")
            assert stream(tmp_path, *published[1:]).returncode == 0
            shown = next((found for _ in range(60) if (found := stream(tmp_path, "entities", "show", "ticket", "T-1")).returncode == 0), None)
        finally:
            running.terminate()
    assert shown is not None
    assert "new" in shown.stdout
    assert running.returncode == 0
