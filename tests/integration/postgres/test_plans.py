"""Hot statements find rows by an index, also where the connection met the tables while they were empty and they have grown since."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from stream.adapters.postgres.connection import QUERIES, PostgresSettings
from stream.adapters.postgres.store import PostgresStore
from tests.conformance.storage import tell

GROW = """
insert into entity (machine, id, version, data) select 'job', 'g-' || n, 1, repeat('x', 200)::bytea from generate_series(1, 20000) n;
insert into timer select 'job', 'g-' || n, 'sla', now() from generate_series(1, 20000) n;
insert into inbox_1 select gen_random_uuid(), gen_random_uuid() from generate_series(1, 20000);
insert into inbox_2 select gen_random_uuid(), gen_random_uuid() from generate_series(1, 20000);
insert into outbox (shard, topic, key, value, headers, machine, entity_id, message_id, type, correlation_id, written_at)
    select n % 16, 'out', 'k', 'v', '[]', 'job', 'g-1', 'm', 't', 'c', now() from generate_series(1, 20000) n;
update outbox_position set lo = pg_current_snapshot(), hi = null;
"""

MACHINES, IDS = ["job"] * 50, [f"g-{n}" for n in range(1, 51)]
KEYS = [str(uuid.UUID(int=n)) for n in range(1, 51)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAVED = [("job", id, 1, 1, 1, "", b"", NOW, NOW, 1, 1, b"", None, 0, 0) for id in IDS]

HOT: list[tuple[str, list[object]]] = [
    ("entities", [MACHINES, IDS]),
    ("timers", [MACHINES, IDS]),
    ("lines", [MACHINES, IDS, False]),
    ("lines", [MACHINES, IDS, True]),
    ("first_sight", [KEYS, KEYS]),
    ("contents", [KEYS]),
    ("save_entities", [SAVED]),
    ("drop_timers", [MACHINES, IDS, ["sla"] * 50]),
    ("read_shard", [1, 1, "r", 500, 1 << 22]),
    ("backlog", []),
    ("unsent", []),
    ("due", [["job"], [NOW], 100]),
]


@pytest.fixture
async def grown(database: str) -> AsyncIterator[PostgresStore]:
    """A store whose connection has used its statements before the tables grew; nobody has analysed them since."""
    store = PostgresStore(PostgresSettings(dsn=database))
    await tell(store)
    other = await asyncpg.connect(database, server_settings={"search_path": "stream"})
    await other.execute(GROW)
    await other.close()
    yield store
    await store.close()


@pytest.mark.parametrize(("name", "args"), HOT, ids=[name for name, _ in HOT])
async def test_a_hot_statement_uses_an_index(grown: PostgresStore, name: str, args: list[object]) -> None:
    grown.connection.queries = {"plan": f"explain {QUERIES[name]}"}
    plan = "\n".join(str(row[0]) for row in await grown.connection.fetch("plan", *args))
    for table in ("entity", "timer", "waiting", "inbox", "outbox_p", "history"):
        scans = [line for line in plan.splitlines() if f"Seq Scan on {table}" in line and "outbox_position" not in line]
        assert scans == [], plan
