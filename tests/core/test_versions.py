"""A machine that changed under running work: nothing is lost by a program that is too old, nor where a state is no more."""

from __future__ import annotations

import msgspec
import pytest

from stream import App, Clock, Data, Event, Machine, Owner, Ref, Sla, State, any_of, hours, opens
from stream.adapters.memory_database import MemoryDatabase
from stream.adapters.memory_store import MemoryStore
from stream.core.errors import UnavailableError
from stream.core.machine import AnyMachine
from stream.core.order import Fire, Move, Retry
from stream.core.record import Record
from stream.ports import Slice
from stream.runtime.app import carrying
from stream.runtime.doors import Lines, Partitions, Timers
from stream.runtime.settings import Settings
from tests.core.play import Play, at

ID = Ref("job", "j")


class JobEvent(Event, topic="jobs", key="job"):
    job: str


class Begun(JobEvent, type="job.begun"): ...


class Checked(JobEvent, type="job.checked"): ...


class Ended(JobEvent, type="job.ended"): ...


class Paid(JobEvent, type="job.paid", natural_key=("job",)): ...


class PaidToo(JobEvent, type="job.paid", version=2, natural_key=("job",)): ...


class Job(Data):
    job: str
    paid: int = 0


def begin(e: Begun) -> Job:
    return Job(job=e.job)


def pay(j: Job, e: Paid | PaidToo) -> None:
    j.paid += 1


def table(middle: str, version: int = 1) -> AnyMachine:
    first, second, end = (
        State[Job]("first", owner=Owner("shop")),
        State[Job](middle, owner=Owner("shop"), sla=Sla(hours(1))),
        State[Job]("end", final=True),
    )
    whole = Clock[Job]("whole", within=hours(5), met=(end,))
    open_states = any_of(first, second)
    rows = (opens(Begun, to=first, then=begin), first.on(Checked, to=second), open_states.on(Ended, to=end))
    paying = (open_states.on(Paid, then=pay), open_states.on(PaidToo, then=pay))
    return Machine("job", data=Job, events=(JobEvent,), clocks=(whole,), transitions=(*rows, *paying), version=version)


def app(middle: str = "checking", version: int = 1) -> App:
    return App("shop", machines=(table(middle, version),))


def taken_over(before: Play, by: App) -> Play:
    """The same entities, in the hands of another program."""
    after = Play(by)
    after.entities, after.seen, after.now = before.entities, before.seen, before.now
    return after


@pytest.fixture
def checked() -> Play:
    play = Play(app())
    play.send((Begun(job="j"), 0, "a"), (Checked(job="j"), 10, "b"))
    return play


def test_an_event_in_a_state_that_is_no_more_parks_and_says_what_to_do(checked: Play) -> None:
    play = taken_over(checked, app("testing", 2))
    play.send((Ended(job="j"), 20, "c"))
    (waiting,) = play.entities[ID].line
    assert waiting.error == "its state 'checking' is no more in version 2 of job: move it into another (stream entities move)"
    assert play.balanced()


def test_what_is_due_there_stays_due_until_it_was_moved(checked: Play) -> None:
    play = taken_over(checked, app("testing", 2))
    assert play.fire(ID, 400).stuck == {ID: "its state 'checking' is no more"}
    assert (play.said(), sorted(play.entities[ID].timers)) == ([], ["sla checking", "sla whole"])
    play.now = at(400)
    play.order(Move(ID, "checking", "testing", "ann", "renamed"), "desk")
    assert (play.state(ID), play.entities[ID].machine_version) == ("testing", 2)
    play.fire(ID, 401)
    assert [m.type for m in play.all.messages] == ["sla.breached"]
    assert b'"clock":"whole"' in play.all.messages[0].value


def test_nothing_of_what_a_later_program_wrote_is_fired_or_ordered_by_an_older_one(checked: Play) -> None:
    later = taken_over(checked, app("checking", 2))
    later.send((Paid(job="j"), 20, "p"))
    older = taken_over(later, app())
    before = msgspec.json.encode(older.entities[ID].data)
    barred = "this job is of version 2, and this program has version 1: run one that is as new"
    assert older.fire(ID, 5000).stuck == {ID: barred}
    changes = older.order(Move(ID, "checking", "first", "ann", "x"), "desk")
    assert (changes.entities, [one.error for one in changes.handled]) == ({}, [barred])
    assert (older.state(ID), msgspec.json.encode(older.entities[ID].data)) == ("checking", before)


def test_a_natural_key_holds_across_versions_of_its_event() -> None:
    play = Play(app())
    play.send((Begun(job="j"), 0, "a"))
    play.send((Paid(job="j"), 1, "p1"), (PaidToo(job="j"), 2, "p2"))
    assert (play.data(ID)["paid"], play.counts["conflict"]) == (1, 1)


async def test_an_older_program_waits_and_a_newer_one_goes_on() -> None:
    database = MemoryDatabase(lambda: at(60))

    async def take(program: App, n: int, event: Event) -> None:
        store = MemoryStore(database)
        record = Play(program).record(event, float(n), f"e{n}")
        record = msgspec.structs.replace(record, offset=n)
        position = await store.adopt(record.place, owner="w", generation=1, begin=0, partitions=1)
        carry = carrying(program, Settings(app="x:y"), lambda trace_id: False)
        batch: list[Record] = [record]
        await carry(Partitions([Slice(record.place, position.epoch, n, n + 1, batch)]), store, "")

    await take(app(), 0, Begun(job="j"))
    await take(app(version=2), 1, Checked(job="j"))
    with pytest.raises(UnavailableError, match="job 'j' was written by version 2 of its machine, this program has 1: is it as new as the others"):
        await take(app(), 2, Ended(job="j"))
    assert database.entities[ID].state == "checking"
    carry = carrying(app(), Settings(app="x:y"), lambda trace_id: False)
    _, changes = await carry(Timers([Fire(ID, at(600))]), MemoryStore(database), "")
    assert (list(changes.stuck), changes.entities) == ([ID], {})
    await take(app(version=2), 2, Ended(job="j"))
    assert (database.entities[ID].state, database.entities[ID].machine_version) == ("end", 2)


async def test_an_older_program_tries_nothing_again_that_it_may_not_even_read() -> None:
    def fail(j: Job, e: PaidToo) -> None:
        raise RuntimeError("no till")

    first, end = State[Job]("first", owner=Owner("shop")), State[Job]("end", final=True)
    rows = (opens(Begun, to=first, then=begin), first.on(Ended, to=end))
    older = App("shop", machines=(Machine("job", data=Job, events=(JobEvent,), transitions=rows),))
    newer = App("shop", machines=(Machine("job", data=Job, events=(JobEvent,), transitions=(*rows, first.on(PaidToo, then=fail)), version=2),))
    database = MemoryDatabase(lambda: at(60))
    store, play = MemoryStore(database), Play(newer)
    place = play.record(Begun(job="j"), 0, "x").place
    position = await store.adopt(place, owner="w", generation=1, begin=0, partitions=1)
    batch = [msgspec.structs.replace(play.record(event, n, f"e{n}"), offset=n) for n, event in enumerate((Begun(job="j"), PaidToo(job="j")))]
    await carrying(newer, Settings(app="x:y"), lambda trace_id: False)(Partitions([Slice(place, position.epoch, 0, 2, batch)]), store, "")
    with pytest.raises(UnavailableError, match="written by version 2"):
        await carrying(older, Settings(app="x:y"), lambda trace_id: False)(Lines([Retry(ID, "ann")]), store, "")
    assert ([waiting.event_type for waiting in database.waiting.values()], database.letters) == (["job.paid.v2"], {})
