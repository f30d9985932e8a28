"""The part of asyncpg that the Postgres adapter uses."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

class PostgresError(Exception):
    sqlstate: str | None

class InterfaceError(Exception): ...
class ClientConfigurationError(InterfaceError, ValueError): ...
class InternalClientError(Exception): ...
class DataError(PostgresError): ...

class Record:
    def __getitem__(self, key: str | int) -> Any: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...

class Connection:
    _transport: asyncio.BaseTransport
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Record]: ...
    async def close(self, *, timeout: float | None = None) -> None: ...
    def terminate(self) -> None: ...
    def is_closed(self) -> bool: ...
    def get_server_version(self) -> tuple[int, ...]: ...
    async def prepare(self, query: str) -> object: ...

_C = TypeVar("_C", bound=Connection)

@overload
async def connect(
    dsn: str | None = None,
    *,
    timeout: float = 60,
    command_timeout: float | None = None,
    statement_cache_size: int = 100,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: Literal["any", "primary", "standby", "read-write", "read-only", "prefer-standby"] | None = None,
    password: str | None = None,
    connection_class: type[_C],
) -> _C: ...
@overload
async def connect(
    dsn: str | None = None,
    *,
    timeout: float = 60,
    command_timeout: float | None = None,
    statement_cache_size: int = 100,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: Literal["any", "primary", "standby", "read-write", "read-only", "prefer-standby"] | None = None,
    password: str | None = None,
) -> Connection: ...

__all__: Sequence[str]
