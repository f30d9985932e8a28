"""Waiting for the client without ever cancelling it: the call goes on in the background, our patience ends.

Cancelling a fetch leaves aiokafka's idle clock stopped for good, and cancelling a send does not withdraw it; both are therefore left to end
by themselves, and only the wait for them has a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from stream.core.errors import UnavailableError

T = TypeVar("T")

_left: set[asyncio.Task[Any]] = set()


def begin(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a client call that nobody has to wait for: it is kept alive until it ends, and its error is taken even if nobody asks."""
    task = asyncio.ensure_future(call)
    _left.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()


async def bounded(call: Coroutine[Any, Any, T], seconds: float, what: str) -> T:
    """The call's result. Raises `UnavailableError` when it fails in the client, or has not ended in time (it then goes on unwatched)."""
    task = begin(call)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        raise UnavailableError(f"{what}: no answer from Kafka within {seconds:g} s")
    return outcome(task, what)


def outcome(task: asyncio.Task[T], what: str) -> T:
    """The result of a task that has ended; the client's failures, and its private cancellations, become `UnavailableError`."""
    if task.cancelled():
        raise UnavailableError(f"{what}: the Kafka client gave up")
    error = task.exception()
    # RuntimeError: what uvloop says of a connection that was closed under the client's hands, and the client then says for good.
    if isinstance(error, KafkaError | OSError | AssertionError | ValueError | KeyError | RuntimeError):
        raise UnavailableError(f"{what}: {type(error).__name__}: {error}") from error
    return task.result()


async def ended(call: Coroutine[Any, Any, None], seconds: float) -> bool:
    """Give a stop its time, and go on whatever came of it; False when it has not ended, and is left behind."""
    done, _ = await asyncio.wait({begin(call)}, timeout=seconds)
    return bool(done)
