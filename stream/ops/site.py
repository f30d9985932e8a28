"""Where a command works: the settings, the addresses (a local stack's where nobody configured any), and the App."""

from __future__ import annotations

import getpass
import importlib
import os
import sys
import traceback
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.postgres.connection import PostgresSettings
from stream.core.app import App
from stream.core.errors import RAISED, ConfigurationError, DefinitionError
from stream.core.machine import AnyMachine
from stream.dev.stack import HOME, Addresses, running
from stream.ops.render import safe
from stream.runtime.settings import ROLES, Settings, read_with_sources

_LIBRARY = Path(__file__).parents[1]
# `Machine[Ticket](...)` is called by way of it, so it stands between the author's line and ours.
_TYPING = Path(typing.__file__)
LONGEST_NAME = 200
"""Characters of a person's name: it stands in each row of what that person orders."""


@dataclass(frozen=True)
class Configured:
    """Everything that can be set, by the part that is told."""

    runtime: Settings
    kafka: KafkaSettings
    postgres: PostgresSettings


@dataclass(frozen=True)
class Site:
    """One command's surroundings. `environ` is the process's, completed by a running local stack's trace address.

    `said`: where each setting comes from.
    """

    configured: Configured
    environ: Mapping[str, str]
    said: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def app(self) -> App:
        """Imported when first asked for. Raises `ConfigurationError` in one line, whatever is wrong with it."""
        return load_app(self.settings.app)

    @property
    def roles(self) -> tuple[str, ...]:
        """All that the App needs, whichever this process would run: somebody must run each."""
        try:
            told = self.app.owners.tells
        except ConfigurationError:
            # What runs is worth a look also where the App cannot be imported.
            told = False
        return tuple(role for role in ROLES if role != "notifier" or told)

    @property
    def group(self) -> str:
        return self.settings.group or self.app.name

    @property
    def settings(self) -> Settings:
        return self.configured.runtime

    @property
    def postgres(self) -> PostgresSettings:
        return self.configured.postgres

    @property
    def kafka(self) -> KafkaSettings:
        return replace(self.configured.kafka, largest_record=self.settings.payload_limit)


def read_site(given: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ) -> Site:
    """`given` is what the command line says, None for what it leaves open. Raises `ConfigurationError` with every fault, a line each."""
    stack = running(Path(environ.get("STREAM_HOME") or HOME))
    addresses = stack.addresses if stack else Addresses()
    defaults = {name: value for name, value in (("kafka", addresses.kafka), ("database_url", addresses.database_url)) if value}
    # The tests of this library are pointed at running parts by variables that look like slips of the pen.
    ours = {name: value for name, value in environ.items() if not name.startswith("STREAM_TEST_")}
    configured, said = read_with_sources(Configured, ours, defaults=defaults, given=given)
    # The local stack's owner belongs to the local stack's database, and to no other that somebody configured.
    if configured.postgres.dsn == addresses.database_url and addresses.database_owner_url and not configured.postgres.owner_dsn:
        configured = replace(configured, postgres=replace(configured.postgres, owner_dsn=addresses.database_owner_url))
        said["database_owner_url"] = "local stack, database_owner_url"
    return Site(configured, {**addresses.variables(), **environ}, said)


def load_app(named: str) -> App:
    """The App that `module:name` names; modules are looked for in the current folder first."""
    module_name, _, name = named.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except DefinitionError as error:
        raise ConfigurationError(f"{named}: {_where(error)}{error}") from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(_missing(named, module_name, error)) from error
    except RAISED as error:  # the author's modules run here: whatever they raise is told in one line
        raise ConfigurationError(f"{named} cannot be imported: {_where(error)}{type(error).__name__}: {error}") from error
    if not isinstance(found, App):
        what = "is not there" if found is None else f"is no App but a {type(found).__name__}"
        raise ConfigurationError(f"{named}: {name!r} {what}; write `{name} = App(...)` in {module_name}, or say --app module:name")
    return found


def machine_of(site: Site, name: str) -> AnyMachine:
    """The App's machine of that name. Raises `ConfigurationError` with those that there are."""
    found = site.app.machine(name)
    if found is None:
        raise ConfigurationError(f"the App has no machine {name!r}; it has {', '.join(m.name for m in site.app.machines)}")
    return found


def known_owners(site: Site) -> set[str]:
    """Those of the App's states and tasks, and those of its directory."""
    states = [state for machine in site.app.machines for state in machine.states]
    named = {state.owner.name for state in states if state.owner} | {state.task.owner.name for state in states if state.task and state.task.owner}
    return named | set(site.app.owners.owners)


def unknown(site: Site, machine: str | None, owner: str | None = None) -> str:
    """What an empty answer may be owed to: a name that this App does not know, in words; "" where it knows both."""
    if machine is not None and site.app.machine(machine) is None:
        return f"{site.app.name} has no machine {machine!r}, only {', '.join(m.name for m in site.app.machines)}"
    if owner is not None and owner not in known_owners(site):
        return f"{site.app.name} knows no owner {owner!r}, only {', '.join(sorted(known_owners(site)))}"
    return ""


def actor(environ: Mapping[str, str] = os.environ) -> str:
    """Who orders, for the audit: `STREAM_ACTOR`, or the login name. Raises `ConfigurationError` for what cannot be a name."""
    try:
        name = environ.get("STREAM_ACTOR") or getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
    if name != name.strip() or len(name) > LONGEST_NAME or safe(name) != name:
        raise ConfigurationError(
            f"STREAM_ACTOR, or the login name, is no name: one line of plain text of at most {LONGEST_NAME} characters, no blank at its ends"
        )
    return name


def _missing(named: str, module: str, error: ModuleNotFoundError) -> str:
    if error.name and (module == error.name or module.startswith(error.name + ".")):
        return f"{named}: there is no module {error.name!r} here; go to its folder, or say --app module:name, STREAM_APP or app in stream.toml"
    return f"{named} cannot be imported: it needs {error.name!r}, which is not installed"


def _where(error: BaseException) -> str:
    """The last line that is not this library's: what its author can change. A syntax error says its own."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_ours(Path(frame.filename)) and not frame.filename.startswith("<")]
    found = theirs[-1] if theirs and not isinstance(error, SyntaxError) else None
    return f"{Path(found.filename).name}:{found.lineno}: " if found else ""


def _is_ours(file: Path) -> bool:
    return file == _TYPING or file.is_relative_to(_LIBRARY)
