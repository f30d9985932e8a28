"""What the race tests share: stores with a rule taken out, knowing that a rival waits, and a proxy that loses an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from stream.adapters.postgres.connection import QUERIES, Connection, PostgresSettings
from stream.adapters.postgres.statements import parse

BROKEN = parse(Path(__file__).with_name("broken.sql").read_text(encoding="utf-8"))
T = TypeVar("T")


def take_out(connection: Connection, rules: dict[str, str]) -> None:
    """Replace statements, by name, with broken ones."""
    connection.queries = {**QUERIES, **{name: BROKEN[broken] for name, broken in rules.items()}}


async def begun(dsn: str, rival: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a rival; return when it waits for a lock, or has come through."""
    watch = Connection(PostgresSettings(dsn=dsn), BROKEN)
    task = asyncio.create_task(rival)
    try:
        while not task.done() and not (await watch.fetch("waiting_backends"))[0]["n"]:
            pass
    finally:
        await watch.close()
    return task


class Proxy:
    """A way to the server on which `lose(sent)` may say, once, that the "answer" or the "request" is lost together with the connection."""

    def __init__(self, dsn: str, lose: Callable[[bytes], str]) -> None:
        self.server = urlsplit(dsn)
        self.lose, self.spent = lose, False
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection(self.server.hostname, self.server.port)
        self.writers += [writer, server]
        back = asyncio.create_task(self.pump(answers, writer))
        self.tasks.append(back)
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                lost = "" if self.spent else self.lose(data)
                if lost:
                    self.spent = True
                    back.cancel()
                if lost != "request":
                    server.write(data)
                if lost == "answer":
                    await answers.read(65536)
                if lost:
                    break
        server.close()
        writer.close()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for writer in self.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def proxy(dsn: str, lose: Callable[[bytes], str]) -> AsyncGenerator[str]:
    """The DSN of a `Proxy` to `dsn`."""
    way = Proxy(dsn, lose)
    listening = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(way.server._replace(netloc=f"{way.server.netloc.rpartition(':')[0]}:{port}"))
    finally:
        listening.close()
        await way.close()


async def came_through(work: Awaitable[object], *refusals: type[Exception]) -> bool:
    """Whether it was done, or refused."""
    try:
        await work
    except refusals:
        return False
    return True
