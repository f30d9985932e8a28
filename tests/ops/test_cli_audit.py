"""The proof of the history on a real database: whole as it was written, and every way to tamper with it named."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import msgspec
import pytest

from tests.ops.conftest import Stream, answer

FORGE = "insert into history select {id}, {prev}, machine, entity_id, {n}, {rest} from history where entity_id = 'l1' and n = 2"
REST = (
    "outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at, correlation_id, causation_id, trace_id, door, error, "
    "hash, clocks"
)


def tamper(database: str, *statements: str) -> None:
    """As the owner, past whatever guards the tables."""
    asyncio.run(_tamper(database, statements))


async def _tamper(database: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(database, server_settings={"search_path": "stream", "session_replication_role": "replica"})
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def verified(stream: Stream) -> tuple[int, dict[str, Any]]:
    found = stream("audit", "verify", "-o", "json")
    return found.exit_code, cast("dict[str, Any]", msgspec.json.decode(found.stdout))


def broken(stream: Stream) -> list[tuple[str, str, int]]:
    """What, whose, at which n."""
    code, found = verified(stream)
    assert code == 1
    assert found["breaks"] == len(found["found"])
    return [(one["what"], id, one["n"]) for _, id, one in found["found"]]


def test_a_history_nobody_touched_is_whole(at_database: Stream, played: str) -> None:
    code, found = verified(at_database)
    assert (code, found["entities"], found["rows"], found["found"]) == (0, 2, 5, [])
    assert "breaks" not in at_database("audit", "verify").stdout


@pytest.mark.parametrize("column", ["outcome", "reason", "event_id", "actor", "from_state", "to_state", "door", "error", "trace_id"])
def test_a_changed_word_is_named(at_database: Stream, played: str, database: str, column: str) -> None:
    tamper(database, f"update history set {column} = {column} || 'x' where entity_id = 'l1' and n = 2")
    assert broken(at_database) == [("changed", "l1", 2)]


def test_a_changed_time_and_note_of_clocks_is_named(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update history set time = time + interval '1 microsecond' where entity_id = 'l1' and n = 1")
    tamper(database, "update history set clocks = null where entity_id = 'l1' and n = 2")
    assert broken(at_database) == [("changed", "l1", 1), ("changed", "l1", 2)]


@pytest.mark.parametrize(("n", "at"), [(1, 1), (2, 2), (3, 3)])
def test_a_removed_row_is_named(at_database: Stream, played: str, database: str, n: int, at: int) -> None:
    tamper(database, f"delete from history where entity_id = 'l1' and n = {n}")
    assert broken(at_database) == [("removed", "l1", at)]


def test_a_history_removed_whole_is_named(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "delete from history where entity_id = 'l2'")
    assert broken(at_database) == [("removed", "l2", 2)]


@pytest.mark.parametrize(("n", "prev"), [("2", "prev_id"), ("4", "(select id from history where entity_id = 'l1' and n = 3)")])
def test_an_inserted_row_is_named(at_database: Stream, played: str, database: str, n: str, prev: str) -> None:
    tamper(database, FORGE.format(id="999999", prev=prev, n=n, rest=REST))
    assert ("inserted", "l1", int(n)) in broken(at_database)


def test_a_history_of_nobody_is_named(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "delete from entity where id = 'l1'")
    assert broken(at_database) == [("inserted", "l1", 1), ("inserted", "l1", 2), ("inserted", "l1", 3)]


def test_rows_in_another_order_are_named(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update history set n = 5 - n where entity_id = 'l1' and n > 1")
    assert ("reordered", "l1", 2) in broken(at_database)


def test_an_entity_that_ends_otherwise_is_named(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update entity set chain = '\\x00' where id = 'l1'", "update entity set last_id = 1 where id = 'l2'")
    assert broken(at_database) == [("changed", "l1", 3), ("reordered", "l2", 2)]


def test_rows_dropped_by_age_are_missed_by_nobody(at_database: Stream, played: str, database: str) -> None:
    size = 4_000_000
    moved = f"update history set id = id + {size}, prev_id = case when n > 2 then prev_id + {size} else prev_id end where n > 1"
    tamper(database, "select make_partitions('history', 4000000, 4000000, 1)", moved, f"update entity set last_id = last_id + {size}")
    tamper(database, "drop table history_p0")
    code, found = verified(at_database)
    assert (code, found["floor"], found["rows"], found["found"]) == (0, size, 3, [])
    tamper(database, "delete from history where entity_id = 'l2' and n = 2")
    assert broken(at_database) == [("removed", "l2", 2)]


def test_the_row_after_those_dropped_by_age_is_proven_by_their_anchor(at_database: Stream, played: str, database: str) -> None:
    size = 4_000_000
    moved = f"update history set id = id + {size}, prev_id = case when n > 2 then prev_id + {size} else prev_id end where n > 1"
    tamper(database, "select make_partitions('history', 4000000, 8000000, 1)", moved, f"update entity set last_id = last_id + {size}")
    tamper(database, f"select setval('history_id', {3 * size})", "update clock set ahead = interval '2 days'")
    tamper(database, "do $$ begin if drop_history('1 day', 4000000) <> array['dropped history_p0'] then raise 'kept'; end if; end $$")
    code, found = verified(at_database)
    assert (code, found["floor"], found["rows"], found["found"]) == (0, size, 3, [])
    tamper(database, "update history set actor = 'eve' where entity_id = 'l1' and n = 2")
    assert broken(at_database) == [("changed", "l1", 2)]
    tamper(database, "update history set actor = 'bob', prev_id = prev_id + 1 where entity_id = 'l1' and n = 2")
    assert broken(at_database) == [("reordered", "l1", 2)]


def test_what_people_ordered_is_listed(at_database: Stream, played: str) -> None:
    assert at_database("parked", "skip", "lamp", "l2", "--reason", "broken for good").exit_code == 0
    (order,) = cast("list[dict[str, Any]]", answer(at_database("audit", "list", "-o", "json")))
    assert (order["actor"], order["reason"]) == ("ann", "broken for good")
    assert answer(at_database("audit", "list", "--actor", "bob", "-o", "json")) == []
    assert "broken for good" in at_database("audit", "list", "--target", "%l2%").stdout
