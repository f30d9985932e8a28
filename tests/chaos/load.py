"""The load: events made up by a seed, with repeats, conflicts, poison, early and late ones; what the broker acknowledged is kept."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import confluent_kafka
import orjson

from stream.core.record import TopicPartition
from tests.chaos.app import Names
from tests.chaos.topics import SILENT

SOURCE = "/chaos"
POOL = [f"pool-{n:02}" for n in range(20)]
ACTIVE, PER_BOOK = 200, 20
KINDS = {"deposited": 60, "withdrawn": 20, "charged": 10, "frozen": 4, "thawed": 2}
WHOLE = timedelta(seconds=600)
Body = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Shares of all events, but for `early` and `closed`, which are shares of accounts."""

    repeats: float = 0.2
    conflicts: float = 0.004
    spoiled: float = 0.01
    flapped: float = 0.005
    late: float = 0.02
    transfers: float = 0.05
    holds: float = 0.04
    early: float = 0.05
    closed: float = 0.3


class Said(NamedTuple):
    """One record to publish; `mark` tells it from every other one, but not from its own repeats."""

    kind: str
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]
    mark: bytes


@dataclass
class Acknowledged:
    """Where the broker said it had put what: offsets and marks by partition."""

    offsets: dict[TopicPartition, array[int]] = field(default_factory=dict[TopicPartition, "array[int]"])
    marks: dict[TopicPartition, bytearray] = field(default_factory=dict[TopicPartition, bytearray])
    unknown: int = 0

    def note(self, place: TopicPartition, offset: int, mark: bytes) -> None:
        self.offsets.setdefault(place, array("q")).append(offset)
        self.marks.setdefault(place, bytearray()).extend(mark)

    def of(self, place: TopicPartition) -> Iterator[tuple[int, bytes]]:
        marks = self.marks.get(place, bytearray())
        return ((offset, bytes(marks[8 * i : 8 * i + 8])) for i, offset in enumerate(self.offsets.get(place, ())))

    def count(self) -> int:
        return sum(map(len, self.offsets.values()))


def mark_of(id: str, value: bytes) -> bytes:
    """Eight bytes that stand for one record."""
    return blake2b(id.encode() + value, digest_size=8).digest()


class Maker:
    """Makes events up: the same seed, the same events (but for their times, which are when they are made)."""

    def __init__(self, seed: int, mix: Mix | None = None) -> None:
        self._chance, self._mix, self._seed = random.Random(seed), mix or Mix(), seed
        self._serial = self._accounts = 0
        self._scripts: list[Iterator[tuple[str, Body]]] = []
        self._said: list[Said] = []
        self._holds: list[str] = []
        self.counts: Counter[str] = Counter()

    @property
    def made(self) -> int:
        """Events so far, repeats and conflicts not counted."""
        return self._serial

    def make(self, count: int, mix: Mix | None = None) -> list[Said]:
        """`count` events, and repeats of earlier ones besides. `mix`: for these alone."""
        before, self._mix = self._mix, mix or self._mix
        try:
            return self._make(count)
        finally:
            self._mix = before

    def _make(self, count: int) -> list[Said]:
        made = [] if self._serial else [self._say("account.opened", body, "accounts", body["account"]) for body in map(_pooled, POOL)]
        for _ in range(count):
            made.append(self._event())
            self._remember(made[-1])
            made.extend(self._again(self._chance.choice(self._said)) for _ in range(int(self._mix.repeats + self._chance.random())))
            if self._chance.random() < self._mix.conflicts and (said := self._chance.choice(self._said)).kind != "transfers":
                made.append(self._conflict(said))
        return made

    def _remember(self, said: Said) -> None:
        """Some of all that was ever said, mostly the latest."""
        if len(self._said) < 2000:
            self._said.append(said)
        else:
            self._said[self._chance.randrange(2000)] = said

    def _event(self) -> Said:
        luck = self._chance.random()
        if luck < self._mix.transfers:
            giver, taker = self._chance.sample(POOL, 2)
            body: Body = {"transfer": f"t-{self._serial}", "giver": giver, "taker": taker, "amount": self._chance.randint(1, 50)}
            return self._say("account.transferred", body, "transfers", body["transfer"])
        if luck < self._mix.transfers + self._mix.holds:
            return self._hold()
        if len(self._scripts) < ACTIVE:
            self._scripts.append(self._account())
        place = self._chance.randrange(len(self._scripts))
        step = next(self._scripts[place], None)
        if step is None:
            self._scripts[place] = self._account()
            step = next(self._scripts[place])
        late = timedelta(days=self._chance.uniform(1, 5)) if self._chance.random() < self._mix.late else timedelta(0)
        return self._say(self._spoilt(step[0]), step[1], "accounts", step[1]["account"], late)

    def _spoilt(self, type: str) -> str:
        """Some deposits are poison. Shares are of all events; three in five are deposits."""
        luck = self._chance.random() * 0.6
        if type != "account.deposited" or luck > self._mix.spoiled + self._mix.flapped:
            return type
        return "account.spoiled" if luck < self._mix.spoiled else "account.flapped"

    def _hold(self) -> Said:
        if self._holds and (self._chance.random() < 0.45 or len(self._holds) > 200):
            body: Body = {"hold": self._holds.pop(self._chance.randrange(len(self._holds)))}
            late = timedelta(seconds=self._chance.uniform(0, 3)) if self._chance.random() < 0.2 else timedelta(0)
            return self._say("hold.released", body, "holds", body["hold"], late)
        body = {"hold": f"h-{self._serial}", "within": round(self._chance.uniform(1, 12), 3)}
        self._holds.append(f"h-{self._serial}")
        return self._say("hold.placed", body, "holds", body["hold"])

    def _account(self) -> Iterator[tuple[str, Body]]:
        """One account's life, in the order in which it is told."""
        name, chance = f"a-{self._accounts}", self._chance
        book = f"b-{self._accounts // PER_BOOK}"
        self._accounts += 1
        steps: list[tuple[str, Body]] = [("account.opened", {"account": name, "book": book, "amount": chance.randint(0, 500)})]
        kinds = chance.choices(list(KINDS), list(KINDS.values()), k=chance.randint(8, 40))
        for n, kind in enumerate(kinds):
            body: Body = {"account": name}
            if kind not in ("frozen", "thawed"):
                body["amount"] = chance.randint(1, 300)
            if kind == "charged":
                body["invoice"] = f"i-{n}"
            steps.append((f"account.{kind}", body))
            if kind == "frozen":
                steps.append(("account.deposited", {"account": name, "amount": chance.randint(1, 300)}))
                steps.append(("account.thawed", {"account": name}))
        if chance.random() < self._mix.closed:
            steps.insert(chance.randint(len(steps) - 3, len(steps)), ("account.closed", {"account": name}))
        if chance.random() < self._mix.early:
            steps.insert(chance.randint(1, 4), steps.pop(0))
        for n, (_, body) in enumerate(steps):
            body["n"] = n
        return iter(steps)

    def _say(self, type: str, body: Body, kind: str, key: object, late: timedelta = timedelta(0)) -> Said:
        self._serial += 1
        self.counts[type] += 1
        told = datetime.now(UTC) - late
        id, trace = f"{self._seed}-{self._serial}", blake2b(b"%d %d" % (self._seed, self._serial), digest_size=16).hexdigest()
        attributes = {"specversion": "1.0", "id": id, "source": SOURCE, "type": type, "time": told.isoformat().replace("+00:00", "Z")}
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        headers += [("content-type", b"application/json"), ("traceparent", f"00-{trace}-{trace[:16]}-01".encode())]
        value = orjson.dumps(body)
        return Said(kind, str(key), value, headers, mark_of(id, value))

    def _again(self, said: Said) -> Said:
        """The same once more; a charge now and then under an id of its own, for its natural key to be known again."""
        self.counts["repeated"] += 1
        named = dict(said.headers)
        if named["ce_type"] != b"account.charged" or self._chance.random() < 0.5:
            return said
        self._serial += 1
        id = f"{self._seed}-{self._serial}"
        return Said(said.kind, said.key, said.value, [*(named | {"ce_id": id.encode()}).items()], mark_of(id, said.value))

    def _conflict(self, said: Said) -> Said:
        """The same identity with other content, unless `amount` says nothing to that event."""
        body: Body = {**orjson.loads(said.value), "amount": self._chance.randint(1000, 2000)}
        value, headers = orjson.dumps(body), dict(said.headers)
        self.counts["conflicting"] += 1
        return Said(said.kind, said.key, value, said.headers, mark_of(headers["ce_id"].decode(), value))


def _pooled(name: str) -> Body:
    return {"account": name, "book": "b-pool", "amount": 1000, "n": 0}


class Publisher:
    """Publishes, and remembers every acknowledgement. A producer that gave up for good is replaced, and what it had is sent again."""

    def __init__(self, kafka: str, names: Names) -> None:
        self._kafka, self._names = kafka, names
        self.acknowledged = Acknowledged()
        self._failed: list[Said] = []
        self._producer = self._made()

    def publish(self, said: Sequence[Said]) -> None:
        """Returns when all are acknowledged, however long the broker is away."""
        waiting = list(said)
        while waiting:
            for one in waiting:
                self._produce(one)
            while self._producer.flush(1):
                pass
            waiting, self._failed = self._failed, []
            if waiting:
                self.acknowledged.unknown += len(waiting)
                self._producer = self._made()

    def _produce(self, one: Said) -> None:
        def done(error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
            if error is not None:
                self._failed.append(one)
                return
            place = TopicPartition(str(message.topic()), int(message.partition() or 0))
            self.acknowledged.note(place, int(message.offset() or 0), one.mark)

        try:
            self._producer.produce(self._names.topic(one.kind), one.value, one.key.encode(), headers=list(one.headers), on_delivery=done)
        except confluent_kafka.KafkaException:
            self._failed.append(one)
        self._producer.poll(0)

    def _made(self) -> confluent_kafka.Producer:
        settings: Mapping[str, str | int | bool] = {
            "bootstrap.servers": self._kafka,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "message.timeout.ms": int(WHOLE.total_seconds() * 1000),
            "topic.metadata.refresh.interval.ms": 2000,
            "reconnect.backoff.max.ms": 500,
            "queue.buffering.max.messages": 1_000_000,
            **SILENT,
        }
        return confluent_kafka.Producer(dict(settings))
