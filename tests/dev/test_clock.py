"""The clock of the local stack moves, and only by what is asked."""

from datetime import timedelta

import asyncpg
import pytest

from stream.core.errors import ConfigurationError
from stream.dev.clock import move, parse_move


@pytest.mark.parametrize(
    ("text", "expected"),
    [("+3d", timedelta(days=3)), ("-2h30m", -timedelta(hours=2, minutes=30)), ("90s", timedelta(seconds=90))],
)
def test_a_move_is_read_as_it_is_said(text: str, expected: timedelta) -> None:
    assert parse_move(text) == expected


@pytest.mark.parametrize("text", ["", "3", "d", "+3w", "3d ago", "--3d"])
def test_what_is_no_move_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\+3d"):
        parse_move(text)


async def test_moves_add_up_and_the_database_tells_the_moved_time(database: str) -> None:
    await move(database, timedelta(days=3))
    shown = await move(database, timedelta(hours=-12))
    connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    try:
        (row,) = await connection.fetch("select stream_now() - clock_timestamp() as ahead, stream_now() as now")
    finally:
        await connection.close()
    assert timedelta(days=2, hours=11, minutes=59) < row["ahead"] <= timedelta(days=2, hours=12)
    assert row["now"] >= shown


async def test_a_database_without_the_schema_says_what_to_do(postgres: str) -> None:
    with pytest.raises(ConfigurationError, match="stream migrate"):
        await move(postgres, timedelta(days=1), schema="not_there")
