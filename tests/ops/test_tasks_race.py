"""Tasks under rivals on a real PostgreSQL: whoever comes first at the entity's lock has it, and the other finds what that one did."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from stream.ops.desk import OtherwiseError, perform, rehearse
from stream.ops.orders import Note
from stream.ops.site import Site, read_site
from stream.ops.tasks import claim, order_of, reassign
from stream.runtime.doors import Desk
from tests.ops.conftest import Stream
from tests.ops.test_cli_tasks import REFUNDS
from tests.ops.test_killed import ASKED, GRANTED, fired, records, rows, worked

TASKS = "select name, status, answer, closed_by, reason from task order by id"
AUDIT = "select actor, action from audit order by id"


@pytest.fixture
async def site(lamps: str, at_database: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Refund r1 is asked for, and task 1 whether it is granted."""
    name = lamps.partition(":")[0].replace("lamps", "rivals")
    (tmp_path / f"{name}.py").write_text(REFUNDS.replace("{token}", name))
    monkeypatch.setenv("STREAM_APP", f"{name}:app")
    site = read_site()
    await worked(site, records(site, ASKED))
    return site


async def queued(database: str, *rivals: Coroutine[Any, Any, object]) -> list[object]:
    """Rivals that come to the lock of r1 in this order, each known to wait there before the next begins; what became of each."""
    holder, begun = await asyncpg.connect(database, server_settings={"search_path": "stream"}), list[asyncio.Task[object]]()
    try:
        await holder.execute("begin")
        await holder.execute("select from entity where machine = 'refund' and id = 'r1' for update")
        for rival in rivals:
            begun.append(asyncio.create_task(rival))
            while await waiting(database) < len(begun) and not begun[-1].done():
                pass
        await holder.execute("commit")
        return [*await asyncio.gather(*begun, return_exceptions=True)]
    finally:
        await holder.close()


async def waiting(database: str) -> int:
    seen = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return len(await rows(database, seen))


async def ready(site: Site, task: int, actor: str, kind: str | None, reason: str = "") -> Coroutine[Any, Any, object]:
    """An answer that was looked at and agreed to, to be given."""
    order, line = await order_of(site, task, actor, kind, b"{}", reason)
    door = Desk(orders=[order])
    return perform(site, door, [Note(actor, "tasks answer", line.target)], await rehearse(site, door))


async def test_an_answer_that_comes_before_the_event_is_the_one(site: Site, database: str) -> None:
    said, by_hand = worked(site, records(site, ASKED, GRANTED)), await ready(site, 1, "ann", "refund.denied")
    assert await queued(database, by_hand, said) == [None, None]
    assert await rows(database, TASKS) == [("state asked", "answered", "refund.denied", "ann", "")]
    assert await rows(database, "select state from entity") == [("done",)]


async def test_an_answer_that_comes_after_the_event_is_too_late(site: Site, database: str) -> None:
    said, by_hand = worked(site, records(site, ASKED, GRANTED)), await ready(site, 1, "ann", "refund.denied")
    _, late = await queued(database, said, by_hand)
    assert isinstance(late, OtherwiseError)
    assert [row[:3] for row in await rows(database, TASKS)] == [("state asked", "answered", "refund.granted")]
    assert await rows(database, "select state from entity") == [("granted",)]
    assert await rows(database, AUDIT) == []


async def test_of_two_reasons_the_first_is_noted_and_the_other_person_is_told(site: Site, database: str) -> None:
    """This task belongs to no state: nothing but its row says that it was answered."""
    await worked(site, records(site, ASKED, GRANTED))
    await fired(site, "r1", 2)
    both = [await ready(site, 2, actor, None, reason) for actor, reason in (("ann", "them"), ("eve", "us"))]
    first, late = await queued(database, *both)
    assert (first, type(late)) == (None, OtherwiseError)
    assert (await rows(database, TASKS))[1] == ("reason granted", "answered", "sla.explained", "ann", "them")
    assert await rows(database, "select actor from history where event_type = 'sla.explained'") == [("ann",)]
    assert await rows(database, AUDIT) == [("ann", "tasks answer")]


async def test_who_loses_a_task_to_another_owner_does_not_answer_it(site: Site, database: str) -> None:
    by_hand = await ready(site, 1, "ann", "refund.denied")
    moved, late = await queued(database, reassign(site, 1, "eve", "hers", person="eve"), by_hand)
    assert (not isinstance(moved, BaseException), type(late)) == (True, OtherwiseError)
    assert await rows(database, AUDIT) == [("eve", "tasks reassign")]


async def test_a_claim_that_comes_after_the_event_reads_what_became_of_it(site: Site, database: str) -> None:
    _, late = await queued(database, worked(site, records(site, ASKED, GRANTED)), claim(site, 1, "ann"))
    assert str(late).startswith("task 1 was answered with refund.granted by ")
    assert await rows(database, AUDIT) == []
