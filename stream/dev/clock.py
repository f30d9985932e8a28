"""The clock of the local stack, which can be moved."""

import re
from datetime import datetime, timedelta

import asyncpg

from stream.adapters.postgres.failures import classify
from stream.core.errors import ConfigurationError
from stream.dev.folders import DATA

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
UNDEFINED_TABLE = "42P01"
SHAPE = re.compile(r"([+-]?)((?:\d+[dhms])+)")


def parse_move(text: str) -> timedelta:
    """`+3d`, `-2h30m`, `90s`. ConfigurationError when it is none."""
    match = SHAPE.fullmatch(text.strip())
    if not match:
        raise ConfigurationError(f"{text!r} is no move of a clock: write it like +3d, -2h30m or +90s")
    total = sum((int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", match[2])), timedelta())
    return -total if match[1] == "-" else total


async def move(dsn: str, by: timedelta, schema: str = "stream") -> datetime:
    """Move the clock of a schema and return what it shows. ConfigurationError when the schema is not there."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    try:
        (row,) = await connection.fetch((DATA / "move_clock.sql").read_text(), by)
    except asyncpg.PostgresError as error:
        if error.sqlstate != UNDEFINED_TABLE:
            raise classify(error) from None
        raise ConfigurationError(f"there is no schema {schema} in this database: run `stream migrate` first") from error
    finally:
        await connection.close()
    shown: datetime = row["now"]
    return shown
