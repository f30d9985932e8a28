"""A stage for pure tests: an App, records in, and everything that `decide` answered kept as a store would keep it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from stream import App, Event, Ref
from stream.core.changes import Changes
from stream.core.codec import Codec, record_of
from stream.core.decide import decide, refs_of, sift
from stream.core.entity import Entity
from stream.core.order import Claim, Decoded, Deliver, Fire, Order, Retry
from stream.core.outcome import Verdict
from stream.core.record import Record, TopicPartition
from stream.core.route import Routes
from stream.core.task import Asked, Closed, Open

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Play:
    """`send` takes (event, minutes after noon, id) triples as one batch from partition 0 of the first event's topic."""

    def __init__(self, app: App) -> None:
        self.app, self.routes = app, Routes(app)
        self.codec = Codec(app, "g", sample=lambda trace_id: True, horizon=app.horizon)
        self.entities: dict[Ref, Entity] = {}
        self.seen: dict[bytes, bytes] = {}
        self.all = Changes()
        self.counts: Counter[str] = Counter()
        self.tasks: dict[int, tuple[Asked, Closed | None]] = {}
        self.stream_times: dict[TopicPartition, datetime] = {}
        self.offset, self.line_id, self.now = 0, 0, at(60 * 24 * 365)

    def record(self, event: Event, minutes: float, id: str) -> Record:
        made = record_of(event, id=id, source="/test", time=at(minutes))
        self.offset += 1
        return msgspec.structs.replace(made, partition=0, offset=self.offset)

    def send(self, *said: tuple[Event, float, str]) -> Changes:
        return self.take([self.record(*one) for one in said])

    def take(self, records: Sequence[Record], fault: str = "") -> Changes:
        claim = Claim("partitions", self.now, self.now, records, stream_times=self.stream_times)
        decoded = self.codec(claim)
        for order in decoded.orders:
            if isinstance(order, Deliver):
                order.fault = fault
        return self._go(decoded, "partitions")

    def order(self, order: Order, door: str = "timers") -> Changes:
        return self.orders([order], door)

    def orders(self, orders: Sequence[Order], door: str) -> Changes:
        return self._go(Decoded(list(orders), Changes()), door)

    def fire(self, ref: Ref, minutes: float, *, marked: bool = False) -> Changes:
        return self.order(Fire(ref, at(minutes), marked))

    def retry(self, ref: Ref, skip: str = "") -> Changes:
        return self.order(Retry(ref, "ann", skip), "replay")

    def state(self, ref: Ref) -> str:
        return self.entities[ref].state

    def data(self, ref: Ref) -> dict[str, object]:
        return msgspec.json.decode(self.entities[ref].data, type=dict[str, object])

    def said(self) -> list[str]:
        return [m.type for m in self.all.messages]

    def outcomes(self) -> list[tuple[str, str]]:
        return [(h.outcome.value, str(h.reason)) for h in self.all.history]

    def _go(self, decoded: Decoded, door: str) -> Changes:
        verdicts = [self._sight(o) for o in decoded.orders if isinstance(o, Deliver) and not o.admitted]
        orders = sift(decoded, verdicts, door)
        loaded = {ref: copy.deepcopy(self.entities.get(ref) or Entity(ref)) for ref in refs_of(orders)}
        changes = decide(self.routes, loaded, orders, self.now, door=door, begun=decoded.changes, revive=self.codec.revive)
        self._save(changes, loaded)
        for place, time in changes.stream_times.items():
            self.stream_times[place] = max(time, self.stream_times.get(place, time))
        return changes

    def _sight(self, order: Deliver) -> Verdict:
        content = self.seen.setdefault(order.envelope.identity, order.envelope.content)
        if content is order.envelope.content:
            return Verdict.ADMITTED
        return Verdict.DUPLICATE if content == order.envelope.content else Verdict.CONFLICT

    def _save(self, changes: Changes, loaded: dict[Ref, Entity]) -> None:
        """Applies the lists alone to what was stored, and holds it against the entity as `decide` left it."""
        for ref, entity in loaded.items():
            before = self.entities.get(ref) or Entity(ref)
            names = before.timers.keys() | before.clocks.keys()
            rows = {n: (before.timers.get(n), before.clocks.get(n)) for n in names if (ref, n) not in changes.drop_timers}
            rows |= {t.name: (t.due, t.reading) for t in changes.set_timers if t.ref == ref}
            assert {n: due for n, (due, _) in rows.items() if due} == entity.timers
            assert {n: reading for n, (_, reading) in rows.items() if reading} == entity.clocks
            kept = [w.id for w in before.line if w.id not in changes.drop_lines]
            assert kept == [w.id for w in entity.line if w.id]
            assert [w for w in changes.lines if w.ref == ref] == [w for w in entity.line if not w.id]
            if ref in changes.entities:
                assert changes.versions[ref] == before.version
                self.entities[ref] = entity
            else:
                assert (entity.version, entity.line, entity.timers, entity.clocks) == (before.version, before.line, before.timers, before.clocks)
        for waiting in changes.lines:
            self.line_id += 1
            waiting.id = self.line_id
        self._save_tasks(changes)
        self.all.history += changes.history
        self.all.messages += changes.messages
        self.all.dead += changes.dead
        self.all.notices += changes.notices
        for counted in changes.counts.values():
            self.counts += counted

    def _save_tasks(self, changes: Changes) -> None:
        for closed in changes.closed:
            for id, (asked, end) in self.tasks.items():
                if (asked.ref, asked.name, end) == (closed.ref, closed.name, None):
                    self.tasks[id] = (asked, closed)
        for asked in changes.asked:
            if not any((known.ref, known.name, end) == (asked.ref, asked.name, None) for known, end in self.tasks.values()):
                self.tasks[len(self.tasks) + 1] = (asked, asked.closed)
        for entity in self.entities.values():
            mine = {id: asked for id, (asked, end) in self.tasks.items() if asked.ref == entity.ref and end is None}
            entity.tasks = {id: Open(id, a.name, a.answers, a.reasons, a.owner, "") for id, a in mine.items()}

    def balanced(self) -> bool:
        c = self.counts
        records = c["admitted"] + c["duplicate"] + c["conflict"] + c["dead"] + c["skipped"] == c["records"]
        return records and sum(c[o] for o in ("applied", "ignored", "deferred", "rejected", "parked")) == c["concerned"]
