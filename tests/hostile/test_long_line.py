"""What grows long: a line behind a failure, for which who comes last does not pay, and an id."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from stream.core.record import Ref

JOB = Ref("job", "j-1")
LINE = """
insert into waiting (machine, entity_id, outcome, reason, event_id, event_type, correlation_id, since, attempts, error,
    topic, partition, "offset", timestamp, value, headers)
select 'job', 'j-1', case when g % 100 = 0 then 'deferred' else 'parked' end, 'behind', g::text, 't', 'c', now(), 0, '',
    't', 0, g, 0, convert_to(repeat('x', 100000), 'utf8'), '\\x90'
from generate_series(1, 1000) g
"""


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    """With a hundred megabytes that wait for one entity, every hundredth event of its own accord."""
    link = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    await link.execute("insert into entity (machine, id, version, state, holds) values ('job', 'j-1', 1, 'open', 2)")
    await link.execute(LINE)
    await link.close()
    made = PostgresStore(PostgresSettings(dsn=database))
    yield made
    await made.close()


async def test_an_event_that_comes_behind_a_failure_reads_its_head_and_what_may_still_move(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        line = (await tx.load([JOB]))[JOB].line
    assert [waiting.event_id for waiting in line] == ["1", *(str(n) for n in range(100, 1001, 100))]


async def test_a_persons_order_reads_all_of_it(store: PostgresStore) -> None:
    async with store.transaction() as tx:
        await tx.claim_orders("replay")
        line = (await tx.load([JOB]))[JOB].line
    assert [waiting.event_id for waiting in line] == [str(n) for n in range(1, 1001)]


LONGEST = "".join(map(chr, random.Random(7).choices(range(0x10000, 0x10FFFF), k=512)))
"""Noise of four bytes a character: no id weighs more, and no index can pack it."""
ROWS = (
    "insert into entity (machine, id, version, state, holds) values ($1, $2, 1, 'open', 3)",
    "insert into timer (machine, entity_id, name, due_at) values ($1, $2, repeat('n', 300), now())",
    """insert into waiting (machine, entity_id, outcome, reason, event_id, event_type, correlation_id, since, attempts, error,
        topic, partition, "offset", timestamp, headers)
    values ($1, $2, 'parked', 'behind', $2, 't', 'c', now(), 0, '', 't', 0, 0, 0, '')""",
)


async def test_the_longest_id_fits_every_index_it_stands_in(database: str) -> None:
    link = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    for row in ROWS:
        await link.execute(row, "m" * 300, LONGEST)
    await link.close()
