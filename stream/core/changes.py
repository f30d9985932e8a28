"""What `decide` answers: rows to write, as values. The store writes them in one transaction and adds nothing of its own but ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from stream.core.entity import Entity, Envelope, Timer, Trace, Waiting
from stream.core.ladder import Note
from stream.core.outcome import Outcome, Reason, Verdict
from stream.core.record import Record, Ref, TopicPartition
from stream.core.task import Asked, Closed


class History(msgspec.Struct, gc=False):
    """One outcome of one entity; append-only. `n` counts per entity from 1; `hash` chains over n (see `core.chain`).

    `door` says how it came in (`partitions`, `timers`, `replay`); `time` is business time, `at` database time. `clocks`: what it did to clocks,
    a JSON array of `Note`s, empty for nothing.
    """

    ref: Ref
    n: int
    outcome: Outcome
    reason: str
    event_id: str
    event_type: str
    source: str
    actor: str
    from_state: str
    to_state: str
    time: datetime
    at: datetime
    correlation_id: str
    causation_id: str
    trace_id: str
    door: str
    error: str
    hash: bytes
    clocks: str = ""


class Message(msgspec.Struct, gc=False):
    """A message for the outbox: final headers, so that any relay can publish it unchanged. `sequence` counts per emitter, topic and key.

    `tells` is the owner whom it is for, where it is one of our own; "" for nobody.
    """

    emitter: Ref
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, str]]
    id: str
    type: str
    sequence: int
    correlation_id: str
    trace: Trace
    tells: str = ""


class Notice(msgspec.Struct, gc=False):
    """Something that an owner is to be told, by a webhook or a log; see `core.directory.Channel`.

    `body` is final: a CloudEvent in structured mode. `key` is the same however often it is sent.
    """

    ref: Ref
    owner: str
    channel: str
    target: str
    secret: str
    private: bool
    type: str
    body: bytes
    key: str
    correlation_id: str


class DeadLetter(msgspec.Struct, gc=False):
    """Something refused, with its original bytes. `ref` is the entity that rejected it; None when no entity was reached.

    `admitted`: it passed first sight, so a replay goes to `ref` alone and is no duplicate.
    """

    record: Record
    reason: Reason
    error: str
    event_id: str = ""
    event_type: str = ""
    correlation_id: str = ""
    trace_id: str = ""
    ref: Ref | None = None
    admitted: bool = False


class Handled(msgspec.Struct, gc=False):
    """What one order came to, for spans and logs: never stored."""

    envelope: Envelope
    ref: Ref
    outcome: Outcome
    reason: str
    from_state: str
    to_state: str
    error: str
    messages: Sequence[Message]
    clocks: Sequence[Note] = ()


@dataclass(slots=True)
class Changes:
    """Everything one batch changes. Empty lists cost no statement.

    `entities` holds the changed ones, to be written where the stored version is still `versions[ref]`. `drop_timers` and `set_timers` name
    timers; a set one replaces its namesake. `drop_lines` are ids of waiting rows. `closed` ends tasks that were open before; then `asked` are
    opened. `counts` are keyed by partition, and by door name (str) for the other doors; their keys are verdicts, outcomes, `records`, `concerned`,
    `unrouted`, `drained`, `fired`. `stuck` are entities whose timers this program cannot fire, and why: never stored.
    """

    entities: dict[Ref, Entity] = field(default_factory=dict[Ref, Entity])
    versions: dict[Ref, int] = field(default_factory=dict[Ref, int])
    history: list[History] = field(default_factory=list[History])
    messages: list[Message] = field(default_factory=list[Message])
    drop_timers: list[tuple[Ref, str]] = field(default_factory=list[tuple[Ref, str]])
    set_timers: list[Timer] = field(default_factory=list[Timer])
    drop_lines: list[int] = field(default_factory=list[int])
    lines: list[Waiting] = field(default_factory=list[Waiting])
    retried: list[Waiting] = field(default_factory=list[Waiting])
    closed: list[Closed] = field(default_factory=list[Closed])
    asked: list[Asked] = field(default_factory=list[Asked])
    notices: list[Notice] = field(default_factory=list[Notice])
    dead: list[DeadLetter] = field(default_factory=list[DeadLetter])
    counts: dict[TopicPartition | str, Counter[str]] = field(default_factory=dict[TopicPartition | str, Counter[str]])
    stream_times: dict[TopicPartition, datetime] = field(default_factory=dict[TopicPartition, datetime])
    handled: list[Handled] = field(default_factory=list[Handled])
    stuck: dict[Ref, str] = field(default_factory=dict[Ref, str])

    def count(self, where: TopicPartition | str, what: Verdict | Outcome | str, n: int = 1) -> None:
        counter = self.counts.get(where)
        if counter is None:
            counter = self.counts[where] = Counter()
        counter[str(what)] += n
