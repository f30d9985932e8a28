"""A history partition that is dropped by age leaves an anchor for each of its entities, so many rows at a call."""

from __future__ import annotations

from datetime import timedelta
from hashlib import md5

import asyncpg

from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from tests.conftest import as_role

FILL = """
insert into history
select
    g, 0, 'job', (g % 30000)::text, g / 30000 + 1, 'applied', '', 'e', 't', 's', '', 'a', 'b', now(), now(), '', '', '', 'd', '',
    decode(md5(g::text), 'hex')
from generate_series(0, 239999) g
"""
SIZE, ENTITIES = 120_000, 30_000


async def test_a_partition_goes_when_all_its_rows_have_left_their_anchors(database: str, worker_login: tuple[str, str]) -> None:
    owner = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    await owner.execute(f"drop table history_p0, history_p1; select make_partitions('history', 0, {SIZE}, 3)")
    await owner.execute(FILL)
    await owner.execute(f"select setval('history_id', {3 * SIZE})")
    worker = PostgresSettings(dsn=as_role(database, *worker_login))
    timetable = PostgresTimetable(worker, Ages(rows=SIZE, history=timedelta(0)))
    seen: list[tuple[bool, int, int]] = []
    for _ in range(2):
        dropped = "dropped history_p0" in await timetable.rotate()
        (row,) = await owner.fetch("select count(*) as n, min(n) as least from history_anchor")
        seen.append((dropped, row["n"], row["least"]))
    await timetable.close()
    (row,) = await owner.fetch("select id, hash from history_anchor where machine = 'job' and entity_id = '7'")
    await owner.close()
    # Four rows of each entity, 100,000 a call.
    assert seen == [(False, ENTITIES, 3), (True, ENTITIES, 4)]
    assert (row["id"], row["hash"]) == (90_007, md5(b"90007").digest())
