"""Timers that fall due: clocks that are told and may move their entity, moves after a time, and events that have waited too long."""

from __future__ import annotations

from datetime import datetime

from stream.core.advance import IGNORED, Halt, Step
from stream.core.booking import BEHIND, attempt, book_halt, drain, revived
from stream.core.changes import Message
from stream.core.clock import AfterElapsed, SlaBreached, WaitExpired
from stream.core.codec import record_of
from stream.core.entity import Envelope
from stream.core.event import Event
from stream.core.identity import digest, emitted_id
from stream.core.ledger import Ledger, Page
from stream.core.message import count_said
from stream.core.outcome import Outcome, Reason

_TIMERS = "timers"


def fire(ledger: Ledger, page: Page, upto: datetime, reason: str) -> None:
    """Fire what is due, earliest first; what fires may set new timers, which then count as well."""
    entity = page.entity
    while entity.timers:
        due, name = min((due, name) for name, due in entity.timers.items())
        if due > upto:
            return
        del entity.timers[name]
        page.touched = True
        ledger.count("fired")
        if name == "limit":
            _expire(ledger, page, due)
        elif name.startswith("sla "):
            _breach(ledger, page, name, due, reason)
        else:
            _elapse(ledger, page, name, due, reason)


def _own(ledger: Ledger, page: Page, name: str, event: Event, due: datetime) -> Envelope:
    """An event of our own goes through the codec like any other: what waits in a line is then what was made here."""
    entity, app = page.entity, ledger.routes.app.name
    identity = digest(app, *entity.ref, name, due.isoformat())
    id = emitted_id(identity, entity.ref, entity.n, due)
    return ledger.revive(record_of(event, id=id, source=f"/{app}/{entity.ref.machine}", time=due))


def _breach(ledger: Ledger, page: Page, name: str, due: datetime, reason: str) -> None:
    """Tell whom the SLA names, and note it; then move if a row takes the breach."""
    entity, state = page.entity, page.machine.by_name.get(page.entity.state)
    if state is None or state.sla is None:
        return
    to = state.sla.escalate_to
    event = SlaBreached(
        clock=state.name,
        machine=entity.ref.machine,
        entity_id=entity.ref.id,
        state=state.name,
        owner=state.owner.name if state.owner else "",
        escalate_to=to.name if to else "",
        due=due,
        entered=entity.since or due,
    )
    envelope = _own(ledger, page, name, event, due)
    entity.fired[state.name] = due
    alert = ledger.composed(page, envelope, [event])
    count_said(entity, alert)
    rows, parked = page.machine.rows.get((state.name, SlaBreached), ()), entity.parked
    result, messages = attempt(ledger, page, envelope, 1) if rows and not parked else (IGNORED, [])
    if isinstance(result, Step):
        ledger.moved(page, envelope, result, [*alert, *messages], door=_TIMERS, reason=reason)
        if entity.line and result.timers is not None:
            drain(ledger, page)
        return
    ledger.moved(page, envelope, Step(entity.state, entity.data, []), alert, door=_TIMERS, reason=reason)
    if result.outcome is Outcome.PARKED or (rows and parked):
        book_halt(ledger, page, envelope, result if result.outcome is Outcome.PARKED else BEHIND)


def _elapse(ledger: Ledger, page: Page, name: str, due: datetime, reason: str) -> None:
    entity = page.entity
    event = AfterElapsed(state=entity.state, row=int(name.rpartition(" ")[2]), due=due, entered=entity.since or due)
    envelope = _own(ledger, page, name, event, due)
    result, messages = (BEHIND, list[Message]()) if entity.parked else attempt(ledger, page, envelope)
    if isinstance(result, Halt):
        book_halt(ledger, page, envelope, result)
        return
    ledger.moved(page, envelope, result, messages, door=_TIMERS, reason=reason)
    if entity.line:
        drain(ledger, page)


def _expire(ledger: Ledger, page: Page, due: datetime) -> None:
    """Reject what has waited too long, and tell the alerts topic."""
    entity = page.entity
    for waiting in [w for w in entity.line if w.until is not None and w.until <= due]:
        envelope = revived(ledger, page, waiting)
        if envelope is None:
            continue
        entity.line.remove(waiting)
        reason = Reason.DEFERRED_TOO_LONG if entity.born else Reason.UNBORN
        ledger.halted(page, envelope, Halt(Outcome.REJECTED, reason, f"waited until {due.isoformat()}"), door=_TIMERS)
        name, id = entity.ref
        kind, told = waiting.event_type, waiting.event_id
        event = WaitExpired(machine=name, entity_id=id, state=entity.state, reason=reason, event_id=told, event_type=kind, due=due)
        cause = _own(ledger, page, f"limit {told}", event, due)
        ledger.said(page, ledger.composed(page, cause, [event]))
    ledger.lined(page)
    if entity.born and not entity.parked:
        # What left may have been all that held back those behind it.
        drain(ledger, page)
