"""An entity as the store hands it over under its lock: state, data, timers, line, and what its next message and history row need."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from stream.core.event import Event
from stream.core.ladder import Reading
from stream.core.outcome import Outcome, Reason
from stream.core.record import Record, Ref
from stream.core.task import Open


class Trace(msgspec.Struct, frozen=True, gc=False):
    """Where a piece of work stands in a trace; ids are lower-case hex. All of it is derived from identities, so a retry makes the same ids.

    `span_id` is the span of this piece of work itself; `parent_id` is empty for a root. `link` is the (trace id, span id) that caused it.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = True
    link: tuple[str, str] | None = None


class Envelope(msgspec.Struct, gc=False):
    """A decoded event with everything known about it. `identity` and `content` are 16-byte hashes: the dedupe key, and what must not differ.

    `time` is business time. `refs` are the entities it concerns, filled in by routing. `record` is what it came from, for lines and letters.
    """

    event: Event
    id: str
    source: str
    type: str
    time: datetime
    subject: str
    correlation_id: str
    causation_id: str
    actor: str | None
    identity: bytes
    content: bytes
    trace: Trace
    record: Record
    refs: tuple[Ref, ...] = ()


class Timer(msgspec.Struct, frozen=True, gc=False):
    """One due instant of one entity. Its key is (ref, name): `sla <clock>`, `after <state> -> <to>`, `limit`.

    A clock's row holds its reading as well, and has no due instant while the clock stands still or its ladder has ended.
    """

    ref: Ref
    name: str
    due: datetime | None
    reading: Reading | None = None


class Waiting(msgspec.Struct, gc=False):
    """An admitted event that waits in an entity's line, deferred or parked. `id` is 0 until the store has numbered it; order is by id.

    `outcome` is DEFERRED or PARKED; `until` is when a deferred one is rejected, or the gap before it is passed over. `number`: see `core.numbering`.
    """

    ref: Ref
    outcome: Outcome
    reason: Reason
    record: Record
    event_id: str
    event_type: str
    correlation_id: str
    since: datetime
    id: int = 0
    error: str = ""
    attempts: int = 0
    until: datetime | None = None
    number: int | None = None


@dataclass(slots=True)
class Entity:
    """What is stored of one entity. `version` counts applied moves and is 0 for a stub that waits for its birth.

    `since`: when its state was entered; `time`: its latest move; both business time and never going back. `n` counts its history rows,
    `last_id` and `chain` are the id and hash of the latest one. `sequences` counts messages by "topic/key". `timers` are due instants and
    `clocks` the readings of clocks, both by the timer's name. `tasks` are the open ones by id, known only to a person's order. `number` is
    that of the last event which had its turn, where a machine orders by numbers.
    """

    ref: Ref
    version: int = 0
    machine_version: int = 1
    state: str = ""
    data: bytes = b""
    since: datetime | None = None
    time: datetime | None = None
    n: int = 0
    last_id: int = 0
    chain: bytes = b""
    sequences: dict[str, int] = field(default_factory=dict[str, int])
    timers: dict[str, datetime] = field(default_factory=dict[str, datetime])
    clocks: dict[str, Reading] = field(default_factory=dict[str, Reading])
    line: list[Waiting] = field(default_factory=list[Waiting])
    number: int = 0
    tasks: dict[int, Open] = field(default_factory=dict[int, Open])

    @property
    def born(self) -> bool:
        return self.version > 0

    @property
    def parked(self) -> bool:
        return any(w.outcome is Outcome.PARKED for w in self.line)
