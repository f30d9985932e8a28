"""Tasks: questions to people. What an author declares, and what is kept of one that was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec

from stream.core.calendar import Calendar
from stream.core.clock import Owner, Sla, check_owner, check_reasons
from stream.core.errors import DefinitionError
from stream.core.event import Data, Event, wire_type
from stream.core.record import Ref
from stream.core.text import unsafe_text

D = TypeVar("D", bound=Data)

FIRST, USUAL, LAST = 1, 3, 5
"""How urgent a task can be, and is unless it says so."""
LONGEST = 1000
"""Characters of a question, and of what a person says about it."""
_STATE, _REASON = "state ", "reason "


@dataclass(frozen=True)
class Task(Generic[D]):
    """A question to people, put whenever an entity enters the state that carries this, and closed when it leaves it.

    Each of `answers` is an event that a row leaving the state must take. `owner` is asked: without one, the state's owner. `within` is a clock
    called "<state> task", told to `escalate_to` when it runs out. With `reasons`, an answer needs one of these codes.
    `priority` is 1 (first) to 5; a person may change it.
    """

    question: str | Callable[[D], str]
    answers: tuple[type[Event], ...]
    owner: Owner | None = None
    within: timedelta | Callable[[D], timedelta] | None = None
    escalate_to: Owner | None = None
    calendar: Calendar | None = None
    reasons: tuple[str, ...] = ()
    priority: int | Callable[[D], int] = USUAL

    def __post_init__(self) -> None:
        what = f"Task {self.question!r}"
        check_owner(what, "owner", self.owner)
        check_reasons(what, self.reasons)
        if not self.answers or not self.question:
            raise DefinitionError(f"{what}: it needs a question, and events that answer it")
        if self.within is None and (self.escalate_to or self.calendar):
            raise DefinitionError(f"{what}: it says who is told or which hours count, but not within what time it is to be answered")
        try:
            if isinstance(self.question, str):
                checked_words(self.question)
            if not callable(self.priority):
                checked_priority(self.priority)
        except ValueError as error:
            raise DefinitionError(f"{what}: {error}") from None

    @property
    def limit(self) -> Sla[D] | None:
        """The clock on its answer."""
        return Sla(self.within, escalate_to=self.escalate_to, calendar=self.calendar) if self.within is not None else None

    def asked_of(self, owner: Owner | None) -> str:
        """Who is asked, in a state of this owner."""
        found = self.owner or owner
        return found.name if found else ""


class Asked(msgspec.Struct, gc=False):
    """A task of one entity, as it is opened. Its `name` is that of its state or clock, and unique among the open ones of the entity.

    `answers` are wire types. `opened` is business time. `closed` is set when it is opened and closed in one batch.
    """

    ref: Ref
    name: str
    state: str
    question: str
    owner: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    opened: datetime
    priority: int = USUAL
    closed: Closed | None = None


class Closed(msgspec.Struct, gc=False):
    """The end of the open task of that name: by an answer (of `answer` None: the event was none, and it is not asked any more).

    `by` is the person, or the source of the event; `reason` the code that was given, `comment` what was said beside.
    """

    ref: Ref
    name: str
    answer: str | None
    by: str
    at: datetime
    reason: str = ""
    comment: str = ""


class Open(msgspec.Struct, frozen=True, gc=False):
    """An open task as the store hands it over with its entity. `assignee` is who has claimed it, "" for nobody."""

    id: int
    name: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    owner: str
    assignee: str


def question_of(task: Task[Any], data: Any) -> str:
    """Raises what the author's function raises, and `ValueError` for a text nobody could read."""
    return checked_words(task.question(data) if callable(task.question) else task.question)


def priority_of(task: Task[Any], data: Any) -> int:
    """Raises what the author's function raises, and `ValueError` for what is none."""
    return checked_priority(task.priority(data) if callable(task.priority) else task.priority)


def checked_priority(priority: object) -> int:
    """Raises `ValueError` unless it is 1 to 5."""
    if not isinstance(priority, int) or isinstance(priority, bool) or not FIRST <= priority <= LAST:
        raise ValueError(f"a priority is {FIRST} (first) to {LAST}, not {priority!r:.100}")
    return priority


def checked_words(text: object) -> str:
    """Raises `ValueError` unless it is a line of plain text."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a question is a text, not {text!r}")
    if len(text) > LONGEST or unsafe_text(text) or not text.isprintable():
        raise ValueError(f"a question is one line of plain text of at most {LONGEST} characters")
    return text


def task_of(state: str) -> str:
    """The name of a state's task."""
    return _STATE + state


def reason_task(clock: str) -> str:
    """The name of the task that asks why a clock was breached."""
    return _REASON + clock


def clock_asked(name: str) -> str | None:
    """The clock whose breach a task of this name asks to explain; None for any other task."""
    return name[len(_REASON) :] if name.startswith(_REASON) else None


def types_of(task: Task[Any]) -> tuple[str, ...]:
    """The wire types of its answers."""
    return tuple(wire_type(kind) for kind in task.answers)
