"""Whose turn it is, and what became of the clocks, on a real database."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from stream.ops.site import load_app
from tests.ops.conftest import Stream, answer, play, record

START = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def day(database: str, lamps: str) -> datetime:
    """Four lamps under two hours: out after 1 h, after 3 h, withdrawn after 1 h told late, and one still on."""
    said = [
        ("lamp.on", "a", 0),
        ("lamp.on", "b", 0),
        ("lamp.on", "c", 0),
        ("lamp.on", "d", 1),
        ("lamp.off", "a", 60),
        ("lamp.off", "b", 180),
        ("lamp.hit", "c", 200),
        ("lamp.off", "c", 90),
        ("lamp.on", "a", 300),
        ("lamp.off", "a", 330),
    ]
    topic = next(iter(load_app(lamps).consumed))
    body = {"lamp.hit": '{"lamp":"%s","force":5}'}
    records = [
        record(topic, n, kind, (body.get(kind, '{"lamp":"%s"}') % lamp).encode(), f"e{n}", START + timedelta(minutes=minute))
        for n, (kind, lamp, minute) in enumerate(said)
    ]
    asyncio.run(play(database, lamps, records))
    return START


def reported(stream: Stream, *words: str) -> dict[str, Any]:
    (found,) = cast("list[dict[str, Any]]", answer(stream("sla", "report", *words, "-o", "json")))
    return found


def test_a_report_counts_what_became_of_each_clock(at_database: Stream, day: datetime) -> None:
    found = reported(at_database)
    assert {name: found[name] for name in ("machine", "clock", "met", "met_late", "breached", "withdrawn", "void")} == {
        "machine": "lamp",
        "clock": "on",
        "met": 3,
        "met_late": 1,
        "breached": 2,
        "withdrawn": 1,
        "void": 0,
    }
    assert found["breached_by"] == {"house": 2}
    assert [found[p] for p in ("p50", "p90", "p99")] == [3600.0, 10_800.0, 10_800.0]


def test_a_report_is_of_a_span_and_a_machine(at_database: Stream, day: datetime) -> None:
    edge = (day + timedelta(minutes=100)).isoformat()
    # The one reported late counts where its entity moved.
    assert reported(at_database, "--until", edge)["met"] == 1
    assert reported(at_database, "--since", edge)["met_late"] == 1
    assert answer(at_database("sla", "report", "--machine", "other", "-o", "json")) == []


def test_a_report_goes_into_a_spreadsheet(at_database: Stream, day: datetime) -> None:
    (line,) = csv.DictReader(io.StringIO(at_database("sla", "report", "-o", "csv").stdout))
    assert (line["clock"], line["met"], line["breached"], line["p99_s"]) == ("on", "3", "2", "10800.0")
    assert "house 2" in at_database("sla", "report").stdout


@pytest.fixture
def soon(database: str, lamps: str) -> None:
    """Three lamps under two hours: overdue by ten minutes, due in twenty and in a hundred minutes; and one that is out."""
    now, topic = datetime.now(UTC), next(iter(load_app(lamps).consumed))
    said = [("lamp.on", "c", 130), ("lamp.on", "a", 100), ("lamp.on", "d", 90), ("lamp.off", "d", 80), ("lamp.on", "b", 20)]
    told = [
        record(topic, n, kind, b'{"lamp":"%s"}' % lamp.encode(), f"e{n}", now - timedelta(minutes=ago)) for n, (kind, lamp, ago) in enumerate(said)
    ]
    asyncio.run(play(database, lamps, told))


def due(stream: Stream, *words: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", answer(stream("clocks", "list", *words, "-o", "json")))


def test_clocks_are_listed_by_when_they_fall_due(at_database: Stream, soon: None) -> None:
    found = due(at_database)
    assert [(c["entity_id"], round(c["left"] / 60, -1)) for c in found] == [("c", -10), ("a", 20), ("b", 100)]
    expected = {"machine": "lamp", "clock": "on", "state": "on", "owner": "house", "escalate_to": "guest", "next": "breached", "calendar": ""}
    assert found[1].items() >= expected.items()
    assert "guest" in at_database("clocks", "list").stdout


def test_clocks_are_listed_of_a_span_and_a_machine_and_so_many(at_database: Stream, soon: None) -> None:
    assert [c["entity_id"] for c in due(at_database, "--due-within", "1h")] == ["c", "a"]
    assert [c["entity_id"] for c in due(at_database, "--due-within", "0s")] == ["c"]
    assert [c["entity_id"] for c in due(at_database, "--limit", "1")] == ["c"]
    assert due(at_database, "--machine", "other") == []


@pytest.mark.parametrize("text", ["1 month", "1y", "-1h", "", "9999999h", "999999d", "1h30", "\u0661h"])
def test_a_span_nobody_can_mean_is_wrong_use(stream: Stream, text: str) -> None:
    refused = stream("clocks", "list", f"--due-within={text}")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "say 90s, 30m, 1h or 2d" in refused.stderr


@pytest.mark.parametrize(
    ("words", "slip"),
    [
        (("tasks", "list", "--owner", "hous"), "lamps knows no owner 'hous', only guest, house"),
        (("tasks", "list", "--machine", "lump"), "lamps has no machine 'lump', only lamp"),
        (("clocks", "list", "--machine", "lump"), "lamps has no machine 'lump', only lamp"),
        (("clocks", "list", "--held", "--machine", "lump"), "lamps has no machine 'lump', only lamp"),
        (("sla", "report", "--machine", "lump"), "lamps has no machine 'lump', only lamp"),
        (("owners", "--owner", "hous"), "lamps knows no owner 'hous', only guest, house"),
        (("entities", "list", "--machine", "lump"), "lamps has no machine 'lump', only lamp"),
    ],
)
def test_a_name_that_nobody_knows_is_told_beside_the_empty_answer(at_database: Stream, words: tuple[str, ...], slip: str) -> None:
    found = at_database(*words, "-o", "json")
    assert (found.exit_code, found.stdout.strip(), found.stderr.strip()) == (0, "[]", slip)
    assert slip not in at_database(*words[:2]).stderr


def test_owners_say_whose_turn_it_is_and_since_when(at_database: Stream, day: datetime) -> None:
    found = cast("list[dict[str, Any]]", answer(at_database("owners", "-o", "json")))
    assert [(t["owner"], t["state"], t["n"]) for t in found] == [("guest", "off", 3), ("house", "on", 1)]
    assert found[1]["age"] > 86_000
    (one,) = cast("list[dict[str, Any]]", answer(at_database("owners", "--owner", "house", "-o", "json")))
    assert one["state"] == "on"
    assert "guest" in at_database("owners").stdout
