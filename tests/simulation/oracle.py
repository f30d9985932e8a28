"""What must be true when the faults have stopped and everything is drained; each sentence names what is not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from stream.core.chain import link
from stream.core.changes import DeadLetter, History, Message, Notice
from stream.core.entity import Entity, Timer
from stream.core.event import wire_type
from stream.core.ladder import Reading
from stream.core.order import Answer, Fire, Retry
from stream.core.outcome import Outcome, Verdict
from stream.core.own import OWN_EVENTS
from stream.core.record import Record, Ref, TopicPartition
from stream.core.task import Asked, Closed
from tests.simulation.app import app, handlers
from tests.simulation.fold import Fold
from tests.simulation.world import Commit, World

OWN = frozenset(wire_type(kind) for kind in OWN_EVENTS)
LEDGER = ("records", "concerned", *(str(name) for name in (*Verdict, *Outcome)))


def judge(world: World) -> list[str]:
    """Empty when all is well."""
    plain, wild = _plain(world), _wild(world)
    return [
        *_positions(world),
        *_counts(world, plain, wild),
        *_same(world, plain, wild),
        *_chains(world),
        *_clocks(world),
        *_letters(world, [*plain.letters, *wild.letters]),
        *_asked(world, plain, wild),
        *_notices(world, [*plain.notices, *wild.notices]),
        *_topics(world),
        *_relays(world),
    ]


def seen(world: World) -> Counter[str]:
    """What came about in this world: a run in which something never does proves nothing about it."""
    found: Counter[str] = Counter()
    for place in world.database.partitions.values():
        found.update({f"ledger: {name}": n for name, n in place.counts.items()})
    for _, row in world.database.history.values():
        if row.event_type in OWN:
            found[f"{row.event_type} by {row.door}"] += 1
        if row.reason:
            found[f"{row.outcome}: {row.reason}"] += 1
    found.update(f"{said.message.type} said" for said in world.database.outbox.values() if said.message.type in OWN)
    ids = [
        dict(record.headers)["ce_id"] for topic in sorted(app.emitted) for place in world.broker.places(topic) for record in _records(world, place)
    ]
    found["message on its topic twice"] = len(ids) - len(set(ids))
    found.update("task open" if row.closed is None else f"task closed by {row.closed.by}" for row in world.database.tasks.values())
    found["owner told twice"] = sum(n > 1 for n in world.told.values())
    return found


# -- the reference ---------------------------------------------------------------------------------------------------------------------


def is_wild(name: str) -> bool:
    return name.startswith("w")


def _plain(world: World) -> Fold:
    """Plain orders: their records in the order of their partitions, and in the end every clock there is."""
    fold = Fold()
    handlers.mended = True
    for topic in sorted(app.consumed):
        for place in world.broker.places(topic):
            for record in _records(world, place):
                if not is_wild((record.key or b"").decode()):
                    fold.record(record)
    fold.run_out()
    return fold


def _wild(world: World) -> Fold:
    """Wild orders: whatever was committed about them, in the order of commits."""
    fold = Fold()
    for commit in world.commits:
        handlers.mended = commit.mended
        _follow(fold, commit, world)
    return fold


def _follow(fold: Fold, commit: Commit, world: World) -> None:
    for record in commit.claim.records:
        if is_wild((record.key or b"").decode()):
            fold.record(record)
    for stored in commit.claim.stored:
        fold.letter(stored)
    for order in commit.claim.orders:
        if isinstance(order, Retry):
            fold.retry(order, world.heads[order.head])
        elif isinstance(order, Fire) and is_wild(order.ref.id):
            fold.fire(order)
        elif isinstance(order, Answer):
            fold.answer(order, world.questions[order.task], commit.claim.now)


def _records(world: World, place: TopicPartition) -> Sequence[Record]:
    begin, end = world.broker.bounds(place)
    return world.broker.read(place, begin, end)[0]


# -- partitions ------------------------------------------------------------------------------------------------------------------------


def _positions(world: World) -> Iterator[str]:
    """Every offset was taken once, in order, under one epoch, by epochs that only grow."""
    taken: dict[TopicPartition, list[tuple[int, int, int]]] = defaultdict(list)
    for commit in world.commits:
        for cut in commit.slices:
            taken[cut.place].append((cut.start, cut.end, cut.epoch))
    for place, row in world.database.partitions.items():
        found, end = taken[place], world.broker.bounds(place)[1]
        if row.next_offset != end:
            yield f"{place}: position {row.next_offset}, the log ends at {end}"
        if [0, *(e for _, e, _ in found)] != [*(s for s, _, _ in found), end]:
            yield f"{place}: ranges do not join: {found}, end {end}"
        if any(before > after for (_, _, before), (_, _, after) in pairwise(found)):
            yield f"{place}: an epoch came back: {found}"
        if row.counts.get("records", 0) != len(_records(world, place)):
            yield f"{place}: {row.counts.get('records', 0)} records counted, {len(_records(world, place))} on the log"


def _counts(world: World, *folds: Fold) -> Iterator[str]:
    counted: Counter[str] = sum((Counter(row.counts) for row in world.database.partitions.values()), Counter[str]())
    wanted = sum((fold.counts for fold in folds), Counter[str]())
    for name in LEDGER:
        if counted[name] != wanted[name]:
            yield f"{name}: {counted[name]} counted, {wanted[name]} expected"


# -- entities --------------------------------------------------------------------------------------------------------------------------


def _same(world: World, *folds: Fold) -> Iterator[str]:
    """Every entity, its history and its messages are what the reference says, to the byte."""
    db = world.database
    history, messages, clocks = _by_ref(db.history), _said(world), _readings(db.timers)
    wanted = {ref: (fold, entity) for fold in folds for ref, entity in fold.entities.items()}
    for ref in sorted(wanted.keys() | db.entities.keys()):
        fold, entity = wanted.get(ref, (Fold(), Entity(ref)))
        found = db.entities.get(ref)
        if found is None or _stored(found) != _stored(entity):
            yield f"{ref}: is {found and _stored(found)}, expected {_stored(entity)}"
        if clocks.get(ref, {}) != entity.clocks:
            yield f"{ref}: clocks stand at {clocks.get(ref, {})}, expected {entity.clocks}"
        rows, expected = [_row(row) for _, _, row in history.get(ref, ())], [_row(row) for row in fold.history.get(ref, ())]
        if rows != expected:
            yield f"{ref}: history {_first_difference(rows, expected)}"
        said, hoped = [_message(m) for m in messages.get(ref, ())], [_message(m) for m in fold.messages.get(ref, ())]
        if said != hoped:
            yield f"{ref}: messages {_first_difference(said, hoped)}"


def _stored(e: Entity) -> tuple[object, ...]:
    return e.version, e.machine_version, e.state, e.data, e.since, e.time, e.n, e.sequences


def _readings(timers: Mapping[tuple[Ref, str], Timer]) -> dict[Ref, dict[str, Reading]]:
    found: dict[Ref, dict[str, Reading]] = defaultdict(dict)
    for (ref, name), timer in timers.items():
        if timer.reading is not None:
            found[ref][name] = timer.reading
    return found


def _row(h: History) -> tuple[object, ...]:
    names = (h.n, h.outcome, h.reason, h.event_id, h.event_type, h.source, h.actor, h.from_state, h.to_state)
    return (*names, h.time, h.correlation_id, h.causation_id, h.trace_id, h.error)


def _message(m: Message) -> tuple[object, ...]:
    return m.topic, m.key, m.value, tuple(m.headers), m.id, m.sequence


def _first_difference(found: Sequence[object], wanted: Sequence[object]) -> str:
    at = next((n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
    return f"at {at}: {found[at : at + 1]}, expected {wanted[at : at + 1]}"


def _by_ref(rows: Mapping[int, tuple[int, History]]) -> dict[Ref, list[tuple[int, int, History]]]:
    found: dict[Ref, list[tuple[int, int, History]]] = defaultdict(list)
    for id, (before, row) in sorted(rows.items()):
        found[row.ref].append((id, before, row))
    return found


def _said(world: World) -> dict[Ref, list[Message]]:
    found: dict[Ref, list[Message]] = defaultdict(list)
    for _, row in sorted(world.database.outbox.items()):
        found[row.message.emitter].append(row.message)
    return found


def _chains(world: World) -> Iterator[str]:
    for ref, rows in _by_ref(world.database.history).items():
        last, hash, entity = 0, b"", world.database.entities[ref]
        for n, (id, before, row) in enumerate(rows, 1):
            if (row.n, before, row.hash) != (n, last, link(hash, row)):
                yield f"{ref}: the chain of its history breaks at {n}"
            last, hash = id, row.hash
        if (entity.last_id, entity.chain) != (last, hash):
            yield f"{ref}: its history ends elsewhere"


def _clocks(world: World) -> Iterator[str]:
    """None fired early by the database's clock, none twice, none is left."""
    fired: set[tuple[Ref, str]] = set()
    for _, row in world.database.history.values():
        # A breach that was told while its entity was parked comes once more by the line, for the move it causes.
        if row.event_type in OWN and row.outcome is Outcome.APPLIED and row.door != "replay":
            if row.at < row.time:
                yield f"{row.ref}: {row.event_type} fired at {row.at}, due {row.time}"
            if (row.ref, row.event_id) in fired:
                yield f"{row.ref}: {row.event_type} fired twice"
            fired.add((row.ref, row.event_id))
    yield from (f"{ref}: {name} never fired" for (ref, name), timer in world.database.timers.items() if timer.due is not None)


def _letters(world: World, wanted: Sequence[DeadLetter]) -> Iterator[str]:
    found = Counter(_letter(row.letter) for row in world.database.letters.values())
    expected = Counter(map(_letter, wanted))
    yield from (f"dead letter missing: {letter}" for letter in (expected - found))
    yield from (f"dead letter too many: {letter}" for letter in (found - expected))


def _letter(d: DeadLetter) -> tuple[object, ...]:
    r = d.record
    return r.topic, r.key, r.value, tuple(r.headers), str(d.reason), d.event_id, d.ref, d.admitted


# -- people and owners -----------------------------------------------------------------------------------------------------------------


def _asked(world: World, *folds: Fold) -> Iterator[str]:
    """Each task was asked once, by the move that enters its state, and closed once, by whom and with what the reference says."""
    found: dict[Ref, list[object]] = defaultdict(list)
    for _, row in sorted(world.database.tasks.items()):
        found[row.asked.ref].append(_task(row.asked, row.closed))
    wanted = {ref: [_task(task.asked, task.closed) for task in tasks] for fold in folds for ref, tasks in fold.tasks.items()}
    for ref in sorted(found.keys() | wanted.keys()):
        if found[ref] != wanted.get(ref, []):
            yield f"{ref}: tasks {_first_difference(found[ref], wanted.get(ref, []))}"


def _task(asked: Asked, closed: Closed | None) -> tuple[object, ...]:
    end = (closed.answer, closed.by, closed.at, closed.reason, closed.comment) if closed else None
    return asked.name, asked.state, asked.question, asked.owner, asked.answers, asked.reasons, asked.opened, end


def _notices(world: World, wanted: Sequence[Notice]) -> Iterator[str]:
    """Each was written once with what it is about, settled as sent, and reached its owner under its key, at least once."""
    rows = list(world.database.notices.values())
    found, expected = (Counter((n.key, n.ref, n.owner, n.type, n.body) for n in notices) for notices in ((row.notice for row in rows), wanted))
    yield from (f"notice missing: {notice}" for notice in (expected - found))
    yield from (f"notice too many: {notice}" for notice in (found - expected))
    yield from (f"notice {row.notice.key} is {row.status}" for row in rows if row.status != "sent")
    if world.told.keys() != {row.notice.key for row in rows}:
        yield f"owners were told {sorted(world.told)}, written was {sorted(row.notice.key for row in rows)}"


# -- topics ----------------------------------------------------------------------------------------------------------------------------


def _topics(world: World) -> Iterator[str]:
    """What is on the topics after dropping repeats is what was committed, unchanged, in the order of each emitter, topic and key."""
    committed = {row.message.id: row.message for row in world.database.outbox.values()}
    seen: set[str] = set()
    lanes: dict[tuple[str, str, bytes], list[int]] = defaultdict(list)
    for topic in sorted(app.emitted):
        for place in world.broker.places(topic):
            for record in _records(world, place):
                headers = {name: (value or b"").decode() for name, value in record.headers}
                id = headers["ce_id"]
                if "ce_emitter" not in headers or id in seen:
                    continue
                seen.add(id)
                lanes[headers["ce_emitter"], topic, record.key or b""].append(int(headers["ce_sequence"]))
                yield from _published(committed.get(id), record)
    yield from (f"message {id} was committed and is on no topic" for id in committed if id not in seen)
    yield from (f"{lane}: sequence {found}" for lane, found in lanes.items() if found != list(range(1, len(found) + 1)))


def _published(message: Message | None, record: Record) -> Iterator[str]:
    if message is None:
        yield f"nothing committed says {record.topic} {record.value!r}"
        return
    headers = [(name, text.encode()) for name, text in message.headers]
    if (message.topic, message.key, message.value, headers) != (record.topic, record.key, record.value, list(record.headers)):
        yield f"message {message.id} was changed on its way"


def _relays(world: World) -> Iterator[str]:
    """A shard's position was moved by epochs that only grow: never by a relay that had lost its lease."""
    epochs: dict[int, int] = {}
    for shard, epoch in world.advances:
        if epoch < epochs.get(shard, 0):
            yield f"shard {shard}: moved under epoch {epoch} after {epochs[shard]}"
        epochs[shard] = max(epoch, epochs.get(shard, 0))
