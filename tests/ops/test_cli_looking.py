"""Commands that only look, on a real database."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from stream.ops.render import safe
from tests.ops.conftest import Stream, answer


def row(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value)


def rows(value: object) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", value)


def test_status_counts_every_record_once(at_database: Stream, played: str) -> None:
    counts = row(answer(at_database("status", "--no-lag", "-o", "json")))["counts"]
    assert counts["records"] == 7
    assert sum(counts[verdict] for verdict in ("admitted", "duplicate", "conflict", "dead", "skipped")) == 7
    assert {name: counts[name] for name in ("applied", "rejected", "parked", "dead")} == {"applied": 3, "rejected": 1, "parked": 2, "dead": 1}


def test_status_names_what_is_unsent_and_what_waits(at_database: Stream, played: str) -> None:
    found = row(answer(at_database("status", "--no-lag", "-o", "json")))
    assert found["outbox"]["unsent"] == 1
    assert {(w["reason"], w["events"]) for w in found["waiting"]} == {("handler_failed", 1), ("behind", 1)}
    assert {letter["reason"] for letter in found["dead_letters"]} == {"no_transition", "undecodable"}


def test_status_still_answers_when_the_broker_is_away(at_database: Stream, played: str) -> None:
    found = at_database("status")
    assert found.exit_code == 0
    assert "lag unknown" in found.stdout


def test_a_timeline_names_states_owners_and_actors_in_order(at_database: Stream, played: str) -> None:
    told = row(answer(at_database("entities", "show", "lamp", "l1", "-o", "json")))
    assert [(m["outcome"], m["from_state"], m["to_state"]) for m in told["timeline"]] == [
        ("applied", "", "on"),
        ("applied", "on", "off"),
        ("rejected", "off", "off"),
    ]
    assert told["owners"] == {"off": "guest", "on": "house"}
    assert told["owner"] == "guest"
    assert told["entity"]["data"] == {"lamp": "l1", "power": 1}
    assert {m["actor"] for m in told["timeline"]} == {"bob"}


def test_a_short_timeline_shows_the_latest_moves(at_database: Stream, played: str) -> None:
    told = row(answer(at_database("entities", "show", "lamp", "l1", "--limit", "2", "-o", "json")))
    assert [m["n"] for m in told["timeline"]] == [2, 3]


def test_an_entity_shows_its_clocks_and_its_line(at_database: Stream, played: str) -> None:
    found = at_database("entities", "show", "lamp", "l2")
    assert found.exit_code == 0
    (clock,) = [line.split() for line in found.stdout.splitlines() if line.startswith("on ")]
    assert {"2h", "breached"} <= set(clock)
    assert "ZeroDivisionError" in found.stdout


def test_an_entitys_clocks_are_told_to_programs_with_their_readings(at_database: Stream, played: str) -> None:
    (clock,) = row(answer(at_database("entities", "show", "lamp", "l2", "-o", "json")))["clocks"]
    assert (clock["clock"], clock["stands"], clock["target"], clock["next"], clock["breached"]) == ("on", "runs", 7200.0, "breached", None)


def test_a_timeline_says_which_clocks_an_event_met(at_database: Stream, played: str) -> None:
    told = row(answer(at_database("entities", "show", "lamp", "l1", "-o", "json")))
    assert [[(note["clock"], note["what"], note["took"]) for note in m["clocks"]] for m in told["timeline"]] == [[], [("on", "met", 60.0)], []]
    assert "on met after 1m" in at_database("entities", "show", "lamp", "l1").stdout


def test_an_entity_nobody_knows_is_a_no(at_database: Stream, played: str) -> None:
    found = at_database("entities", "show", "lamp", "l9")
    assert (found.exit_code, found.stderr) == (1, "there is no lamp 'l9'\n")
    found = at_database("entities", "show", "lmap", "l1")
    assert (found.exit_code, found.stderr) == (1, "there is no lmap 'l1', and no machine 'lmap' in lamps, only lamp\n")


def test_entities_are_listed_by_state_and_page_by_page(at_database: Stream, played: str) -> None:
    assert [e["id"] for e in rows(answer(at_database("entities", "list", "--state", "off", "-o", "json")))] == ["l1"]
    after = at_database("entities", "list", "--machine", "lamp", "--after", "l1", "-o", "json")
    assert [e["id"] for e in rows(answer(after))] == ["l2"]


def test_a_flow_shows_what_led_to_what(at_database: Stream, played: str) -> None:
    found = row(answer(at_database("trace", "flow-1", "-o", "json")))
    roots = {root["id"]: root for root in found["roots"]}
    assert set(roots) == {"e1", "e2", "e3", "e4", "e5", "e6"}
    assert [(led["type"], led["source"]) for led in roots["e2"]["led_to"]] == [("lamp.out", "lamp/l1")]
    assert [(e["outcome"], e["reason"]) for e in roots["e6"]["effects"]] == [("parked", "behind")]


def test_a_flow_nobody_knows_is_a_no(at_database: Stream, played: str) -> None:
    assert at_database("trace", "flow-2").exit_code == 1


@pytest.mark.parametrize(
    ("format", "said"), [("text", "on, owner house, within 2 hours"), ("mermaid", "stateDiagram-v2"), ("json", '"name": "lamp"')]
)
def test_a_machine_is_drawn_without_a_database(stream: Stream, format: str, said: str) -> None:
    found = stream("machines", "show", "lamp", "--format", format)
    assert found.exit_code == 0
    assert said in found.stdout


@pytest.mark.parametrize("id", ["l\x1b[31m1", "l\u202e1", "l[/bold]1", "l[red]1"])
def test_an_id_commands_no_terminal_where_it_is_a_title(at_database: Stream, played: str, id: str) -> None:
    sent = at_database("entities", "send", "lamp.on", json.dumps({"lamp": id}), "--reason", "by phone", "--yes")
    assert sent.exit_code == 0, sent.stderr
    for words in (("entities", "show"), ("why",)):
        found = at_database(*words, "lamp", id)
        assert (found.exit_code, found.stdout.splitlines()[0].strip()) == (0, f"lamp/{safe(id)}")


def test_text_of_an_event_commands_no_terminal() -> None:
    assert safe("a\x1b[31mb\u202ec\n") == "a\\x1b[31mb\\x202ec\\x0a"
