"""What is wrong is said in one line that says what to do, and ends with 2; what is away ends with 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.dev.stack import Addresses, Running
from tests.ops.conftest import Stream


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text


def test_an_app_that_is_not_there_is_one_line(stream: Stream) -> None:
    found = stream("machines", "list", "--app", "nowhere:app")
    assert found.exit_code == 2
    assert "there is no module 'nowhere' here" in one_line(found.stderr)


def test_a_name_that_is_no_app_is_one_line(stream: Stream, lamps: str) -> None:
    found = stream("machines", "list", "--app", lamps.replace(":app", ":lamp"))
    assert found.exit_code == 2
    assert "is no App but a Machine" in one_line(found.stderr)


def test_a_wrong_definition_is_one_line(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "wrong_definition.py").write_text("from stream import App\napp = App('')\n")
    found = stream("machines", "list", "--app", "wrong_definition:app")
    assert found.exit_code == 2
    assert "App '': a name is one line" in one_line(found.stderr)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("app = App('x', machines=3)", "here.py:2: TypeError"),
        ("State[Data]('on', owner='me')", "here.py:2: State 'on': owner"),
        ("Sla(4)", "here.py:2: an Sla: a duration is"),
        ("app = App(", "SyntaxError: '(' was never closed (not_here.py, line 2)"),
    ],
)
def test_a_fault_names_the_line_of_its_author(stream: Stream, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "not_here.py").write_text(f"from stream import App, Data, Sla, State\n{text}\n")
    found = stream("machines", "list", "--app", "not_here:app")
    assert found.exit_code == 2
    assert words in one_line(found.stderr)


def test_an_app_whose_import_fails_names_the_line(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "failing_import.py").write_text("\n\n1 / 0\n")
    found = stream("machines", "list", "--app", "failing_import:app")
    assert found.exit_code == 2
    assert "failing_import.py:3: ZeroDivisionError" in one_line(found.stderr)


def test_an_app_whose_import_would_end_the_process_names_the_line(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "exiting_import.py").write_text("\nimport sys\nsys.exit(0)\n")
    found = stream("machines", "list", "--app", "exiting_import:app")
    assert found.exit_code == 2
    assert "exiting_import.py:3: SystemExit" in one_line(found.stderr)


def test_all_wrong_settings_are_said_at_once(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LANES", "many")
    monkeypatch.setenv("STREAM_BATCH", "0")
    found = stream("config", "show")
    assert found.exit_code == 2
    assert "STREAM_LANES" in found.stderr
    assert "STREAM_BATCH" in found.stderr


def test_a_database_that_is_away_is_a_no_that_names_the_setting(stream: Stream) -> None:
    found = stream("entities", "list")
    assert found.exit_code == 1
    assert "STREAM_DATABASE_URL" in one_line(found.stderr)


def test_health_names_everything_that_is_away(stream: Stream) -> None:
    found = stream("health", "-o", "json")
    assert found.exit_code == 1
    assert '"well": false' in found.stdout
    assert "not well: database, broker" in one_line(found.stderr)


def test_health_of_an_app_that_is_not_there_is_wrong_use(stream: Stream) -> None:
    found = stream("health", "--app", "nowhere:app")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "there is no module 'nowhere' here" in one_line(found.stderr)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (['{"lamp": "l1", "powr": 2}'], "it has no field 'powr', only lamp, power"),
        (['{"lamp": ""}'], "an entity's id must be 1 to 512 characters"),
        (['{"lamp": "l1"}', "--correlation-id", "flow 9"], "--correlation-id 'flow 9': say"),
        (['{"lamp": "l1"}', "--time", "2026-03-01T09:30:00"], "says no offset"),
    ],
)
def test_what_would_be_lost_or_refused_is_not_published(stream: Stream, words: list[str], said: str) -> None:
    found = stream("publish", "lamp.on", *words)
    assert found.exit_code == 2
    assert said in one_line(found.stderr)


def test_secrets_are_masked_when_settings_are_shown(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_DATABASE_URL", "postgresql://me:hush@db/stream?sslmode=require")
    for output in ("table", "json"):
        found = stream("config", "show", "-o", output)
        assert found.exit_code == 0
        assert "hush" not in found.stdout


def test_every_setting_is_shown_with_who_said_it(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_LANES", "3")
    (tmp_path / "stream.toml").write_text("batch = 7\nlanes = 4\n")
    lines = [line.split(None, 2) for line in stream("config", "show").stdout.splitlines()]
    assert ["lanes", "3", "STREAM_LANES"] in [[word.strip() for word in line] for line in lines]
    assert ["batch", "7", "stream.toml, batch"] in [[word.strip() for word in line] for line in lines]
    assert {"group", "kafka_username", "database_password"} <= {line[0] for line in lines}


def test_a_broker_that_is_away_is_one_question(stream: Stream) -> None:
    found = stream("topics", "list")
    assert found.exit_code == 1
    assert "nobody answers as Kafka at 127.0.0.1:1: is it up, and is STREAM_KAFKA right?" in one_line(found.stderr)


def test_an_empty_reason_skips_nothing(stream: Stream) -> None:
    found = stream("parked", "skip", "lamp", "l2", "--reason", " ")
    assert found.exit_code == 2
    assert "say why" in one_line(found.stderr)


def test_the_clock_of_a_database_that_is_no_local_stacks_is_not_moved(stream: Stream) -> None:
    found = stream("dev", "clock", "-2h")
    assert found.exit_code == 2
    assert "--anyway" in one_line(found.stderr)


def test_the_clock_of_no_local_stack_is_a_no(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAM_DATABASE_URL")
    found = stream("dev", "clock", "+2h")
    assert found.exit_code == 1
    assert "no stack runs on" in one_line(found.stderr)


def test_the_command_says_its_version_and_still_where_to_begin(stream: Stream) -> None:
    assert re.fullmatch(r"stream \d+\.\d+\.\d+\n", stream("--version").stdout)
    assert "Begin: stream dev up" in stream("--help").stdout


def test_a_machine_is_told_to_programs_as_everything_else_is(stream: Stream) -> None:
    assert stream("machines", "show", "lamp", "--output", "json").stdout == stream("machines", "show", "lamp", "--format", "json").stdout


@pytest.mark.parametrize(
    "words", [["run"], ["migrate"], ["topics", "apply"], ["publish"], ["status"], ["entities", "show"], ["parked", "skip"], ["trace"]]
)
def test_every_help_has_an_example(stream: Stream, words: list[str]) -> None:
    found = stream(*words, "--help")
    assert found.exit_code == 0
    assert f"stream {' '.join(words)}" in found.stdout.split("Example", 1)[1]


def test_no_local_stack_is_a_no(stream: Stream) -> None:
    for word in ("status", "down"):
        found = stream("dev", word)
        assert found.exit_code == 1
        assert "no stack runs on" in one_line(found.stderr)


def test_a_running_local_stack_gives_way_to_what_is_configured(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Running(pid=1, children={}, addresses=Addresses(kafka="localhost:1234"))

    def found(home: Path) -> Running:
        return stack

    monkeypatch.setattr("stream.ops.site.running", found)
    monkeypatch.setenv("STREAM_KAFKA", "localhost:9876")
    shown = stream("config", "show").stdout
    assert "localhost:9876" in shown
    assert "localhost:1234" not in shown
