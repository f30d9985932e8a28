"""The loop itself: time jumps, processes keep their order and stop together, and the seed alone decides between them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import anyio
import pytest

from tests.simulation.loop import START, Process, SeededLoop, StuckError


def run(main: Coroutine[object, object, None], loop: SeededLoop) -> None:
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def told(seed: int, *, frozen: bool = False) -> list[str]:
    """What two processes say that have as much to say, one of them frozen for a while if so asked."""
    loop, said = SeededLoop(seed), list[str]()
    processes = [Process("a"), Process("b")]

    async def talk(name: str) -> None:
        for n in range(5):
            said.append(f"{name}{n}")
            await asyncio.sleep(0)

    async def main() -> None:
        tasks = [loop.create_task(talk(process.name), context=process.context) for process in processes]
        if frozen:
            loop.freeze(processes[0])
            await asyncio.sleep(60)
            said.append("thaw")
            loop.thaw(processes[0])
        await asyncio.wait(tasks)

    run(main(), loop)
    return said


def test_the_seed_alone_decides_who_is_next_and_each_keeps_its_own_order() -> None:
    orders = {seed: told(seed) for seed in range(8)}
    assert {seed: told(seed) for seed in range(8)} == orders
    assert len({tuple(order) for order in orders.values()}) > 4
    for order in orders.values():
        assert [word for word in order if word[0] == "a"] == [f"a{n}" for n in range(5)]
        assert [word for word in order if word[0] == "b"] == [f"b{n}" for n in range(5)]


def test_a_frozen_process_does_nothing_until_it_thaws() -> None:
    assert told(1, frozen=True) == [*(f"b{n}" for n in range(5)), "thaw", *(f"a{n}" for n in range(5))]


def test_time_passes_only_where_somebody_waits_for_it() -> None:
    loop = SeededLoop(1)
    run(asyncio.sleep(3600.0), loop)
    assert 3600.0 <= loop.time() - START < 3600.1


def test_a_loop_on_which_nobody_can_go_on_says_so() -> None:
    loop = SeededLoop(1)

    async def wait() -> None:
        await loop.create_future()

    task = loop.create_task(wait())
    with pytest.raises(StuckError):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def cancelled() -> list[int]:
    """The order in which ten waits, each in a scope of its own, hear that they are cancelled."""
    loop, heard = SeededLoop(1), list[int]()

    async def wait(n: int) -> None:
        try:
            with anyio.move_on_after(60):
                await anyio.sleep_forever()
        finally:
            heard.append(n)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for n in range(10):
                tasks.start_soon(wait, n)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    run(main(), loop)
    return heard


def test_what_is_cancelled_at_once_hears_of_it_in_the_order_of_tasks() -> None:
    assert {tuple(cancelled()) for _ in range(20)} == {tuple(range(10))}
