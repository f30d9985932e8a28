"""What comes to an entity by itself: timers that fall due, and deferred events whose turn has come.

Timers are clocks that are told and may move their entity, moves after a time, and the limits of events that have waited too long.
"""

from __future__ import annotations

from datetime import datetime

from stream.core.advance import IGNORED, Halt, Step
from stream.core.asking import breached
from stream.core.booking import BEHIND, attempt, attempt_in_turn, book_halt, revived
from stream.core.changes import Handled, Message
from stream.core.clock import ClockEvent, SlaBreached
from stream.core.codec import record_of
from stream.core.entity import Envelope, Waiting
from stream.core.event import Event
from stream.core.explaining import explained
from stream.core.identity import digest, emitted_id
from stream.core.ladder import BREACH, EXPLAINED, Dial, Note, Reading, breach_of, climbed, due_of, lateness, rung
from stream.core.ledger import Ledger, Page
from stream.core.message import count_said
from stream.core.numbering import candidates, held, missing
from stream.core.outcome import Outcome, Reason
from stream.core.own import AfterElapsed, GapPassed, WaitExpired
from stream.core.winding import owner_of

_TIMERS = "timers"


def fire(ledger: Ledger, page: Page, upto: datetime, reason: str) -> None:
    """Fire what is due, earliest first; what fires may set new timers, which then count as well.

    Of an entity that only another program could keep, or whose state is no more, nothing fires: what is due stays so, until somebody can do it.
    """
    entity = page.entity
    if why := page.barred or (f"its state {entity.state!r} is no more" if entity.born and entity.state not in page.machine.by_name else ""):
        ledger.changes.stuck[entity.ref] = why
        return
    while entity.timers:
        due, name = min((due, name) for name, due in entity.timers.items())
        if due > upto:
            return
        del entity.timers[name]
        page.touched = True
        ledger.count("fired")
        if name == "limit":
            _expire(ledger, page, due)
        elif name.startswith("after "):
            _elapse(ledger, page, name, due, reason)
        else:
            _ring(ledger, page, name, due, reason)


def drain(ledger: Ledger, page: Page) -> None:
    """Try deferred events from the head, in order, until one does not fit or fails; what is due before each of them fires before it.

    What fires there drains nothing itself: the line goes on here, so that timers and waiting events in turns do not nest.
    """
    if page.draining:
        return
    page.draining = True
    while page.entity.line and not page.entity.parked:
        if not any(_drained(ledger, page, waiting) for waiting in candidates(page.machine, page.entity)):
            break
    page.draining = False


def _drained(ledger: Ledger, page: Page, waiting: Waiting) -> bool:
    """Whether the line goes on: this one has left its head, or fails there."""
    envelope = revived(ledger, page, waiting)
    if envelope is None:
        return True
    fire(ledger, page, envelope.time, "")
    line = page.entity.line
    if page.entity.parked or not any(other is waiting for other in line):
        return True
    result, messages = attempt_in_turn(ledger, page, envelope, waiting)
    if isinstance(result, Step):
        _leaves(ledger, page, waiting)
        ledger.moved(page, envelope, result, messages, door=ledger.door)
        return True
    if result.outcome is Outcome.DEFERRED:
        return _stays(ledger, page, envelope, result, waiting)
    if result.outcome is Outcome.PARKED:
        _fails(ledger, page, waiting, result)
        ledger.halted(page, envelope, result, door=ledger.door)
    else:
        _leaves(ledger, page, waiting)
        book_halt(ledger, page, envelope, result)
    return True


def _fails(ledger: Ledger, page: Page, waiting: Waiting, halt: Halt) -> None:
    """It stays at its place, which by numbers need not be the head, and the line stands."""
    waiting.outcome, waiting.reason, waiting.error, waiting.until = Outcome.PARKED, Reason.HANDLER_FAILED, halt.error, None
    waiting.attempts += 1
    page.changed.add(waiting.id)
    ledger.lined(page)
    ledger.count("drained")


def _stays(ledger: Ledger, page: Page, envelope: Envelope, halt: Halt, waiting: Waiting) -> bool:
    """Deferred: as before, or now that its number had its turn; then others may be next."""
    if waiting.reason is not Reason.GAP:
        return False
    waiting.reason, waiting.until = Reason(halt.reason), ledger.until(page, envelope, halt)
    page.changed.add(waiting.id)
    ledger.lined(page)
    return True


def _leaves(ledger: Ledger, page: Page, waiting: Waiting) -> None:
    line = page.entity.line
    del line[next(n for n, other in enumerate(line) if other is waiting)]
    ledger.lined(page)
    ledger.count("drained")


def own_event(ledger: Ledger, page: Page, name: str, event: Event, due: datetime) -> Envelope:
    """An event of our own goes through the codec like any other: what waits in a line is then what was made here."""
    entity, app = page.entity, ledger.routes.app.name
    identity = digest(app, *entity.ref, name, due.isoformat())
    id = emitted_id(identity, entity.ref, entity.n, due)
    return ledger.revive(record_of(event, id=id, source=f"/{app}/{entity.ref.machine}", time=due))


def _ring(ledger: Ledger, page: Page, timer: str, due: datetime, reason: str) -> None:
    """The next rung of a clock: tell whom it names, note it, then move if a row takes it."""
    entity, machine = page.entity, page.machine
    dial, reading = machine.dials.get(timer), entity.clocks.get(timer)
    if dial is None or reading is None:
        # The machine was changed: this clock is no more.
        entity.clocks = {name: kept for name, kept in entity.clocks.items() if name != timer}
        return
    event, note = _told(page, dial, reading, due)
    notes, words = [note], ""
    if isinstance(event, SlaBreached):
        event, words = explained(machine, entity, dial, event)
        notes += [Note(dial.name, EXPLAINED, event.owner, reason=event.reason)] if event.reason else []
        breached(ledger.changes, entity, event, due)
    envelope = own_event(ledger, page, timer, event, due)
    reading = climbed(reading, due)
    entity.clocks = {**entity.clocks, timer: reading}
    if (following := due_of(dial, reading, due)) is not None:
        entity.timers[timer] = following
    alert = ledger.composed(page, envelope, [event])
    count_said(entity, alert)
    rows, parked = machine.rows.get((entity.state, type(event)), ()), entity.parked
    result, messages = attempt(ledger, page, envelope) if rows and not parked else (IGNORED, [])
    if isinstance(result, Step):
        result.notes = [*notes, *result.notes]
        ledger.moved(page, envelope, result, [*alert, *messages], door=_TIMERS, why=(reason, words))
        if entity.line and result.path:
            drain(ledger, page)
        return
    ledger.moved(page, envelope, Step(entity.state, entity.data, [], notes=notes), alert, door=_TIMERS, why=(reason, words))
    if result.outcome is Outcome.PARKED or (rows and parked):
        book_halt(ledger, page, envelope, result if result.outcome is Outcome.PARKED else BEHIND)


def _told(page: Page, dial: Dial, reading: Reading, due: datetime) -> tuple[ClockEvent, Note]:
    """What the rung that falls due at `due` says, and its note."""
    entity, level, target = page.entity, reading.level, dial.target
    kind, word = rung(level)
    reached = due if level == BREACH else breach_of(dial, reading, due) or due
    event = kind(
        clock=dial.name,
        machine=entity.ref.machine,
        entity_id=entity.ref.id,
        state=entity.state,
        owner=dial.asks or owner_of(page.machine, entity.state),
        escalate_to=target.escalate_to.name if target.escalate_to else "",
        level=level,
        due=reached,
        late=lateness(target, level).total_seconds(),
        entered=entity.since or due,
    )
    return event, Note(dial.name, word, event.owner, late=event.late, due=reached)


def _elapse(ledger: Ledger, page: Page, name: str, due: datetime, reason: str) -> None:
    entity = page.entity
    event = AfterElapsed(state=entity.state, timer=name, due=due, entered=entity.since or due)
    envelope = own_event(ledger, page, name, event, due)
    result, messages = (BEHIND, list[Message]()) if entity.parked else attempt(ledger, page, envelope)
    if isinstance(result, Halt):
        book_halt(ledger, page, envelope, result)
        return
    ledger.moved(page, envelope, result, messages, door=_TIMERS, why=(reason, ""))
    if entity.line:
        drain(ledger, page)


def _expire(ledger: Ledger, page: Page, due: datetime) -> None:
    """Reject what has waited too long, and tell the alerts topic."""
    entity = page.entity
    gaps = [w for w in held(entity) if w.until is not None and w.until <= due]
    for waiting in [w for w in entity.line if w.until is not None and w.until <= due and w.reason is not Reason.GAP]:
        envelope = revived(ledger, page, waiting)
        if envelope is None:
            continue
        entity.line.remove(waiting)
        reason = Reason.DEFERRED_TOO_LONG if entity.born else Reason.UNBORN
        ledger.halted(page, envelope, Halt(Outcome.REJECTED, reason, f"waited until {due.isoformat()}"), door=_TIMERS)
        name, id = entity.ref
        kind, told = waiting.event_type, waiting.event_id
        event = WaitExpired(
            machine=name,
            entity_id=id,
            state=entity.state,
            reason=reason,
            event_id=told,
            event_type=kind,
            due=due,
            owner=owner_of(page.machine, entity.state or page.machine.birth),
        )
        cause = own_event(ledger, page, f"limit {told}", event, due)
        ledger.said(page, ledger.composed(page, cause, [event]))
    for waiting in gaps:
        # Should another gap come after this one, it has a time of its own.
        waiting.until = due + page.machine.gap_within
        page.changed.add(waiting.id)
    if gaps and not entity.parked:
        # Behind a failure nothing moves: which numbers are missing shows when somebody has decided on it.
        pass_gap(ledger, page, due, door=_TIMERS)
    ledger.lined(page)
    if (entity.born or gaps) and not entity.parked:
        # What left may have been all that held back those behind it.
        drain(ledger, page)


def pass_gap(ledger: Ledger, page: Page, due: datetime, *, door: str, why: tuple[str, str] = ("", ""), actor: str = "") -> None:
    """Go on with the first held number, and tell whom it concerns which are missing. Drains nothing yet."""
    entity, first = page.entity, held(page.entity)[0].number or 0
    name, id = entity.ref
    owner = owner_of(page.machine, entity.state or page.machine.birth)
    event = GapPassed(machine=name, entity_id=id, state=entity.state, owner=owner, missing=missing(entity), following=first, due=due)
    envelope = own_event(ledger, page, f"gap {first}", event, due)
    envelope.actor = actor or None
    messages = ledger.composed(page, envelope, [event])
    if entity.born:
        ledger.moved(page, envelope, Step(entity.state, entity.data, []), messages, door=door, why=why)
    else:
        ledger.said(page, messages)
        ledger.changes.handled.append(Handled(envelope, entity.ref, Outcome.APPLIED, why[0], "", "", "", messages))
    ledger.used(page, first - 1)
