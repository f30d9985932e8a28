"""Owners, durations and SLA clocks, and the events that this library itself says when a clock runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from stream.core.event import Data, Event

D = TypeVar("D", bound=Data)


def seconds(n: float) -> timedelta:
    """A duration of `n` seconds."""
    return timedelta(seconds=n)


def minutes(n: float) -> timedelta:
    """A duration of `n` minutes."""
    return timedelta(minutes=n)


def hours(n: float) -> timedelta:
    """A duration of `n` hours."""
    return timedelta(hours=n)


def days(n: float) -> timedelta:
    """A duration of `n` times 24 hours."""
    return timedelta(days=n)


@dataclass(frozen=True)
class Owner:
    """Whose turn it is."""

    name: str


@dataclass(frozen=True)
class Sla(Generic[D]):
    """How long an entity may rest in the state that carries this, in business time, before `escalate_to` is told."""

    within: timedelta | Callable[[D], timedelta]
    escalate_to: Owner | None = None


class SlaBreached(Event, type="sla.breached"):
    """An entity rested too long. Goes to the App's alerts topic under the entity's id; its time is `due`. `entered` is when the rest began."""

    clock: str
    machine: str
    entity_id: str
    state: str
    owner: str
    escalate_to: str
    due: datetime
    entered: datetime


class SlaWithdrawn(Event, type="sla.withdrawn"):
    """A breach is taken back: the event that met the clock happened in time (`met`) and was only reported late."""

    clock: str
    machine: str
    entity_id: str
    state: str
    due: datetime
    met: datetime


class WaitExpired(Event, type="wait.expired"):
    """An event waited in an entity's line until its limit and is now rejected. `reason` is `unborn` or `deferred_too_long`."""

    machine: str
    entity_id: str
    state: str
    reason: str
    event_id: str
    event_type: str
    due: datetime


class AfterElapsed(Event, type="after.elapsed"):
    """An entity rested long enough for its `row`-th `after` of that state. It reaches that entity alone and is never published."""

    state: str
    row: int
    due: datetime
    entered: datetime


OWN_EVENTS: tuple[type[Event], ...] = (SlaBreached, SlaWithdrawn, WaitExpired, AfterElapsed)
"""The events that need no topic and no address: the library makes them for one entity."""
