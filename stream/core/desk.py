"""What a person orders of one entity: another state, an answer to its task, something of a clock, or to go on without a number.

What is due comes first, as before any event; but a change of layout is none, and what is due waits for its ticker as if nothing had happened.

An order that does not fit is no event: whoever gave it is told, and for the entity nothing happened.
"""

from __future__ import annotations

from stream.core.advance import Halt, Step
from stream.core.asking import answered, objection
from stream.core.booking import attempt
from stream.core.changes import Handled, Message
from stream.core.entity import Envelope
from stream.core.event import Event
from stream.core.firing import drain, fire, own_event, pass_gap
from stream.core.ladder import timer_of
from stream.core.ledger import Ledger, Page, later
from stream.core.numbering import held
from stream.core.order import Answer, Lift, Move, Release, Steer
from stream.core.outcome import Outcome, Reason
from stream.core.own import EntityLifted, EntityMoved
from stream.core.steering import same, steered
from stream.core.text import safe


def obey(ledger: Ledger, page: Page, order: Move | Answer | Steer | Release | Lift) -> None:
    """Carry out an order, but for an entity that only another program can keep: then that is said."""
    if page.barred:
        _refused(ledger, page, order, page.barred)
        return
    if isinstance(order, Lift):
        _lift(ledger, page, order)
        return
    handled = ledger.changes.handled
    before = len(handled)
    fire(ledger, page, ledger.now, "")
    fired = len(handled)
    if isinstance(order, Move):
        _move(ledger, page, order)
    elif isinstance(order, Answer):
        _answer(ledger, page, order)
    elif isinstance(order, Steer):
        _steer(ledger, page, order)
    elif held(page.entity) and not page.entity.parked:
        # Behind a failure nothing is missing yet: its number stands until somebody decides.
        pass_gap(ledger, page, ledger.now, door=ledger.door, why=(Reason.MANUAL, safe(order.reason)), actor=order.actor)
        ledger.lined(page)
        _go_on(ledger, page)
    if before < fired == len(handled) and not isinstance(order, Release):
        # Said as a refusal, lest what came of what was due be taken for what was ordered.
        _refused(ledger, page, order, "what was due came first, and now it does not fit")


def _refused(ledger: Ledger, page: Page, order: Move | Answer | Steer | Release | Lift, why: str) -> None:
    entity = page.entity
    event = order.event if isinstance(order, Answer | Steer) else EntityMoved(to=order.to if isinstance(order, Move) else entity.state)
    envelope = _said(ledger, page, "refused", event, order.actor)
    ledger.changes.handled.append(Handled(envelope, entity.ref, Outcome.REJECTED, Reason.MANUAL, entity.state, entity.state, why, ()))


def _lift(ledger: Ledger, page: Page, order: Lift) -> None:
    """What was read is lifted already: it is only written, and noted. At the time of its latest move: an event on its way still has its own."""
    entity = page.entity
    if page.lifted:
        envelope = own_event(ledger, page, "lift", EntityLifted(version=page.machine.version), entity.time or ledger.now)
        envelope.actor = order.actor
        _done(ledger, page, envelope, (Step(entity.state, entity.data, []), []), (Reason.MANUAL, safe(order.reason)))
        page.lifted = False


def _move(ledger: Ledger, page: Page, order: Move) -> None:
    """Into the state, if it is still where that person saw it; its clocks, its task, and who waited for it follow."""
    entity = page.entity
    if not entity.born or entity.state != order.seen or order.to not in page.machine.by_name:
        return
    envelope = _said(ledger, page, "move", EntityMoved(to=order.to), order.actor)
    if _done(ledger, page, envelope, attempt(ledger, page, envelope), (Reason.MANUAL, safe(order.reason))):
        _go_on(ledger, page)


def _answer(ledger: Ledger, page: Page, order: Answer) -> None:
    """The event, if the task is still open and that person's: the task's row is what makes a second answer come too late."""
    entity = page.entity
    task = entity.tasks.get(order.task)
    if task is None:
        return
    envelope = _said(ledger, page, f"task {order.task}", order.event, order.actor)
    against = objection(task, entity, order, ledger.routes.app.owners)
    result: tuple[Step | Halt, list[Message]] = (Halt(Outcome.REJECTED, Reason.MANUAL, against), []) if against else attempt(ledger, page, envelope)
    if _done(ledger, page, envelope, result, (order.reason, safe(order.comment))):
        answered(ledger.changes, entity, order, task.name, envelope.time)
        _go_on(ledger, page)


def _steer(ledger: Ledger, page: Page, order: Steer) -> None:
    """The clock, if it still stands as that person saw it; what that makes due at once is told at once."""
    entity, timer = page.entity, timer_of(order.event.clock)
    dial, reading = page.machine.dials.get(timer), entity.clocks.get(timer)
    if dial is None or reading is None or entity.state not in page.machine.by_name or not same(reading, order.seen):
        return
    envelope = _said(ledger, page, f"{order.event.__fact_type__} {order.event.clock}", order.event, order.actor)
    at = later(entity, envelope.time)
    if _done(ledger, page, envelope, (steered(page.machine, entity, order.event, at), []), (Reason.MANUAL, safe(order.reason))):
        fire(ledger, page, ledger.now, "")


def _said(ledger: Ledger, page: Page, name: str, event: Event, actor: str) -> Envelope:
    envelope = own_event(ledger, page, name, event, ledger.now)
    envelope.actor = actor
    return envelope


def _done(ledger: Ledger, page: Page, envelope: Envelope, tried: tuple[Step | Halt, list[Message]], why: tuple[str, str]) -> bool:
    """Whether it was."""
    entity, (result, messages) = page.entity, tried
    if isinstance(result, Halt):
        ledger.changes.handled.append(Handled(envelope, entity.ref, result.outcome, result.reason, entity.state, entity.state, result.error, ()))
        return False
    ledger.moved(page, envelope, result, messages, door=ledger.door, why=why)
    ledger.count("concerned")
    ledger.count(Outcome.APPLIED)
    return True


def _go_on(ledger: Ledger, page: Page) -> None:
    if page.entity.line and not page.entity.parked:
        drain(ledger, page)
