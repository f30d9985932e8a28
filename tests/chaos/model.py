"""What must come out, twice: a plain model written without the engine, event by event, and the fold by `decide`, for equality to the byte."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

from stream.core.changes import Changes
from stream.core.codec import Codec
from stream.core.decide import decide, refs_of, sift
from stream.core.entity import Entity
from stream.core.event import wire_type
from stream.core.order import Claim, Deliver
from stream.core.outcome import Verdict
from stream.core.record import Record, Ref, TopicPartition
from stream.core.route import Routes
from tests.chaos.app import app, repair

MONEY = {f"account.{kind}" for kind in ("deposited", "withdrawn", "charged", "spoiled", "flapped", "transferred")}
POISON = {"account.spoiled", "account.flapped"}
_FIELDS = {wire_type(kind): kind.__struct_fields__ for kind in app.classes if kind.__fact_type__}
Logs = Mapping[TopicPartition, Sequence[Record]]


class Told(NamedTuple):
    """One event as it stands on a log."""

    id: str
    type: str
    time: datetime
    body: dict[str, object]
    trace: str
    cause: str
    appended: datetime


def told(record: Record) -> Told:
    named = {name: (value or b"").decode() for name, value in record.headers}
    return Told(
        named["ce_id"],
        named["ce_type"],
        datetime.fromisoformat(named["ce_time"]),
        orjson.loads(record.value or b"{}"),
        named.get("traceparent", "")[3:35],
        named.get("ce_causationid", ""),
        datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


# -- the plain model -----------------------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """What an account went through. `line`: events that wait for it to be opened, or thawed."""

    state: str = ""
    count: int = 0
    balance: int = 0
    n: int = 0
    applied: list[str] = field(default_factory=list[str])
    rejected: dict[str, str] = field(default_factory=dict[str, str])
    line: list[Told] = field(default_factory=list[Told])
    poisoned: bool = False

    def take(self, event: Told) -> None:
        before = self.state
        if not self._attempt(event):
            self.line.append(event)
        elif self.state != before:
            while self.line and self._attempt(self.line[0]):
                del self.line[0]

    def _attempt(self, event: Told) -> bool:
        """False: it has to wait."""
        kind = event.type.removeprefix("account.")
        if (not self.state and kind != "opened") or (self.state == "frozen" and event.type in MONEY):
            return False
        if not self.state or (self.state == "live" and event.type in MONEY):
            self._book(event, kind)
        elif kind in {"live": ("frozen", "closed"), "frozen": ("thawed", "closed")}.get(self.state, ()):
            self.applied.append(event.id)
            self.state = {"thawed": "live"}.get(kind, kind)
        elif not (self.state == "live" and kind == "thawed"):
            self.rejected[event.id] = "no_transition"
        return True

    def _book(self, event: Told, kind: str) -> None:
        amount = int(str(event.body["amount"]))
        if kind == "withdrawn" and self.balance < amount:
            self.rejected[event.id] = "guard_refused"
            return
        self.state, self.n, self.count = "live", int(str(event.body["n"])), self.count + 1
        self.balance += -amount if kind == "withdrawn" else amount
        self.applied.append(event.id)


@dataclass
class Model:
    """`pool`: accounts fed by several partitions, of whose order nothing is said. `deferred`: ids that waited for a while."""

    verdicts: dict[TopicPartition, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    concerned: Counter[TopicPartition] = field(default_factory=Counter[TopicPartition])
    events: dict[str, Told] = field(default_factory=dict[str, Told])
    accounts: dict[str, Life] = field(default_factory=lambda: defaultdict(Life))
    pool: dict[str, Life] = field(default_factory=lambda: defaultdict(Life))
    books: dict[str, Life] = field(default_factory=lambda: defaultdict(Life))
    holds: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    deferred: set[str] = field(default_factory=set[str])


def model(logs: Logs) -> Model:
    """What the records of all topics must come to, partition by partition, repeats and conflicts left out."""
    made, seen = Model(), dict[object, object]()
    for place, records in sorted(logs.items()):
        taken = _TAKE.get(place.topic)
        for record in records if taken else ():
            event = told(record)
            verdict = _sight(seen, event)
            made.verdicts[place][verdict] += 1
            if taken and verdict is Verdict.ADMITTED:
                made.events[event.id] = event
                made.concerned[place] += taken(made, event)
    return made


def _sight(seen: dict[object, object], event: Told) -> Verdict:
    natural = event.type == "account.charged"
    identity = (event.body["account"], event.body["invoice"]) if natural else event.id
    content = (event.type, *(event.body.get(name) for name in _FIELDS[event.type]))
    if identity not in seen:
        seen[identity] = content
        return Verdict.ADMITTED
    return Verdict.DUPLICATE if seen[identity] == content else Verdict.CONFLICT


def _account(made: Model, event: Told) -> int:
    name = str(event.body["account"])
    life = (made.pool if name.startswith("pool") else made.accounts)[name]
    life.poisoned |= event.type in POISON
    waiting = len(life.line)
    life.take(event)
    if len(life.line) > waiting:
        made.deferred.add(event.id)
    return 1


def _transfer(made: Model, event: Told) -> int:
    """Pooled accounts are opened first and never leave that state, so sums do not hang on the order."""
    amount = int(str(event.body["amount"]))
    for name, signed in ((str(event.body["giver"]), -amount), (str(event.body["taker"]), amount)):
        life = made.pool[name]
        life.applied.append(event.id)
        life.count, life.balance = life.count + 1, life.balance + signed
    return 2


def _booked(made: Model, event: Told) -> int:
    life = made.books[str(event.body["book"])]
    life.applied.append(event.id)
    life.count, life.balance = life.count + 1, life.balance + int(str(event.body["amount"]))
    return 1


def _hold(made: Model, event: Told) -> int:
    made.holds[str(event.body["hold"])].append(event)
    return 1


_TAKE = {"accounts": _account, "transfers": _transfer, "booked": _booked, "holds": _hold}


# -- the fold by decide --------------------------------------------------------------------------------------------------------------


@dataclass
class Folded:
    """Entities by what their bytes must be, and messages by id."""

    entities: dict[Ref, tuple[str, bytes]] = field(default_factory=dict[Ref, "tuple[str, bytes]"])
    messages: dict[str, tuple[str, bytes, bytes]] = field(default_factory=dict[str, "tuple[str, bytes, bytes]"])


def fold(logs: Iterable[Sequence[Record]]) -> Folded:
    """Each log by itself, from its begin to its end, through the codec and `decide`; with handlers mended and no clock but the events' own."""
    folded = Folded()
    before, repair.done = repair.done, True
    try:
        for records in logs:
            _fold(folded, records)
    finally:
        repair.done = before
    return folded


def _fold(folded: Folded, records: Sequence[Record]) -> None:
    now = datetime.now(UTC) + timedelta(days=1)
    codec, routes = Codec(app, app.name, sample=lambda trace_id: True, horizon=app.horizon), Routes(app)
    entities, inbox, lines = dict[Ref, Entity](), dict[bytes, bytes](), 0
    for start in range(0, len(records), 500):
        decoded = codec(Claim("partitions", now, now, records[start : start + 500]))
        unseen = [order for order in decoded.orders if isinstance(order, Deliver)]
        orders = sift(decoded, [_first_sight(inbox, order.envelope.identity, order.envelope.content) for order in unseen], "partitions")
        for ref in refs_of(orders):
            entities.setdefault(ref, Entity(ref))
        changes: Changes = decide(routes, entities, orders, now, door="partitions", begun=decoded.changes, revive=codec.revive)
        for waiting in changes.lines:
            waiting.id = lines = lines + 1
        folded.messages.update({m.id: (m.topic, m.key, m.value) for m in changes.messages})
    folded.entities.update({ref: (entity.state, entity.data) for ref, entity in entities.items() if entity.born})


def _first_sight(inbox: dict[bytes, bytes], identity: bytes, content: bytes) -> Verdict:
    if identity not in inbox:
        inbox[identity] = content
        return Verdict.ADMITTED
    return Verdict.DUPLICATE if inbox[identity] == content else Verdict.CONFLICT
