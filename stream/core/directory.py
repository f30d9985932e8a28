"""The directory: which people belong to an owner, when they work, and how an owner is told. Written down in `owners.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

import msgspec

from stream.core.calendar import Calendar
from stream.core.clock import Owner
from stream.core.errors import DefinitionError
from stream.core.text import check_name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to tell an owner: exactly one of `webhook` (a URL), `topic` and `log`.

    `secret` names the environment variable with the key that signs what is sent to the webhook. `private`: it may stand on a private or
    loopback address.
    """

    webhook: str = ""
    secret: str = ""
    private: bool = False
    topic: str = ""
    log: bool = False

    @property
    def kind(self) -> str:
        """webhook | topic | log."""
        return "webhook" if self.webhook else "topic" if self.topic else "log"

    @property
    def shown(self) -> str:
        """As people and logs may see it: of a URL only whose it is, for whoever knows the rest may write there."""
        return origin(self.webhook) if self.webhook else f"topic {self.topic}" if self.topic else "log"

    @property
    def target(self) -> str:
        """Where it goes: a URL, a topic, or nothing more to say."""
        return self.webhook or self.topic


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an owner: its people, those of its `groups` among them once it was read, and the name of the calendar by which it works."""

    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tell: tuple[Channel, ...] = ()
    calendar: str = ""


class _Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Calendar` as it is written down; the public holidays are those of `country`, and of `region` in it."""

    zone: str
    hours: dict[str, str]
    country: str = ""
    region: str = ""
    closed: tuple[date, ...] = ()
    open: dict[str, str] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    groups: dict[str, tuple[str, ...]] = {}
    calendars: dict[str, _Hours] = {}
    owners: dict[str, Known] = {}


@dataclass(frozen=True)
class Directory:
    """Owners, and the calendars by which they work, by name. Of an owner that it does not know, everybody is, and nobody is told."""

    owners: Mapping[str, Known] = field(default_factory=dict[str, Known])
    calendars: Mapping[str, Calendar] = field(default_factory=dict[str, Calendar])

    def people_of(self, owner: str) -> tuple[str, ...]:
        """Sorted; empty for one without people, or not known."""
        known = self.owners.get(owner)
        return known.people if known else ()

    def calendar_of(self, owner: str) -> Calendar | None:
        """When it works; None for one who may be asked at any time."""
        known = self.owners.get(owner)
        return self.calendars.get(known.calendar) if known else None

    def channels_of(self, owner: str) -> tuple[Channel, ...]:
        """How it is told, in the order written down."""
        known = self.owners.get(owner)
        return known.tell if known else ()

    def may(self, actor: str, owner: str) -> bool:
        """Whether a person may act for an owner."""
        people = self.people_of(owner)
        return not people or actor in people

    def allows(self, actor: str | None, owners: Iterable[Owner]) -> bool:
        """Whether a person belongs to one of them; an event that names nobody is nobody's."""
        return actor is not None and any(actor in self.people_of(owner.name) for owner in owners)

    @property
    def topics(self) -> frozenset[str]:
        """The topics on which owners are told."""
        return frozenset(channel.topic for known in self.owners.values() for channel in known.tell if channel.topic)

    @property
    def tells(self) -> bool:
        """Whether any owner is told by anything but topics."""
        return any(not channel.topic for known in self.owners.values() for channel in known.tell)

    @property
    def secrets(self) -> frozenset[str]:
        """The environment variables that must hold keys."""
        return frozenset(channel.secret for known in self.owners.values() for channel in known.tell if channel.secret)


def origin(url: str) -> str:
    """Scheme and host of a URL."""
    found = urlsplit(url)
    return f"{found.scheme}://{found.netloc}/..." if found.netloc else url


def parse_owners(text: str) -> Directory:
    """A directory from the text of an `owners.toml`. Raises `DefinitionError` with what is wrong in it.

    [groups]
    leads = ["ann", "bob"]
    [calendars.office]
    zone = "Europe/London"
    hours = { mon-fri = "08:00-18:00" }
    country = "GB"
    region = "ENG"
    [owners."desk lead"]
    calendar = "office"
    people = ["cleo"]
    groups = ["leads"]
    tell = [{ webhook = "https://hooks.example/desk", secret = "DESK_HOOK" }, { topic = "desk-lead" }, { log = true }]
    """
    try:
        read = msgspec.toml.decode(text, type=_File)
    except msgspec.DecodeError as error:
        raise DefinitionError(f"owners.toml: {error}") from None
    for owner in read.owners:
        check_name("owners.toml: owner", owner)
    calendars = {name: _calendar(name, hours) for name, hours in read.calendars.items()}
    return Directory({name: _known(read, name, known) for name, known in read.owners.items()}, calendars)


def _calendar(name: str, hours: _Hours) -> Calendar:
    check_name("owners.toml: calendar", name)
    if hours.region and not hours.country:
        raise DefinitionError(f"owners.toml: calendar {name!r} has a region without a country")
    try:
        days = {date.fromisoformat(day): text for day, text in hours.open.items()}
        return Calendar(name, hours.zone, hours.hours, (hours.country, hours.region) if hours.country else (), hours.closed, days)
    except (DefinitionError, ValueError) as error:
        raise DefinitionError(f"owners.toml: calendar {name!r}: {error}") from None


def _known(read: _File, name: str, known: Known) -> Known:
    for group in known.groups:
        if group not in read.groups:
            raise DefinitionError(f"owners.toml: {name!r} names the group {group!r}, which is not under [groups]")
    if known.calendar and known.calendar not in read.calendars:
        raise DefinitionError(f"owners.toml: {name!r} names the calendar {known.calendar!r}, which is not under [calendars]")
    people = sorted({*known.people, *(person for group in known.groups for person in read.groups[group])})
    if not all(person.strip() == person and person.isprintable() and person for person in people):
        raise DefinitionError(f"owners.toml: a person of {name!r} has no name, or one that cannot be typed")
    for channel in known.tell:
        _check_channel(name, channel)
    return Known(tuple(people), known.groups, known.tell, known.calendar)


def _check_channel(name: str, channel: Channel) -> None:
    ways = bool(channel.webhook) + bool(channel.topic) + channel.log
    if ways != 1:
        raise DefinitionError(f"owners.toml: each way to tell {name!r} is one of webhook, topic and log")
    if not channel.webhook:
        if channel.secret or channel.private:
            raise DefinitionError(f"owners.toml: only a webhook of {name!r} has a secret, or may be private")
        return
    try:
        url = urlsplit(channel.webhook)
        port_is_one = url.port is None or url.port > 0
    except ValueError:
        url, port_is_one = urlsplit(""), False
    typed = channel.webhook.isprintable() and " " not in channel.webhook
    if not typed or url.scheme not in ("http", "https") or not url.hostname or not port_is_one or url.username or url.password or url.fragment:
        raise DefinitionError(f"owners.toml: a webhook of {name!r} is no http or https address without user and fragment: {channel.webhook!r}")
    if not _VARIABLE.fullmatch(channel.secret):
        raise DefinitionError(f"owners.toml: a webhook of {name!r} needs secret=, the environment variable with the key that signs what is sent")
