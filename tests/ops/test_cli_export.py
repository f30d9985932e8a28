"""The history as an event log, of a real database: whatever events hold, a table, XES and OCEL that readers of these formats take."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import subprocess
import sys
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
    none = at_database("audit", "export", "--machine", "lump")
    assert (none.stdout.count("\n"), none.stderr) == (1, "0 events of 0 entities\nlamps has no machine 'lump', only lamp\n")


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


@pytest.mark.parametrize("id", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\n=1", "\uff1d1", 'a"<b>&\t\n', "\x1b[31m\x01", "\u202egnp", "\ufffe"])
def test_what_events_hold_breaks_no_format(at_database: Stream, played: str, database: str, id: str) -> None:
    quoted = id.replace("'", "''")
    tamper(database, f"update history set actor = '{quoted}', source = '{quoted}' where entity_id = 'l1'")
    row = table(at_database)[0]
    assert row["resource"] == (f"'{id}" if id[0] in "=+-@\n\uff1d" else id)
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


@pytest.mark.parametrize("made", ["folder", "pipe", "nothing", "loop"])
def test_what_is_no_file_is_not_replaced(at_database: Stream, played: str, tmp_path: Path, made: str) -> None:
    to = Path("/") if made == "nothing" else tmp_path / "log"
    if made == "folder":
        to.mkdir()
    elif made == "pipe":
        os.mkfifo(to)
    elif made == "loop":
        to.symlink_to(to)
    before = to.lstat().st_mode
    said = at_database("audit", "export", "--to", str(to))
    assert (said.exit_code, said.stderr) == (2, f"--to {to}: it is there, and no file that can be written anew\n")
    assert (to.lstat().st_mode, list(tmp_path.glob("*.part"))) == (before, [])


def test_of_a_link_the_file_is_replaced(at_database: Stream, played: str, tmp_path: Path) -> None:
    link, file = tmp_path / "latest", tmp_path / "log"
    file.write_text("before")
    link.symlink_to("log")
    assert at_database("audit", "export", "--to", str(link)).exit_code == 0
    assert (link.is_symlink(), file.read_text().startswith("case,")) == (True, True)


def test_a_source_with_a_blank_makes_no_two_events_one(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update history set source = '/test a', event_id = 'b' where event_id = 'e1'")
    tamper(database, "update history set source = '/test', event_id = 'a b' where event_id = 'e4'")
    assert {e["id"] for e in ocel(at_database)["events"]} == {"/test%20a b", "/test a b", "/test e2"}


def at_terminal(stdout: int | None) -> bytes:
    """What the command wrote to a terminal that is its stderr, and its stdout too where there is no other."""
    ours, theirs = pty.openpty()
    words = (sys.executable, "-c", "from stream.ops.cli import main; main()", "audit", "export")
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs if stdout is None else stdout, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(ours, 65536):
                told += more
        os.close(ours)
    assert process.returncode == 0, told
    return told


def test_what_is_sent_to_a_file_from_a_terminal_is_in_the_file(at_database: Stream, played: str, tmp_path: Path) -> None:
    with (tmp_path / "log.csv").open("wb") as out:
        told = at_terminal(out.fileno())
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == at_database("audit", "export").stdout
    assert b"lamp/l1" not in told


def test_a_terminal_obeys_nothing_that_events_hold(at_database: Stream, played: str, database: str) -> None:
    tamper(database, "update history set actor = e'\\x1b[31mred' where entity_id = 'l1'")
    told = at_terminal(None)
    assert (told.count(b"\\x1b[31mred"), told.count(b"\x1b")) == (2, 0)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no full device here")
def test_a_stdout_that_is_full_is_told_in_a_line(at_database: Stream, played: str) -> None:
    words = (sys.executable, "-c", "from stream.ops.cli import main; main()", "audit", "export")
    with Path("/dev/full").open("wb") as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"stdout: No space left on device\n")


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
