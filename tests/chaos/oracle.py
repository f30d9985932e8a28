"""The oracles: what must be so of every run, whatever was done to it. Each is handed the evidence and gives the faults it found, a line each.

Numbered invariants: I1 nothing lost, I2 nothing doubled, I3 in order, I4 equal to the fold, I5 the chain whole, I6 outbox and topics the same,
I7 nothing said that was not committed, I8 every record and entity counted once, I9 clocks, I11 one epoch a range, I12 poison harms its own entity
alone, I13 traces whole, I15 nothing left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from stream.core.chain import link
from stream.core.changes import History
from stream.core.outcome import Outcome
from stream.core.record import Record, Ref, TopicPartition
from tests.chaos.app import app
from tests.chaos.evidence import Evidence, Row, is_pooled
from tests.chaos.load import mark_of
from tests.chaos.oracle_clocks import check_clocks
from tests.chaos.oracle_traces import check_traces

Check = Callable[[Evidence], list[str]]
SHOWN = 5


def check_nothing_lost(evidence: Evidence) -> list[str]:
    """I1: what was acknowledged stands on the log where the broker said; every record of every log was taken; every event came to something."""
    return [*_acknowledged(evidence), *_taken(evidence), *_come_to_something(evidence)]


def _acknowledged(evidence: Evidence) -> Iterable[str]:
    for place in evidence.acknowledged.offsets:
        plain = TopicPartition(evidence.names.kind(place.topic), place.partition)
        log = {record.offset: record for record in evidence.logs.get(plain, ())}
        for offset, mark in evidence.acknowledged.of(place):
            if offset not in log or mark_of(_id(log[offset]), log[offset].value or b"") != mark:
                yield f"{plain} {offset}: acknowledged, and something else stands there"


def _taken(evidence: Evidence) -> Iterable[str]:
    for place, records in evidence.logs.items():
        if place.topic in app.consumed and records:
            row = evidence.standing.get(place)
            if row is None or (row["next_offset"], row["records"]) != (records[-1].offset + 1, len(records)):
                yield f"{place}: {len(records)} records, and the store stands at {row and (row['next_offset'], row['records'])}"
    wanted = len(evidence.model.events)
    if (seen := evidence.tables["inbox"][0]["n"]) != wanted:
        yield f"{wanted} identities were admitted, the inbox has {seen}"


def _come_to_something(evidence: Evidence) -> Iterable[str]:
    for ref, expected, _ in _expected(evidence):
        if missing := set(expected) - set(evidence.applied.get(ref, ())):
            yield f"{ref}: never applied: {sorted(missing)[:3]}"


def check_nothing_doubled(evidence: Evidence) -> list[str]:
    """I2: nothing was applied twice, and balances, counts and last numbers are the plain model's."""
    faults = [
        f"{ref}: applied twice: {again[:3]}" for ref, ids in evidence.applied.items() if (again := [i for i, n in Counter(ids).items() if n > 1])
    ]
    for ref, life in ((Ref("account", name), life) for lives in (evidence.model.accounts, evidence.model.pool) for name, life in lives.items()):
        if life.state:
            data = _data(evidence, ref)
            found = (data.get("count"), data.get("balance"), data.get("n"))
            if found != (life.count, life.balance, life.n):
                faults.append(f"{ref}: count, balance and n are {found}, not {(life.count, life.balance, life.n)}")
    for name, life in evidence.model.books.items():
        data = _data(evidence, Ref("book", name))
        if (data.get("count"), data.get("total"), data.get("last")) != (life.count, life.balance, life.applied[-1]):
            faults.append(f"book {name}: {data}, not {life.count}, {life.balance}, {life.applied[-1]}")
    return faults


def check_order(evidence: Evidence) -> list[str]:
    """I3: each entity applied its log's events in their order, waiting ones where they fitted; what was rejected, was for the model's reason."""
    faults: list[str] = []
    for ref, expected, ordered in _expected(evidence):
        found = evidence.applied.get(ref, [])
        if found != expected if ordered else sorted(found) != sorted(expected):
            at = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected)))
            faults.append(f"{ref}: applied {found[at : at + 3]} where {expected[at : at + 3]} were due (number {at})")
    for name, life in evidence.model.accounts.items():
        rows = evidence.history.get(Ref("account", name), [])
        rejected = {row["event_id"]: row["reason"] for row in rows if row["outcome"] == "rejected"}
        if rejected != life.rejected:
            faults.append(f"account {name}: rejected {rejected}, not {life.rejected}")
    return faults


def _expected(evidence: Evidence) -> Iterable[tuple[Ref, list[str], bool]]:
    for name, life in evidence.model.accounts.items():
        yield Ref("account", name), life.applied, True
    for name, life in evidence.model.pool.items():
        yield Ref("account", name), life.applied, False
    for name, life in evidence.model.books.items():
        yield Ref("book", name), life.applied, True


def check_state(evidence: Evidence) -> list[str]:
    """I4: state and data, and what was said, equal to the byte what `decide` makes of each log by itself."""
    faults: list[str] = []
    for ref, wanted in evidence.folded.entities.items():
        row = evidence.entities.get(ref)
        found = row and (row["state"], bytes(row["data"]))
        if found != wanted and not is_pooled(ref):
            faults.append(f"{ref}: is {found}, the fold says {wanted}")
    said = {row["message_id"]: (evidence.names.kind(row["topic"]), bytes(row["key"]), bytes(row["value"])) for row in evidence.tables["messages"]}
    pooled = {row["message_id"] for row in evidence.tables["messages"] if row["entity_id"].startswith("pool")}
    folded = {id: message for id, message in evidence.folded.messages.items() if message[0] != "alerts" and b"pool-" not in message[2]}
    faults += [f"message {id}: {said.get(id)}, the fold says {wanted}" for id, wanted in folded.items() if said.get(id) != wanted]
    others = said.keys() - folded.keys() - pooled
    faults += [f"message {id} is none of the fold's: {said[id]}" for id in others if said[id][0] == "booked"]
    return faults


def check_chain(evidence: Evidence) -> list[str]:
    """I5: the hashes over each entity's history are whole, its version counts what was applied, and every rejection has its letter."""
    faults: list[str] = []
    letters = {(row["machine"], row["entity_id"], row["event_id"]) for row in evidence.tables["letters"]}
    for ref, rows in evidence.history.items():
        chain = b""
        for n, row in enumerate(rows, 1):
            chain = link(chain, history_of(row))
            if row["n"] != n or bytes(row["hash"]) != chain:
                faults.append(f"{ref}: the chain breaks at {row['n']}, where {n} was due")
                break
            if row["outcome"] == "rejected" and (*ref, row["event_id"]) not in letters:
                faults.append(f"{ref}: {row['event_id']} was rejected and left no letter")
        applied = sum(row["outcome"] == "applied" for row in rows)
        entity = evidence.entities.get(ref)
        if entity is None or (entity["version"], entity["n"], bytes(entity["chain"])) != (applied, len(rows), chain):
            faults.append(f"{ref}: its row does not end its history")
    return faults


def history_of(row: Row) -> History:
    r: dict[str, Any] = dict(row)
    ref = Ref(r.pop("machine"), r.pop("entity_id"))
    r["outcome"] = Outcome(r["outcome"])
    return History(ref=ref, **r)


def check_outbox(evidence: Evidence) -> list[str]:
    """I6: every committed message stands on its topic, unchanged; first occurrences are in the emitter's order without a gap."""
    faults = [f"message {row['message_id']} is held: {row['reason']}" for row in evidence.tables["held"]]
    wanted = {row["message_id"]: row for row in evidence.tables["messages"]}
    firsts, latest = dict[str, Record](), Counter[tuple[str, str, bytes]]()
    for record in (record for records in evidence.said.values() for record in records):
        named = dict(record.headers)
        id, lane = _id(record), ((named["ce_emitter"] or b"").decode(), record.topic, record.key or b"")
        if id not in firsts:
            firsts[id] = record
            latest[lane] += 1
            if int(named["ce_sequence"] or 0) != latest[lane]:
                faults.append(f"{lane}: {named['ce_sequence']!r} where {latest[lane]} was due")
    faults += [f"message {id} was committed and never sent" for id in wanted.keys() - firsts.keys()]
    return faults + [f"message {id} was sent changed" for id in wanted.keys() & firsts.keys() if _sent(firsts[id]) != _written(evidence, wanted[id])]


def _sent(record: Record) -> tuple[object, ...]:
    return record.topic, record.key, record.value, [[name, (value or b"").decode()] for name, value in record.headers]


def _written(evidence: Evidence, row: Row) -> tuple[object, ...]:
    return evidence.names.kind(row["topic"]), bytes(row["key"]), bytes(row["value"]), orjson.loads(row["headers"])


def check_no_ghosts(evidence: Evidence) -> list[str]:
    """I7: nothing stands on a topic of ours that was not committed to the outbox."""
    written = {row["message_id"] for row in evidence.tables["messages"]}
    found = {_id(record): record for records in evidence.said.values() for record in records}
    return [f"message {id} on {found[id].topic} was never committed" for id in found.keys() - written]


def check_identities(evidence: Evidence) -> list[str]:
    """I8: every record has one verdict and every entity concerned one outcome, and verdicts are the plain model's, topic by topic."""
    faults: list[str] = []
    found, wanted = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for place, row in evidence.standing.items():
        verdicts = {name: row[name] for name in ("admitted", "duplicate", "conflict", "dead", "skipped")}
        outcomes = [row[name] for name in ("applied", "ignored", "deferred", "rejected", "parked")]
        if sum(verdicts.values()) != row["records"] or sum(outcomes) != row["concerned"]:
            faults.append(f"{place}: its counts do not add up: {dict(row)}")
        found.update({(place.topic, name): n for name, n in {**verdicts, "concerned": row["concerned"]}.items()})
    for place, counts in evidence.model.verdicts.items():
        wanted.update({(place.topic, str(name)): n for name, n in counts.items()})
        wanted[place.topic, "concerned"] += evidence.model.concerned[place]
    return faults + [
        f"{key}: {found[key]}, the model says {wanted[key]}" for key in sorted(found.keys() | wanted.keys()) if found[key] != wanted[key]
    ]


def check_epochs(evidence: Evidence) -> list[str]:
    """I11: each partition's moves follow one another without gap or overlap, and epochs never go back."""
    faults: list[str] = []
    stands: dict[TopicPartition, tuple[int, int]] = {}
    for row in evidence.tables["moves"]:
        place = TopicPartition(evidence.names.kind(row["topic"]), row["partition"])
        after, epoch = stands.get(place, (0, 0))
        if row["before"] != after or row["epoch"] < epoch or row["after"] < after:
            faults.append(f"{place}: moved from {row['before']} to {row['after']} in epoch {row['epoch']} after {after} in epoch {epoch}")
        stands[place] = (row["after"], row["epoch"])
    return faults + [f"{p}: moves end at {at}, it stands elsewhere" for p, (at, _) in stands.items() if at != evidence.standing[p]["next_offset"]]


def check_healthy(evidence: Evidence) -> list[str]:
    """I12: only what was given poison was ever parked, and now nothing is."""
    poisoned = {Ref("account", name) for name, life in evidence.model.accounts.items() if life.poisoned}
    parked = {ref for ref, rows in evidence.history.items() if any(row["outcome"] == "parked" for row in rows)}
    still = {Ref(row["machine"], row["entity_id"]) for row in evidence.tables["waiting"] if row["outcome"] == "parked"}
    faults = [f"{ref} was parked and had no poison" for ref in (parked | evidence.parked) - poisoned]
    return faults + [f"{ref} is parked still" for ref in still]


def check_nothing_left(evidence: Evidence) -> list[str]:
    """I15: no lag, nothing unsent, and in lines only what its account was never opened or thawed for."""
    faults = [] if evidence.left == (0, 0) else [f"{evidence.left[0]} records not taken, {evidence.left[1]} messages not sent"]
    waiting = Counter(row["entity_id"] for row in evidence.tables["waiting"])
    wanted = Counter({name: len(life.line) for name, life in evidence.model.accounts.items() if life.line})
    return faults + [f"account {name}: {waiting[name]} events wait, not {wanted[name]}" for name in waiting | wanted if waiting[name] != wanted[name]]


def _id(record: Record) -> str:
    return next(((value or b"").decode() for name, value in record.headers if name == "ce_id"), "")


def _data(evidence: Evidence, ref: Ref) -> dict[str, object]:
    row = evidence.entities.get(ref)
    return orjson.loads(row["data"]) if row and row["data"] else {}


CHECKS: Mapping[str, Check] = {
    "I1 nothing lost": check_nothing_lost,
    "I2 nothing doubled": check_nothing_doubled,
    "I3 in order": check_order,
    "I4 equal to the fold": check_state,
    "I5 the chain whole": check_chain,
    "I6 outbox on topics": check_outbox,
    "I7 no ghosts": check_no_ghosts,
    "I8 counted once": check_identities,
    "I9 clocks": check_clocks,
    "I11 one epoch a range": check_epochs,
    "I12 healthy unharmed": check_healthy,
    "I13 traces whole": check_traces,
    "I15 nothing left": check_nothing_left,
}


def faults(evidence: Evidence) -> list[str]:
    """What every oracle found, the first few of each."""
    found: list[str] = []
    for name, check in CHECKS.items():
        its = check(evidence)
        found += [f"{name}: {line}" for line in its[:SHOWN]]
        if len(its) > SHOWN:
            found.append(f"{name}: and {len(its) - SHOWN:,} more")
    return found
