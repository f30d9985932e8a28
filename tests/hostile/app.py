"""The App that hostile records are sent to: notes that keep what an event said, and beats that show who is held up."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from stream import App, Data, Event, Machine, State, opens
from stream.core.record import Record
from stream.core.row import about
from stream.core.topic import Topic

PARTITIONS = 4
LANES = 12
"""Partitions of the topic whose batches are broken on their way."""


class Part(msgspec.Struct, frozen=True):
    name: str
    share: float = 0.0


class Note(Data):
    """What an event said, field by field."""

    id: str
    text: str = ""
    n: int = 0
    x: float = 0.0
    flag: bool = False
    at: datetime | None = None
    day: date | None = None
    tags: list[str] = msgspec.field(default_factory=list[str])
    sizes: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    kind: Literal["plain", "urgent"] = "plain"
    part: Part | None = None
    uid: UUID | None = None
    price: Decimal | None = None


class Pulse(Data):
    id: str
    beats: list[int] = msgspec.field(default_factory=list[int])


def topics_of(tag: str) -> tuple[str, str, str, str]:
    """Records; records of which some are skipped; records of plain JSON; batches."""
    return f"notes-{tag}", f"skipping-{tag}", f"plain-{tag}", f"frames-{tag}"


def application(tag: str) -> App:
    notes, skipping, plain, frames = topics_of(tag)

    class NoteWritten(Event, type="note.written", topic=notes, key="id"):
        id: str
        text: str = ""
        n: int = 0
        x: float = 0.0
        flag: bool = False
        at: datetime | None = None
        day: date | None = None
        tags: list[str] = msgspec.field(default_factory=list[str])
        sizes: dict[str, int] = msgspec.field(default_factory=dict[str, int])
        kind: Literal["plain", "urgent"] = "plain"
        part: Part | None = None
        uid: UUID | None = None
        price: Decimal | None = None

    class NoteSkimmed(Event, type="note.skimmed", topic=skipping, key="id"):
        id: str

    class NoteMapped(Event, type="note.mapped", topic=plain, key="id"):
        id: str

    class NoteRouted(Event, type="note.routed", topic=notes, key="id"):
        id: str

    class NoteChecked(Event, type="note.checked", topic=notes, key="id"):
        id: str

        def __post_init__(self) -> None:
            check(self.id)

    class Beaten(Event, type="pulse.beaten", topic=notes, key="id"):
        id: str
        n: int

    class BeatenInFrame(Event, type="pulse.beaten.framed", topic=frames, key="id"):
        id: str
        n: int

    class Stilled(Event, type="pulse.stilled", topic=notes, key="id"):
        id: str

    def write(e: NoteWritten) -> Note:
        return Note(**msgspec.structs.asdict(e))

    def skim(e: NoteSkimmed | NoteMapped | NoteRouted | NoteChecked) -> Note:
        return Note(id=e.id)

    def begin(e: Beaten | BeatenInFrame) -> Pulse:
        return Pulse(id=e.id, beats=[e.n])

    def beat(pulse: Pulse, e: Beaten | BeatenInFrame) -> None:
        pulse.beats.append(e.n)

    written, beating, still = State[Note]("written", final=True), State[Pulse]("beating"), State[Pulse]("still", final=True)
    note = Machine[Note](
        "note",
        data=Note,
        events=(NoteWritten, NoteSkimmed, NoteMapped, NoteChecked, about(NoteRouted, route)),
        transitions=(
            opens(NoteWritten, to=written, then=write),
            opens(NoteSkimmed, to=written, then=skim),
            opens(NoteMapped, to=written, then=skim),
            opens(NoteRouted, to=written, then=skim),
            opens(NoteChecked, to=written, then=skim),
        ),
    )
    pulse = Machine[Pulse](
        "pulse",
        data=Pulse,
        events=(Beaten, BeatenInFrame, Stilled),
        transitions=(
            opens(Beaten, to=beating, then=begin),
            opens(BeatenInFrame, to=beating, then=begin),
            beating.on(Beaten, then=beat),
            beating.on(BeatenInFrame, then=beat),
            beating.on(Stilled, to=still),
        ),
    )
    mapped = Topic(plain, partitions=1, mapper=mapper)
    skipped = Topic(skipping, partitions=1, unknown="skip", no_data="skip")
    topics = (Topic(notes, partitions=PARTITIONS), skipped, mapped, Topic(frames, partitions=LANES))
    return App("hostile", machines=(note, pulse), topics=topics, alerts=f"alerts-{tag}")


def check(id: str) -> None:
    """What a class looks at itself, failing as an event's id says."""
    match id.partition("/")[0]:
        case "value":
            raise ValueError(id)
        case "type":
            raise TypeError(id)
        case "key":
            raise KeyError(id)
        case "zero":
            raise ZeroDivisionError
        case "silent":
            raise _SilentError
        case "assert":
            raise AssertionError(id)
        case _:
            return


def route(e: Event) -> str | Sequence[str]:
    """A routing function that does what its event's id says."""
    id = str(getattr(e, "id", ""))
    match id.partition("/")[0]:
        case "raise":
            raise KeyError(id)
        case "number":
            return [5]  # type: ignore[list-item]  # the bug that is meant
        case "none":
            return None  # type: ignore[return-value]  # the bug that is meant
        case "deep":
            return route(e)
        case "empty":
            return ""
        case "long":
            return "l" * 513
        case "silent":
            raise _SilentError
        case _:
            return id


class _SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a text")


def mapper(record: Record) -> Mapping[str, str]:
    """A mapper that does what its record's key says."""
    said = (record.key or b"").decode("utf-8", "replace")
    plain = {"id": said, "source": "/plain", "type": "note.mapped"}
    broken: dict[str, Mapping[str, object]] = {
        "number": {**plain, "id": 5},
        "null": {**plain, "source": None},
        "nothing": {},
        "old": {**plain, "specversion": "0.3"},
        "late": {**plain, "time": "yesterday"},
        "empty": {**plain, "id": ""},
    }
    if said.startswith("raise"):
        raise LookupError(said)
    return broken.get(said.partition("/")[0], plain)  # type: ignore[return-value]  # the bugs that are meant
