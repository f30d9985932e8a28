"""What a door gets hold of (a claim), what that comes to (orders), and the values between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from stream.core.changes import Changes
from stream.core.entity import Envelope
from stream.core.event import Event
from stream.core.ladder import Reading
from stream.core.own import ClockOrder
from stream.core.record import Record, Ref, TopicPartition


@dataclass(slots=True)
class Deliver:
    """Take an event to the entities it concerns. `admitted`: it passed first sight before, and goes to `refs` of the envelope alone.

    `place` is the partition whose counts it belongs to (None for other doors). `fault`: the database refused this event's effects; park it.
    """

    envelope: Envelope
    place: TopicPartition | None = None
    admitted: bool = False
    fault: str = ""


@dataclass(slots=True)
class Fire:
    """Fire what is due at or before `upto` for one entity. `marked`: a silent feed no longer held it; said in the history."""

    ref: Ref
    upto: datetime
    marked: bool = False


@dataclass(slots=True)
class Retry:
    """A person's order on a parked line: try its head again and drain what follows. `skip`: reject the head instead, with the reason given.

    `head` is the id of the parked event that was meant: when another one is at the head by now, nothing is done (0: whichever it is).
    `fault`: the database refused the effects of the `refused`th parked event of the line, its head being 0; it parks again.
    """

    ref: Ref
    actor: str
    skip: str = ""
    head: int = 0
    fault: str = ""
    refused: int = 0


@dataclass(slots=True)
class Move:
    """A person's order: into the state `to`, whatever the table says, with the data as it is. `seen`: the state that the person saw it in; in
    another one nothing is done.
    """

    ref: Ref
    seen: str
    to: str
    actor: str
    reason: str


@dataclass(slots=True)
class Answer:
    """A person's answer to an open task: `event` reaches that entity alone. When the task is not open any more, nothing is done."""

    ref: Ref
    task: int
    event: Event
    actor: str
    reason: str = ""
    comment: str = ""


@dataclass(slots=True)
class Steer:
    """A person's order on a clock: `event` says which and what. `seen`: the reading that the person saw; what is due is told first, and if the clock
    then stands otherwise but for the rungs it told, nothing is done.
    """

    ref: Ref
    event: ClockOrder
    seen: Reading
    actor: str
    reason: str


@dataclass(slots=True)
class Release:
    """A person's order: go on without the numbers that are missing. Where none is held back any more, nothing is done."""

    ref: Ref
    actor: str
    reason: str


@dataclass(slots=True)
class Lift:
    """A person's order: store its data in the present layout. Where it is so already, nothing is done."""

    ref: Ref
    actor: str
    reason: str


Order: TypeAlias = Deliver | Fire | Retry | Move | Answer | Steer | Release | Lift


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that comes from no log: a dead letter that somebody replays, or an event by hand. `ref` and `admitted` as in `DeadLetter`."""

    record: Record
    ref: Ref | None
    admitted: bool


@dataclass(slots=True)
class Claim:
    """What a door got hold of, and the database's clocks. `now` may be moved by tests and the dev stack; `clock` is the real one.

    `door`: partitions | timers | replay | desk. `stream_times` are those of the claimed partitions; `floors`: per topic, the newest business time
    whose identities may have been forgotten.
    """

    door: str
    now: datetime
    clock: datetime
    records: Sequence[Record] = ()
    stored: Sequence[Stored] = ()
    orders: Sequence[Order] = ()
    stream_times: Mapping[TopicPartition, datetime] = field(default_factory=dict[TopicPartition, datetime])
    floors: Mapping[str, datetime] = field(default_factory=dict[str, datetime])


@dataclass(slots=True)
class Decoded:
    """A claim, decoded and routed: orders to decide, in record order, and changes begun with what could not be read (letters, counts)."""

    orders: list[Order]
    changes: Changes
