"""docs/patterns/visibility.md: its orders, played on a real database, and what is said of each; then its history, tampered with."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.ops.conftest import Stream, answer, play, record
from tests.ops.test_cli_audit import broken, tamper
from tests.pages import text_of

PAGE = "patterns/visibility.md"
ROW = re.compile(r"^\| (O-\d) \| (.*?) \| (\w+) \| (.*?) \|$", re.MULTILINE)
EVENT = re.compile(r"`([\w.]+)`(?: (\w+)=(\d+))?")
HARM = re.compile(r"^\| `(.*?)` \| (\w+), row (\d) \|$", re.MULTILINE)


@pytest.fixture
async def orders(at_database: Stream, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The page's App, and what its table says happened."""
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text_of(PAGE), re.MULTILINE | re.DOTALL))
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("STREAM_APP", f"{name}:app")
    begin, told = datetime.now(UTC) - timedelta(hours=1), list[tuple[datetime, str, bytes]]()
    for id, happened, _, _ in ROW.findall(text_of(PAGE)):
        start = begin - timedelta(hours=5) if happened.startswith("five hours before") else begin
        for n, (type, field, value) in enumerate(EVENT.findall(happened)):
            body = {"order_id": id, **({field: int(value)} if field else {})}
            told.append((start + timedelta(seconds=n), type, msgspec.json.encode(body)))
    records = [record("orders", n, type, value, f"e{n}", at) for n, (at, type, value) in enumerate(told)]
    await play(database, f"{name}:app", records)
    return at_database


def test_each_order_says_why_it_does_not_move(orders: Stream) -> None:
    rows = ROW.findall(text_of(PAGE))
    assert len(rows) == 8
    for id, _, cause, words in rows:
        said = cast("dict[str, Any]", answer(orders("why", "order", id, "-o", "json")))
        assert said["cause"] == cause, said
        pattern = ".*".join(re.escape(part) for part in words.split("..."))
        assert re.match(pattern, said["sentence"]), (said["sentence"], words)
        people = orders("why", "order", id)
        assert (people.exit_code, said["command"].split(" ")[0] in people.stdout) == (0, True)


def test_a_history_that_somebody_changed_is_found(orders: Stream, database: str) -> None:
    harms = HARM.findall(text_of(PAGE))
    assert len(harms) == 3
    assert orders("audit", "verify").exit_code == 0
    sql, what, row = harms[0]
    tamper(database, sql)
    assert broken(orders) == [(what, "O-7", int(row))]


@pytest.mark.parametrize("n", [1, 2])
def test_a_history_that_lost_a_row_is_found(orders: Stream, database: str, n: int) -> None:
    sql, what, row = HARM.findall(text_of(PAGE))[n]
    tamper(database, sql)
    assert broken(orders) == [(what, "O-7", int(row))]
