"""A room for one case of the kiln: a notifier and a person work in each of its processes, and what people and owners were told is looked at."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import anyio
import asyncpg

from stream import App
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.adapters.postgres import migrate
from stream.adapters.postgres.connection import PostgresSettings
from stream.adapters.postgres.notices import PostgresNotices
from stream.core.topic import Topic
from stream.ops.site import Configured, Site
from stream.ports.notices import Delivery, Fate, Leased, Messenger
from stream.runtime.app import Parts
from stream.runtime.notifier import Telling
from stream.runtime.waiting import Stop
from tests.chaos import kiln, pottery
from tests.chaos.cases import Building, template, write
from tests.chaos.failpoints import Trip
from tests.chaos.people import Answering, Person
from tests.chaos.room import Looks, Room, broken, broker, read
from tests.conftest import as_role, named


class Book(Messenger):
    """An owner who writes down each key as it comes, so that it is there whatever becomes of the process that told it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    async def send(self, leased: Leased) -> Delivery:
        with self._path.open("a", encoding="utf-8") as book:
            book.write(f"{leased.notice.key}\n")
        return Delivery(Fate.SENT)

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True)
class Place(Site):
    """Where a person stands: a room's."""

    room: Room | None = None

    @cached_property
    def app(self) -> App:
        assert self.room is not None
        return self.room.app


@dataclass(frozen=True, kw_only=True)
class Staffed(Parts):
    """With somebody at the desk, and what happens on that one's way."""

    trip: Trip
    answering: Answering = kiln.answer_to


@dataclass(frozen=True, kw_only=True)
class Kiln(Room):
    """`book`: what owners were told. `role` and `word`: who comes to the desk, for no owner of tables is let in there."""

    book: Path
    role: str
    word: str

    @property
    def app(self) -> App:
        return kiln.application(self.pots, self.told)

    @property
    def topics(self) -> list[Topic]:
        return [Topic(self.told, partitions=kiln.PARTITIONS), Topic(kiln.alerts_of(self.told), partitions=kiln.PARTITIONS)]

    def parts(self, telemetry: MemoryTelemetry) -> Parts:
        database = self.database
        telling = Telling(notices=lambda: PostgresNotices(database), messengers=lambda: {"log": Book(self.book)}, every=0.1)
        return replace(super().parts(telemetry), telling=telling)

    def armed(self, trip: Trip) -> Staffed:
        return Staffed(**vars(super().armed(trip)), trip=trip)

    def looks(self) -> KilnLooks:
        return KilnLooks(self)

    async def run(self, parts: Parts | None = None, stop: Stop | None = None, roles: Collection[str] = ()) -> None:
        parts = parts or self.parts(MemoryTelemetry())
        gone = Stop()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._person(parts).work, gone)
            await super().run(parts, stop, roles)
            gone.set()

    def _person(self, parts: Parts) -> Person:
        if isinstance(parts, Staffed):
            return Person(self.site, kiln.ANN, parts.answering, parts.trip)
        return Person(self.site, kiln.ANN, kiln.answer_to)

    @property
    def site(self) -> Site:
        """Where people of this room give their orders."""
        dsn = as_role(self.dsn, self.role, self.word)
        return Place(Configured(self.settings, broker(self.kafka), replace(self.database, dsn=dsn)), {}, room=self)


class KilnLooks(Looks):
    """What one sees of it from outside."""

    def __init__(self, room: Kiln) -> None:
        super().__init__(room)
        self._book = room.book

    async def drained(self) -> None:
        done = {"position": kiln.COUNTS["records"], "due": 0, "unsent": 0, "orders": kiln.ANSWERS, "waiting": 0}
        await self.until("served", done)

    async def faults(self) -> list[str]:
        entities, history = await self.rows("entities"), await self.rows("history")
        states = {row["id"]: row["state"] for row in entities}
        counts = dict((await self.rows("counts"))[0].items())
        found = [
            *_unlike("states", states, {**{piece: kiln.state_of(piece) for piece in kiln.lives()}, **dict.fromkeys(kiln.TAKEN, "standing")}),
            *_unlike("lives", _lives(history), kiln.lives()),
            *_unlike("numbers", {row["id"]: json.loads(row["data"])["taken"] for row in entities if row["id"] in kiln.TAKEN}, kiln.TAKEN),
            *_unlike("counts", {name: counts[name] for name in kiln.COUNTS}, kiln.COUNTS),
            *_unlike("lines", await self.rows("line"), []),
        ]
        letters = sorted((json.loads(row["value"])["id"], row["reason"], json.loads(row["value"])["n"]) for row in await self.rows("letters"))
        found += _unlike("letters", letters, kiln.LETTERS)
        return [*found, *await self._asked(), *await self._owners_told(), *await self._said(), *broken(entities, history)]

    async def _asked(self) -> list[str]:
        """Each task is asked once a time its state is entered, closed once; each answer moves its entity once, and stands in the audit once."""
        seen: dict[str, list[tuple[object, ...]]] = {}
        for row in await self.rows("tasks"):
            seen.setdefault(row["entity_id"], []).append(tuple(row)[1:])
        orders = Counter((row["actor"], row["action"]) for row in await self.rows("audit"))
        return [*_unlike("tasks", seen, kiln.tasks()), *_unlike("audit", orders, Counter({(kiln.ANN, "tasks answer"): kiln.ANSWERS}))]

    async def _owners_told(self) -> list[str]:
        """Each notice is written once under a key of its own, settled as sent, and reached its owner under that key at least once."""
        rows = await self.rows("notices")
        keys, heard = Counter(row["key"] for row in rows), self._book.read_text(encoding="utf-8").split()
        return [
            *_unlike("notices", Counter((row["entity_id"], row["owner"], row["type"]) for row in rows), kiln.notices()),
            *_unlike("settled", Counter(row["status"] for row in rows), Counter({"sent": len(rows)})),
            *_unlike("keys", keys, Counter(set(keys))),
            *_unlike("heard", set(heard), set(keys)),
        ]

    async def _said(self) -> list[str]:
        """What stands on the topics, repeats left out: all that was to be said, each emitter's in its order."""
        done, alerts, found, ids = dict[str, list[str]](), Counter[tuple[str, str]](), list[str](), set[str]()
        for topic in (self.room.told, kiln.alerts_of(self.room.told)):
            latest = Counter[str]()
            async for record in read(self.room.kafka, topic):
                named = {name: (value or b"").decode() for name, value in record.headers}
                if named["ce_id"] in ids:
                    continue
                ids.add(named["ce_id"])
                emitter, body = named["ce_emitter"], json.loads(record.value or b"")
                latest[emitter] += 1
                if int(named["ce_sequence"]) != latest[emitter]:
                    found.append(f"sequence: {named['ce_sequence']} of {emitter} at place {latest[emitter]}")
                if named["ce_type"] == "done":
                    done.setdefault(body["id"], []).append(body["what"])
                else:
                    alerts[emitter.partition("/")[2], named["ce_type"]] += 1
        return [*found, *_unlike("told", done, kiln.told()), *_unlike("alerts", alerts, kiln.alerts())]


def _unlike(what: str, seen: object, wanted: object) -> list[str]:
    if isinstance(seen, dict) and isinstance(wanted, dict):
        one, other = cast("dict[object, object]", seen), cast("dict[object, object]", wanted)
        return [f"{what}: {key}: {one.get(key)} instead of {other.get(key)}" for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    return [] if seen == wanted else [f"{what}: {seen} instead of {wanted}"]


def _lives(history: Sequence[asyncpg.Record]) -> dict[str, list[str]]:
    """What each piece applied, in order."""
    found: dict[str, list[str]] = {}
    for row in history:
        if row["machine"] == "piece" and row["outcome"] == "applied":
            found.setdefault(row["entity_id"], []).append(row["event_type"])
    return found


# -- where rooms are made ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Kilns(Building):
    """`role` and `word`: of whoever comes to the desk."""

    role: str
    word: str

    def furnished(self, name: str) -> Kiln:
        book = self.scraps / f"{name}.book"
        dsn = named(self.postgres, name)
        return Kiln(self.kafka, dsn, self.pots, told=name, group=name, book=book, role=self.role, word=self.word)


@asynccontextmanager
async def kilns(kafka: str, postgres: str, scraps: Path, login: tuple[str, str]) -> AsyncGenerator[Kilns]:
    """`login` is the name and password of the role that has its rights in each room."""
    load = kiln.Load(f"kiln-{secrets.token_hex(4)}", pottery.begin())
    async with template(postgres) as name:
        await migrate.grant(PostgresSettings(dsn=named(postgres, name)), login[0])
        await write(kafka, load.topic, load.records())
        role, word = login
        yield Kilns(kafka, postgres, name, load.topic, scraps, role=role, word=word)
