"""decide: what should happen, as a value. The one place where events, clocks and people's orders meet entities.

Theory of operation. Orders are taken one by one, in record order; an entity may be met many times in a batch and carries on from what the
order before made of it. Before an event of time t reaches an entity, that entity's timers due at or before t fire, earliest first, so the
result does not depend on lag or batch size. An entity with a parked event in its line takes nothing: what comes joins the line, its clocks
fire and escalate, and the transitions they would cause join the line as well. When a state is left, or an entity is born, deferred events
are tried at once from the head of the line; the first that still does not fit keeps those behind it.

What the author wrote may raise. Then nothing of that step is kept, the event parks with the error, and the rest of the batch goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from stream.core.advance import IGNORED, Halt, Step, advance
from stream.core.changes import Changes, DeadLetter, Message
from stream.core.clock import AfterElapsed, SlaBreached, WaitExpired
from stream.core.codec import record_of
from stream.core.entity import Entity, Envelope, Waiting
from stream.core.errors import MalformedError, described
from stream.core.event import Event
from stream.core.identity import digest, emitted_id
from stream.core.ledger import Ledger, Page, Revive, is_own, later
from stream.core.message import count_said
from stream.core.order import Decoded, Deliver, Fire, Order, Retry
from stream.core.outcome import Outcome, Reason, Verdict
from stream.core.record import Ref
from stream.core.route import Routes
from stream.core.text import unsafe_text

_BEHIND = Halt(Outcome.PARKED, Reason.BEHIND)
_REPLAY, _TIMERS = "replay", "timers"


def refs_of(orders: Iterable[Order]) -> list[Ref]:
    """Every entity the orders concern, each once, sorted as locks are taken."""
    found: set[Ref] = set()
    for order in orders:
        if isinstance(order, Deliver):
            found.update(order.envelope.refs)
        else:
            found.add(order.ref)
    return sorted(found, key=lambda ref: (ref.machine.encode(), ref.id.encode()))


def sift(decoded: Decoded, verdicts: Sequence[Verdict]) -> list[Order]:
    """The orders that go on. Records seen before are dropped and counted; a conflict leaves a letter.

    `verdicts` are those of the not yet admitted `Deliver`s, in order.
    """
    kept: list[Order] = []
    seen = iter(verdicts)
    for order in decoded.orders:
        if isinstance(order, Deliver) and not order.admitted:
            verdict = next(seen)
            decoded.changes.count(order.place or _REPLAY, verdict)
            if verdict is Verdict.CONFLICT:
                decoded.changes.dead.append(_conflict(order.envelope))
            if verdict is not Verdict.ADMITTED:
                continue
        kept.append(order)
    return kept


def decide(
    routes: Routes,
    entities: Mapping[Ref, Entity],
    orders: Iterable[Order],
    now: datetime,
    *,
    door: str,
    begun: Changes,
    revive: Revive,
) -> Changes:
    """Adds to `begun` what the orders change, and returns it. `entities` must hold every one in `refs_of(orders)`; they are changed in place.

    Raises nothing for what authors wrote or events hold. `revive` decodes a stored record again.
    """
    ledger = Ledger(routes, entities, now, door, revive, begun)
    for order in orders:
        if isinstance(order, Deliver):
            _deliver(ledger, order)
        elif isinstance(order, Fire):
            ledger.where = door
            _fire(ledger, ledger.page(order.ref), order.upto, "silent_feed" if order.marked else "")
        else:
            ledger.where = door
            _retry(ledger, ledger.page(order.ref), order)
    return ledger.close()


def _deliver(ledger: Ledger, order: Deliver) -> None:
    envelope, place = order.envelope, order.place
    ledger.where = place or ledger.door
    if place is not None:
        newest = ledger.changes.stream_times.get(place)
        if newest is None or envelope.time > newest:
            ledger.changes.stream_times[place] = envelope.time
    if not envelope.refs:
        ledger.count("unrouted")
    for ref in envelope.refs:
        page = ledger.page(ref)
        ledger.count("concerned")
        if order.fault:
            outcome = _halt(ledger, page, envelope, _BEHIND if page.entity.parked else _failed(order.fault))
        else:
            outcome = _take(ledger, page, envelope)
        ledger.count(outcome)


def _take(ledger: Ledger, page: Page, envelope: Envelope, waiting: Waiting | None = None) -> Outcome:
    """The time rule, then the event, then whoever waited for it."""
    if page.entity.timers:
        _fire(ledger, page, envelope.time, "")
    if page.entity.line and page.entity.parked:
        return _halt(ledger, page, envelope, _BEHIND, waiting)
    result, messages = _attempt(ledger, page, envelope)
    if isinstance(result, Halt):
        return _halt(ledger, page, envelope, result, waiting)
    ledger.moved(page, envelope, result, messages, door=ledger.door)
    if page.entity.line and result.timers is not None:
        _drain(ledger, page)
    return Outcome.APPLIED


def _attempt(ledger: Ledger, page: Page, envelope: Envelope, start: int = 0) -> tuple[Step | Halt, list[Message]]:
    """Everything the author wrote, and everything it produced, is tried here."""
    try:
        result = advance(page.machine, page.entity, envelope, later(page.entity, envelope.time))
        if isinstance(result, Halt):
            return result, []
        return result, ledger.composed(page, envelope, [*result.said, *ledger.withdrawn(page, envelope, result)], start)
    except Exception as error:  # the author's code: it fails as a value, and this entity waits
        return _failed(described(error)), []


def _halt(ledger: Ledger, page: Page, envelope: Envelope, halt: Halt, waiting: Waiting | None = None) -> Outcome:
    """Book an event that moved nothing. `waiting` is its place in the line when it comes from there, taken out already."""
    if is_own(envelope.event) and halt.outcome is not Outcome.PARKED:
        halt = IGNORED
    ledger.halted(page, envelope, halt, door=ledger.door)
    if halt.outcome in {Outcome.DEFERRED, Outcome.PARKED}:
        if waiting is None:
            ledger.wait(page, envelope, halt)
        else:
            _put_back(ledger, page, envelope, halt, waiting)
    return halt.outcome


def _put_back(ledger: Ledger, page: Page, envelope: Envelope, halt: Halt, waiting: Waiting) -> None:
    waiting.outcome, waiting.reason, waiting.error = halt.outcome, Reason(halt.reason), halt.error
    waiting.attempts += halt.reason == Reason.HANDLER_FAILED
    waiting.until = ledger.until(page, envelope, halt)
    page.changed.add(waiting.id)
    page.entity.line.append(waiting)
    page.entity.line.sort(key=lambda w: (w.id == 0, w.id))
    ledger.lined(page)


def _drain(ledger: Ledger, page: Page) -> None:
    """Try deferred events from the head, in order, until one does not fit or fails."""
    line = page.entity.line
    while line and not page.entity.parked:
        waiting = line[0]
        envelope = _revived(ledger, page, waiting)
        if envelope is None:
            continue
        result, messages = _attempt(ledger, page, envelope)
        if isinstance(result, Halt) and result.outcome is Outcome.DEFERRED:
            return
        del line[0]
        ledger.lined(page)
        ledger.count("drained")
        if isinstance(result, Halt):
            if result.outcome is Outcome.PARKED:
                waiting.outcome, waiting.reason, waiting.error, waiting.until = Outcome.PARKED, Reason.HANDLER_FAILED, result.error, None
                waiting.attempts += 1
                page.changed.add(waiting.id)
                line.insert(0, waiting)
                ledger.halted(page, envelope, result, door=ledger.door)
            else:
                _halt(ledger, page, envelope, result)
        else:
            ledger.moved(page, envelope, result, messages, door=ledger.door)


def _revived(ledger: Ledger, page: Page, waiting: Waiting) -> Envelope | None:
    """A waiting event, decoded again; one whose class no longer reads it leaves the line as a letter."""
    try:
        return ledger.revive(waiting.record)
    except MalformedError as error:
        page.entity.line.remove(waiting)
        ledger.lined(page)
        w = waiting
        letter = DeadLetter(w.record, Reason(error.reason), error.detail, w.event_id, w.event_type, w.correlation_id, "", w.ref, admitted=True)
        ledger.changes.dead.append(letter)
        ledger.count("drained")
        return None


def _retry(ledger: Ledger, page: Page, order: Retry) -> None:
    """A person's order: the failed event first, then those deferred before, then those behind it, each as if it came now."""
    entity = page.entity
    behind = [w for w in entity.line if w.outcome is Outcome.PARKED]
    if not behind or (order.head and behind[0].id != order.head):
        return
    entity.line[:] = [w for w in entity.line if w.outcome is not Outcome.PARKED]
    ledger.lined(page)
    skip = order.skip
    for waiting in behind:
        _again(ledger, page, waiting, order.actor if skip else "", skip)
        if not entity.parked:
            _drain(ledger, page)
        skip = ""


def _again(ledger: Ledger, page: Page, waiting: Waiting, actor: str, skip: str) -> None:
    if page.entity.parked:
        page.entity.line.append(waiting)
        page.entity.line.sort(key=lambda w: (w.id == 0, w.id))
        return
    page.entity.line.insert(0, waiting)
    envelope = _revived(ledger, page, waiting)
    if envelope is None:
        return
    page.entity.line.remove(waiting)
    ledger.count("drained")
    if skip:
        ledger.halted(page, envelope, Halt(Outcome.REJECTED, Reason.MANUAL, _safe(skip)), door=ledger.door, actor=actor)
    else:
        _take(ledger, page, envelope, waiting)


def _fire(ledger: Ledger, page: Page, upto: datetime, reason: str) -> None:
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
    result, messages = _attempt(ledger, page, envelope, 1) if rows and not parked else (IGNORED, [])
    if isinstance(result, Step):
        ledger.moved(page, envelope, result, [*alert, *messages], door=_TIMERS, reason=reason)
        if entity.line and result.timers is not None:
            _drain(ledger, page)
        return
    ledger.moved(page, envelope, Step(entity.state, entity.data, []), alert, door=_TIMERS, reason=reason)
    if result.outcome is Outcome.PARKED or (rows and parked):
        _halt(ledger, page, envelope, result if result.outcome is Outcome.PARKED else _BEHIND)


def _elapse(ledger: Ledger, page: Page, name: str, due: datetime, reason: str) -> None:
    entity = page.entity
    event = AfterElapsed(state=entity.state, row=int(name.rpartition(" ")[2]), due=due, entered=entity.since or due)
    envelope = _own(ledger, page, name, event, due)
    result, messages = (_BEHIND, list[Message]()) if entity.parked else _attempt(ledger, page, envelope)
    if isinstance(result, Halt):
        _halt(ledger, page, envelope, result)
        return
    ledger.moved(page, envelope, result, messages, door=_TIMERS, reason=reason)
    if entity.line:
        _drain(ledger, page)


def _expire(ledger: Ledger, page: Page, due: datetime) -> None:
    """Reject what has waited too long, and tell the alerts topic."""
    entity = page.entity
    for waiting in [w for w in entity.line if w.until is not None and w.until <= due]:
        envelope = _revived(ledger, page, waiting)
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
        _drain(ledger, page)


def _failed(error: str) -> Halt:
    return Halt(Outcome.PARKED, Reason.HANDLER_FAILED, _safe(error))


def _safe(text: str) -> str:
    return (ascii(text) if unsafe_text(text) else text)[:2000]


def _conflict(envelope: Envelope) -> DeadLetter:
    e = envelope
    error = "this identity was seen before with other content"
    return DeadLetter(e.record, Reason.ID_CONFLICT, error, e.id, e.type, e.correlation_id, e.trace.trace_id)
