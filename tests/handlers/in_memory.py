"""An App on plain dictionaries: its records through codec and `decide`, in batches, until no topic has any left."""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime
from zlib import crc32

from stream import App, Ref
from stream.core.changes import Changes, History, Message
from stream.core.codec import Codec
from stream.core.decide import decide, refs_of, sift
from stream.core.entity import Entity
from stream.core.event import wire_type
from stream.core.order import Claim, Deliver, Fire
from stream.core.outcome import Outcome, Verdict
from stream.core.own import OWN_EVENTS
from stream.core.record import Record, TopicPartition
from stream.core.route import Routes
from tests.fold.facts import Fact, instant
from tests.fold.tally import Tally

OWN = frozenset(wire_type(kind) for kind in OWN_EVENTS)


def headers_of(fact: Fact) -> list[tuple[str, bytes]]:
    """A fact as a CloudEvent in binary mode, written without the codec."""
    attributes = {"specversion": "1.0", "id": fact.id, "source": "/tests", "type": fact.type, "time": instant(fact.time)}
    if fact.actor:
        attributes["actor"] = fact.actor
    return [*((f"ce_{name}", text.encode()) for name, text in attributes.items()), ("content-type", b"application/json")]


def note_clocks(tally: Tally, machine: str, notes: str) -> None:
    """What a history row says of clocks, as the table has it."""
    for note in json.loads(notes or "[]"):
        tally.note(machine, note["clock"], "met late" if note["what"] == "met" and note.get("late") else note["what"])


def note_priorities(tally: Tally, rows: Iterable[tuple[str, str, bytes]]) -> None:
    """What (machine, id, data) say of priorities."""
    tally.priorities.update({(machine, id): str(known["priority"]) for machine, id, data in rows if "priority" in (known := json.loads(data))})


class InMemory:
    """Batches are of 1 to `most` records from a random topic, so that topics overtake each other; `now` is the database's clock."""

    def __init__(self, app: App, now: datetime, *, seed: int = 0, most: int = 200) -> None:
        self.app, self.now, self._most, self._random = app, now, most, random.Random(seed)
        self._routes = Routes(app)
        self._codec = Codec(app, "test", sample=lambda trace_id: True, horizon=app.horizon)
        self.entities: dict[Ref, Entity] = {}
        self.changes: list[Changes] = []
        self.history: list[History] = []
        self.messages: list[Message] = []
        self._inbox: dict[bytes, bytes] = {}
        self._ends: dict[TopicPartition, int] = defaultdict(int)
        self._logs: dict[str, deque[Record]] = defaultdict(deque)
        self._stream_times: dict[TopicPartition, datetime] = {}
        self._lines = 0

    def publish(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            self._append(fact.topic, fact.key.encode(), fact.value, headers_of(fact))

    def run(self) -> None:
        """Until everything published, and everything said to ourselves, was taken."""
        while waiting := sorted(topic for topic, log in self._logs.items() if log):
            log = self._logs[self._random.choice(waiting)]
            records = [log.popleft() for _ in range(min(len(log), self._random.randint(1, self._most)))]
            self._process(Claim("partitions", self.now, self.now, records, stream_times=self._stream_times))

    def tick(self, upto: datetime) -> None:
        """Fire what is due, as the ticker does once every topic is drained."""
        due = [Fire(ref, upto) for ref, entity in self.entities.items() if entity.timers and min(entity.timers.values()) <= upto]
        self._process(Claim("timers", self.now, self.now, orders=due))
        self.run()

    def total(self) -> Tally:
        tally = Tally(states={(ref.machine, ref.id): entity.state for ref, entity in self.entities.items() if entity.born})
        for row in self.history:
            if row.outcome is Outcome.REJECTED:
                tally.reject(row.ref.machine, row.from_state, row.event_type, row.reason)
            elif row.outcome is Outcome.APPLIED and row.event_type not in OWN:
                tally.outcomes[row.ref.machine, "applied"] += 1
        for ref, entity in self.entities.items():
            if parked := sum(waiting.outcome is Outcome.PARKED for waiting in entity.line):
                tally.outcomes[ref.machine, "parked"] += parked
        for message in self.messages:
            tally.say(message.topic, message.type, message.key.decode(), json.loads(message.value))
        for row in self.history:
            note_clocks(tally, row.ref.machine, row.clocks)
        note_priorities(tally, ((ref.machine, ref.id, entity.data) for ref, entity in self.entities.items() if entity.born))
        return tally

    def _process(self, claim: Claim) -> None:
        decoded = self._codec(claim)
        unseen = [order for order in decoded.orders if isinstance(order, Deliver) and not order.admitted]
        orders = sift(decoded, [self._first_sight(order.envelope.identity, order.envelope.content) for order in unseen], claim.door)
        for ref in refs_of(orders):
            self.entities.setdefault(ref, Entity(ref))
        self._save(decide(self._routes, self.entities, orders, self.now, door=claim.door, begun=decoded.changes, revive=self._codec.revive))

    def _first_sight(self, identity: bytes, content: bytes) -> Verdict:
        if identity not in self._inbox:
            self._inbox[identity] = content
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if self._inbox[identity] == content else Verdict.CONFLICT

    def _save(self, changes: Changes) -> None:
        for waiting in changes.lines:
            self._lines += 1
            waiting.id = self._lines
        for place, time in changes.stream_times.items():
            self._stream_times[place] = max(time, self._stream_times.get(place, time))
        self.changes.append(changes)
        self.history += changes.history
        self.messages += changes.messages
        for message in changes.messages:
            if message.topic in self.app.consumed:
                self._append(message.topic, message.key, message.value, [(name, text.encode()) for name, text in message.headers])

    def _append(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        place = TopicPartition(topic, crc32(key) % self.app.topic(topic).partitions)
        record = Record(topic, place.partition, self._ends[place], int(self.now.timestamp() * 1000), key, value, headers)
        self._ends[place] += 1
        self._logs[topic].append(record)
