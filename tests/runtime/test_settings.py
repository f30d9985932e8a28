"""Settings: layers, and every fault in one answer."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.postgres.connection import PostgresSettings
from stream.core.errors import ConfigurationError
from stream.ops.site import Configured
from stream.runtime.settings import Settings, read_settings, shown


def read(environ: Mapping[str, str], file: Path | None = None) -> Configured:
    return read_settings(Configured, environ, file=file)


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_local_stack(tmp_path: Path) -> None:
    file = tmp_path / "stream.toml"
    file.write_text('kafka = "localhost:1"\nschema = "from_file"\nlanes = 3\n')
    environ = {"STREAM_KAFKA": "localhost:2", "STREAM_LANES": "4"}
    defaults = {"kafka": "localhost:3", "schema": "stack", "group": "stack"}
    made = read_settings(Configured, environ, file=file, defaults=defaults, given={"lanes": "5", "batch": None})
    assert (made.kafka.bootstrap, made.postgres.schema) == ("localhost:2", "from_file")
    assert (made.runtime.group, made.runtime.lanes, made.runtime.batch) == ("stack", 5, 500)


def test_nothing_said_is_the_defaults() -> None:
    assert read({}) == Configured(Settings(), KafkaSettings(), PostgresSettings())


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "stream.toml"
    file.write_text('lanes = true\ncolour = "red"\nschema = ""\n')
    environ = {"STREAM_BATHC": "9", "STREAM_DRAIN": "soon", "STREAM_ROLES": "worker boss", "STREAM_OUTBOX_LOW": "200000"}
    environ |= {"STREAM_KAFKA_SECURITY": "TLS", "STREAM_ALLOW_INSECURE": "perhaps", "STREAM_HEARTBEAT": "20"}
    with pytest.raises(ConfigurationError) as raised:
        read(environ, file)
    said = str(raised.value).splitlines()
    assert len(said) == 10
    for word in ("stream.toml, lanes", "'colour'", "'' is empty", "did you mean 'batch'", "STREAM_DRAIN", "STREAM_ROLES", "outbox_low"):
        assert any(word in line for line in said), word
    for word in ("none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", "'perhaps' is neither true nor false", "a third of session_timeout=45"):
        assert any(word in line for line in said), word


def test_a_secret_may_be_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    url = "postgresql://me:pass@localhost:5432/x?password=query"
    names = ("KAFKA_PASSWORD", "KAFKA_KEY_PASSWORD", "DATABASE_PASSWORD")
    made = read({**{f"STREAM_{name}_FILE": str(secret) for name in names}, "STREAM_DATABASE_URL": url})
    assert (made.kafka.password, made.kafka.key_password, made.postgres.password, made.postgres.dsn) == ("hush", "hush", "hush", url)
    said = f"{shown(made)} {made}"
    for word in ("hush", "pass@", "query"):
        assert word not in said
    assert "localhost:5432/x" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://localhost:5432/x", "postgresql://localhost:5432/x"),
        ("postgresql://localhost/x?password=hu@sh", "***"),
        ("postgresql://me:1?hush@localhost/x", "***"),
        ("postgresql://me:hush@localhost/x?a=b", "postgresql://***@localhost/x"),
    ],
)
def test_of_a_url_the_place_is_shown(url: str, said: str) -> None:
    assert shown(PostgresSettings(dsn=url))["database_url"] == said


def test_a_file_that_is_no_secret_is_a_setting_of_its_own(tmp_path: Path) -> None:
    made = read(
        {"STREAM_KAFKA_SECURITY": "SSL", "STREAM_KAFKA_CERT_FILE": "c.pem", "STREAM_KAFKA_KEY_FILE": "k.pem", "STREAM_KAFKA_CA_FILE": "ca.pem"}
    )
    assert (made.kafka.cert_file, made.kafka.key_file, made.kafka.ca_file) == ("c.pem", "k.pem", "ca.pem")


def test_a_secret_given_twice_or_from_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    environ = {"STREAM_KAFKA_PASSWORD_FILE": str(tmp_path / "none"), "STREAM_DATABASE_URL": "postgresql://localhost", "STREAM_DATABASE_URL_FILE": "y"}
    with pytest.raises(ConfigurationError) as raised:
        read(environ)
    assert len(str(raised.value).splitlines()) == 2


def test_a_wrong_secret_is_not_repeated_in_its_fault() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read({"STREAM_KAFKA_PASSWORD": "hush\nhush", "STREAM_DATABASE_URL": "postgres:hush@host"})
    assert "hush" not in str(raised.value)


def test_variables_of_others_under_the_same_prefix_are_left_alone() -> None:
    assert read({"STREAM_TEST_KAFKA": "x", "STREAM_HOME": "y"}) == read({})
