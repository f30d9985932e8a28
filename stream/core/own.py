"""Events that the library makes for one entity: what time brings about, and what people order and answer."""

from __future__ import annotations

from datetime import datetime

from stream.core.clock import SlaBreached, SlaEscalated, SlaWarned, SlaWithdrawn
from stream.core.event import Event
from stream.core.task import USUAL


class WaitExpired(Event, type="wait.expired"):
    """An event waited in an entity's line until its limit and is now rejected. `reason` is `unborn` or `deferred_too_long`.

    `owner` has the turn; of one that was never born, whoever has it in the state that its first `opens` row leads to.
    """

    machine: str
    entity_id: str
    state: str
    reason: str
    event_id: str
    event_type: str
    due: datetime
    owner: str = ""


class GapPassed(Event, type="gap.passed"):
    """Numbers of an entity's events did not come: after its limit, or by a person's order, it goes on with `following`.

    `missing` are those passed over, in words.
    """

    machine: str
    entity_id: str
    state: str
    owner: str
    missing: str
    following: int
    due: datetime


class AfterElapsed(Event, type="after.elapsed"):
    """An entity rested long enough for the `after` of that state which `timer` names. It reaches that entity alone and is never published.

    `row` is its number, in what an older program left in a line without a name.
    """

    state: str
    due: datetime
    entered: datetime
    timer: str = ""
    row: int = 0


class EntityMoved(Event, type="entity.moved"):
    """A person put an entity into the state `to`. It reaches that entity alone and is never published."""

    to: str


class EntityLifted(Event, type="entity.lifted"):
    """A person had its data stored in the layout of the machine's `version`. It reaches that entity alone and is never published."""

    version: int


class TaskOpened(Event, type="task.opened"):
    """A question is put to people. `task` is its name, `due` when it should be answered (None: whenever); `priority` 1 (first)
    to 5.
    """

    task: str
    machine: str
    entity_id: str
    state: str
    owner: str
    question: str
    due: datetime | None = None
    priority: int = USUAL


class SlaExplained(Event, type="sla.explained"):
    """A person named the cause of a breach. It reaches that entity alone, in whatever state, and is never published."""

    clock: str
    reason: str


class ClockOrder(Event):
    """What a person does to a clock. It reaches that entity alone, which stays where it is, and is never published."""

    clock: str


class ClockMoved(ClockOrder, type="clock.moved"):
    """Its breach comes at another instant: `at`, or `by` so many seconds of the clock's own time later (negative: earlier)."""

    at: datetime | None = None
    by: float = 0.0


class ClockPaused(ClockOrder, type="clock.paused"):
    """It stands still until a person lets it go on, whatever its entity does; met or void it may become."""


class ClockResumed(ClockOrder, type="clock.resumed"):
    """It goes on as the present state says."""


class ClockCancelled(ClockOrder, type="clock.cancelled"):
    """It says nothing any more: of a state, until that is entered again; across states, for good."""


OWN_EVENTS: tuple[type[Event], ...] = (
    *(SlaWarned, SlaBreached, SlaEscalated, SlaWithdrawn, SlaExplained),
    *(WaitExpired, GapPassed, AfterElapsed, EntityMoved, EntityLifted, TaskOpened),
    *(ClockMoved, ClockPaused, ClockResumed, ClockCancelled),
)
"""The events that need no topic and no address: the library makes them for one entity."""
