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

from stream.core import desk
from stream.core.advance import Halt
from stream.core.booking import BEHIND, attempt_in_turn, book_halt, failed, put_back, revived
from stream.core.changes import Changes, DeadLetter
from stream.core.entity import Entity, Envelope, Waiting
from stream.core.firing import drain, fire
from stream.core.ledger import Ledger, Page, Revive
from stream.core.numbering import number_of
from stream.core.order import Decoded, Deliver, Fire, Order, Retry
from stream.core.outcome import Outcome, Reason, Verdict
from stream.core.record import Ref
from stream.core.route import Routes
from stream.core.text import safe


def refs_of(orders: Iterable[Order]) -> list[Ref]:
    """Every entity the orders concern, each once, sorted as locks are taken."""
    found: set[Ref] = set()
    for order in orders:
        if isinstance(order, Deliver):
            found.update(order.envelope.refs)
        else:
            found.add(order.ref)
    return sorted(found, key=lambda ref: (ref.machine.encode(), ref.id.encode()))


def outdated(routes: Routes, entities: Mapping[Ref, Entity], orders: Iterable[Order]) -> str:
    """Why this program is too old for what events are to be delivered to, or tried again on, in words; empty where it is not.

    A later version of a machine may keep what this one does not know, and would lose by writing.
    """
    newer = {ref: e for ref, e in entities.items() if e.machine_version > 1 and e.born and e.machine_version > routes.machine(ref.machine).version}
    for order in orders if newer else ():
        for ref in order.envelope.refs if isinstance(order, Deliver) else (order.ref,) if isinstance(order, Retry) else ():
            if ref in newer:
                mine, other = routes.machine(ref.machine).version, newer[ref].machine_version
                return f"{ref.machine} {ref.id!r} was written by version {other} of its machine, this program has {mine}: is it as new as the others?"
    return ""


def sift(decoded: Decoded, verdicts: Sequence[Verdict], door: str) -> list[Order]:
    """The orders that go on. Records seen before are dropped and counted, those of no partition under `door`; a conflict leaves a letter.

    `verdicts` are those of the not yet admitted `Deliver`s, in order.
    """
    kept: list[Order] = []
    seen = iter(verdicts)
    for order in decoded.orders:
        if isinstance(order, Deliver) and not order.admitted:
            verdict = next(seen)
            decoded.changes.count(order.place or door, verdict)
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
            continue
        ledger.where = door
        page = ledger.page(order.ref)
        if isinstance(order, Fire):
            fire(ledger, page, order.upto, "silent_feed" if order.marked else "")
        elif isinstance(order, Retry):
            _retry(ledger, page, order)
        else:
            desk.obey(ledger, page, order)
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
            outcome = book_halt(ledger, page, envelope, BEHIND if page.entity.parked else failed(order.fault))
        else:
            outcome = _take(ledger, page, envelope)
        ledger.count(outcome)


def _take(ledger: Ledger, page: Page, envelope: Envelope, waiting: Waiting | None = None) -> Outcome:
    """The time rule, then the event, then whoever waited for it."""
    if page.entity.timers:
        fire(ledger, page, envelope.time, "")
    if page.entity.line and page.entity.parked:
        return book_halt(ledger, page, envelope, BEHIND, waiting)
    result, messages = attempt_in_turn(ledger, page, envelope, waiting)
    if isinstance(result, Halt):
        outcome, leads = book_halt(ledger, page, envelope, result, waiting), bool(page.machine.order_by)
    else:
        outcome, leads = Outcome.APPLIED, bool(page.machine.order_by or result.path)
        ledger.moved(page, envelope, result, messages, door=ledger.door)
    if page.entity.line and leads and not page.entity.parked:
        drain(ledger, page)
    return outcome


def _retry(ledger: Ledger, page: Page, order: Retry) -> None:
    """A person's order: the failed event first, then those deferred before, then those behind it, each as if it came now."""
    entity = page.entity
    behind = [w for w in entity.line if w.outcome is Outcome.PARKED]
    if not behind or (order.head and behind[0].id != order.head):
        return
    entity.line[:] = [w for w in entity.line if w.outcome is not Outcome.PARKED]
    ledger.lined(page)
    for n, waiting in enumerate(behind):
        if entity.parked:
            # All the rest at once: a line may be long, and its head fails again more often than not.
            put_back(entity.line, behind[n:])
            return
        _again(ledger, page, waiting, order, n)
        if not entity.parked:
            drain(ledger, page)


def _again(ledger: Ledger, page: Page, waiting: Waiting, order: Retry, n: int) -> None:
    """The `n`th parked event of the line."""
    page.entity.line.insert(0, waiting)
    envelope = revived(ledger, page, waiting)
    if envelope is None:
        return
    page.entity.line.remove(waiting)
    ledger.count("drained")
    if order.fault and n == order.refused:
        book_halt(ledger, page, envelope, failed(order.fault), waiting)
    elif order.skip and n == 0:
        ledger.halted(page, envelope, Halt(Outcome.REJECTED, Reason.MANUAL, safe(order.skip)), door=ledger.door, actor=order.actor)
        ledger.used(page, number_of(page.machine, envelope.event))
    else:
        _take(ledger, page, envelope, waiting)


def _conflict(envelope: Envelope) -> DeadLetter:
    e = envelope
    error = "this identity was seen before with other content"
    return DeadLetter(e.record, Reason.ID_CONFLICT, error, e.id, e.type, e.correlation_id, e.trace.trace_id)
