"""Which error is whose: sorts what the driver raises into try again, data refused, and a definition or setup that is wrong.

The driver hides the real error behind others (the cause of a broken connection is in `__context__`), so the whole chain is walked. A server's
message may quote data, so only SQLSTATE and the error's class reach ours.
"""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg

from stream.core.errors import ConfigurationError, StreamError, UnavailableError, UnstorableError

# 54: a program limit, such as a row too large for an index. 23514 without a constraint name is a missing partition: try again.
_DATA = ("22", "23", "54")
_SETUP = {"42501": "a right is missing", "3D000": "no such database", "28P01": "wrong password", "28000": "not allowed to log in"}
_OLD = ("42P01", "42703", "42883")


DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    UnicodeEncodeError,
    OverflowError,
)
"""What the driver raises for the database's sake; anything else is a bug of ours and stays what it is."""


def classify(error: BaseException) -> StreamError:
    """The error of ours that stands for a driver's."""
    for link in _chain(error):
        state = getattr(link, "sqlstate", None)
        if isinstance(link, asyncpg.PostgresError) and state:
            return _by_state(link, str(state))
    for link in _chain(error):
        if isinstance(link, UnicodeEncodeError | OverflowError):
            return UnstorableError(f"the driver could not encode a value ({type(link).__name__})")
    return UnavailableError(f"the database did not answer ({type(error).__name__})")


def _by_state(error: BaseException, state: str) -> StreamError:
    if state == "23514" and not getattr(error, "constraint_name", None):
        return UnavailableError("a row has no partition to go to (23514): is the ticker, which makes partitions, running?")
    if state[:2] in _DATA:
        return UnstorableError(f"the database refused the data ({state})")
    if state in _SETUP:
        return ConfigurationError(f"PostgreSQL: {_SETUP[state]} ({state})")
    if state in _OLD:
        return ConfigurationError(f"the schema is not as it must be ({state}): run `stream migrate`")
    return UnavailableError(f"the database could not do it now ({state})")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
