"""Which failures of the client are the log's being away, and which are bugs."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import NodeNotReadyError

from stream.adapters.kafka.deadline import bounded
from stream.core.errors import UnavailableError


async def failing(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        NodeNotReadyError(),
        ConnectionResetError(),
        RuntimeError("unable to perform operation on <TCPTransport closed=True reading=False>; the handler is closed"),
        asyncio.CancelledError(),
    ],
)
async def test_a_client_that_lost_its_connection_is_unavailable_however_it_says_so(error: BaseException) -> None:
    with pytest.raises(UnavailableError, match="joining"):
        await bounded(failing(error), 5, "joining")


async def test_a_mistake_of_ours_stays_what_it_is() -> None:
    with pytest.raises(TypeError):
        await bounded(failing(TypeError("no such argument")), 5, "joining")
