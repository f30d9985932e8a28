"""Which error is whose: sorts what the driver raises into try again, data refused, and a definition or setup that is wrong.

The driver hides the real error behind others (the cause of a broken connection is in `__context__`), so the whole chain is walked. A server's
message may quote data, so only SQLSTATE and the error's class reach ours.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import asyncpg

from stream.core.errors import ConfigurationError, StreamError, UnavailableError, UnstorableError

# 54: a program limit, such as a row too large for an index. 23514 without a constraint name is a missing partition: try again.
_DATA = ("22", "23", "54")
_SETUP = {
    "42501": "a right is missing: migrations need the schema's owner in database_owner_url, a stream's role gets its rights by "
    "`stream migrate --grant ROLE`",
    "3D000": "no such database: check its name in database_url",
    "28P01": "wrong password: check database_url and database_password",
    "28000": "not allowed to log in: check the role in database_url, and whether the server wants TLS (sslmode) or a certificate (sslcert, sslkey)",
}
_UNDEFINED_OBJECT = "42704"
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


def unconnected(error: BaseException) -> StreamError:
    """The same for an attempt to connect, where a certificate or a URL may be to blame: a person must put that right."""
    for link in _chain(error):
        if isinstance(link, asyncpg.ClientConfigurationError):
            return ConfigurationError(f"the driver cannot use database_url: {str(link).splitlines()[0]}")
        if isinstance(link, asyncpg.PostgresError) and getattr(link, "sqlstate", None) == _UNDEFINED_OBJECT:
            # The driver hands every word it does not know to the server as one of its settings.
            return ConfigurationError("database_url names a parameter behind its ? that neither the driver nor the server knows (42704)")
        if isinstance(link, ssl.SSLCertVerificationError):
            return ConfigurationError(_untrusted(link))
        if isinstance(link, ssl.SSLError) and not isinstance(link, ssl.SSLEOFError):
            cure = "check sslmode, sslrootcert, sslcert and sslkey in database_url"
            return ConfigurationError(f"no TLS can be agreed on with the database ({link.reason}): {cure}")
        if isinstance(link, ConnectionError) and "rejected SSL upgrade" in str(link):
            cure = "turn it on there, or say another sslmode in database_url"
            return ConfigurationError(f"the database server does not speak TLS: {cure}")
    return classify(error)


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    # OpenSSL's numbers for a certificate that is for another name, or another address.
    if error.verify_code in (62, 64):
        return f"the database's certificate is for another name ({error.verify_message}): say the name in database_url that its certificate has"
    return f"the database's certificate is not trusted ({error.verify_message}): sslrootcert in database_url must hold the authority that signed it"


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
