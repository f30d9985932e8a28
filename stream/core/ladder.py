"""Readings of clocks: how much of a target is used up, when the next rung falls due, and what a move does to them. Pure arithmetic.

A clock's ladder: warned at a share of the target, breached at the target, escalated every `repeat` after it. Rungs are points on the clock's own
time, which passes only while it runs, and with a calendar only while that is open; so each rung is due once, wherever it stood still meanwhile.

A clock starts at the time of the move, which never goes back, and stops at the event's own time: only "was it met in time?" looks at that. When
it stops before the breach that was already told, the breach is withdrawn, and what is left of the target is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from stream.core.clock import FARTHEST, REPEATS, Clock, SlaBreached, SlaEscalated, SlaWarned, Target

WARN, BREACH = 0, 1
WARNED, BREACHED, ESCALATED, WITHDRAWN, EXPLAINED = "warned", "breached", "escalated", "withdrawn", "explained"
HELD, CANCELLED = "held", "cancelled"
"""Why a clock stands still that a person has stopped: until a person lets it go on, or for good."""
_PREFIX = "sla "
_encoder = msgspec.json.Encoder()


class Mode(StrEnum):
    """What resting in a state means for a clock."""

    RUNS = "runs"
    PAUSED = "paused"
    MET = "met"
    VOID = "void"


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where one clock of one entity stands. `spent` was used up before `runs`, the instant since when it runs (None: it stands still).

    `level` is the rung that comes next; `breached` is when the target was passed, None again once that is withdrawn. `stands` is why it stands
    still, a `Mode`, `HELD` or `CANCELLED`; `stood` is since when it does, or last did. `moved` is by how much a person put the target off.
    """

    target: timedelta
    level: int
    spent: timedelta = timedelta(0)
    runs: datetime | None = None
    breached: datetime | None = None
    stands: str = ""
    stood: datetime | None = None
    moved: timedelta | None = None

    @property
    def aim(self) -> timedelta:
        """The target as a person has moved it."""
        return self.target + self.moved if self.moved else self.target


class Note(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event did to a clock, for the history: warned, breached, escalated, withdrawn, explained, met, void, or what a person did: moved,
    paused, resumed, cancelled. Durations are seconds of its own time.

    `owner` is whose turn it was. `took` is what was used up when it was met or became void, `late` how far beyond its target that was. `due`
    is when the target was reached, or is after a person's order (None: it stands still), `was` what that was before. `reason` is the code of an
    explained breach.
    """

    clock: str
    what: str
    owner: str = ""
    took: float | None = None
    late: float = 0.0
    due: datetime | None = None
    reason: str = ""
    was: datetime | None = None


def encode_notes(notes: Sequence[Note]) -> str:
    """As the history keeps them: a JSON array."""
    return _encoder.encode(notes).decode()


@dataclass(frozen=True)
class Dial:
    """A clock as a machine sees it. `modes` by state's name; a state that is missing ends it: it is met, and its reading forgotten.

    `asks`: whose turn it is, where that is not the owner of the state.
    """

    name: str
    target: Target
    modes: Mapping[str, Mode]
    asks: str = ""

    @property
    def timer(self) -> str:
        return timer_of(self.name)

    @property
    def across(self) -> bool:
        """Whether it runs across states, and not while one of them is rested in."""
        return isinstance(self.target, Clock)


def timer_of(clock: str) -> str:
    """The name of a clock's timer row, which holds its reading too."""
    return _PREFIX + clock


def clock_of(timer: str) -> str | None:
    """The clock whose row this is; None for any other timer."""
    return timer[len(_PREFIX) :] if timer.startswith(_PREFIX) else None


def begun(dial: Dial, span: timedelta, at: datetime) -> Reading:
    """The reading of a clock that starts."""
    return Reading(span, BREACH if dial.target.warn_at is None else WARN, runs=at)


def shifted(dial: Dial, reading: Reading, mode: Mode, when: datetime, at: datetime) -> tuple[Reading, list[Note]]:
    """The reading after a move at `at` into a state of this mode, by an event of its own time `when`; and what is to be noted."""
    if reading.stands == CANCELLED or (reading.stands == HELD and mode is Mode.RUNS):
        return reading, []
    if mode is Mode.RUNS:
        return (reading if reading.runs is not None else replace(reading, runs=at, stands="")), []
    late = reading.breached is None or reading.breached <= when
    if reading.stands == mode or (reading.stands == Mode.MET and late):
        # Met once, it stays met until it runs again; only an event from before its breach has more to say.
        return reading, []
    if reading.stands == HELD and mode is Mode.PAUSED:
        if late:
            return reading, []
        reading, told = stopped(dial, reading, mode, when)
        return replace(reading, stands=HELD), told
    return stopped(dial, reading, mode, when)


def stopped(dial: Dial, reading: Reading, mode: Mode, when: datetime) -> tuple[Reading, list[Note]]:
    """Stop a clock as of `when`, or where it began to run if that was later."""
    spent, notes = spent_by(dial, reading, when), list[Note]()
    level, breached, stood = reading.level, reading.breached, reading.stood if reading.runs is None else max(reading.runs, when)
    if breached is not None and when < breached:
        notes.append(Note(dial.name, WITHDRAWN, due=breached))
        level, breached, stood = BREACH, None, when
    if mode is not Mode.PAUSED:
        late = max(spent - reading.aim, timedelta(0)).total_seconds()
        notes.append(Note(dial.name, mode.value, took=spent.total_seconds(), late=late))
    return replace(reading, spent=spent, runs=None, level=level, breached=breached, stands=mode, stood=stood), notes


def spent_by(dial: Dial, reading: Reading, when: datetime) -> timedelta:
    """What was used up as of `when`."""
    if reading.breached is not None and when < reading.breached and (reading.runs is None or when < reading.runs):
        # Afterwards it ran on until it last stood still, and that is taken off; with another pause in between, too much of it.
        stood = reading.stood or when
        return max(reading.spent - between(dial.target, min(when, stood), stood), timedelta(0))
    if reading.runs is None:
        return reading.spent
    return reading.spent + between(dial.target, reading.runs, max(reading.runs, when))


def climbed(reading: Reading, due: datetime) -> Reading:
    """The reading after its next rung was told, at the instant it fell due."""
    return replace(reading, level=reading.level + 1, breached=due if reading.level == BREACH else reading.breached)


def due_of(dial: Dial, reading: Reading, earliest: datetime) -> datetime | None:
    """When the next rung falls due, not before `earliest`; None while it stands still, at the ladder's end, and beyond all reach."""
    point = _point(dial.target, reading)
    if reading.runs is None or point is None:
        return None
    due = after(dial.target, reading.runs, point - reading.spent)
    return due if due is None else max(due, earliest)


def breach_of(dial: Dial, reading: Reading, earliest: datetime) -> datetime | None:
    """When the target is reached, or was."""
    return reading.breached or due_of(dial, replace(reading, level=BREACH), earliest)


def rung(level: int) -> tuple[type[SlaWarned] | type[SlaBreached] | type[SlaEscalated], str]:
    """What is said at a level, and the word for it in notes."""
    return (SlaWarned, WARNED) if level == WARN else (SlaBreached, BREACHED) if level == BREACH else (SlaEscalated, ESCALATED)


def lateness(target: Target, level: int) -> timedelta:
    """How far beyond the target a rung stands."""
    return (level - BREACH) * target.repeat if level > BREACH and target.repeat else timedelta(0)


def _point(target: Target, reading: Reading) -> timedelta | None:
    if reading.level == WARN:
        return reading.aim * (target.warn_at or 1)
    if reading.level > BREACH and (target.repeat is None or reading.level > BREACH + REPEATS):
        return None
    return reading.aim + lateness(target, reading.level)


def after(target: Target, start: datetime, span: timedelta) -> datetime | None:
    """When so much of the clock's own time has passed; at once where it is none, and None beyond all reach."""
    if span <= timedelta(0):
        return start
    if span > FARTHEST:
        return None
    try:
        return start + span if target.calendar is None else target.calendar.add(start, span)
    except OverflowError:
        return None


def between(target: Target, start: datetime, end: datetime) -> timedelta:
    """How much of the clock's own time passed."""
    return end - start if target.calendar is None else target.calendar.between(start, end)
