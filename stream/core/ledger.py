"""The ledger of one batch: each entity's page, and the changes, kept in agreement. It books outcomes; `decide` says which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stream.core import asking
from stream.core.advance import Halt, Step
from stream.core.chain import link
from stream.core.changes import Changes, DeadLetter, Handled, History, Message
from stream.core.clock import SlaWithdrawn
from stream.core.entity import Entity, Envelope, Timer, Waiting
from stream.core.event import Event, Fact
from stream.core.ladder import WITHDRAWN, Note, Reading, encode_notes, timer_of
from stream.core.layout import LayoutError
from stream.core.machine import AnyMachine
from stream.core.message import compose, count_said
from stream.core.numbering import number_of
from stream.core.outcome import Outcome, Reason
from stream.core.own import OWN_EVENTS
from stream.core.record import Record, Ref, TopicPartition
from stream.core.route import Routes
from stream.core.telling import notices_of

Where = TopicPartition | str
Revive = Callable[[Record], Envelope]


@dataclass(slots=True, eq=False)
class Page:
    """One entity during a batch, and what was stored of it before. The entity's `clocks` are never changed in place.

    `barred`: why nothing may be done to it, in words: this program could not keep, or does not read, what another version wrote. `lifted`: its data
    is not in the layout in which it is stored. `draining`: somebody further up is going through its line.
    """

    entity: Entity
    machine: AnyMachine
    version: int
    timers: dict[str, datetime]
    clocks: dict[str, Reading]
    line: frozenset[int]
    barred: str = ""
    lifted: bool = False
    touched: bool = False
    draining: bool = False
    changed: set[int] = field(default_factory=set[int])


@dataclass(slots=True, eq=False)
class Ledger:
    """`now` is database time, for the history's `at`; `where` is what the present order is counted under."""

    routes: Routes
    entities: Mapping[Ref, Entity]
    now: datetime
    door: str
    revive: Revive
    changes: Changes
    where: Where = ""
    pages: dict[Ref, Page] = field(default_factory=dict[Ref, Page])

    def page(self, ref: Ref) -> Page:
        page = self.pages.get(ref)
        if page is None:
            entity = self.entities[ref]
            ids = frozenset(w.id for w in entity.line)
            machine = self.routes.machine(ref.machine)
            page = self.pages[ref] = Page(entity, machine, entity.version, dict(entity.timers), entity.clocks, ids)
            if entity.born and entity.machine_version != machine.version:
                _bring_up(page)
        return page

    def count(self, what: str) -> None:
        self.changes.count(self.where, what)

    def composed(self, page: Page, envelope: Envelope, facts: Sequence[Fact], start: int = 0) -> list[Message]:
        return compose(self.routes.app, page.entity, envelope, facts, start) if facts else []

    def said(self, page: Page, messages: Sequence[Message]) -> None:
        count_said(page.entity, messages)
        self.changes.messages.extend(messages)
        for message in messages:
            if message.tells:
                self.changes.notices.extend(notices_of(self.routes.app.owners, message))
        page.touched = True

    def moved(self, page: Page, envelope: Envelope, step: Step, messages: Sequence[Message], *, door: str, why: tuple[str, str] = ("", "")) -> None:
        """A row fired, or an event of our own was noted in place: version, state, data, clocks, messages and history. `why`: reason, words."""
        reason, words = why
        entity, before = page.entity, page.entity.state
        at = later(entity, envelope.time)
        entity.version += 1
        entity.machine_version = page.machine.version  # of a birth: whoever is older was brought up to it
        entity.state, entity.data, entity.time = step.state, step.data, at
        if step.path:
            entity.since = at
        if step.timers is not None:
            limit = entity.timers.get("limit")
            entity.timers = step.timers if limit is None else {**step.timers, "limit": limit}
        if step.clocks is not None:
            entity.clocks = step.clocks
        if step.path:
            asking.left(self.changes, page.machine, entity, before, envelope)
        if step.question is not None:
            asking.entered(self.changes, page.machine, entity, (step.question, step.priority), at)
        if step.notes:
            asking.noted(self.changes, entity, step.notes, envelope)
        self.said(page, messages)
        self._note(page, envelope, Outcome.APPLIED, (reason, words, before, ""), door, step.notes)
        self.changes.handled.append(Handled(envelope, entity.ref, Outcome.APPLIED, reason, before, step.state, "", messages, step.notes))

    def halted(self, page: Page, envelope: Envelope, halt: Halt, *, door: str, actor: str = "") -> None:
        """No row fired: history for what was rejected or parked by itself, a letter for what was rejected."""
        entity = page.entity
        if halt.outcome is Outcome.REJECTED or halt.reason == Reason.HANDLER_FAILED:
            self._note(page, envelope, halt.outcome, (halt.reason, halt.error, entity.state, actor), door)
        if halt.outcome is Outcome.REJECTED:
            e = envelope
            self.changes.dead.append(
                DeadLetter(e.record, Reason(halt.reason), halt.error, e.id, e.type, e.correlation_id, e.trace.trace_id, entity.ref, admitted=True)
            )
        self.changes.handled.append(Handled(envelope, entity.ref, halt.outcome, halt.reason, entity.state, entity.state, halt.error, ()))

    def wait(self, page: Page, envelope: Envelope, halt: Halt) -> None:
        """Put an admitted event at the end of the entity's line."""
        e, until = envelope, self.until(page, envelope, halt)
        page.entity.line.append(
            Waiting(
                ref=page.entity.ref,
                outcome=halt.outcome,
                reason=Reason(halt.reason),
                record=e.record,
                event_id=e.id,
                event_type=e.type,
                correlation_id=e.correlation_id,
                since=self.now,
                error=halt.error,
                attempts=int(halt.reason == Reason.HANDLER_FAILED),
                until=until,
                number=number_of(page.machine, e.event),
            )
        )
        self.lined(page)

    def until(self, page: Page, envelope: Envelope, halt: Halt) -> datetime | None:
        if halt.outcome is not Outcome.DEFERRED:
            return None
        machine, entity = page.machine, page.entity
        if halt.reason == Reason.GAP:
            return later(entity, envelope.time) + machine.gap_within
        within = machine.by_name[entity.state].defers_within if entity.born else machine.unborn_within
        return later(entity, envelope.time) + within

    def used(self, page: Page, number: int | None) -> None:
        """An event of this number had its turn."""
        if number is not None and number > page.entity.number:
            page.entity.number = number
            page.touched = True

    def lined(self, page: Page) -> None:
        """The line changed: its earliest time limit is one timer."""
        page.touched = True
        limits = [w.until for w in page.entity.line if w.until is not None]
        if limits:
            page.entity.timers["limit"] = min(limits)
        else:
            page.entity.timers.pop("limit", None)

    def withdrawn(self, page: Page, envelope: Envelope, step: Step) -> list[Fact]:
        """Breaches that this event takes back: it stopped their clock before they were due."""
        name, id = page.entity.ref
        return [
            SlaWithdrawn(
                clock=note.clock,
                machine=name,
                entity_id=id,
                state=page.entity.state,
                owner=note.owner,
                escalate_to=escalates_to(page.machine, note.clock),
                due=note.due,
                met=envelope.time,
            )
            for note in step.notes
            if note.what == WITHDRAWN and note.due is not None
        ]

    def close(self) -> Changes:
        """Say the difference between each page and what was stored."""
        changes = self.changes
        for ref, page in self.pages.items():
            entity = page.entity
            if page.touched:
                changes.entities[ref], changes.versions[ref] = entity, page.version
            if page.timers != entity.timers or page.clocks is not entity.clocks:
                self._close_timers(page)
            if page.line or entity.line:
                changes.lines.extend(w for w in entity.line if not w.id)
                changes.retried.extend(w for w in entity.line if w.id in page.changed)
                changes.drop_lines.extend(sorted(page.line.difference(w.id for w in entity.line)))
        return changes

    def _close_timers(self, page: Page) -> None:
        entity, ref = page.entity, page.entity.ref
        before, now = page.timers.keys() | page.clocks.keys(), entity.timers.keys() | entity.clocks.keys()
        self.changes.drop_timers.extend((ref, name) for name in sorted(before - now))
        for name in sorted(now):
            due, reading = entity.timers.get(name), entity.clocks.get(name)
            if page.timers.get(name) != due or page.clocks.get(name) != reading:
                self.changes.set_timers.append(Timer(ref, name, due, reading))

    def _note(self, page: Page, envelope: Envelope, outcome: Outcome, why: tuple[str, str, str, str], door: str, clocks: Sequence[Note] = ()) -> None:
        """`why`: reason, error, the state before, and the person who ordered it."""
        entity, e = page.entity, envelope
        reason, error, before, actor = why
        entity.n += 1
        row = History(
            ref=entity.ref,
            n=entity.n,
            outcome=outcome,
            reason=reason,
            event_id=e.id,
            event_type=e.type,
            source=e.source,
            actor=actor or e.actor or "",
            from_state=before,
            to_state=entity.state,
            time=later(entity, e.time),
            at=self.now,
            correlation_id=e.correlation_id,
            causation_id=e.causation_id,
            trace_id=e.trace.trace_id,
            door=door,
            error=error,
            hash=b"",
            clocks=encode_notes(clocks) if clocks else "",
        )
        row.hash = entity.chain = link(entity.chain, row)
        self.changes.history.append(row)
        page.touched = True


def _bring_up(page: Page) -> None:
    """Its data into the present layout, and the version with it; or say why it stays as it is, and nothing may be done to it."""
    entity, machine = page.entity, page.machine
    try:
        entity.data = machine.brought_up(entity.machine_version, entity.data)
    except LayoutError as error:
        page.barred = str(error)
    else:
        entity.machine_version, page.lifted = machine.version, True


def later(entity: Entity, time: datetime) -> datetime:
    """An entity's time never goes back: a move takes the later of the event's time and the last move's."""
    return time if entity.time is None or time > entity.time else entity.time


def escalates_to(machine: AnyMachine, clock: str) -> str:
    """Who is told in the end; empty where nobody is named."""
    dial = machine.dials.get(timer_of(clock))
    return dial.target.escalate_to.name if dial is not None and dial.target.escalate_to else ""


def is_own(event: Event) -> bool:
    """Whether the library made this event, for one entity."""
    return type(event) in OWN_EVENTS
