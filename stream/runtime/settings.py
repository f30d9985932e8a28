"""Settings: one frozen value, read from a file, the environment and the command line; everything wrong with it is said at once."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from stream.core.errors import ConfigurationError

PREFIX = "STREAM_"
ROLES = ("worker", "relay", "ticker")
_MASK = "***"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`group` and `schema` belong together: one group's positions live in one schema. An empty `group` is the App's name.

    Seconds and bytes. `outbox_high` and `outbox_low` are unsent rows at which intake pauses and goes on. `app` is `module:name`.
    """

    app: str = "handlers:app"
    kafka: str = "localhost:9092"
    database_url: str = field(default="postgresql://localhost/stream", metadata={"secret": True})
    schema: str = "stream"
    group: str = ""
    roles: tuple[str, ...] = ROLES
    lanes: int = 2
    batch: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    payload_limit: int = 1_000_000
    session_timeout: float = 45.0
    heartbeat: float = 3.0
    drain: float = 10.0
    outbox_high: int = 100_000
    outbox_low: int = 50_000
    relay_batch: int = 1000
    relay_lease: float = 15.0
    log_format: str = "auto"
    log_level: str = "info"
    kafka_security: str = "PLAINTEXT"
    kafka_ca_file: str = ""
    kafka_mechanism: str = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: str = field(default="", metadata={"secret": True})
    database_password: str = field(default="", metadata={"secret": True})

    def show(self) -> dict[str, object]:
        """Every setting by name, passwords masked: for people and logs."""
        return {f.name: _masked(f, getattr(self, f.name)) for f in dataclasses.fields(self)}


_FIELDS = {f.name: f for f in dataclasses.fields(Settings)}


def read_settings(
    environ: Mapping[str, str],
    *,
    file: Path | None = Path("stream.toml"),
    defaults: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Settings:
    """What is said, later ones winning: `defaults` (a local stack), the file, `STREAM_*` of the environment, `given` (the command line).

    A secret may instead be a file named by `STREAM_<SETTING>_FILE`. Raises one `ConfigurationError` with every fault, a line each.
    """
    faults: list[str] = []
    said: dict[str, tuple[str, object]] = {}
    said |= {name: (f"local stack, {name}", value) for name, value in (defaults or {}).items()}
    said |= _from_file(file, faults)
    said |= _from_environment(environ, faults)
    said |= {name: (f"--{name.replace('_', '-')}", value) for name, value in (given or {}).items() if value is not None}
    values: dict[str, Any] = {}
    for name, (where, value) in said.items():
        try:
            values[name] = _READ[_FIELDS[name].name](value)
        except (TypeError, ValueError, KeyError) as error:
            faults.append(f"{where}: {_said(name, value)} {error}" if name in _FIELDS else _unknown(where, name))
    settings = Settings(**values)
    faults.extend(_contradictions(settings))
    if faults:
        raise ConfigurationError("\n".join(faults))
    return settings


def _from_file(file: Path | None, faults: list[str]) -> dict[str, tuple[str, object]]:
    if file is None or not file.exists():
        return {}
    try:
        table = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        faults.append(f"{file}: cannot be read: {error}")
        return {}
    return {name: (f"{file.name}, {name}", value) for name, value in table.items()}


def _from_environment(environ: Mapping[str, str], faults: list[str]) -> dict[str, tuple[str, object]]:
    said: dict[str, tuple[str, object]] = {}
    for variable, value in environ.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or not value:
            continue
        if name in _FIELDS:
            said[name] = (variable, value)
        elif name.endswith("_file") and _secret(_FIELDS.get(name[:-5])):
            said.update(_secret_file(variable, name[:-5], value, environ, faults))
        elif _resembling(name):
            # Other programs of ours use the prefix too: only what looks like a slip of the pen is one.
            faults.append(_unknown(variable, name))
    return said


def _secret_file(variable: str, name: str, path: str, environ: Mapping[str, str], faults: list[str]) -> Iterator[tuple[str, tuple[str, object]]]:
    if environ.get(PREFIX + name.upper()):
        faults.append(f"{variable}: {PREFIX}{name.upper()} is set as well; keep one of them")
        return
    try:
        yield name, (variable, Path(path).read_text().rstrip("\r\n"))
    except (OSError, ValueError) as error:
        faults.append(f"{variable}: {error}")


def _unknown(where: str, name: str) -> str:
    near = _resembling(name)
    return f"{where}: there is no setting {name!r}" + (f"; did you mean {near!r}?" if near else "")


def _resembling(name: str) -> str:
    return next(iter(difflib.get_close_matches(name, _FIELDS, 1, 0.8)), "")


def _secret(found: dataclasses.Field[Any] | None) -> bool:
    return bool(found and found.metadata.get("secret"))


def _said(name: str, value: object) -> str:
    return _MASK if _secret(_FIELDS[name]) else repr(value)


def _masked(of: dataclasses.Field[Any], value: object) -> object:
    if not _secret(of) or not value:
        return value
    scheme, at, place = str(value).rpartition("@")
    return f"{scheme.partition('://')[0]}://{_MASK}@{place.partition('?')[0]}" if at and "://" in scheme else _MASK


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("is not one line of text")
    return value


def _of(*allowed: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"is none of {', '.join(allowed)}")
        return str(value)

    return read


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return number

    return read


def _seconds(least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        try:
            number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise ValueError(f"is no number of seconds from {least:g} to {most:g}")
        return number

    return read


def _roles(value: object) -> tuple[str, ...]:
    named = set(value.replace(",", " ").split() if isinstance(value, str) else cast("list[str]", value))
    if not named or not named <= set(ROLES):
        raise ValueError(f"names none or others than {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in named)


_READ: Mapping[str, Callable[[object], object]] = {
    **dict.fromkeys(_FIELDS, _text),
    "roles": _roles,
    "lanes": _whole(1, 64),
    "batch": _whole(1, 10_000),
    "batch_bytes": _whole(1, 1 << 30),
    "payload_limit": _whole(1, 100 << 20),
    "session_timeout": _seconds(6, 1800),
    "heartbeat": _seconds(0.1, 600),
    "drain": _seconds(0, 600),
    "outbox_high": _whole(1, 1 << 40),
    "outbox_low": _whole(0, 1 << 40),
    "relay_batch": _whole(1, 100_000),
    "relay_lease": _seconds(1, 600),
    "log_format": _of("auto", "json", "text"),
    "log_level": _of("debug", "info", "warning", "error"),
    "kafka_security": _of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka_mechanism": _of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
}


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.outbox_low >= settings.outbox_high:
        yield f"outbox_low={settings.outbox_low}: it must be below outbox_high={settings.outbox_high}, or intake would never go on"
    if settings.heartbeat * 3 > settings.session_timeout:
        yield f"heartbeat={settings.heartbeat:g}: it may be a third of session_timeout={settings.session_timeout:g} at most"
    if ":" not in settings.app:
        yield f"app={settings.app!r}: say module:name, such as handlers:app"
    if settings.kafka_security.startswith("SASL") and not (settings.kafka_username and settings.kafka_password):
        yield "kafka_security says SASL: it needs kafka_username and kafka_password"
    for name in ("kafka", "database_url", "schema"):
        if not getattr(settings, name):
            yield f"{name}: it must not be empty"
