"""A small machine that has one of everything: the stage of these tests."""

from __future__ import annotations

import sys
from datetime import timedelta

import msgspec

from stream import App, Cause, Data, Event, Machine, Owner, Ref, Sla, State, about, any_of, anytime, days, hours, minutes, opens


class JobEvent(Event, topic="jobs", key="job_id"):
    job_id: str


class JobOpened(JobEvent, type="job.opened"):
    size: int = 1


class JobStarted(JobEvent, type="job.started"):
    who: str = ""


class JobPaused(JobEvent, type="job.paused"): ...


class PartCame(JobEvent, type="part.came"):
    part: str


class JobNoted(JobEvent, type="job.noted"):
    text: str


class JobDone(JobEvent, type="job.done"): ...


class JobViewed(JobEvent, type="job.viewed"): ...


class Merged(Event, type="jobs.merged", topic="jobs", key="into"):
    into: str
    gone: tuple[str, ...] = ()


class JobTold(Event, type="job.told", topic="told", key="job_id"):
    job_id: str
    text: str


class Job(Data):
    job_id: str
    size: int
    parts: set[str] = msgspec.field(default_factory=set[str])
    notes: list[str] = msgspec.field(default_factory=list[str])
    opened_by: str = ""


BENCH, LEAD = Owner("bench"), Owner("lead")


def make(e: JobOpened, cause: Cause) -> Job:
    return Job(job_id=e.job_id, size=e.size, opened_by=cause.id)


def add_part(j: Job, e: PartCame) -> None:
    j.parts.add(e.part)
    if e.part == "wrong type":
        j.size = "three"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


def note(j: Job, e: JobNoted) -> None:
    if e.text == "exit":
        sys.exit(3)
    j.notes.append(e.text)
    if e.text == "boom":
        raise RuntimeError("boom")
    if e.text == "wrong type":
        j.size = "three"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    if e.text == "surrogate":
        j.notes.append("\ud800")


def tell_note(j: Job, e: JobNoted) -> JobTold | None:
    if e.text == "bad message":
        return JobTold(job_id=j.job_id, text=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return JobTold(job_id=j.job_id, text=e.text) if e.text != "quiet" else None


def tell_done(j: Job, e: JobDone) -> list[JobTold]:
    return [JobTold(job_id=j.job_id, text="done"), JobTold(job_id=j.job_id, text="bye")]


def tell_late(j: Job) -> JobTold:
    return JobTold(job_id=j.job_id, text="closed by itself")


def complete(j: Job) -> bool:
    return len(j.parts) >= 2


def is_big(j: Job, e: JobStarted) -> bool:
    return j.size > 5


def is_small(j: Job, e: JobStarted) -> bool:
    return j.size < 4


def target(j: Job) -> timedelta:
    return minutes(10 * j.size)


new = State[Job]("new", owner=BENCH, sla=Sla(target, escalate_to=LEAD), ignores=(JobViewed,), defers=(JobDone,), defers_within=hours(2))
working = State[Job]("working", owner=BENCH)
checked = State[Job]("checked", owner=LEAD, sla=Sla(hours(1)))
late = State[Job]("late", owner=LEAD)
paused = State[Job]("paused", defers=(PartCame, JobDone))
closed = State[Job]("closed", final=True)

job = Machine[Job](
    "job",
    data=Job,
    events=(JobEvent, about(Merged, lambda e: (e.into, *e.gone))),
    unborn_within=days(1),
    transitions=(
        opens(JobOpened, to=new, then=make),
        new.on(JobStarted, to=checked, when=is_big),
        new.on(JobStarted, to=working, when=is_small),
        new.on(JobPaused, to=paused),
        working.on(JobPaused, to=paused),
        paused.on(JobStarted, to=working),
        any_of(new, working, checked, late).on(PartCame, then=add_part),
        checked.on(checked.breached, to=late),
        any_of(working, late).settles(to=checked, when=complete),
        any_of(working, checked, late).on(JobDone, to=closed, emit=tell_done),
        paused.after(days(2), to=closed, emit=tell_late),
        anytime(JobNoted, then=note, emit=tell_note),
        any_of(new, working).on(Merged),
    ),
)

app = App("shop", machines=(job,))


def ref(id: str) -> Ref:
    return Ref("job", id)


A = ref("a")
