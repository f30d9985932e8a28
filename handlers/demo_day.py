"""A made-up day at the desk and in the control room, with everything that goes wrong on a real one; the same for the same seed and hour."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas import dispatch as d
from schemas import tickets as t
from stream import Event
from stream.core.codec import record_of
from stream.core.record import Record

CAUSES = ("toner", "cable", "password", "update", "no fault found")
TITLES = ("printer is silent", "mail bounces", "screen is dark", "cannot log in", "disk is full")
STAGES = (d.UnitDispatched, d.UnitEnRoute, d.UnitOnScene, d.TransportStarted, d.ArrivedAtHospital, d.UnitAvailable)
POISON = "Which {colour} is it?"
TIMELINE, FLOW = "T-0001", "C-001"
"""A ticket and a call whose ways are shown at the end; a call's id is the correlation id of all its events."""


class Said(NamedTuple):
    """One event before it becomes a record."""

    id: str
    time: datetime
    event: Event
    actor: str
    flow: str


@dataclass(frozen=True)
class Day:
    """Records in the order to publish them. `planted` says what was put in on purpose: kind -> how many."""

    records: list[Record]
    ids: list[str]
    planted: dict[str, int]


def day(seed: int, until: datetime, tickets: int, calls: int) -> Day:
    """24 hours that end at `until`."""
    chance = random.Random(seed)
    begin = until - timedelta(hours=24)
    lives = [list(_ticket(chance, f"T-{n:04}", _moment(chance, begin), poison=n % 300 == 7)) for n in range(1, tickets + 1)]
    lives += [list(_call(chance, f"C-{n:03}", _moment(chance, begin), until)) for n in range(1, calls + 1)]
    said = sorted((s for life in lives for s in life if s.time <= until), key=lambda s: (s.time, s.id))
    placed = [(float(n), s.id, _record(s)) for n, s in enumerate(said)]
    repeats = [(at + chance.randint(1, 200), id, record) for at, id, record in placed if chance.random() < 0.05]
    twice = [(n + 40.5, "", _record(s._replace(id=f"exchange {s.id}"))) for n, s in enumerate(said) if isinstance(s.event, d.CallReceived)][::10]
    forgotten = [(math.inf, "", _record(s)) for s in _forgotten(until)]
    changed = [(n + 250.5, s.id, _record(s._replace(event=_other(s.event)))) for n, s in enumerate(said) if isinstance(s.event, t.TicketOpened)][
        ::100
    ]
    garbage = [(chance.uniform(0, len(placed)), "", record) for record in _garbage(until)]
    everything = sorted((*placed, *repeats, *twice, *changed, *garbage, *forgotten), key=lambda one: one[0])
    planted = {
        "repeats": len(repeats),
        "calls told under a second id": len(twice),
        "same id, other content": len(changed),
        "older than what is remembered": len(forgotten),
        "unreadable": len(garbage),
        "questions nobody can fill in": sum(isinstance(s.event, t.TicketAsked) and s.event.question == POISON for s in said),
    }
    return Day([record for _, _, record in everything], [id for _, id, _ in everything], planted)


def _moment(chance: random.Random, begin: datetime) -> datetime:
    return begin + timedelta(seconds=chance.randint(0, 18 * 3600))


def _ticket(chance: random.Random, id: str, at: datetime, *, poison: bool) -> Iterator[Said]:
    for n, event in enumerate(_turns(chance, id, poison=poison)):
        yield Said(f"{id}-{n}", at, event, chance.choice(("ann", "bob", "eve")), "")
        at += timedelta(minutes=chance.choice((1, 4, 10, 25, 70, 200)))


def _turns(chance: random.Random, id: str, *, poison: bool) -> Iterator[Event]:
    yield t.TicketOpened(ticket_id=id, title=chance.choice(TITLES), priority=chance.choice((1, 2, 3, 3, 3, 4)))
    if chance.random() < 0.05:
        yield t.TicketClosed(ticket_id=id)  # not allowed: nobody resolved it
    yield t.TicketTriaged(ticket_id=id, group=chance.choice(("mail", "network", "desktop")))
    yield t.TicketStarted(ticket_id=id, assignee=chance.choice(("kim", "lee", "mo")))
    if poison or chance.random() < 0.4:
        yield t.TicketAsked(ticket_id=id, question=POISON if poison else "Since when is it so: {title}?")
        yield t.TicketAnswered(ticket_id=id)
    if chance.random() < 0.2:
        yield t.TicketBlocked(ticket_id=id, by="vendor")
        yield t.TicketFreed(ticket_id=id)
    yield t.TicketResolved(ticket_id=id, cause=chance.choice(CAUSES))
    if chance.random() < 0.1:
        yield t.TicketReopened(ticket_id=id)
        yield t.TicketResolved(ticket_id=id, cause=chance.choice(CAUSES))
    if chance.random() < 0.8:
        yield t.TicketClosed(ticket_id=id)


def _call(chance: random.Random, id: str, at: datetime, until: datetime) -> Iterator[Said]:
    """How a call ended is written down at the end of the day."""
    told: list[tuple[datetime, Event]] = [
        (at, d.CallReceived(call_id=id, priority=chance.choice("23E"))),
        (at + timedelta(minutes=1), d.CallEntered(call_id=id)),
    ]
    for number in range(chance.randint(1, 3)):
        then = at + timedelta(minutes=2 + 3 * number)
        for stage in STAGES:
            if stage is not d.TransportStarted or chance.random() < 0.9:  # a forgotten press: the next one makes no sense then
                told.append((then, stage(call_id=id, unit_id=f"M{number + 1}")))
            then += timedelta(minutes=chance.choice((1, 2, 5, 9)))
    end = until - timedelta(seconds=chance.randint(1, 1200))
    told.append((end, d.CallDisposed(call_id=id, disposition=chance.choice(("Code 2 Transport", "Code 2 Transport", "Code 3 Transport", "Fire")))))
    for n, (time, event) in enumerate(sorted(told, key=lambda one: one[0])):
        yield Said(f"{id}-{n}", time, event, "", id)


def _forgotten(until: datetime) -> Iterator[Said]:
    """A mail server was found that had been off for weeks: whether these were taken before, nobody remembers."""
    for n in range(3):
        yield Said(f"found-{n}", until - timedelta(days=20), t.TicketOpened(ticket_id=f"T-{n + 1:04}", title="sent long ago"), "", "")


def _record(said: Said) -> Record:
    attributes = [("actor", said.actor), ("correlationid", said.flow)]
    return record_of(said.event, id=said.id, source="/demo", time=said.time, attributes=attributes)


def _other(event: t.TicketOpened) -> t.TicketOpened:
    return t.TicketOpened(ticket_id=event.ticket_id, title="something else", priority=event.priority)


def _garbage(at: datetime) -> Iterator[Record]:
    """What is on every topic sooner or later."""
    good = _record(Said("broken", at, t.TicketFreed(ticket_id="T-0002"), "", ""))
    yield from (_with(good, value) for value in (b"\xff\xfe\x00", b"{", b'{"ticket_id": 7}', b"[" * 2000))
    unknown = [(name, b"ticket.levitated" if name == "ce_type" else value) for name, value in good.headers]
    yield Record(good.topic, -1, -1, good.timestamp, good.key, good.value, unknown)
    yield Record(good.topic, -1, -1, good.timestamp, good.key, good.value, ())


def _with(record: Record, value: bytes) -> Record:
    return Record(record.topic, -1, -1, record.timestamp, record.key, value, record.headers)
