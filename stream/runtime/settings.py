"""Settings: frozen values, read from a file, the environment and the command line; everything wrong with them is said at once."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, get_type_hints

from stream.core.errors import ConfigurationError
from stream.core.setting import Consistent, Setting, one_of, seconds, setting, setting_of, text, whole

PREFIX = "STREAM_"
ROLES = ("worker", "relay", "ticker", "notifier")
_MASK = "***"
T = TypeVar("T")
Said: TypeAlias = dict[str, tuple[str, object]]
"""By setting: where it was said, and what."""


def _roles(value: object) -> tuple[str, ...]:
    named = set(value.replace(",", " ").split() if isinstance(value, str) else cast("list[str]", value))
    if not named or not named <= set(ROLES):
        raise ValueError(f"names none or others than {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in named)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the runtime is told; where broker and database are, their adapters are told. An empty `group` is the App's name.

    Seconds and bytes. `history_days`: how long the history is kept at least, 0 for ever; whole partitions of it are dropped. `outbox_high` and
    `outbox_low` are unsent rows at which intake pauses and goes on. `webhook_ca_file`: authorities of our own, which webhooks are trusted by
    beside the public ones. `app` is `module:name`.
    """

    app: str = setting("handlers:app", text)
    group: str = setting("", text)
    roles: tuple[str, ...] = setting(ROLES, _roles)
    lanes: int = setting(2, whole(1, 64))
    batch: int = setting(500, whole(1, 10_000))
    batch_bytes: int = setting(4 * 1024 * 1024, whole(1, 1 << 30))
    payload_limit: int = setting(1_000_000, whole(1, 100 << 20))
    drain: float = setting(10.0, seconds(0, 600))
    outbox_high: int = setting(100_000, whole(1, 1 << 40))
    outbox_low: int = setting(50_000, whole(0, 1 << 40))
    relay_batch: int = setting(1000, whole(1, 100_000))
    relay_lease: float = setting(15.0, seconds(1, 600))
    history_days: int = setting(0, whole(0, 36_500))
    webhook_ca_file: str = setting("", text)
    log_format: str = setting("auto", one_of("auto", "json", "text"))
    log_level: str = setting("info", one_of("debug", "info", "warning", "error"))

    def faults(self) -> Iterator[str]:
        if self.outbox_low >= self.outbox_high:
            yield f"outbox_low={self.outbox_low}: it must be below outbox_high={self.outbox_high}, or intake would never go on"
        if ":" not in self.app:
            yield f"app={self.app!r}: say module:name, such as handlers:app"


def read_settings(
    kind: type[T],
    environ: Mapping[str, str],
    *,
    file: Path | None = Path("stream.toml"),
    defaults: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> T:
    """What is said, later ones winning: `defaults` (a local stack), the file, `STREAM_*` of the environment, `given` (the command line).

    `kind` is a dataclass of settings, or of parts that are such dataclasses. A secret may instead be a file named by `STREAM_<SETTING>_FILE`.
    Raises one `ConfigurationError` with every fault, a line each.
    """
    return read_with_sources(kind, environ, file=file, defaults=defaults, given=given)[0]


def read_with_sources(
    kind: type[T],
    environ: Mapping[str, str],
    *,
    file: Path | None = Path("stream.toml"),
    defaults: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> tuple[T, dict[str, str]]:
    """As `read_settings`, and for each setting that somebody said, where."""
    reading = _Reading(kind)
    said: Said = {name: (f"local stack, {name}", value) for name, value in (defaults or {}).items()}
    said |= reading.of_file(file)
    said |= reading.of_environment(environ)
    said |= {name: (f"--{name.replace('_', '-')}", value) for name, value in (given or {}).items() if value is not None}
    made = _made(kind, reading.values(said), reading.faults)
    if reading.faults:
        raise ConfigurationError("\n".join(reading.faults))
    return made, {name: where for name, (where, _) in said.items()}


def shown(settings: object) -> dict[str, object]:
    """Every setting by name, passwords masked: for people and logs."""
    found: dict[str, object] = {}
    for field in dataclasses.fields(cast("Any", settings)):
        value = getattr(settings, field.name)
        if how := setting_of(field):
            found[how.name] = _masked(value) if how.secret and value else value
        elif dataclasses.is_dataclass(value):
            found |= shown(value)
    return found


def _masked(value: object) -> str:
    """Of a URL the place stays; whatever follows a ? may be a password too."""
    scheme, url, rest = str(value).partition("://")
    login, at, place = rest.partition("?")[0].rpartition("@")
    if not url or (not at and "@" in rest):
        return _MASK
    return f"{scheme}://{_MASK}@{place}" if login else f"{scheme}://{place}"


def _made(kind: type[T], values: Mapping[str, object], faults: list[str]) -> T:
    hints, chosen = get_type_hints(kind), dict[str, Any]()
    for field in dataclasses.fields(cast("Any", kind)):
        if how := setting_of(field):
            chosen |= {field.name: values[how.name]} if how.name in values else {}
        elif dataclasses.is_dataclass(hints[field.name]):
            chosen[field.name] = _made(hints[field.name], values, faults)
    made = kind(**chosen)
    if isinstance(made, Consistent):
        faults.extend(made.faults())
    return made


def _known(kind: type[Any]) -> Iterator[tuple[str, Setting]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if how := setting_of(field):
            yield how.name, how
        elif dataclasses.is_dataclass(hints[field.name]):
            yield from _known(hints[field.name])


class _Reading:
    """The settings that are known, and the faults found while reading them."""

    def __init__(self, kind: type[Any]) -> None:
        self._known = dict(_known(kind))
        self.faults: list[str] = []

    def values(self, said: Said) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, (where, value) in said.items():
            how = self._known.get(name)
            if how is None:
                self.faults.append(self._unknown(where, name))
                continue
            try:
                values[name] = how.read(value)
            except (TypeError, ValueError) as error:
                self.faults.append(f"{where}: {_MASK if how.secret else repr(value)} {error}")
        return values

    def of_file(self, file: Path | None) -> Said:
        if file is None or not file.exists():
            return {}
        try:
            table = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            self.faults.append(f"{file}: cannot be read: {error}")
            return {}
        return {name: (f"{file.name}, {name}", value) for name, value in table.items()}

    def of_environment(self, environ: Mapping[str, str]) -> Said:
        said: Said = {}
        for variable, value in environ.items():
            name = variable.removeprefix(PREFIX).lower()
            if not variable.startswith(PREFIX) or not value:
                continue
            secret = self._known.get(name.removesuffix("_file"))
            if name in self._known:
                said[name] = (variable, value)
            elif secret and secret.secret:
                said |= self._of_secret_file(variable, name.removesuffix("_file"), value, environ)
            elif self._resembling(name):
                # Other programs of ours use the prefix too: only what looks like a slip of the pen is one.
                self.faults.append(self._unknown(variable, name))
        return said

    def _of_secret_file(self, variable: str, name: str, path: str, environ: Mapping[str, str]) -> Said:
        if environ.get(PREFIX + name.upper()):
            self.faults.append(f"{variable}: {PREFIX}{name.upper()} is set as well; keep one of them")
            return {}
        try:
            return {name: (variable, Path(path).read_text().rstrip("\r\n"))}
        except (OSError, ValueError) as error:
            self.faults.append(f"{variable}: {error}")
            return {}

    def _unknown(self, where: str, name: str) -> str:
        near = self._resembling(name)
        return f"{where}: there is no setting {name!r}" + (f"; did you mean {near!r}?" if near else "")

    def _resembling(self, name: str) -> str:
        return next(iter(difflib.get_close_matches(name, self._known, 1, 0.8)), "")
