"""What people do, and what owners are told, under a death at every statement: whoever does it again finds all of it done once, or none.

A death is a connection that is gone with the statement, before it reaches the server or after it was carried out; nothing of the process is left to
tidy up, so the same is done again from the start, as a person or the next worker would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.postgres.notices import PostgresNotices
from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import StreamError
from stream.core.order import Fire
from stream.core.own import ClockPaused
from stream.core.record import Record, Ref
from stream.ops.desk import Effect, perform, refused, rehearse
from stream.ops.orders import Note
from stream.ops.site import Site, read_site
from stream.ops.steering import order_on
from stream.ops.tasks import claim, order_of
from stream.ports import Slice
from stream.ports.notices import Delivery, Fate
from stream.runtime.app import carrying
from stream.runtime.doors import Desk, Partitions, Timers
from stream.runtime.settings import Settings
from tests.ops.conftest import Stream, record
from tests.ops.test_cli_tasks import REFUNDS

START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
TOLD = "[owners.bank]\ntell = [{ log = true }]\n[owners.boss]\ntell = [{ log = true }]\n"
T = TypeVar("T")


class DeadError(BaseException):
    """The process is gone."""


@contextmanager
def dying(at: int, *, after: bool, patch: pytest.MonkeyPatch) -> Generator[list[int]]:
    """The `at`-th statement is the last. Gives the count of those that were begun."""
    count = [0]

    def deadly(original: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def run(self: Connection, *args: Any) -> T:
            count[0] += 1
            mine = count[0]
            if mine > at:
                raise DeadError
            if mine == at and not after:
                self.discard()
                raise DeadError
            answer = await original(self, *args)
            if mine == at:
                self.discard()
                raise DeadError
            return answer

        return run

    with patch.context() as within:
        # `execute` speaks through `script`.
        for name in ("fetch", "script"):
            within.setattr(Connection, name, deadly(getattr(Connection, name)))
        yield count


@pytest.fixture
def site(lamps: str, at_database: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Refunds whose owners are told by log lines."""
    text = REFUNDS.replace("{token}", "killed").partition(", owners=parse_owners(")[0] + f", owners=parse_owners('''{TOLD}'''))\n"
    name = lamps.partition(":")[0].replace("lamps", "killed")
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("STREAM_APP", f"{name}:app")
    return read_site()


async def rows(database: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def records(site: Site, *told: tuple[str, str, int]) -> list[Record]:
    topic = next(iter(site.app.consumed))
    return [record(topic, n, kind, body.encode(), f"e{n}", START + timedelta(minutes=at)) for n, (kind, body, at) in enumerate(told)]


async def worked(site: Site, batch: list[Record]) -> None:
    """As a worker that comes anew: it adopts, and reads on from the stored position."""
    store = PostgresStore(PostgresSettings(dsn=site.postgres.dsn))
    try:
        position = await store.adopt(batch[0].place, owner="w", generation=1, begin=0, partitions=1)
        rest = batch[position.next_offset :]
        if rest:
            carry = carrying(site.app, Settings(app="killed:app"), lambda trace_id: False)
            await carry(Partitions([Slice(batch[0].place, position.epoch, position.next_offset, len(batch), rest)]), store, "")
    finally:
        await store.close()


async def fired(site: Site, id: str, hours: int) -> None:
    store = PostgresStore(PostgresSettings(dsn=site.postgres.dsn))
    try:
        carry = carrying(site.app, Settings(app="killed:app"), lambda trace_id: False)
        await carry(Timers([Fire(Ref("refund", id), START + timedelta(hours=hours))]), store, "")
    finally:
        await store.close()


async def survived(once: Callable[[], Awaitable[object]], again: Callable[[], Awaitable[object]], patch: pytest.MonkeyPatch, deaths: int) -> int:
    """Die before or after statement `deaths // 2 + 1`, then do it again. Gives how many statements there were where nobody died, else 0."""
    with dying(deaths // 2 + 1, after=bool(deaths % 2), patch=patch) as count:
        try:
            await once()
        except DeadError:
            pass
        else:
            return count[0]
    await again()
    return 0


ASKED = ("refund.asked", '{"refund":"r1","amount":7}', 0)
GRANTED = ("refund.granted", '{"refund":"r1"}', 5)
TABLES = ("task", "task_comment", "notification", "entity", "timer", "waiting", "outbox", "door_count", "inbox", "inbox_1", "inbox_2", "partition")
SET_BACK = f"truncate {', '.join(TABLES)} restart identity cascade"


async def cleared(database: str) -> None:
    """As it was, but for what is written once: that is told apart by its entity's last row."""
    await rows(database, SET_BACK)


async def everything(database: str) -> list[object]:
    entities = await rows(database, "select id, state, version, n, chain from entity order by id")
    chained = {id: n for id, _, _, n, _ in entities}
    return [
        [row[:4] for row in entities],
        chained,
        await rows(database, "select entity_id, name, status, assignee, answer, closed_by from task order by id"),
        await rows(database, "select owner, type, key from notification order by id"),
        await rows(database, "select topic, message_id from outbox order by topic, machine, entity_id, seq"),
    ]


async def through_all(
    database: str,
    patch: pytest.MonkeyPatch,
    prepare: Callable[[], Awaitable[object]],
    once: Callable[[], Awaitable[object]],
    again: Callable[[], Awaitable[object]] | None = None,
) -> int:
    """Every death in turn, each from the same beginning. Gives how many there were."""
    await cleared(database)
    await prepare()
    await once()
    expected, deaths = await everything(database), 0
    while True:
        await cleared(database)
        await prepare()
        if await survived(once, again or once, patch, deaths):
            return deaths
        assert await everything(database) == expected, f"death {deaths // 2 + 1} {'after' if deaths % 2 else 'before'}"
        deaths += 1


@contextmanager
def suppressed(words: str) -> Generator[None]:
    """An error that says this is well, any other is not."""
    try:
        yield
    except StreamError as told:
        if words not in str(told):
            raise


async def nothing() -> None:
    """From an empty room."""


@pytest.mark.proof
async def test_a_batch_that_asks_and_answers_is_taken_once(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = records(site, ASKED, GRANTED)
    assert await through_all(database, monkeypatch, nothing, lambda: worked(site, batch)) > 20
    assert [row[1:3] for row in await rows(database, "select id, name, status from task")] == [("state asked", "answered")]


async def test_a_breach_is_told_and_asked_about_once(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare() -> None:
        await worked(site, records(site, ASKED, GRANTED))

    assert await through_all(database, monkeypatch, prepare, lambda: fired(site, "r1", 2)) > 12
    assert await rows(database, "select type from notification order by id") == [("task.opened",), ("sla.breached",)]
    assert await rows(database, "select name, status from task order by id") == [("state asked", "answered"), ("reason granted", "open")]


async def test_a_task_is_answered_once(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed: list[Effect] = []

    async def prepare() -> None:
        await worked(site, records(site, ASKED))
        agreed[:] = await rehearse(site, Desk(orders=[(await order_of(site, 1, "ann", "refund.denied", b"{}"))[0]]))
        assert refused(agreed) == ""

    async def answer() -> None:
        order, task = await order_of(site, 1, "ann", "refund.denied", b"{}")
        await perform(site, Desk(orders=[order]), [Note("ann", "tasks answer", task.target)], agreed)

    async def once_more() -> None:
        # Where the death came after the commit, a person reads that it is done.
        with suppressed("was answered with refund.denied by ann"):
            await answer()

    deaths = await through_all(database, monkeypatch, prepare, answer, once_more)
    assert deaths > 30
    # The first, the one that nobody died in, and one for each death: each order is in the audit once.
    assert len(await rows(database, "select from audit where action = 'tasks answer'")) == deaths + 2


async def test_a_notice_is_carried_under_one_key_until_it_is_noted(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    carried: list[str] = []

    async def prepare() -> None:
        await worked(site, records(site, ASKED, GRANTED))
        await fired(site, "r1", 2)
        carried.clear()

    async def carry() -> None:
        notices = PostgresNotices(site.postgres)
        try:
            for leased in await notices.lease(timedelta(0), 10, ()):
                carried.append(leased.notice.key)
                await notices.settle(leased, Delivery(Fate.SENT))
        finally:
            await notices.close()

    async def again() -> None:
        await carry()
        keys = await rows(database, "select key, status from notification order by id")
        assert {(key, "sent") for key in carried} == set(keys)
        assert len(keys) == 2 <= len(carried) <= 3

    assert await through_all(database, monkeypatch, prepare, carry, again) > 4


@pytest.mark.proof
async def test_a_task_is_claimed_once(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare() -> None:
        await worked(site, records(site, ASKED))

    async def take() -> None:
        await claim(site, 1, "ann")

    async def once_more() -> None:
        with suppressed("you have claimed task 1"):
            await take()

    deaths = await through_all(database, monkeypatch, prepare, take, once_more)
    assert deaths > 10
    assert len(await rows(database, "select from audit where action = 'tasks claim'")) == deaths + 2


@pytest.mark.proof
async def test_a_clock_is_held_once(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare() -> None:
        await worked(site, records(site, ASKED))

    async def hold() -> None:
        order, note = await order_on(site, Ref("refund", "r1"), ClockPaused(clock="asked task"), "ann", "because")
        door = Desk(orders=[order])
        shown = await rehearse(site, door)
        if not refused(shown):
            await perform(site, door, [note], shown)

    deaths = await through_all(database, monkeypatch, prepare, hold)
    assert deaths > 30
    assert len(await rows(database, "select from audit where action = 'clocks pause'")) == deaths + 2
