"""Why one entity does not move: the single cause, in a sentence, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
import orjson

from stream.core.event import wire_type
from stream.core.ladder import HELD
from stream.core.layout import LayoutError
from stream.core.machine import AnyMachine
from stream.core.numbering import spans
from stream.core.own import OWN_EVENTS
from stream.core.record import Ref
from stream.core.task import clock_asked
from stream.ops.partitions import Row, ask_bounds, partition_row, read_clocks
from stream.ops.queries import Moment, Questions, Waits, questions
from stream.ops.render import duration
from stream.ops.site import Site
from stream.ops.timeline import Told, read_entity

SOON = timedelta(seconds=30)
"""What is late by less is on its way."""
TAKEN = {"no_transition": "no row takes it there", "guard_refused": "every row that takes it has a guard that said no"}


class Why(msgspec.Struct):
    """`cause` is one word of a closed list (the names of the looks below); `command` helps with it, or is empty."""

    machine: str
    id: str
    cause: str
    since: datetime | None
    sentence: str
    command: str = ""


class Facts(msgspec.Struct):
    """All that an answer may need: the entity, what of its messages stands still, the partitions of its topics, and the time."""

    told: Told
    machine: AnyMachine | None
    message: Row | None
    partitions: Sequence[Row]
    now: datetime

    def why(self, cause: str, since: datetime | None, sentence: str, command: str = "") -> Why:
        entity = self.told.entity
        return Why(entity.machine, entity.id, cause, since, sentence, command)

    def ago(self, since: datetime) -> str:
        past = self.now - since
        # A clock that was moved back, or an event that says a time to come.
        how = f"{duration(past)} ago" if past >= timedelta(0) else f"{duration(-past)} ahead of the clock"
        return f"{since:%Y-%m-%d %H:%M:%S} UTC ({how})"


async def ask_why(site: Site, ref: Ref) -> Why | None:
    """None when nothing ever referred to it. The broker may be away: then nothing is said of lag."""
    async with questions(site.postgres) as ask:
        told = await read_entity(ask, site.app, ref, 1)
        if told is None:
            return None
        machine = site.app.machine(ref.machine)
        message = next(iter(await ask.rows("unsent_of_entity", *ref)), None)
        partitions, now = await _partitions(ask, site, machine)
    return why(Facts(told, machine, message, partitions, now))


async def ask_unread(site: Site, machine: str) -> str:
    """What nobody has read yet of the topics of a machine, as the end of a sentence; empty when nothing is left, or the broker is away."""
    async with questions(site.postgres) as ask:
        return unread((await _partitions(ask, site, site.app.machine(machine)))[0])


def unread(partitions: Sequence[Row]) -> str:
    """Empty when they have been read to their ends."""
    late = [row for row in partitions if row["lag"]]
    topics = _list(sorted({row["topic"] for row in late})).replace(" or ", " and ")
    return f" of those that were read; {sum(row['lag'] for row in late):,} records of {topics} wait to be read (`stream status`)" if late else ""


async def _partitions(ask: Questions, site: Site, machine: AnyMachine | None) -> tuple[list[Row], datetime]:
    clocks, topics = await read_clocks(ask), _topics(machine)
    rows = [row for row in await ask.rows("partitions") if row["topic"] in topics]
    bounds, _ = await ask_bounds(site, topics, bool(topics))
    return [partition_row(row, clocks, bounds) for row in rows], clocks.now


def _topics(machine: AnyMachine | None) -> set[str]:
    return {kind.__topic__ for kind in machine.takes if kind.__topic__} if machine else set()


def why(facts: Facts) -> Why:
    """The first of these that is so: what a person must decide, what is broken, what is late, what is waited for."""
    for look in _LOOKS:
        if found := look(facts):
            return found
    return _rests(facts)


def _parked(facts: Facts) -> Why | None:
    # What was deferred before it failed stands before it in the line, and waits for it all the same.
    head = next((w for w in facts.told.line if w.outcome == "parked"), None)
    if head is None:
        return None
    behind = f"; {len(facts.told.line) - 1} more wait behind it" if len(facts.told.line) > 1 else ""
    text = f"it stands at event {head.event_type} ({head.event_id}), which failed since {facts.ago(head.since)}: {head.error or head.reason}{behind}"
    entity = facts.told.entity
    return facts.why("parked", head.since, text, f"stream parked retry {entity.machine} {entity.id} (or skip --reason), once the cause is mended")


def _misfit(facts: Facts) -> Why | None:
    entity, machine = facts.told.entity, facts.machine
    if machine is None or not entity.version:
        return None
    waits = "; its events park or wait, what is due stays due"
    try:
        machine.brought_up(entity.machine_version, orjson.dumps(entity.data))
    except LayoutError as error:
        newer = entity.machine_version > machine.version
        return facts.why("misfit", None, f"{error}{waits}", "" if newer else f"stream machines plan {entity.machine}")
    if entity.state in machine.by_name:
        return None
    text = f"its state {entity.state!r} is no more in version {machine.version} of {machine.name}{waits}"
    return facts.why("misfit", None, text, shlex.join(["stream", "entities", "move", entity.machine, entity.id]) + " STATE --reason")


def _unborn(facts: Facts) -> Why | None:
    if facts.told.entity.version or not (head := next(iter(facts.told.line), None)):
        return None
    text = f"it is not born: {head.event_type} ({head.event_id}) waits since {facts.ago(head.since)} for one of {_list(_opening(facts.machine))}"
    return facts.why("unborn", head.since, text + _limit(head))


def _refused(facts: Facts) -> Why | None:
    row = facts.message
    if row is None or row["reason"] is None:
        return None
    text = f"its message {row['type']} ({row['seq']}) is held since {facts.ago(row['since'])}: {row['reason']}: {row['error']}"
    return facts.why("message_held", row["since"], text, f"stream outbox show {row['seq']}; then outbox retry or skip")


def _halted(facts: Facts) -> Why | None:
    for row in facts.partitions:
        if row["halted_since"]:
            place = f"{row['topic']}/{row['partition']}"
            text = f"partition {place}, which may hold its events, is halted since {facts.ago(row['halted_since'])}: {row['halt_reason']}"
            return facts.why("partition_halted", row["halted_since"], text, f"stream partitions show {place}")
    return None


def _unread(facts: Facts) -> Why | None:
    late = [row for row in facts.partitions if row["lag"] and (row["age"] is None or row["age"] > SOON)]
    if not late:
        return None
    worst = max(late, key=lambda row: row["lag"])
    place = f"{worst['topic']}/{worst['partition']}"
    who = f"{worst['owner']} has it" if worst["owner"] else "nobody has it"
    text = f"partition {place}, which may hold its events, lags by {worst['lag']:,} records; {who}"
    return facts.why("partition_lags", None, text, "stream status" if worst["owner"] else "stream run --role worker")


def _unsent(facts: Facts) -> Why | None:
    row = facts.message
    if row is None or facts.now - row["since"] < SOON:
        return None
    text = f"its message {row['type']} ({row['seq']}) to {row['topic']} is unsent since {facts.ago(row['since'])}"
    return facts.why("message_unsent", row["since"], text, "stream outbox list")


def _overdue(facts: Facts) -> Why | None:
    due = _first_due(facts)
    if due is None or facts.now - due[1] < SOON:
        return None
    text = f"{due[0]} fell due {facts.ago(due[1])} and has not fired: no ticker runs, or a feed of its machine lags"
    return facts.why("timer_overdue", due[1], text, "stream status")


def _gap(facts: Facts) -> Why | None:
    entity, machine = facts.told.entity, facts.machine
    waits = sorted((w for w in facts.told.line if w.reason == "gap"), key=lambda w: w.number or 0)
    if machine is None or not waits:
        return None
    here = [w.number or 0 for w in waits]
    first = waits[0]
    text = f"it waits for number {spans([range(entity.number + 1, here[0])])} of its events since {facts.ago(min(w.since for w in waits))}"
    command = f"stream entities release {entity.machine} {entity.id} --reason, to go on without"
    return facts.why("gap", first.since, f"{text}; {', '.join(map(str, here))} came already{_passed_over(waits)}", command)


def _early(facts: Facts) -> Why | None:
    head = next(iter(facts.told.line), None)
    if head is None:
        return None
    text = f"event {head.event_type} ({head.event_id}) came before its time and waits since {facts.ago(head.since)}; in {facts.told.entity.state}"
    return facts.why("deferred", head.since, f"{text} it waits for {_list(_awaited(facts))}{_limit(head)}")


def _asked(facts: Facts) -> Why | None:
    # One that asks why a clock was breached holds nothing up.
    task = next((task for task in facts.told.tasks if clock_asked(task.name) is None), None)
    if task is None:
        return None
    who = f"{task.assignee}, who has claimed it," if task.assignee else task.owner
    until = f"; due {task.due:%Y-%m-%d %H:%M:%S} UTC" if task.due else ""
    text = f"it waits for {who} to answer task {task.id} since {facts.ago(task.opened)}: {task.question}{until}"
    return facts.why("task", task.opened, text, f"stream tasks show {task.id}; then tasks answer {task.id} {' or '.join(task.answers)}")


def _rejected(facts: Facts) -> Why | None:
    last: Moment | None = next(iter(facts.told.timeline[-1:]), None)
    if last is None or last.outcome != "rejected":
        return None
    place = f"in {last.from_state}" if last.from_state else "before it was born"
    because = TAKEN.get(last.reason, last.reason)
    text = f"the latest event, {last.event_type} ({last.event_id}), was rejected {facts.ago(last.at)} {place}: {because}"
    return facts.why("rejected", last.at, text, "stream dead-letters list --reason " + last.reason)


def _absent(facts: Facts) -> Why | None:
    if facts.told.entity.version:
        return None
    return facts.why("unborn", None, f"it is not born, and nothing waits for it: {_list(_opening(facts.machine))} would open it")


def _final(facts: Facts) -> Why | None:
    entity = facts.told.entity
    state = facts.machine.by_name.get(entity.state) if facts.machine else None
    if state is None or not state.final:
        return None
    return facts.why(
        "final", entity.since, f"it is done: {entity.state} is a final state" + (f", since {facts.ago(entity.since)}" if entity.since else "")
    )


def _rests(facts: Facts) -> Why:
    entity, owner = facts.told.entity, facts.told.owner
    if facts.machine is None:
        return facts.why("unknown_machine", None, f"this App has no machine {entity.machine!r}", "stream machines list")
    turn = f"; it is the turn of {owner}" if owner else ""
    due = _first_due(facts)
    until = f"; {due[0]} falls due {due[1]:%Y-%m-%d %H:%M:%S} UTC (in {duration(due[1] - facts.now)})" if due else ""
    stilled = [c.clock for c in facts.told.clocks if c.stands == HELD]
    held = f"; a person holds the clock {_list([repr(clock) for clock in stilled])}" if stilled else ""
    text = f"nothing is wrong: it rests in {entity.state} and waits for {_list(_awaited(facts))}{turn}{until}{held}"
    return facts.why(
        "rests", entity.since, text, shlex.join(["stream", "clocks", "resume", entity.machine, entity.id, stilled[0]]) if stilled else ""
    )


_LOOKS: Sequence[Callable[[Facts], Why | None]] = (
    *(_parked, _misfit, _refused, _gap, _unborn, _halted, _unread, _unsent, _overdue, _asked, _early, _rejected, _absent, _final),
)


def _first_due(facts: Facts) -> tuple[str, datetime] | None:
    """What falls due first, and when."""
    clocks = [(f"the clock {c.clock!r} ({c.next})", c.due) for c in facts.told.clocks if c.due]
    timers = [(f"the timer {t.name!r}", t.due) for t in facts.told.timers if t.due]
    return min([*clocks, *timers], key=lambda one: one[1], default=None)


def _awaited(facts: Facts) -> list[str]:
    return _taken(facts.machine, facts.told.entity.state) if facts.machine else []


def _opening(machine: AnyMachine | None) -> list[str]:
    return _taken(machine, "") if machine else []


def _taken(machine: AnyMachine, state: str) -> list[str]:
    return sorted({wire_type(kind) for at, kind in machine.rows if at == state and kind not in OWN_EVENTS})


def _list(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "nothing that any row takes"


def _passed_over(held: Sequence[Waits]) -> str:
    """Whichever of them has waited longest ends the gap."""
    first = min((w.until for w in held if w.until), default=None)
    return f"; passed over at {first:%Y-%m-%d %H:%M:%S} UTC" if first else ""


def _limit(head: Waits) -> str:
    return f"; until {head.until:%Y-%m-%d %H:%M:%S} UTC, then it is rejected" if head.until else ""
