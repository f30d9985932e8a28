"""The property that comes free: whatever the batches and the repeats, the end is the fold over each event taken once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.jobs import JobDone, JobEvent, JobNoted, JobOpened, JobPaused, JobStarted, PartCame, app
from tests.core.play import Play


def events(id: str) -> list[JobEvent]:
    noted = [JobNoted(job_id=id, text="fine"), JobNoted(job_id=id, text="boom")]
    parts = [PartCame(job_id=id, part="x"), PartCame(job_id=id, part="y")]
    return [JobOpened(job_id=id, size=2), JobStarted(job_id=id), JobPaused(job_id=id), JobDone(job_id=id), *parts, *noted]


Said = tuple[JobEvent, float, str]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Said], list[list[Said]]]:
    """A stream of distinct events, and the same one cut into batches, with earlier events said again anywhere."""
    drawn = draw(st.lists(st.tuples(st.sampled_from(events("a") + events("b")), st.integers(0, 5000)), max_size=14))
    once = [(event, float(minutes), str(n)) for n, (event, minutes) in enumerate(drawn)]
    batches: list[list[Said]] = [[]]
    for n, said in enumerate(once):
        batches[-1].append(said)
        batches[-1] += [once[i] for i in draw(st.lists(st.integers(0, n), max_size=2))]
        if draw(st.booleans()):
            batches.append([])
    return once, [batch for batch in batches if batch]


@settings(max_examples=60, deadline=None)
@given(streams())
def test_any_batches_with_repeats_end_as_the_fold(both: tuple[list[Said], list[list[Said]]]) -> None:
    once, batches = both
    fold, play = Play(app), Play(app)
    for said in once:
        fold.send(said)
    for batch in batches:
        play.send(*batch)
    assert [(h.hash, h.ref, h.outcome) for h in play.all.history] == [(h.hash, h.ref, h.outcome) for h in fold.all.history]
    assert [(m.id, m.value, m.sequence) for m in play.all.messages] == [(m.id, m.value, m.sequence) for m in fold.all.messages]
    assert {ref: (e.state, e.data, e.timers, [w.event_id for w in e.line]) for ref, e in play.entities.items()} == {
        ref: (e.state, e.data, e.timers, [w.event_id for w in e.line]) for ref, e in fold.entities.items()
    }
    assert play.balanced()
    assert fold.balanced()
