"""A small App and one fixed load in which every statement of the path has something to do; what must come of it is known beforehand.

The input topic is written once and read by every case, each with a database, a group and an output topic of its own. The database's clock is ahead
by eight days, the load is of two days that far apart: what the first day left open is overdue when the second begins.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import msgspec

from stream import App, Cause, Data, Event, Machine, State, hours, opens
from stream.core.codec import record_of
from stream.core.topic import Topic
from stream.ports import Outgoing

AHEAD = timedelta(days=8)
PARTITIONS = 2
LARGEST = 2_000
"""Bytes of the largest record that may be sent: one pot says more."""
BOOM = 13
OLD, NEW = [f"old {n}" for n in (0, 2, 1, 3, 4, 6)], [f"new {n}" for n in (0, 1, 3, 4, 6, 7)]
EARLY, SPOILED, LOUD, SEALED = "early", "spoiled", "loud", "sealed"
"""Chosen so that each partition has three of either, and pots of one share shards of the outbox with pots of the other."""


class Pot(Data):
    id: str
    taken: list[int] = msgspec.field(default_factory=list[int])


@dataclass
class Repair:
    """Whether the handler that raises was mended."""

    done: bool = False


repair = Repair()


def application(pots: str, told: str) -> App:
    """Pots on topic `pots` take numbers and tell each one on topic `told`; one that nobody touches for a day closes."""

    class PotEvent(Event, topic=pots, key="id"):
        id: str

    class PotMade(PotEvent, type="pot.made"): ...

    class PotFilled(PotEvent, type="pot.filled"):
        n: int
        text: str = ""

    class PotSealed(PotEvent, type="pot.sealed"): ...

    class PotOpened(PotEvent, type="pot.opened"): ...

    class PotTold(Event, type="pot.told", topic=told, key="id"):
        id: str
        n: int
        text: str = ""

    def make(e: PotMade, cause: Cause) -> Pot:
        return Pot(id=e.id)

    def fill(pot: Pot, e: PotFilled) -> None:
        if e.n == BOOM and not repair.done:
            raise ValueError("this pot does not hold that")
        pot.taken.append(e.n)

    def tell(pot: Pot, e: PotFilled) -> PotTold:
        return PotTold(id=pot.id, n=e.n, text=e.text)

    def tell_closed(pot: Pot) -> PotTold:
        return PotTold(id=pot.id, n=-1)

    live, sealed, closed = State[Pot]("live"), State[Pot]("sealed", defers=(PotFilled,)), State[Pot]("closed", final=True)
    pot = Machine[Pot](
        "pot",
        data=Pot,
        events=(PotEvent,),
        transitions=(
            opens(PotMade, to=live, then=make),
            live.on(PotFilled, then=fill, emit=tell),
            live.on(PotSealed, to=sealed),
            sealed.on(PotOpened, to=live),
            live.after(hours(24), to=closed, emit=tell_closed),
        ),
    )
    return App("pottery", machines=(pot,), topics=(Topic(pots, partitions=PARTITIONS), Topic(told, partitions=PARTITIONS)), alerts=f"{told}-alerts")


Told = tuple[str, str, datetime, Mapping[str, object]]


def written(app: App, topic: str, source: str, told: Iterable[Told]) -> list[Outgoing]:
    """The records that say it, each by its id, type, time and fields."""
    kinds = {kind.__fact_type__: kind for kind in app.classes}
    rows: list[Outgoing] = []
    for n, (id, kind, time, fields) in enumerate(told):
        made = record_of(msgspec.convert(fields, kinds[kind]), id=id, source=source, time=time)
        rows.append(Outgoing(n, topic, made.key or b"", made.value or b"", [(name, value or b"") for name, value in made.headers]))
    return rows


@dataclass(frozen=True)
class Load:
    """What is written to the input topic: `start` is when the first day begins."""

    topic: str
    start: datetime

    def records(self) -> list[Outgoing]:
        rows = written(application(self.topic, "anywhere"), self.topic, "/pots", self._said())
        rows.insert(len(rows) // 2, Outgoing(len(rows), self.topic, b"x", b"no event at all", []))
        return rows

    def _said(self) -> Iterator[Told]:
        """Id, type, time and fields of each event."""
        first, second = _first_day(), _second_day()
        for n, (kind, fields) in enumerate(first):
            yield f"a{n}", kind, self.start + timedelta(seconds=n), fields
        for n, (kind, fields) in enumerate(second):
            if n == len(second) // 2:
                # The first day again, to the byte; then one of its ids with other content.
                for again, (kind_again, fields_again) in enumerate(first):
                    yield f"a{again}", kind_again, self.start + timedelta(seconds=again), fields_again
                yield "a6", "pot.filled", self.start, {"id": OLD[0], "n": 99}
            yield f"b{n}", kind, self.start + AHEAD + timedelta(seconds=n), fields


Said = tuple[str, Mapping[str, object]]


def _noise() -> str:
    """A text that stays too large however it is packed."""
    return "".join(blake2b(bytes([n])).hexdigest() for n in range(LARGEST // 32))


def _fill(pots: Sequence[str], numbers: Sequence[int]) -> list[Said]:
    return [("pot.filled", {"id": pot, "n": n}) for n in numbers for pot in pots]


def _made(pots: Sequence[str]) -> list[Said]:
    return [("pot.made", {"id": pot}) for pot in pots]


def _first_day() -> list[Said]:
    return [*_made(OLD), *_fill(OLD, range(4))]


def _second_day() -> list[Said]:
    loud: Said = ("pot.filled", {"id": LOUD, "n": 1, "text": _noise()})
    return [
        *_fill([EARLY], [0, 1]),
        *_fill(OLD[:2], [50]),
        *_made([*NEW, SPOILED, LOUD, SEALED]),
        ("pot.sealed", {"id": SEALED}),
        *_fill([*NEW, SPOILED, LOUD, SEALED], [0]),
        *_fill([SPOILED], [BOOM, 14, 15]),
        loud,
        *_fill([LOUD], [2, 3]),
        *_fill(NEW, range(1, 7)),
        *_made([EARLY]),
        ("pot.opened", {"id": SEALED}),
        *_fill(NEW, range(7, 9)),
    ]


# -- what must come of it ------------------------------------------------------------------------------------------------------------

_EVENTS = len(_first_day()) + len(_second_day())
COUNTS = {
    "records": _EVENTS + len(_first_day()) + 2,
    "admitted": _EVENTS,
    "duplicate": len(_first_day()),
    "conflict": 1,
    "dead": 1,
    "skipped": 0,
    "concerned": _EVENTS,
    # Two early and one kept; one that fails and two behind it; two that come to a closed pot.
    "deferred": 3,
    "parked": 3,
    "rejected": 2,
    "ignored": 0,
    "applied": _EVENTS - 8,
    "drained": 3,
}
"""The sums over the partitions. `fired` is left out: the same clock is fired by an event here or by the ticker there."""

TAKEN = {
    **{pot: list(range(4)) for pot in OLD},
    **{pot: list(range(9)) for pot in NEW},
    EARLY: [0, 1],
    SPOILED: [0],
    LOUD: [0, 1, 2, 3],
    SEALED: [0],
}
TOLD = {**TAKEN, **{pot: [*range(4), -1] for pot in OLD}, LOUD: [0]}
STATES = Counter({"closed": len(OLD), "live": len(NEW) + 4})
LETTERS = Counter({"no_transition": 2, "id_conflict": 1, "missing_attribute": 1})
LINE = [("parked", "handler_failed", BOOM), ("parked", "behind", 14), ("parked", "behind", 15)]
HELD = [("too_large", 1), ("behind", 2), ("behind", 3)]


def said_in(value: bytes) -> int | None:
    """The number in an event's bytes, if they are there and have one."""
    return json.loads(value).get("n") if value else None


def begin() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
