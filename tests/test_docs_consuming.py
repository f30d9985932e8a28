"""The recipe of docs/consuming.md, executed as it stands there on lists of records."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stream.core.record import Record

PAGE = Path(__file__).parents[1] / "docs" / "consuming.md"
Take = Callable[[sqlite3.Connection, Record, Callable[..., None]], bool]


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def db(recipe: dict[str, Any]) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(recipe["SCHEMA"])
        connection.execute("create table effects (value blob)")
        yield connection


def said(sequence: int, *, emitter: str = "call/1", key: bytes = b"1", topic: str = "customers", id: str = "") -> Record:
    name = id or f"{emitter} {topic} {key!r} {sequence}"
    headers = [
        ("ce_id", name.encode()),
        ("ce_source", b"/calls"),
        ("ce_emitter", emitter.encode()),
        ("ce_sequence", b"%020d" % sequence),
        ("x", None),
    ]
    return Record(topic, 0, 0, 0, key, b"%d" % sequence, headers)


def write(db: sqlite3.Connection, _headers: dict[str, str], value: bytes) -> None:
    db.execute("insert into effects values (?)", (value,))


def run(recipe: dict[str, Any], db: sqlite3.Connection, records: Sequence[Record]) -> list[bool]:
    take: Take = recipe["take"]
    return [take(db, record, write) for record in records]


def effects(db: sqlite3.Connection) -> list[bytes]:
    return [value for (value,) in db.execute("select value from effects order by rowid")]


def test_a_message_that_comes_again_is_applied_once(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    assert run(recipe, db, [said(n) for n in (1, 2, 3, 2, 3, 4)]) == [True, True, True, False, False, True]
    assert effects(db) == [b"1", b"2", b"3", b"4"]


def test_a_missing_message_is_noticed_and_nothing_is_written(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    with pytest.raises(recipe["Broken"], match="missing: call/1 said 3 after 1"):
        run(recipe, db, [said(1), said(3)])
    assert effects(db) == [b"1"]
    assert run(recipe, db, [said(2), said(3)]) == [True, True]


def test_a_new_message_with_an_old_number_is_out_of_order(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    with pytest.raises(recipe["Broken"], match="out of order"):
        run(recipe, db, [said(1), said(2), said(1, id="another")])


def test_each_emitter_topic_and_key_counts_for_itself(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    others = [said(1), said(1, emitter="call/2"), said(1, key=b"2"), said(1, topic="billing"), said(2)]
    assert run(recipe, db, others) == [True] * 5


def test_a_consumer_may_begin_in_the_middle(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    assert run(recipe, db, [said(41), said(42)]) == [True, True]


def test_an_effect_that_fails_leaves_no_trace_and_can_be_tried_again(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    def fail(db: sqlite3.Connection, headers: dict[str, str], value: bytes) -> None:
        write(db, headers, value)
        raise OSError("mail server away")

    with pytest.raises(OSError, match="away"):
        recipe["take"](db, said(1), fail)
    assert effects(db) == []
    assert run(recipe, db, [said(1)]) == [True]


def test_a_message_of_others_needs_no_sequence(recipe: dict[str, Any], db: sqlite3.Connection) -> None:
    plain = Record("customers", 0, 0, 0, None, b"hello", [("ce_id", b"1"), ("ce_source", b"/others")])
    assert run(recipe, db, [plain, plain]) == [True, False]
