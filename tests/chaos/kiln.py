"""A second small App for the failpoints: people are asked and answer, clocks tell owners, and numbers are taken in order.

As with the pots, the load is of two days eight days apart, written once, and the database's clock stands on the second: what the first day left
open is overdue. A piece's name says what becomes of it. `asked`: a person passes it. `recut`: a person has it cut again, and then passes it.
`told`: an event answers. `lost`: nobody does, and it breaks after two days. `why`: it was passed and lies too long, and a person says why.
`sold`: the same, and an event comes before anybody says why. `open`: nobody answers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from stream import App, Cause, Data, Event, Machine, Owner, Sla, State, Task, hours, opens, parse_owners
from stream.core.topic import Topic
from stream.ports import Outgoing
from tests.chaos.pottery import AHEAD, Told, written

PARTITIONS = 2
OWNERS = """
[owners.master]
people = ["ann"]
tell = [{ log = true }]
[owners.guild]
tell = [{ log = true }]
"""
POTTER, MASTER, GUILD = Owner("potter"), Owner("master"), Owner("guild")
FORMS, CAUSES = ("form", "glaze"), ("heat", "wood")
SOURCE = "/kiln"


class Piece(Data):
    id: str
    patience: int


class Rack(Data):
    id: str
    taken: list[int]


@cache
def application(pieces: str, told: str) -> App:
    """Pieces and racks on topic `pieces`; what they tell goes to topic `told`, the alerts to one beside it."""

    class PieceEvent(Event, topic=pieces, key="id"):
        id: str

    class Shaped(PieceEvent, type="piece.shaped"):
        patience: int

    class Passed(PieceEvent, type="piece.passed"): ...

    class Recut(PieceEvent, type="piece.recut"): ...

    class Sold(PieceEvent, type="piece.sold"): ...

    class RackEvent(Event, topic=pieces, key="id"):
        id: str
        n: int

    class Built(RackEvent, type="rack.built"): ...

    class Loaded(RackEvent, type="rack.loaded"): ...

    class Done(Event, type="done", topic=told, key="id"):
        id: str
        what: str

    def shape(e: Shaped, cause: Cause) -> Piece:
        return Piece(id=e.id, patience=e.patience)

    def question(p: Piece) -> str:
        return f"Is {p.id} good?"

    def patience(p: Piece) -> timedelta:
        return hours(p.patience)

    def tell_passed(p: Piece, e: Passed) -> Done:
        return Done(id=p.id, what="passed")

    def tell_lost(p: Piece) -> Done:
        return Done(id=p.id, what="lost")

    def build(e: Built, cause: Cause) -> Rack:
        return Rack(id=e.id, taken=[e.n])

    def load(r: Rack, e: Loaded) -> None:
        r.taken.append(e.n)

    def tell_loaded(r: Rack, e: Loaded) -> Done:
        return Done(id=r.id, what=f"loaded {e.n}")

    judging = Task(question, answers=(Passed, Recut), owner=MASTER, within=hours(24), escalate_to=GUILD, reasons=FORMS)
    judged = State[Piece]("judged", owner=POTTER, task=judging)
    recut = State[Piece]("recut", owner=POTTER, task=Task("Is it good now?", answers=(Passed,), owner=MASTER))
    resting = Sla[Piece](hours(24), warn_at=0.5, repeat=hours(120), escalate_to=MASTER, reasons=CAUSES)
    glazed = State[Piece]("glazed", owner=POTTER, sla=resting)
    broken, sold = State[Piece]("broken", final=True), State[Piece]("sold", final=True)
    piece = Machine[Piece](
        "piece",
        data=Piece,
        events=(PieceEvent,),
        transitions=(
            opens(Shaped, to=judged, then=shape),
            judged.on(Passed, to=glazed, emit=tell_passed),
            judged.on(Recut, to=recut),
            judged.after(patience, to=broken, emit=tell_lost),
            recut.on(Passed, to=glazed, emit=tell_passed),
            glazed.on(Sold, to=sold),
        ),
    )
    standing, full = State[Rack]("standing", owner=GUILD), State[Rack]("full", final=True)
    rack = Machine[Rack](
        "rack",
        data=Rack,
        events=(RackEvent,),
        order_by="n",
        gap_within=hours(24),
        transitions=(
            opens(Built, to=standing, then=build),
            standing.on(Loaded, then=load, emit=tell_loaded),
            standing.settles(to=full, when=lambda r: len(r.taken) > 99),
        ),
    )
    topics = (Topic(pieces, partitions=PARTITIONS), Topic(told, partitions=PARTITIONS))
    return App("kiln", machines=(piece, rack), topics=topics, alerts=alerts_of(told), owners=parse_owners(OWNERS))


def alerts_of(told: str) -> str:
    """The topic beside it."""
    return f"{told}-alerts"


# -- the load ------------------------------------------------------------------------------------------------------------------------

Said = tuple[str, Mapping[str, object]]
LONG, SHORT = 100_000, 48
"""Hours that a piece waits to be judged."""
OLD = ("old asked 0", "old asked 1", "old recut", "old told 0", "old told 1", "old lost 0", "old lost 1", "old why 0", "old why 1", "old sold")
NEW = ("new asked 0", "new asked 1", "new recut", "new told", "new open")
GAPPED, SHORT_OF, WHOLE, EARLY, FRESH = "rack gapped", "rack short of one", "rack whole", "rack early", "rack fresh"
"""Of the second nothing more is heard: only a ticker passes its gap."""


def _shaped(piece: str) -> Said:
    return "piece.shaped", {"id": piece, "patience": SHORT if "lost" in piece else LONG}


def _is(kind: str, *words: str) -> Iterator[Said]:
    """An event for each old piece of these names."""
    yield from ((kind, {"id": piece}) for piece in OLD if any(word in piece for word in words))


def _loads(rack: str, *numbers: int) -> list[Said]:
    return [("rack.built" if n == 1 else "rack.loaded", {"id": rack, "n": n}) for n in numbers]


def _first_day() -> list[Said]:
    early, whole = _loads(EARLY, 2, 3, 1, 4), _loads(WHOLE, 1, 3, 2, 5, 4)
    return [*map(_shaped, OLD), *_is("piece.passed", "why", "sold"), *early, *whole, *_loads(GAPPED, 1, 3, 4), *_loads(SHORT_OF, 1, 3)]


def _second_day() -> list[Said]:
    return [
        *_is("piece.passed", "told"),
        *map(_shaped, NEW),
        ("piece.passed", {"id": "new told"}),
        *_loads(FRESH, 3, 1, 2, 5, 2, 4),
        *_is("piece.sold", "sold"),
        *_loads(GAPPED, 5, 2),
    ]


@dataclass(frozen=True)
class Load:
    """What is written to the input topic: `start` is when the first day begins."""

    topic: str
    start: datetime

    def records(self) -> list[Outgoing]:
        return written(application(self.topic, "anywhere"), self.topic, SOURCE, self._said())

    def _said(self) -> Iterator[Told]:
        """Id, type, time and fields of each event: the first day, the second, and the first once more."""
        days = [("a", self.start, _first_day()), ("b", self.start + AHEAD, _second_day()), ("a", self.start, _first_day())]
        for letter, begin, said in days:
            for n, (kind, fields) in enumerate(said):
                yield f"{letter}{n}", kind, begin + timedelta(seconds=n), fields


# -- what people say -----------------------------------------------------------------------------------------------------------------

ANN = "ann"


def answer_to(piece: str, task: str) -> tuple[str | None, str] | None:
    """The event and the reason code by which Ann answers; None where she does not."""
    if task == "reason glazed":
        return (None, "wood") if "why" in piece else None
    if task == "state recut":
        return "piece.passed", ""
    if "asked" in piece or "recut" in piece:
        return ("piece.passed" if "asked" in piece else "piece.recut"), "form"
    return None


# -- what must come of it ------------------------------------------------------------------------------------------------------------

_EVENTS = len(_first_day()) + len(_second_day())
COUNTS = {
    "records": _EVENTS + len(_first_day()),
    "admitted": _EVENTS,
    "duplicate": len(_first_day()),
    "conflict": 0,
    "dead": 0,
    "skipped": 0,
    "concerned": _EVENTS,
    # What waits for an earlier number, or for the rack to be built.
    "deferred": 9,
    "parked": 0,
    "rejected": 2,
    "ignored": 0,
}
"""The sums over the partitions. `applied` is left out: numbers held back are taken by an event here or by the ticker there."""

TAKEN = {GAPPED: [1, 3, 4, 5], SHORT_OF: [1, 3], WHOLE: [1, 2, 3, 4, 5], EARLY: [1, 2, 3, 4], FRESH: [1, 2, 3, 4, 5]}
LETTERS = [(FRESH, "late", 2), (GAPPED, "late", 2)]

BREACH, LADDER = ["sla.breached"], ["sla.warned", "sla.breached", "sla.escalated"]
_LIVES = {
    "old asked": [*BREACH, "piece.passed"],
    "old recut": [*BREACH, "piece.recut", "piece.passed"],
    "old told": [*BREACH, "piece.passed"],
    "old lost": [*BREACH, "after.elapsed"],
    "old why": ["piece.passed", *LADDER, "sla.explained"],
    "old sold": ["piece.passed", *LADDER, "piece.sold"],
    "new asked": ["piece.passed"],
    "new recut": ["piece.recut", "piece.passed"],
    "new told": ["piece.passed"],
    "new open": [],
}
STATES = {"lost": "broken", "sold": "sold", "open": "judged"}


def lives() -> dict[str, list[str]]:
    """Every event that each piece applies, in order: rungs of a clock are among them."""
    return {piece: ["piece.shaped", *_LIVES[" ".join(piece.split()[:2])]] for piece in (*OLD, *NEW)}


def state_of(piece: str) -> str:
    """Where it rests at the end."""
    return STATES.get(piece.split()[1], "glazed")


Task_ = tuple[str, str, str | None, str | None, str]


def tasks() -> dict[str, list[Task_]]:
    """Name, status, answer, who closed it and the reason code of each task of each piece, in the order in which they were asked."""
    return {piece: list(_tasks(piece, piece.split()[1])) for piece in (*OLD, *NEW)}


def _tasks(piece: str, fate: str) -> Iterator[Task_]:
    if fate == "open":
        yield "state judged", "open", None, None, ""
    elif fate == "lost":
        yield "state judged", "closed", None, "/kiln/piece", ""
    elif fate in ("asked", "recut"):
        yield "state judged", "answered", f"piece.{'passed' if fate == 'asked' else 'recut'}", ANN, "form"
    else:
        yield "state judged", "answered", "piece.passed", SOURCE, ""
    if fate == "recut":
        yield "state recut", "answered", "piece.passed", ANN, ""
    if fate == "why":
        yield "reason glazed", "answered", "sla.explained", ANN, "wood"
    if fate == "sold":
        yield "reason glazed", "open", None, None, ""


def notices() -> Counter[tuple[str, str, str]]:
    """Whom each piece or rack has told of what, once each."""
    found = Counter((rack, GUILD.name, "gap.passed") for rack in (GAPPED, SHORT_OF))
    for piece in (*OLD, *NEW):
        # Of a breach that wants a reason the breach itself tells.
        found.update((piece, MASTER.name, "task.opened") for name, *_ in _tasks(piece, piece.split()[1]) if name.startswith("state"))
        if piece.startswith("old") and piece.split()[1] not in ("why", "sold"):
            found[piece, GUILD.name, "sla.breached"] += 1
        elif piece.startswith("old"):
            found.update({(piece, MASTER.name, "sla.breached"): 1, (piece, MASTER.name, "sla.escalated"): 1})
    return found


def alerts() -> Counter[tuple[str, str]]:
    """What is told of each on the alerts topic: the same, and a warning, which is for an owner whom nobody knows."""
    found = Counter({(id, kind): n for (id, _, kind), n in notices().items()})
    found.update((piece, "sla.warned") for piece in OLD if piece.split()[1] in ("why", "sold"))
    return found


def told() -> dict[str, list[str]]:
    """What each says on the topic, in order."""
    racks = {rack: [f"loaded {n}" for n in numbers if n > 1] for rack, numbers in TAKEN.items()}
    pieces = {piece: ["lost" if "lost" in piece else "passed"] for piece in (*OLD, *NEW) if "open" not in piece}
    return {**pieces, **racks}


ANSWERS = sum(by == ANN for of in tasks().values() for *_, by, _ in of)
"""How many answers Ann has given in the end."""
