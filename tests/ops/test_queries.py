"""Reads of operators stay cheap: what is long is found by an index."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from stream.ops.queries import STATEMENTS


@pytest.mark.parametrize(
    ("name", "arguments", "index"),
    [
        ("outcomes_of_flow", ("flow-1", 10), "correlation"),
        ("timeline", (1, 10), "history_p0_pkey"),
        ("entities", ("ticket", None, "ticket", "", 10), "entity_pkey"),
        ("line_of_entity", ("ticket", "T-1"), "waiting_entity"),
        ("clocks_due", (["ticket"], timedelta(hours=1), 10), "timer_due"),
        ("said", ("ticket", "", 10), "entity_pkey"),
        ("outbox_rows", (0, "1:1:", 10, 1000, [0], ["1:1:"], [""], [0], ["told"]), "outbox_p0_pkey"),
        ("held_rows", (0, 10, 1000), "outbox_held_pkey"),
        ("letters", ("open", None, None, 10), "dead_letter"),
    ],
)
async def test_a_long_table_is_read_by_an_index(database: str, name: str, arguments: tuple[object, ...], index: str) -> None:
    connection = await asyncpg.connect(
        database, server_settings={"search_path": "stream", "enable_seqscan": "off", "plan_cache_mode": "force_custom_plan"}
    )
    try:
        plan = await connection.fetch("explain " + STATEMENTS[name], *arguments)
    finally:
        await connection.close()
    text = "\n".join(str(line[0]) for line in plan)
    assert index in text, text
    assert "Seq Scan" not in text, text
