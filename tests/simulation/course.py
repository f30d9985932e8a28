"""What happens in a run, drawn from its seed before it starts: who says what, and who gets hurt when.

Orders called `a..` are plain: fed by one partition, told as it happens, left alone by people, so their end is known to the byte whatever goes wrong.
Orders called `w..` are wild: their events may come late or by two partitions, their handlers may raise, and people give orders about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from random import Random
from zlib import crc32

from stream.core.codec import record_of
from stream.core.event import Event
from stream.core.record import Ref, TopicPartition
from stream.runtime.settings import Settings
from tests.simulation.app import ALWAYS, BROKEN, PARTITIONS, Noted, OrderEvent, Packed, Paid, ParcelEvent, Placed, Shipped, Viewed, Weighed, Withdrawn
from tests.simulation.people import Desk
from tests.simulation.program import Fault
from tests.simulation.world import World

SPAN = 3.0
"""Seconds for which events are said and faults strike."""
BURST = 0.58
"""Seconds between two bursts of events: so there is more in a batch than one record."""
FAR = 12.0
"""Seconds by which the movable clock is moved when all is said: every clock of the App has run out by then."""
NAMES = ("p0", "p1", "p2")
ROLES = (("worker", "relay", "ticker", "notifier"), ("worker", "relay", "notifier"), ("worker", "ticker"), ("worker",))

IN_DATABASE = ("begin", "claim.", "first_sight.", "load.", "save", "save.", "commit", "commit.", "adopt", "adopt.", "feeds.", "due.", "note_drained")
IN_RELAY = ("lease.", "renew", "read.", "publish", "publish.", "advance", "advance.")
IN_NOTIFIER = ("tell", "tell.", "settle", "settle.")
WITH_A_BATCH = ("save", "commit", "commit.", "publish", "publish.", "advance", "due.")
POINTS = (*IN_DATABASE, *IN_RELAY, *IN_NOTIFIER, "fetch", "seek", "position", *WITH_A_BATCH * 2)
ORDERS = ("retry", "skip", "replay", "answer", "answer")
LOSSES = (("commit", "lost"), ("commit", "landed"), ("publish", "lost"), ("publish", "landed"), ("publish", "part"), ("publish", "later"))


@dataclass(frozen=True)
class Saying:
    """An event to be said at a time; `late`: seconds that its own time lies before that. `astray`: into another partition than its key's.

    `spoiled`: its bytes are no JSON; `aborted`: it takes an offset, and nobody ever reads it.
    """

    at: float
    id: str
    event: Event
    late: float = 0.0
    astray: bool = False
    spoiled: bool = False
    aborted: bool = False


class Course:
    """`settings` and all that is to happen, as a function of the seed alone."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = Random(f"course {seed}")
        small = chance.random() < 0.2
        self.settings = Settings(
            lanes=chance.choice((1, 1, 2)),
            batch=chance.choice((1, 2, 4, 8)),
            relay_batch=chance.choice((1, 2, 4, 50)),
            relay_lease=1.2,
            drain=4.0,
            outbox_high=3 if small else 1000,
            outbox_low=1 if small else 500,
        )
        self.roles = {name: chance.choice(ROLES) for name in NAMES[: chance.choice((2, 2, 2, 3))]} | {NAMES[0]: ROLES[0]}
        self._wild_ones = chance.choice((0, 1, 1))
        self.sayings = sorted(self._sayings(), key=lambda saying: saying.at)
        self.hurts = sorted(self._hurts(), key=lambda hurt: hurt[0])
        self.shrinks = chance.random() < 0.6
        self.mended_at = chance.uniform(1.0, SPAN)
        wild = [Ref(kind, f"w{n}") for n in range(self._wild_ones) for kind in ("order", "parcel")]
        self.orders = sorted((chance.uniform(1, SPAN), chance.choice(ORDERS), chance.choice(wild)) for _ in range(6)) if wild else []

    def _sayings(self) -> Iterator[Saying]:
        for number in range(self._chance.choice((1, 1, 2))):
            yield from self._told(self._script(f"a{number}"))
        for number in range(self._wild_ones):
            yield from self._told(self._wild(f"w{number}"))

    def _script(self, name: str) -> list[Saying]:
        chance = self._chance
        events: list[Event] = [Placed(order=name), Noted(order=name, n=1), Paid(order=name), Weighed(order=name, grams=chance.randint(1, 9))]
        events += [Packed(order=name), Shipped(order=name)]
        for extra in (Noted(order=name, n=2), Viewed(order=name), Withdrawn(order=name), Paid(order=name), Noted(order=name, n=3)):
            if chance.random() < 0.3:
                events.insert(chance.randrange(len(events) + 1), extra)
        if chance.random() < 0.4:
            events.pop(chance.randrange(1, len(events)))
        if chance.random() < 0.4:
            events.insert(chance.randrange(len(events)), events.pop(chance.randrange(len(events))))
        begin = chance.choice((0.1, 0.68))
        # In bursts, so that there is more in a batch than one record.
        times = sorted(begin + BURST * chance.randrange(int((SPAN - begin) / BURST)) for _ in events)
        return [Saying(at, f"{name}-{n}", event) for n, (at, event) in enumerate(zip(times, events, strict=True))]

    def _wild(self, name: str) -> list[Saying]:
        made, chance = self._script(name), self._chance
        for n, said in enumerate(made):
            event, luck = said.event, chance.random()
            if isinstance(event, Noted) and luck < 0.6:
                event = Noted(order=name, n=event.n, flaw=chance.choice((BROKEN, ALWAYS)))
            late = chance.uniform(0, 4) if chance.random() < 0.3 else 0.0
            made[n] = Saying(said.at, said.id, event, late, chance.random() < 0.15)
        return made

    def _told(self, script: list[Saying]) -> Iterator[Saying]:
        """Each as it is, and some once more, some with other content, some that nobody can read."""
        chance = self._chance
        for said in script:
            yield said
            luck, after = chance.random(), min(SPAN, said.at + BURST * chance.randrange(3))
            if luck < 0.2:
                yield Saying(after, said.id, said.event, said.late, said.astray)
            elif luck < 0.24:
                yield Saying(after, said.id, _changed(said.event))
            elif luck < 0.28:
                yield Saying(after, f"{said.id}-spoiled", said.event, spoiled=True)
            elif luck < 0.31:
                yield Saying(after, f"{said.id}-aborted", said.event, aborted=True)

    def _hurts(self) -> Iterator[tuple[float, str, str, Fault | float]]:
        """(when, what, to whom, how)."""
        chance = self._chance
        if chance.random() < 0.3:
            # Between its look and its firing: whoever is not frozen fires meanwhile.
            tickers = [name for name, roles in self.roles.items() if "ticker" in roles]
            yield SPAN, "fault", tickers[-1], Fault("due.", "freeze", chance.uniform(0.3, 1.0))
        for _ in range(chance.randint(2, 5)):
            at, name, luck = chance.uniform(0.1, SPAN - 0.5), chance.choice(sorted(self.roles)), chance.random()
            if luck < 0.2:
                yield at, "fault", name, Fault(chance.choice(POINTS), "crash", chance.uniform(0.1, 1.0), chance.randrange(3))
            elif luck < 0.4:
                length = chance.choice((chance.uniform(0.1, 0.8), chance.uniform(1.6, 2.6)))
                yield at, "fault", name, Fault(chance.choice(POINTS), "freeze", length, chance.randrange(3))
            elif luck < 0.6:
                yield at, "fault", name, Fault(*chance.choice(LOSSES), skip=chance.randrange(2))
            elif luck < 0.7:
                yield at, "fault", name, Fault(chance.choice(POINTS), "lost", skip=chance.randrange(3))
            elif luck < 0.78:
                yield at, "away", chance.choice(("broker", "database")), chance.uniform(0.1, 1.2)
            elif luck < 0.86:
                yield at, "leave", name, chance.uniform(0.1, 1.0)
            elif luck < 0.93:
                yield at, "clock", "", chance.uniform(0.5, 6.0)
            else:
                for _ in range(chance.randint(1, 4)):
                    yield at + chance.uniform(0, 1), "rebalance", "", 0.0

    # -- carried out ---------------------------------------------------------------------------------------------------------------------

    def begin(self, world: World, desk: Desk) -> None:
        world.roles |= self.roles
        for name in self.roles:
            world.start(name)
        for at, burst in groupby(self.sayings, lambda said: said.at):
            world.later(at, say, world, list(burst))
        for at, what, whom, how in self.hurts:
            world.later(at, hurt, world, what, whom, how)
        world.later(self.mended_at, world.mend)
        world.later(SPAN, world.move_clock, FAR)
        for at, order, ref in self.orders:
            world.later(at, give, world, desk, order, ref)


def say(world: World, burst: Sequence[Saying]) -> None:
    for said in burst:
        _say(world, said)


def _say(world: World, said: Saying) -> None:
    """Its time is now, by the database's movable clock, unless it is late."""
    time = world.database.now() - timedelta(seconds=said.late)
    record = record_of(said.event, id=said.id, source="/shop", time=time)
    key = record.key or b""
    n = (crc32(key) + said.astray) % PARTITIONS[record.topic]
    value = b"{" if said.spoiled else record.value
    world.append(TopicPartition(record.topic, n), key, value, record.headers, aborted=said.aborted)


def _changed(event: Event) -> Event:
    match event:
        case Noted():
            return Noted(order=event.order, n=event.n + 1000)
        case Weighed():
            return Weighed(order=event.order, grams=event.grams + 1000)
        case OrderEvent():
            return Noted(order=event.order, n=2000)
        case ParcelEvent():
            return Weighed(order=event.order, grams=2000)
        case _:
            raise TypeError(type(event))


def give(world: World, desk: Desk, order: str, ref: Ref) -> None:
    world.trace.note("desk", f"{order} {ref}")
    orders = {"replay": desk.replay, "answer": desk.answer}
    world.loop.create_task(orders[order](ref) if order in orders else desk.retry(ref, "not worth it" if order == "skip" else ""))


def hurt(world: World, what: str, whom: str, how: Fault | float) -> None:
    if isinstance(how, Fault):
        if program := world.programs.get(whom):
            program.faults.append(how)
    elif what == "away":
        world.away(whom, how)
    elif what == "leave":
        world.leave(whom, how)
    elif what == "clock":
        world.move_clock(how)
    else:
        world.rebalance()
