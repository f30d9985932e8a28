"""Rows of a table, told by what was taken."""

from __future__ import annotations

from stream import Machine, opens
from stream.core.coverage import Taken, coverage
from tests.core.jobs import Job, JobOpened, JobStarted, closed, job, make, new, paused


def counted(*taken: Taken) -> dict[tuple[str, str, str, str], tuple[int, int]]:
    return {(c.row.source, c.row.on, c.row.target, c.row.when): (c.n, c.shared) for c in coverage(job, taken) if c.n}


def test_a_birth_a_move_and_a_stay_are_counted() -> None:
    assert counted(Taken("", "job.opened", "new", 7), Taken("new", "job.started", "working", 2), Taken("working", "part.came", "working", 3)) == {
        ("", "job.opened", "new", ""): (7, 0),
        ("new", "job.started", "working", "is_small"): (2, 0),
        ("working", "part.came", "working", ""): (3, 0),
    }


def test_a_row_that_settles_is_told_from_the_one_that_stayed() -> None:
    assert counted(Taken("working", "part.came", "checked", 4)) == {
        ("working", "part.came", "working", ""): (4, 0),
        ("working", "settles", "checked", "complete"): (4, 0),
    }


def test_moves_by_time_and_by_clocks_are_rows_too() -> None:
    assert counted(Taken("paused", "after.elapsed", "closed", 1), Taken("checked", "sla.breached", "late", 5)) == {
        ("paused", "after 2 days", "closed", ""): (1, 0),
        ("checked", "sla.breached of checked", "late", ""): (5, 0),
    }


def test_what_no_row_explains_is_left_out() -> None:
    assert counted(Taken("new", "entity.moved", "closed", 9), Taken("gone", "job.started", "new", 1), Taken("new", "sla.breached", "new", 8)) == {}


def test_rows_that_leave_the_same_trace_share_it() -> None:
    def twin(j: Job, e: JobStarted) -> bool:
        return j.size == 0

    rows = (opens(JobOpened, to=new, then=make), new.on(JobStarted, to=closed, when=twin), new.on(JobStarted, to=closed))
    found = coverage(Machine("job", data=Job, events=job.events, transitions=rows), [Taken("new", "job.started", "closed", 3)])
    assert [(c.n, c.shared) for c in found] == [(0, 0), (3, 3), (3, 3)]


def test_a_row_that_leads_there_shares_with_one_that_settles_there() -> None:
    def big(j: Job, e: JobStarted) -> bool:
        return j.size > 9

    rows = (
        opens(JobOpened, to=new, then=make),
        new.on(JobStarted, to=closed, when=big),
        new.on(JobStarted, to=paused),
        paused.settles(to=closed, when=bool),
    )
    found = coverage(Machine("job", data=Job, events=job.events, transitions=rows), [Taken("new", "job.started", "closed", 3)])
    assert [(c.n, c.shared) for c in found] == [(0, 0), (3, 3), (3, 3), (3, 3)]


def test_every_row_is_listed_and_most_were_not_taken() -> None:
    found = coverage(job, [Taken("", "job.opened", "new", 1)])
    assert (len(found), sum(c.n for c in found)) == (len({id(c) for c in found}), 1)
    assert {c.row.source for c in found} == {"", "new", "working", "checked", "late", "paused"}
