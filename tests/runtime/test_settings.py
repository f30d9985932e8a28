"""Settings: layers, and every fault in one answer."""

from pathlib import Path

import pytest

from stream.core.errors import ConfigurationError
from stream.runtime.settings import Settings, read_settings


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_local_stack(tmp_path: Path) -> None:
    file = tmp_path / "stream.toml"
    file.write_text('kafka = "file:1"\nschema = "from_file"\nlanes = 3\n')
    environ = {"STREAM_KAFKA": "env:1", "STREAM_LANES": "4"}
    defaults = {"kafka": "stack:1", "schema": "stack", "group": "stack"}
    made = read_settings(environ, file=file, defaults=defaults, given={"lanes": "5", "batch": None})
    assert (made.kafka, made.schema, made.group, made.lanes, made.batch) == ("env:1", "from_file", "stack", 5, 500)


def test_nothing_said_is_the_defaults() -> None:
    assert read_settings({}, file=None) == Settings()


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "stream.toml"
    file.write_text('lanes = true\ncolour = "red"\n')
    environ = {"STREAM_BATHC": "9", "STREAM_DRAIN": "soon", "STREAM_ROLES": "worker boss", "STREAM_OUTBOX_LOW": "200000"}
    with pytest.raises(ConfigurationError) as raised:
        read_settings(environ, file=file)
    said = str(raised.value).splitlines()
    assert len(said) == 6
    for word in ("stream.toml, lanes", "'colour'", "did you mean 'batch'", "STREAM_DRAIN", "STREAM_ROLES", "outbox_low"):
        assert any(word in line for line in said), word


def test_a_secret_may_be_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    url = "postgresql://me:pass@db:5432/x?password=query"
    made = read_settings({"STREAM_KAFKA_PASSWORD_FILE": str(secret), "STREAM_DATABASE_URL": url}, file=None)
    assert (made.kafka_password, made.database_url) == ("hush", url)
    shown = str(made.show())
    assert "hush" not in shown
    assert "pass@" not in shown
    assert "query" not in shown
    assert "db:5432/x" in shown


def test_a_secret_given_twice_or_from_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    environ = {"STREAM_KAFKA_PASSWORD_FILE": str(tmp_path / "none"), "STREAM_DATABASE_URL": "postgresql://x", "STREAM_DATABASE_URL_FILE": "y"}
    with pytest.raises(ConfigurationError) as raised:
        read_settings(environ, file=None)
    assert len(str(raised.value).splitlines()) == 2


def test_a_wrong_secret_is_not_repeated_in_its_fault() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_settings({"STREAM_KAFKA_PASSWORD": "hush\nhush"}, file=None)
    assert "hush" not in str(raised.value)


def test_variables_of_others_under_the_same_prefix_are_left_alone() -> None:
    assert read_settings({"STREAM_TEST_KAFKA": "x", "STREAM_HOME": "y"}, file=None) == Settings()
