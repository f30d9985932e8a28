"""Diagrams say what the table says."""

from __future__ import annotations

import orjson

from stream.core.diagram import as_dict, mermaid, shown, text
from tests.core.jobs import job
from tests.core.visits import visit


def test_text_reads_aloud() -> None:
    said = text(job)
    assert "new, owner bench, within target else lead\n" in said
    assert "  job.started -> checked, when is_big\n" in said
    assert "  job.noted stays, says job.told\n" in said
    assert "  after 2 days -> closed, says job.told\n" in said
    assert "  defers part.came, job.done\n" in said
    assert "closed (final)\n" in said


def test_text_names_clocks_across_states_and_the_rows_that_take_their_breach() -> None:
    said = text(visit)
    assert (
        "clock solving, within target else lead, warned at 50%, again every 2 hours, met in solved, stands still in asking, void in dropped" in said
    )
    assert "booked, owner desk, within 40 minutes else lead, warned at 75%, again every 20 minutes\n" in said
    assert "  sla.breached of solving -> stuck, when is_urgent\n" in said


def test_mermaid_draws_every_state_and_row() -> None:
    drawn = mermaid(job).splitlines()
    assert drawn[0] == "stateDiagram-v2"
    assert "    [*] --> s0: job.opened" in drawn
    assert "    s0 --> s1: job.started [is_big]" in drawn
    assert sum(" as s" in line for line in drawn) == len(job.states)
    assert sum("-->" in line for line in drawn) == len(shown(job).rows) + 1


def test_the_dict_is_json_and_keeps_the_order_of_the_table() -> None:
    plain = orjson.loads(orjson.dumps(as_dict(job)))
    starts = [row["target"] for row in plain["rows"] if row["source"] == "new" and row["on"] == "job.started"]
    assert starts == ["checked", "working"]
