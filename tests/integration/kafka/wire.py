"""The wire between the client and a real broker, which a test can hold still or cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from aiokafka.conn import AIOKafkaConnection


class Wire:
    """A relay on a port of its own. `held`: bytes are taken and go nowhere. `cut`: connections end and new ones are refused."""

    def __init__(self, broker: str) -> None:
        self.lead(broker)
        self._free = asyncio.Event()
        self._free.set()
        self._links: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._server: asyncio.Server | None = None
        self.port = 0
        self.links = 0
        """How many connections were asked for."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def hold(self) -> None:
        self._free.clear()

    def cut(self) -> None:
        self._cut = True
        for link in self._links:
            link.close()

    def mend(self) -> None:
        self._cut = False
        self._free.set()

    def lead(self, broker: str) -> None:
        """Connections that are asked for from now on go there."""
        host, port = broker.rsplit(":", 1)
        self._broker = (host, int(port))

    async def stop(self) -> None:
        self.mend()
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links += 1
        if self._cut:
            writer.close()
            return
        inner, outer = await asyncio.open_connection(*self._broker)
        self._links |= {writer, outer}
        await asyncio.gather(self._carry(reader, outer), self._carry(inner, writer))
        self._links -= {writer, outer}

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                await self._free.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


def through(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection of the client goes by the wire: a broker tells clients its own address, which would lead round it."""
    connect = AIOKafkaConnection.connect

    async def by_wire(connection: AIOKafkaConnection) -> object:
        vars(connection)["_port"] = wire.port
        return await connect(connection)

    monkeypatch.setattr(AIOKafkaConnection, "connect", by_wire)
