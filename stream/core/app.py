"""An App: machines and topics under one name, checked together at import."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from stream.core.clock import Target
from stream.core.directory import Directory
from stream.core.errors import DefinitionError
from stream.core.event import Event, wire_type
from stream.core.machine import AnyMachine
from stream.core.own import OWN_EVENTS
from stream.core.row import Concerns
from stream.core.text import check_name
from stream.core.topic import Topic
from stream.core.upcast import Upcast, table_of

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True)
class Feedmap:
    """What must have been applied before a clock may be called late.

    `levels[k]` are the consumed topics of level k; from 1 on this App itself emits into them, so they wait for unsent messages too.
    `machines` gives each machine's level and the topics it takes. Edges inside a cycle of machines are ignored.
    """

    levels: tuple[frozenset[str], ...]
    machines: Mapping[str, tuple[int, frozenset[str]]]


@dataclass(frozen=True, eq=False, repr=False)
class App:
    """`alerts` is the topic for breaches and expired waits; `horizon` is how long identities are remembered, in stream time.

    `owners` says who the owners are and when they work (see `parse_owners`); a row with `by=` needs people there. `upcasts` lift events of older
    versions.
    """

    name: str
    machines: Sequence[AnyMachine] = ()
    topics: Sequence[Topic] = ()
    alerts: str = "alerts"
    horizon: timedelta = timedelta(days=14)
    owners: Directory = field(default_factory=Directory)
    upcasts: Sequence[Upcast] = ()
    classes: tuple[type[Event], ...] = field(init=False, repr=False)
    consumed: frozenset[str] = field(init=False)
    emitted: frozenset[str] = field(init=False)
    feeds: Feedmap = field(init=False, repr=False)
    lifts: Mapping[type[Event], Upcast] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "machines", tuple(machine.in_hours_of(self.owners.calendar_of) for machine in self.machines))
        _check_names(self)
        object.__setattr__(self, "lifts", _lifts(self))
        object.__setattr__(self, "classes", _classes(self))
        object.__setattr__(self, "consumed", frozenset().union(*(_taken(m) for m in self.machines)))
        object.__setattr__(self, "emitted", frozenset({self.alerts}).union(self.owners.topics, *(_said(m) for m in self.machines)))
        _check_topics(self)
        _check_owners(self)
        if self.alerts in self.consumed:
            raise DefinitionError(f"{self.name}: it takes its own alerts topic {self.alerts!r}")
        object.__setattr__(self, "feeds", _feeds(self))

    def __repr__(self) -> str:
        return f"App({self.name!r})"

    def machine(self, name: str) -> AnyMachine | None:
        """The machine of that name, if there is one."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def topic(self, name: str) -> Topic:
        """The topic as declared, or with every default."""
        return next((topic for topic in self.topics if topic.name == name), Topic(name))


def _check_names(app: App) -> None:
    check_name("App", app.name)
    if not app.alerts or app.horizon <= timedelta(0):
        raise DefinitionError(f"App {app.name!r}: it needs an alerts topic and a positive horizon")
    known = {clock.calendar.name: clock.calendar for clock in _targets(app) if clock.calendar}
    if other := next((c.calendar for c in _targets(app) if c.calendar and known[c.calendar.name] is not c.calendar), None):
        raise DefinitionError(f"{app.name}: two calendars are called {other.name!r}")
    for what, names in (("machines", [m.name for m in app.machines]), ("topics", [t.name for t in app.topics])):
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise DefinitionError(f"{app.name}: two {what} are called {double[0]!r}")


def _lifts(app: App) -> Mapping[type[Event], Upcast]:
    found = table_of(app.upcasts)
    for machine in app.machines:
        if old := next((row.event for row in machine.transitions if row.event in found), None):
            raise DefinitionError(f"{app.name}: a row of {machine.name} on {old.__name__} can never fire: it is lifted to {found[old].new.__name__}")
    return found


def _check_owners(app: App) -> None:
    for machine in app.machines:
        for owner in dict.fromkeys(owner for row in machine.transitions for owner in row.by):
            if not app.owners.people_of(owner.name):
                raise DefinitionError(f"{app.name}: a row of {machine.name} is for {owner.name!r} alone, but owners= names no people of that owner")
    if app.owners.topics & app.consumed:
        raise DefinitionError(f"{app.name}: owners are told on a topic that the App takes: {min(app.owners.topics & app.consumed)!r}")


def _check_topics(app: App) -> None:
    for name in sorted(app.consumed | app.emitted | {topic.name for topic in app.topics}):
        if not _TOPIC.fullmatch(name) or name in (".", ".."):
            raise DefinitionError(f"{app.name}: no topic can be called {name!r}: letters, digits, dots, dashes and underscores, at most 249 of them")


def _targets(app: App) -> list[Target]:
    return [dial.target for machine in app.machines for dial in machine.dials.values()]


def _classes(app: App) -> tuple[type[Event], ...]:
    """Whatever may be read: named by a row, of a family that is addressed, said into a topic, or the library's own."""
    found = dict.fromkeys(OWN_EVENTS)
    found.update(dict.fromkeys(kind for one in app.upcasts for kind in (one.old, one.new)))
    for machine in app.machines:
        for address in machine.events:
            found.update(dict.fromkeys(_family(address.event if isinstance(address, Concerns) else address)))
        found.update(dict.fromkeys(sorted(machine.takes, key=wire_type)))
        found.update(dict.fromkeys(kind for kind in machine.emits if issubclass(kind, Event)))
    named: dict[str, type[Event]] = {}
    for kind in found:
        if kind.__fact_type__ and named.setdefault(wire_type(kind), kind) is not kind:
            raise DefinitionError(f"{app.name}: {kind.__name__} and {named[wire_type(kind)].__name__} are both of type {wire_type(kind)!r}")
    return tuple(named.values())


def _family(kind: type[Event]) -> Iterator[type[Event]]:
    yield kind
    for member in kind.__subclasses__():
        yield from _family(member)


def _taken(machine: AnyMachine) -> frozenset[str]:
    return frozenset(kind.__topic__ for kind in machine.takes if kind.__topic__)


def _said(machine: AnyMachine) -> frozenset[str]:
    return frozenset(kind.__topic__ for kind in machine.emits)


def _feeds(app: App) -> Feedmap:
    takes, says = {m.name: _taken(m) for m in app.machines}, {m.name: _said(m) for m in app.machines}
    after = {name: {other for other in takes if says[name] & takes[other]} for name in takes}
    for _ in takes:
        after = {name: direct.union(*(after[other] for other in direct)) for name, direct in after.items()}
    level = dict.fromkeys(takes, 0)
    height = {topic: 0 for taken in takes.values() for topic in taken}
    for _ in takes:
        for name, taken in takes.items():
            for other in takes:
                if name not in after[other] or other in after[name]:
                    continue
                for topic in taken & says[other]:
                    height[topic] = max(height[topic], level[other] + 1)
            level[name] = max([level[name], *(height[topic] for topic in taken if not _within(topic, name, says, after))])
    top = max(height.values(), default=0)
    levels = tuple(frozenset(topic for topic, at in height.items() if at == k) for k in range(top + 1))
    return Feedmap(levels, {name: (level[name], takes[name]) for name in takes})


def _within(topic: str, name: str, says: Mapping[str, frozenset[str]], after: Mapping[str, set[str]]) -> bool:
    """Whether everybody who emits into this topic stands in a cycle with this machine."""
    emitters = [other for other in says if topic in says[other]]
    return bool(emitters) and all(other in after[name] for other in emitters)
