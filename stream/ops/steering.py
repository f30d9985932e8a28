"""What a person does to a clock of one entity, as an order for the desk and as a line of the audit."""

from __future__ import annotations

from stream.core.errors import ConfigurationError, StreamError
from stream.core.ladder import Reading, clock_of, rung, timer_of
from stream.core.order import Steer
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from stream.core.record import Ref
from stream.ops.orders import Note
from stream.ops.queries import Due, questions
from stream.ops.site import Site, machine_of

WORDS: dict[type[ClockOrder], str] = {ClockMoved: "move", ClockPaused: "pause", ClockResumed: "resume", ClockCancelled: "cancel"}
"""The commands, by the event that each is."""


class NoClockError(StreamError):
    """There is no such clock to be ordered: the entity is not there, or has none of that name now."""


async def order_on(site: Site, ref: Ref, event: ClockOrder, actor: str, reason: str) -> tuple[Steer, Note]:
    """The order on a clock as it stands now, and its line in the audit. Raises `ConfigurationError` for a machine or clock that nobody declared,
    `NoClockError` where the entity has it not.
    """
    machine = machine_of(site, ref.machine)
    if timer_of(event.clock) not in machine.dials:
        known = ", ".join(dial.name for dial in machine.dials.values()) or "none"
        raise ConfigurationError(f"{ref.machine} has no clock {event.clock!r}; it has {known}")
    async with questions(site.postgres) as ask:
        entity, timers = await ask.entity(ref), await ask.timers(ref)
    if entity is None or not entity.version:
        raise NoClockError(f"there is no {ref.machine} {ref.id!r}")
    now = next((due for due in timers if due.name == timer_of(event.clock) and due.reading is not None), None)
    if now is None or now.reading is None:
        here = ", ".join(clock_of(due.name) or "" for due in timers if due.reading is not None) or "none"
        raise NoClockError(f"{ref.machine} {ref.id!r} has no clock {event.clock!r} in {entity.state!r}; it has {here}")
    before = {event.clock: _stands(now, now.reading), "state": entity.state}
    note = Note(actor, f"clocks {WORDS[type(event)]}", f"{ref.machine}/{ref.id}", reason, before)
    return Steer(ref, event, now.reading, actor, reason), note


def _stands(now: Due, reading: Reading) -> dict[str, object]:
    return {"stands": reading.stands or "runs", "next": rung(reading.level)[1], "due": now.due, "target": reading.aim}
