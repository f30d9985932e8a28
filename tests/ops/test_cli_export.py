"""The history as an event log, of a real database: whatever events hold, a table, XES and OCEL that readers of these formats take."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.ops.conftest import Stream
from tests.ops.test_cli_audit import tamper

XES = "{http://www.xes-standard.org/}"


def table(stream: Stream, *words: str) -> list[dict[str, str]]:
    found = stream("audit", "export", *words)
    assert found.exit_code == 0, found.stderr
    return list(csv.DictReader(io.StringIO(found.stdout)))


def test_a_table_has_a_line_for_each_move(at_database: Stream, played: str) -> None:
    rows = table(at_database)
    assert [(r["case"], r["activity"], r["to_state"], r["owner"], r["resource"]) for r in rows] == [
        ("lamp/l1", "lamp.on", "on", "house", "bob"),
        ("lamp/l1", "lamp.off", "off", "guest", "bob"),
        ("lamp/l2", "lamp.on", "on", "house", "bob"),
    ]
    assert rows[0]["time"] < rows[1]["time"]
    refused = [(r["entity_id"], r["activity"], r["outcome"], r["reason"]) for r in table(at_database, "--refused") if r["outcome"] != "applied"]
    assert refused == [("l1", "lamp.off", "rejected", "no_transition"), ("l2", "lamp.hit", "parked", "handler_failed")]


def test_it_is_cut_by_machine_and_time(at_database: Stream, played: str) -> None:
    rows = table(at_database)
    assert [r["activity"] for r in table(at_database, "--since", rows[1]["time"])] == ["lamp.off", "lamp.on"]
    assert [r["activity"] for r in table(at_database, "--until", rows[1]["time"])] == ["lamp.on"]
    assert table(at_database, "--machine", "lump") == []


def test_xes_has_a_trace_for_each_entity(at_database: Stream, played: str) -> None:
    log = ElementTree.fromstring(at_database("audit", "export", "--format", "xes", "--refused").stdout.split("?>", 1)[1])
    traces = log.findall(f"{XES}trace")
    events = [[{a.attrib["key"]: a.attrib["value"] for a in event} for event in trace.findall(f"{XES}event")] for trace in traces]
    assert [[a.attrib["value"] for a in trace.findall(f"{XES}string")] for trace in traces] == [["lamp/l1", "lamp"], ["lamp/l2", "lamp"]]
    assert [[(e["concept:name"], e["lifecycle:transition"], e["org:group"]) for e in case] for case in events] == [
        [("lamp.on", "complete", "house"), ("lamp.off", "complete", "guest"), ("lamp.off", "abort_activity", "guest")],
        [("lamp.on", "complete", "house"), ("lamp.hit", "abort_activity", "house")],
    ]


def ocel(stream: Stream, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stream("audit", "export", "--format", "ocel", *words).stdout)
    return found


def test_ocel_has_an_event_once_with_all_its_objects(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update history set event_id = 'e1', event_type = 'lamp.on' where event_id in ('e1', 'e4')")
    log = ocel(at_database)
    assert [(o["id"], o["type"], [(a["name"], a["value"]) for a in o["attributes"]]) for o in log["objects"]] == [
        ("lamp/l1", "lamp", [("state", "on"), ("owner", "house"), ("state", "off"), ("owner", "guest")]),
        ("lamp/l2", "lamp", [("state", "on"), ("owner", "house")]),
    ]
    assert [(e["id"], e["type"], e["relationships"]) for e in log["events"]] == [
        ("/test e1", "lamp.on", [{"objectId": "lamp/l1", "qualifier": "applied"}, {"objectId": "lamp/l2", "qualifier": "applied"}]),
        ("/test e2", "lamp.off", [{"objectId": "lamp/l1", "qualifier": "applied"}]),
    ]
    assert ([t["name"] for t in log["objectTypes"]], [t["name"] for t in log["eventTypes"]]) == (["lamp"], ["lamp.on", "lamp.off"])
    declared = {t["name"]: {a["name"] for a in t["attributes"]} for t in (*log["objectTypes"], *log["eventTypes"])}
    assert all({a["name"] for a in one["attributes"]} <= declared[one["type"]] for one in (*log["objects"], *log["events"]))


@pytest.mark.parametrize("id", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", 'a"<b>&\t\n', "\x1b[31m\x01", "\u202egnp", "\ufffe"])
def test_what_events_hold_breaks_no_format(at_database: Stream, played: str, database: str, id: str) -> None:
    quoted = id.replace("'", "''")
    tamper(database, f"update history set actor = '{quoted}', source = '{quoted}' where entity_id = 'l1'")
    row = table(at_database)[0]
    assert row["resource"] == (f"'{id}" if id[0] in "=+-@" else id)
    xes = at_database("audit", "export", "--format", "xes").stdout.split("?>", 1)[1]
    told = {a.attrib["value"] for a in ElementTree.fromstring(xes).iter() if a.attrib.get("key") == "org:resource"}
    assert {"".join("\ufffd" if c in "\x1b\x01\ufffe" else c for c in id)} < told
    assert {o["value"] for e in ocel(at_database)["events"] for o in e["attributes"] if o["name"] == "resource"} == {id, "bob"}


@pytest.mark.parametrize("form", ["csv", "xes", "ocel"])
def test_a_file_is_there_when_it_is_whole(at_database: Stream, played: str, tmp_path: Path, form: str) -> None:
    to = tmp_path / f"log.{form}"
    done = at_database("audit", "export", "--format", form, "--to", str(to))
    assert (done.exit_code, done.stdout, "3 events of 2 entities" in done.stderr) == (0, "", True)
    assert to.read_text(encoding="utf-8") == at_database("audit", "export", "--format", form).stdout
    assert [path.name for path in tmp_path.glob("log*")] == [to.name]
    refused = at_database("audit", "export", "--to", str(tmp_path / "none" / "log"))
    assert (refused.exit_code, "No such file or directory" in refused.stderr) == (2, True)


@pytest.mark.parametrize("form", ["csv", "xes", "ocel"])
def test_a_history_without_rows_is_a_log_without_events(at_database: Stream, form: str) -> None:
    said = at_database("audit", "export", "--format", form)
    assert (said.exit_code, "0 events of 0 entities" in said.stderr) == (0, True)
    if form == "xes":
        assert ElementTree.fromstring(said.stdout.split("?>", 1)[1]).findall(f"{XES}trace") == []
    elif form == "ocel":
        assert json.loads(said.stdout) == {"objects": [], "events": [], "objectTypes": [], "eventTypes": []}


def test_nobody_listening_leaves_no_file(stream: Stream, tmp_path: Path) -> None:
    assert stream("audit", "export", "--to", str(tmp_path / "log.csv")).exit_code == 1
    assert list(tmp_path.glob("log*")) == []
