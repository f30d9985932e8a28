"""The proof while relays are at work, and after a real run: what is said, sent, held or dropped meanwhile is no finding."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any

import anyio
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from stream.adapters.kafka.admin import KafkaAdmin
from stream.adapters.kafka.sweep import Span, Sweep
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.held import PostgresHeldLines
from stream.ops import verify as course
from stream.ops.cli import cli
from stream.ops.proof import Proof
from stream.ops.queries import Questions
from stream.ops.site import read_site
from stream.ops.verify import Question, verify
from tests.integration.runtime.world import World, child, reaches, world
from tests.ops.talk import Talk, proof

# Noise, so that a message that names it stays too large when compressed.
LARGE = "".join(map(chr, random.Random(7).choices(range(0x4E00, 0x9FFF), k=500)))
UNSENT = "select count(*) from outbox o join outbox_position p using (shard) where not pg_visible_in_snapshot(o.xid, p.lo)"
POTS = [f"pot {n}" for n in range(6)]


@pytest.fixture
async def lines(worker_url: str) -> AsyncIterator[PostgresHeldLines]:
    made = PostgresHeldLines(PostgresSettings(dsn=worker_url))
    yield made
    await made.close()


async def look() -> Proof:
    """The proof by itself, in this loop: what a test does between its steps is awaited there."""

    def tell(what: str, done: int, whole: int) -> None: ...

    return await verify(read_site(), Question(), tell)


def around(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, happen: Callable[[], Awaitable[None]]) -> None:
    """After every call of this method something happens."""
    plain = getattr(owner, name)

    @wraps(plain)
    async def called(*args: Any) -> Any:
        answer = await plain(*args)
        await happen()
        return answer

    monkeypatch.setattr(owner, name, called)


async def test_whatever_happens_between_two_of_its_steps_is_no_finding(
    quiet: Talk, lines: PostgresHeldLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step something is sent and something is left unsent; every third time a line is held, then dropped from, and sent."""
    happened = 0

    async def happen() -> None:
        nonlocal happened
        if happened == 30:
            return
        happened += 1
        await quiet.say("a", happened)
        await quiet.say("held", happened, happened)
        await quiet.send(refuse="held" if happened % 3 else "")
        held = await quiet.sql("select seq from outbox_held where status = 'open' order by seq limit 1")
        if held and happened % 3 == 1:
            await lines.skip(held[0]["seq"], "ann", "never fits")
        if held and happened % 3 == 2:
            await lines.retry([held[0]["seq"]], "ann")
        await quiet.say("b", happened)

    monkeypatch.setattr(course, "ROWS", 5)
    for owner, name in ((Questions, "rows"), (Sweep, "spans"), (KafkaAdmin, "topics")):
        around(monkeypatch, owner, name, happen)
    first, happened = await look(), 0
    found = await look()
    assert first.counts == found.counts == {}, first.findings + found.findings
    told = found.topics[quiet.told]
    assert happened > 15
    assert min(told.messages, told.unsent, told.records, told.skipped) > 0


async def test_a_message_that_is_committed_late_leaves_no_gap(quiet: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number in the outbox is lower than that of others which were read before it was there."""
    late, going = anyio.Event(), anyio.Event()

    async def hold_on() -> None:
        going.set()
        await late.wait()

    async def slow() -> None:
        async with quiet.another() as other:
            await other.say("late", 1, before_commit=hold_on)

    plain = Questions.rows

    async def rows(questions: Questions, name: str, *args: Any) -> Any:
        page = await plain(questions, name, *args)
        if name == "outbox_rows" and not late.is_set():
            late.set()
            await reaches(lambda: quiet.count("late"), 1)
            await quiet.say("late", 2)
        return page

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slow)
        await going.wait()
        for n in range(6):
            await quiet.say("b", n)
        await quiet.send()
        monkeypatch.setattr(course, "ROWS", 2)
        monkeypatch.setattr(Questions, "rows", rows)
        assert (await look()).counts == {}
    assert await quiet.count("late") == 2


async def test_a_part_of_the_outbox_that_is_dropped_while_it_is_read_proves_nothing(quiet: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    await quiet.say("a", 1, 2, 3)
    await quiet.send()
    plain, pages = Questions.rows, 0

    async def rows(questions: Questions, name: str, *args: Any) -> Any:
        nonlocal pages
        page = await plain(questions, name, *args)
        pages += name == "outbox_rows"
        if name == "outbox_rows" and pages == 1:
            await quiet.age()
        return page

    monkeypatch.setattr(course, "ROWS", 2)
    monkeypatch.setattr(Questions, "rows", rows)
    found = await look()
    assert found.counts == {}, found.findings
    assert (found.topics[quiet.told].messages, found.topics[quiet.told].unverifiable) == (0, 3)


async def test_a_log_that_is_cut_before_it_is_read_is_read_from_where_it_begins_then(quiet: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    await quiet.configure({"retention.ms": "1000"})
    await quiet.say("a", 1, 2)
    await quiet.send()
    plain = Sweep.spans

    async def spans(sweep: Sweep, places: Any) -> Any:
        await quiet.say("a", 3)
        await quiet.cut()
        await quiet.send()
        found = await plain(sweep, places)
        return [Span(span.place, 0, span.end) for span in found]

    monkeypatch.setattr(Sweep, "spans", spans)
    found = await look()
    assert found.counts == {}, found.findings
    told = found.topics[quiet.told]
    assert (told.messages, told.records, told.unverifiable) == (3, 1, 2)
    assert told.since is not None


async def test_it_holds_after_a_real_run_with_repeats_and_a_message_that_was_skipped(kafka: str, database: str, pottery: str) -> None:
    async with world(kafka, database, pottery) as pots:
        await limit(pots, 900)
        await pots.make([*POTS, LARGE])
        await pots.fill([*POTS, LARGE], range(5))
        async with pots.running():
            await reaches(pots.told, {pot: list(range(5)) for pot in POTS})
            await reaches(lambda: held(pots), [5])
            await order(pots, "skip", "--reason", "never fits")
            await reaches(lambda: held(pots), [4])
        assert await topic(pots) == [35, 0, 4, 1, 30, 0]
        await pots.rows("update outbox_position set lo = '1:1:', hi = null, seq = 0")
        async with pots.running(settings=pots.settings_of("relay")):
            await reaches(lambda: count(pots, UNSENT), 0)
        assert await topic(pots) == [35, 0, 4, 1, 60, 30]


async def test_it_holds_at_any_time_while_workers_and_relays_run(kafka: str, database: str, pottery: str) -> None:
    async with world(kafka, database, pottery) as pots, child(pots, "worker"), child(pots, "relay"):
        await pots.make(POTS)
        seen, enough = set[int](), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed, pots, enough)
            while len(seen) < 4:
                seen.add((await topic(pots))[4])
            enough.set()


async def feed(pots: World, enough: anyio.Event) -> None:
    n = 0
    while not enough.is_set():
        await pots.fill(POTS, (n, n + 1))
        n += 2


async def topic(pots: World) -> list[int]:
    """What there is of it, where outbox and topics agree."""
    told = await proof()
    assert told["holds"], told["findings"]
    found = next(t for t in told["topics"] if t["topic"] == f"told-{pots.tag}")
    return [found[name] for name in ("messages", "unsent", "held", "skipped", "records", "repeats")]


async def held(pots: World) -> list[int]:
    """How many messages each line has."""
    rows = await pots.rows(
        "select count(*) as n from outbox_held where status in ('open', 'retrying') group by topic, key having bool_and(status = 'open')"
    )
    return [row["n"] for row in rows]


async def order(pots: World, what: str, *words: str) -> None:
    seq = await count(pots, "select min(seq) from outbox_held where status = 'open'")
    call = ["outbox", what, str(seq), *words]
    assert (await anyio.to_thread.run_sync(lambda: CliRunner().invoke(cli, call, prog_name="stream"))).exit_code in (0, 1)


async def count(pots: World, sql: str) -> int:
    return int((await pots.rows(sql))[0][0])


async def limit(pots: World, size: int) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=pots.kafka)
    await client.start()
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"told-{pots.tag}", {"max.message.bytes": str(size)})])
    await client.close()
