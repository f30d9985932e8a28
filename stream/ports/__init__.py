"""What the runtime needs of the outside: a store, a log, a publisher, an outbox, telemetry; `timetable` and `held` have modules of their own.

Every port has two adapters, memory and real, under one conformance suite (`tests/conformance/`). All waits end: an adapter puts a deadline
of its own on every call and raises `UnavailableError` when it passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from stream.core.changes import Changes
from stream.core.entity import Entity
from stream.core.halt import Decision, Halt, HaltReason, Seen
from stream.core.order import Claim, Decoded, Order
from stream.core.outcome import Verdict
from stream.core.record import Record, Ref, TopicPartition

Decode = Callable[[Claim], Decoded]
"""Pure: reads, checks, routes and traces a claim's records."""

# -- the path ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """Fetched records of one partition, to be taken under its fence: `epoch` is ours, `start` the stored position we expect.

    `end` is the position after it (beyond the last record where aborted or compacted records leave a gap; `records` may then be empty).
    """

    place: TopicPartition
    epoch: int
    start: int
    end: int
    records: Sequence[Record]


class Transaction(Protocol):
    """One database transaction. The order of calls is the lock order: a claim, first sight, load, save."""

    async def claim_partitions(self, slices: Sequence[Slice]) -> Claim:
        """Lock the partition rows, sorted, where epoch and position are as expected. Raises `FencedError` naming those that are not."""
        ...

    async def claim_timers(self, fires: Sequence[Order]) -> Claim:
        """Nothing is locked here: whether a timer is still there is seen under its entity's lock, by `load`."""
        ...

    async def claim_letters(self, ids: Sequence[int], actor: str) -> Claim:
        """Lock open dead letters and mark them replayed by `actor`; those that are gone or closed are left out of the claim."""
        ...

    async def claim_orders(self, door: str, orders: Sequence[Order] = (), records: Sequence[Record] = ()) -> Claim:
        """What a person says: orders, and events by hand. `door`: replay | desk. Nothing is locked before the entity itself."""
        ...

    async def first_sight(self, seen: Sequence[tuple[bytes, bytes]]) -> Sequence[Verdict]:
        """For each (identity, content), as if one after another: ADMITTED (new, now noted), DUPLICATE (same content), or CONFLICT."""
        ...

    async def load(self, refs: Collection[Ref]) -> Mapping[Ref, Entity]:
        """Lock every entity, making stubs of those that do not exist, then read their timers and lines in a later statement.

        Of what is parked only the head is read, but in a claim of orders: without a person's order nothing behind it moves.
        """
        ...

    async def save(self, changes: Changes) -> None:
        """Write everything, move the claimed partitions' positions, add the counts. Raises `FencedError` if a guarded row did not match."""
        ...


class Store(Protocol):
    """The state of one application and consumer group, over one connection: a lane has a store of its own.

    Raises `UnavailableError` (try again), `UnstorableError` (bisect), `FencedError` (let go).
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits when the body ends, rolls back when it raises. An unknown COMMIT is resolved before this returns: committed, or raised."""
        ...

    async def adopt(self, place: TopicPartition, *, owner: str, generation: int, begin: int, partitions: int) -> Position:
        """Take a partition over with a new epoch; no older one can commit after this returns. `begin` is its position if never seen.

        `partitions` is how many its topic has now. One never seen, of a topic that had fewer when it was first adopted, is halted.
        Raises `FencedError` when a newer group generation holds it and its owner was seen lately.
        """
        ...

    async def recognize(self, place: TopicPartition, epoch: int, topic_id: str) -> None:
        """Keep the id of the topic whose log the position speaks of. Ignored when the epoch is not ours any more."""
        ...

    async def halt(self, place: TopicPartition, epoch: int, reason: HaltReason, seen: Seen) -> None:
        """From now on nobody reads it, until `resume`. A partition that is halted stays so as it is. Raises `FencedError`."""
        ...

    async def halted(self, place: TopicPartition) -> Halt | None: ...

    async def resume(self, decision: Decision) -> None:
        """Set the position, lift the halt, make a new epoch and note it in the audit, all or nothing.

        Whoever owns the partition is fenced and must adopt it again. Raises `FencedError` when the halt or the position is not that any more.
        """
        ...

    async def note_drained(self, marks: Sequence[tuple[TopicPartition, int, int]], at: datetime) -> None:
        """Everything up to position (epoch, next_offset) was applied when, at `at`, the log had no more. Stale marks are ignored.

        Also refreshes `seen_at` of the partitions named.
        """
        ...

    async def note_instance(self, owner: str, roles: Sequence[str], waits: Sequence[Wait]) -> None:
        """This process runs, and waits for nothing but what it says."""
        ...

    async def now(self) -> datetime:
        """The database's movable clock."""
        ...

    async def backlog(self) -> int:
        """How many outbox rows are unsent, about: for back-pressure."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Something a process waits for, and for how long it has."""

    what: str
    detail: str
    age: timedelta


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands: our epoch, the next offset, the last record applied, and the id of its topic as far as they are known.

    With a `halt` it must not be read.
    """

    epoch: int
    next_offset: int
    last_offset: int | None
    fingerprint: bytes | None
    topic_id: str | None = None
    halt: Halt | None = None


# -- the log -------------------------------------------------------------------------------------------------------------------------


class Assignment(Protocol):
    """Who is told of partitions coming and going. Both are called from the client's own task and must return at once (no I/O)."""

    def assigned(self, places: Collection[TopicPartition], generation: int) -> None: ...

    def revoked(self, places: Collection[TopicPartition]) -> None: ...


@dataclass(frozen=True, slots=True)
class TopicNow:
    """A topic as the log has it now. Its `id` is another one when it was made anew; None where the log gives topics none."""

    id: str | None
    partitions: int


class Log(Protocol):
    """Reading partitioned topics as a member of a group. Offsets live in the store; the group's are a mirror for lag tools."""

    async def start(self, topics: Collection[str], group: str, assignment: Assignment) -> None: ...

    async def fetch(self, place: TopicPartition, *, limit: int, within: timedelta) -> Sequence[Record]:
        """Records from the present position on, which moves past them; empty when none came in time. One reader a partition at a time.

        Never delivers anything before the first `seek` after an assignment, and nothing after `revoked`. On any error the position stays.
        Raises `UnreadableBatchError` where the next batch cannot be read, and what stands before it was delivered.
        """
        ...

    async def seek(self, place: TopicPartition, offset: int) -> None: ...

    async def position(self, place: TopicPartition) -> int:
        """The offset after the last one fetched or passed over (aborted and compacted records leave gaps)."""
        ...

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """The log's begin and end (readable end: the last stable offset)."""
        ...

    async def topic(self, name: str) -> TopicNow:
        """Asked of the log itself, not of what the client remembers."""
        ...

    async def mirror(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit group offsets, best effort."""
        ...

    def fault(self) -> str:
        """Why the client should be thrown away and built anew, in words; empty while it is well."""
        ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A row of the outbox on its way: `seq` names it, the rest is published unchanged."""

    seq: int
    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The broker will never take this one: `reason` is too_large | no_topic | no_right | invalid."""

    seq: int
    reason: str
    error: str


class Publisher(Protocol):
    """Writing to topics: idempotent, acknowledged by all replicas, in the order given per topic and key."""

    async def start(self) -> None: ...

    async def publish(self, batch: Sequence[Outgoing]) -> Sequence[Refusal]:
        """Send all and wait for every acknowledgement. What is not refused is on the log.

        A refused one, and later ones of its topic and key, are not sent. Raises `UncertainError`; the publisher must then be stopped and replaced.
        """
        ...

    async def stop(self) -> None: ...


# -- the outbox -----------------------------------------------------------------------------------------------------------------------


ROUND_BYTES = 4 * 1024 * 1024
"""A round ends with the row that reaches this: a thousand messages of a megabyte would be a gigabyte."""


@dataclass(frozen=True, slots=True)
class Round:
    """Rows of one shard to send now, in `seq` order, and the trace of each.

    `within`: the shard has further rows between its snapshots; `more`: it has, or may have, because the pass was begun before.
    `again`: these are held messages of lines on their way, which are within the pass that waits for them.
    """

    shard: int
    epoch: int
    rows: Sequence[Outgoing]
    more: bool
    within: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class Leases:
    """The shards a relay holds, and how many are its share. With fewer it should look again soon: others are about to let go of some."""

    shards: Sequence[int]
    share: int


class Outbox(Protocol):
    """The relay's side of the outbox, over one connection. A shard has one relay, by a lease with an epoch."""

    async def lease(self, owner: str, ttl: timedelta) -> Leases:
        """Be one of the relays for `ttl`: renew what is held, let go of what is beyond the share, take free or expired shards up to it.

        Only between rounds. The share follows from the relays that were seen (see `core.share`), so the same relays keep the same shards.
        """
        ...

    async def renew(self, owner: str, ttl: timedelta) -> None:
        """Keep what is held for `ttl`, take nothing and let go of nothing: for a round that takes long."""
        ...

    async def read(self, shard: int, limit: int) -> Round:
        """The next rows to send: first lines on their way, then what is unsent. `limit` at most, and none after `ROUND_BYTES` of keys and values.

        Unsent rows of a topic and key with a line are passed over; `advance` puts them at the end of that line. Raises `FencedError`.
        """
        ...

    async def advance(self, round: Round, refused: Sequence[Refusal]) -> None:
        """What the round named was acknowledged, except `refused`, which is held with later ones of its key. Raises `FencedError`.

        Of a round `again`, what was acknowledged leaves its line; a refusal ends the attempt of its line, which waits for the next order.
        """
        ...

    async def release(self, owner: str) -> None:
        """Let go of everything, and be no relay any more."""
        ...

    async def close(self) -> None: ...


# -- telemetry -----------------------------------------------------------------------------------------------------------------------


class Telemetry(Protocol):
    """Spans and counters. Never blocks, never raises: full or unreachable means dropped and counted."""

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None:
        """One committed batch; `began` and `ended` are wall-clock nanoseconds."""
        ...

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None: ...
