"""A table or an App that cannot be meant is refused at import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from stream import App, Clock, DefinitionError, Event, Machine, Owner, Sla, State, Topic, about, any_of, anytime, days, hours, opens
from stream.core.clock import SlaBreached
from stream.core.errors import UnusableError
from stream.core.own import WaitExpired
from stream.core.route import Routes
from stream.core.row import Transition
from tests.core import jobs
from tests.core.jobs import Job, JobDone, JobEvent, JobNoted, JobOpened, JobStarted, JobTold, Merged, job, make

one, two, end = State[Job]("one"), State[Job]("two"), State[Job]("end", final=True)
OPEN = opens(JobOpened, to=one, then=make)
DONE = one.on(JobDone, to=end)


class Keyless(Event, type="key.less", topic="jobs"):
    it: str


class TopicLess(Event, type="topic.less"):
    it: str


def table(*rows: Transition[Job], events: Sequence[Any] = (JobEvent,)) -> Machine[Job]:
    return Machine("m", data=Job, events=events, transitions=rows)


def clocked(*clocks: Clock[Job], rows: Sequence[Transition[Job]] = ()) -> Machine[Job]:
    return Machine("m", data=Job, events=(JobEvent,), clocks=clocks, transitions=(OPEN, DONE, *rows))


def clock(name: str = "c", **words: Any) -> Clock[Job]:
    given: dict[str, Any] = {"within": hours(1), "met": (end,), **words}
    return Clock[Job](name, **given)


def says_topicless(j: Job, e: JobNoted) -> TopicLess:
    return TopicLess(it="")


def says_what(j: Job, e: JobNoted):  # type: ignore[no-untyped-def]
    return None


def four(j: Job, e: JobNoted, c: object, x: int) -> None: ...


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "nothing leads to it": (lambda: table(OPEN, DONE, two.on(JobDone, to=end)), "nothing leads to 'two'"),
    "only a circle of its own leads to it": (lambda: table(OPEN, DONE, two.on(JobDone, to=two)), "nothing leads to 'two'"),
    "neither final nor left": (lambda: table(OPEN, one.on(JobDone, to=two)), "'two' is neither final nor left"),
    "left though final": (lambda: table(OPEN, DONE, end.on(JobStarted, to=one)), "'end' is final, yet left"),
    "no birth": (lambda: table(DONE), "no opens"),
    "a row after an unguarded one": (lambda: table(OPEN, DONE, one.on(JobDone)), "can never fire"),
    "two states of one name": (lambda: table(OPEN, DONE, State[Job]("one").on(JobStarted, to=end)), "two states are called 'one'"),
    "not addressable": (lambda: table(OPEN, DONE, one.on(Merged)), "does not say which m a Merged is about"),
    "deferred but not addressable": (
        lambda: table(opens(JobOpened, to=(s := State[Job]("s", defers=(Merged,))), then=make), s.on(JobDone, to=end)),
        "does not say which m a Merged",
    ),
    "a family without a key": (lambda: table(OPEN, DONE, one.on(Keyless), events=(JobEvent, Keyless)), "has no key="),
    "a row on a family": (lambda: table(OPEN, DONE, one.on(JobEvent), events=(about(JobEvent, lambda e: e.job_id),)), "has no type="),
    "a row on our own note": (lambda: table(OPEN, DONE, one.on(WaitExpired)), "no row can take a WaitExpired"),
    "emits what has no topic": (lambda: anytime(JobNoted, then=jobs.note, emit=says_topicless), "has no topic="),
    "emits what it does not name": (lambda: one.on(JobNoted, emit=says_what), "name in its return annotation"),
    "too many arguments": (lambda: one.on(JobNoted, then=four), "takes 4 arguments"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "after no time": (lambda: one.after(days(0), to=end), "must be positive"),
    "a clock without a name": (lambda: clock(""), "Clock '': a name is one line"),
    "a clock of a megabyte": (lambda: clock("c" * 1_000_000), "Clock 'c{40}': a name is one line"),
    "a clock without a target": (lambda: Clock[Job]("c", within=cast("Any", None), met=(one,)), "a duration is a timedelta"),
    "a reason that commands a terminal": (lambda: Sla[Job](days(1), reasons=("a\x1b[31m",)), "reason .*: a name is one line"),
    "an owner whose name turns the writing": (lambda: Owner("a\u202eb"), "Owner .*: a name is one line"),
    "a state that cannot be stored": (lambda: table(opens(JobOpened, to=State[Job]("a\0"), then=make)), "State .*: a name is one line"),
    "a machine with a blank at its end": (lambda: Machine[Job]("job ", data=Job, events=(), transitions=()), "Machine 'job ': a name"),
    "an App of two lines": (lambda: App("a\nb"), "App .*: a name is one line"),
    "a clock that is never met": (lambda: clock(met=()), "a state in which it is met"),
    "a clock of no time": (lambda: clock(within=hours(0)), "positive duration"),
    "a clock of a month": (lambda: clock(within="P1M"), "months and years have no fixed length"),
    "a clock of a century": (lambda: clock(within=days(36525)), "at most 7305 days"),
    "a repeat of a month": (lambda: Sla[Job](hours(1), repeat="P1M"), "months and years have no fixed length"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a warning at the end": (lambda: clock(warn_at=1.0), "a share of the target"),
    "a warning in per cent": (lambda: Sla[Job](hours(1), warn_at=75), "a share of the target"),
    "reasons without a comma": (lambda: clock(reasons=("parts")), "say a tuple"),
    "a name where an owner is meant": (lambda: State[Job]("s", owner="desk"), r"say Owner\('desk'\)"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a name to escalate to": (lambda: clock(escalate_to="lead"), r"say Owner\('lead'\)"),
    "a time where an SLA is meant": (lambda: State[Job]("s", sla=hours(1)), "is no Sla"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a reason twice": (lambda: clock(reasons=("a", "a")), "a code of its own"),
    "two clocks of one name": (lambda: clocked(clock(), clock()), "two clocks are called 'c'"),
    "a clock called like an SLA": (lambda: Machine(job.name, Job, job.events, job.transitions, (clock("new", met=(jobs.closed,)),)), "called 'new'"),
    "a clock over a state of another table": (lambda: clocked(clock(pauses=(two,))), "'two' that is not in the table"),
    "a clock over a namesake": (lambda: clocked(clock(met=(State[Job]("end", final=True),))), "'end' that is not in the table"),
    "a clock that is met and paused at once": (lambda: clocked(clock(met=(one,), pauses=(one,))), "cannot do what it says in 'one'"),
    "a clock that stands still at the end": (lambda: clocked(clock(met=(one,), pauses=(end,))), "cannot do what it says in 'end'"),
    "a clock that never runs": (lambda: clocked(clock(met=(one,))), "runs in no state"),
    "a row on a clock of another machine": (lambda: clocked(rows=[one.on(clock().breached, to=end)]), "there is no clock 'c'"),
    "a row on an SLA that is not there": (lambda: table(OPEN, DONE, one.on(one.breached, to=end)), "there is no clock 'one'"),
    "a row on a warning nobody gives": (lambda: clocked(c := clock(), rows=[one.on(c.warned)]), "never fire: 'c' says none"),
    "a row on repeats nobody gives": (lambda: clocked(c := clock(), rows=[one.on(c.escalated)]), "never fire: 'c' says none"),
    "a row on a clock where it stands still": (
        lambda: clocked(c := clock(pauses=(one,)), rows=[one.on(JobStarted, to=two), one.on(c.breached), two.on(JobDone, to=end)]),
        "never fire: 'c' says none where it stands",
    ),
    "a row on a clock behind one without a guard": (lambda: clocked(c := clock(), rows=[one.on(c.breached), one.on(c.breached)]), "can never fire"),
    "two machines of one name": (lambda: App("x", machines=(job, job)), "two machines are called 'job'"),
    "two topics of one name": (lambda: App("x", topics=(Topic("a"), Topic("a"))), "two topics are called 'a'"),
    "a topic with a blank": (lambda: App("x", topics=(Topic("my topic"),)), "no topic can be called 'my topic'"),
    "alerts with a slash": (lambda: App("x", machines=(job,), alerts="a/b"), "no topic can be called 'a/b'"),
    "its own alerts": (lambda: App("x", machines=(job,), alerts="jobs"), "its own alerts topic"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_definition_that_cannot_be_meant_is_refused(name: str) -> None:
    make_it, words = BAD[name]
    with pytest.raises(DefinitionError, match=words):
        make_it()


def test_a_definition_that_can_be_meant_is_taken() -> None:
    first = State[Job]("first", sla=Sla(days(1)))
    made = table(
        opens(JobOpened, to=first, then=make), first.on(JobDone, to=end), first.on(first.breached, to=two), any_of(two).after(days(1), to=end)
    )
    assert [s.name for s in made.states] == ["first", "end", "two"]
    assert made.takes == {JobOpened, JobDone, SlaBreached}


def test_rows_on_two_clocks_do_not_stand_in_each_others_way() -> None:
    first, second = clock("first", warn_at=0.5), clock("second", escalate_to=Owner("lead"))
    made = clocked(first, second, rows=[one.on(first.breached), one.on(second.breached), one.on(first.warned)])
    assert [dial.name for dial in made.dials.values()] == ["first", "second"]


def test_an_app_knows_what_it_takes_says_and_reads() -> None:
    app = App("x", machines=(job,), topics=(Topic("jobs", partitions=3),))
    assert [sorted(app.consumed), sorted(app.emitted)] == [["jobs"], ["alerts", "told"]]
    assert {JobOpened, JobTold, Merged, SlaBreached} <= set(app.classes)
    assert (app.topic("jobs").partitions, app.topic("told").partitions) == (3, 8)


def test_a_machine_fed_by_another_stands_one_level_higher() -> None:
    feeds = App("x", machines=(follower("second"), job)).feeds
    assert feeds.levels == (frozenset({"jobs"}), frozenset({"told"}))
    assert feeds.machines == {"job": (0, frozenset({"jobs"})), "second": (1, frozenset({"told"}))}


def follower(name: str) -> Machine[Job]:
    return Machine(
        name,
        data=Job,
        events=(JobTold,),
        transitions=(opens(JobTold, to=one, then=lambda e: Job(job_id=e.job_id, size=1)), one.after(days(1), to=end)),
    )


@pytest.mark.parametrize("id", ["", "x" * 513, "a\0", "\ud800", 7, None])
def test_an_id_that_cannot_be_stored_is_refused_by_routing(id: object) -> None:
    bad = Machine("m", data=Job, events=(about(JobEvent, lambda e: id),), transitions=(OPEN, DONE))  # type: ignore[arg-type, return-value]  # pyright: ignore
    with pytest.raises((UnusableError, TypeError)):
        Routes(App("x", machines=(bad,))).route(JobOpened(job_id="a"))
