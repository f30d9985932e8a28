"""The reference: records, clocks and people's orders taken by `decide` one at a time, by nobody else, with nothing going wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from stream.core.changes import Changes, DeadLetter, History, Message, Notice
from stream.core.codec import Codec
from stream.core.decide import decide, refs_of, sift
from stream.core.entity import Entity
from stream.core.order import Answer, Claim, Decoded, Deliver, Fire, Retry, Stored
from stream.core.outcome import Outcome, Verdict
from stream.core.record import Record, Ref, TopicPartition
from stream.core.route import Routes
from stream.core.task import Asked, Closed, Open
from tests.simulation.app import app

ROUTES = Routes(app)
CODEC = Codec(app, app.name, sample=lambda trace_id: True, horizon=app.horizon)
EVER = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Question:
    """A task that was asked, and what became of it."""

    asked: Asked
    closed: Closed | None


class Fold:
    """What is left behind is to be compared with what the engine left."""

    def __init__(self) -> None:
        self.entities: dict[Ref, Entity] = {}
        self.history: dict[Ref, list[History]] = {}
        self.messages: dict[Ref, list[Message]] = {}
        self.letters: list[DeadLetter] = []
        self.tasks: dict[Ref, list[Question]] = {}
        self.notices: list[Notice] = []
        self.counts: Counter[str] = Counter()
        self._inbox: dict[bytes, bytes] = {}
        self._lines = 0

    def record(self, record: Record) -> None:
        clock = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        claim = Claim("partitions", EVER, clock, [record])
        self._decide(CODEC(claim), "partitions")

    def letter(self, stored: Stored) -> None:
        self._decide(CODEC(Claim("replay", EVER, EVER, stored=[stored])), "replay")

    def fire(self, order: Fire) -> None:
        self._decide(Decoded([order], Changes()), "timers")

    def retry(self, order: Retry, head: str) -> None:
        """`head` names the parked event that was meant, as its number is another one here."""
        line = self.entities[order.ref].line if order.ref in self.entities else []
        meant = next((w.id for w in line if w.outcome is Outcome.PARKED and w.event_id == head), -1)
        self._decide(Decoded([replace(order, head=meant)], Changes()), "replay")

    def answer(self, order: Answer, name: str, now: datetime) -> None:
        """`name` is the task's that was meant, as its number is another one here. What was due by `now` comes first."""
        task = self._open(order.ref, name)
        entity = self.entities.setdefault(order.ref, Entity(order.ref))
        if task:
            a = task.asked
            entity.tasks[order.task] = Open(order.task, a.name, a.answers, a.reasons, a.owner, "")
        self._decide(Decoded([order], Changes()), "desk", now)
        entity.tasks.clear()

    def run_out(self) -> None:
        """Every clock there is."""
        for ref in sorted(self.entities):
            self.fire(Fire(ref, EVER))

    def _decide(self, decoded: Decoded, door: str, now: datetime = EVER) -> None:
        unseen = [o for o in decoded.orders if isinstance(o, Deliver) and not o.admitted]
        orders = sift(decoded, [self._sight(o) for o in unseen], door)
        for ref in refs_of(orders):
            if ref not in self.entities:
                self.entities[ref] = Entity(ref)
        self._keep(decide(ROUTES, self.entities, orders, now, door=door, begun=decoded.changes, revive=CODEC.revive))

    def _sight(self, order: Deliver) -> Verdict:
        identity, content = order.envelope.identity, order.envelope.content
        known = self._inbox.setdefault(identity, content)
        if known is content:
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if known == content else Verdict.CONFLICT

    def _keep(self, changes: Changes) -> None:
        for waiting in changes.lines:
            self._lines += 1
            waiting.id = self._lines
        for row in changes.history:
            self.history.setdefault(row.ref, []).append(row)
        for message in changes.messages:
            self.messages.setdefault(message.emitter, []).append(message)
        self.letters += changes.dead
        self.notices += changes.notices
        self._ask(changes)
        for where, counts in changes.counts.items():
            if isinstance(where, TopicPartition):
                self.counts += counts

    def _ask(self, changes: Changes) -> None:
        """What was open is closed; of one name, one is open at most."""
        for closed in changes.closed:
            if task := self._open(closed.ref, closed.name):
                task.closed = closed
        for asked in changes.asked:
            if asked.closed or not self._open(asked.ref, asked.name):
                self.tasks.setdefault(asked.ref, []).append(Question(asked, asked.closed))

    def _open(self, ref: Ref, name: str) -> Question | None:
        return next((task for task in self.tasks.get(ref, ()) if task.asked.name == name and task.closed is None), None)
