"""One event tried on its entity, and what became of it booked.

What the author wrote may raise. Then nothing of that step is kept and the event parks with the error.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream.core.advance import IGNORED, Halt, Step, advance
from stream.core.changes import DeadLetter, Message
from stream.core.clock import ClockEvent
from stream.core.entity import Envelope, Waiting
from stream.core.errors import RAISED, MalformedError, described
from stream.core.ledger import Ledger, Page, is_own, later
from stream.core.numbering import number_of, turn
from stream.core.outcome import Outcome, Reason
from stream.core.text import safe

BEHIND = Halt(Outcome.PARKED, Reason.BEHIND)


def attempt(ledger: Ledger, page: Page, envelope: Envelope) -> tuple[Step | Halt, list[Message]]:
    """Everything the author wrote, and everything it produced, is tried here; what only another program could keep is not touched."""
    if page.barred:
        return failed(page.barred), []
    # A rung was told as the first message of its cause when it rang, however long its row has to wait for its turn.
    start = 1 if isinstance(envelope.event, ClockEvent) else 0
    try:
        result = advance(page.machine, page.entity, envelope, later(page.entity, envelope.time), ledger.routes.app.owners)
        if isinstance(result, Halt):
            return result, []
        return result, ledger.composed(page, envelope, [*result.said, *ledger.withdrawn(page, envelope, result)], start)
    except RAISED as error:  # the author's code: it fails as a value, and this entity waits
        return failed(described(error)), []


def attempt_in_turn(ledger: Ledger, page: Page, envelope: Envelope, waiting: Waiting | None) -> tuple[Step | Halt, list[Message]]:
    """`attempt`, if it is this event's turn by its number; which is used up then, unless the event parks."""
    number = number_of(page.machine, envelope.event)
    if halt := turn(page.entity, number, waiting):
        return halt, []
    result, messages = attempt(ledger, page, envelope)
    if isinstance(result, Step) or result.outcome is not Outcome.PARKED:
        ledger.used(page, number)
    return result, messages


def book_halt(ledger: Ledger, page: Page, envelope: Envelope, halt: Halt, waiting: Waiting | None = None) -> Outcome:
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
    put_back(page.entity.line, [waiting])
    ledger.lined(page)


def put_back(line: list[Waiting], taken: Iterable[Waiting]) -> None:
    """To their places in a line, which goes by ids; what has none yet stands at its end."""
    line.extend(taken)
    line.sort(key=lambda w: (w.id == 0, w.id))


def revived(ledger: Ledger, page: Page, waiting: Waiting) -> Envelope | None:
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


def failed(error: str) -> Halt:
    return Halt(Outcome.PARKED, Reason.HANDLER_FAILED, safe(error))
