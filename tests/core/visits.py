"""A machine with clocks: a repair visit, with an SLA that warns and repeats, and a target across states."""

from __future__ import annotations

from datetime import timedelta

from stream import App, Clock, Data, Event, Machine, Owner, Ref, Sla, SlaEscalated, SlaWarned, State, any_of, anytime, hours, minutes, opens
from tests.core.play import Play


class VisitEvent(Event, topic="visits", key="visit_id"):
    visit_id: str


class Booked(VisitEvent, type="visit.booked"):
    hours: int = 4


class Begun(VisitEvent, type="visit.begun"): ...


class Asked(VisitEvent, type="visit.asked"): ...


class Solved(VisitEvent, type="visit.solved"): ...


class Failed(VisitEvent, type="visit.failed"): ...


class Dropped(VisitEvent, type="visit.dropped"): ...


class Ended(VisitEvent, type="visit.ended"): ...


class Rated(VisitEvent, type="visit.rated"):
    hours: int


class Visit(Data):
    visit_id: str
    hours: int
    hurried: int = 0


DESK, LEAD = Owner("desk"), Owner("lead")


def book(e: Booked) -> Visit:
    return Visit(visit_id=e.visit_id, hours=e.hours)


def rate(v: Visit, e: Rated) -> None:
    v.hours = e.hours
    if e.hours == 13:
        raise RuntimeError("unlucky")


def hurry(v: Visit, e: SlaWarned | SlaEscalated) -> None:
    v.hurried += 1


def target(v: Visit) -> timedelta:
    return hours(v.hours)


def is_urgent(v: Visit, e: Event) -> bool:
    return v.hours == 1


booked = State[Visit]("booked", owner=DESK, sla=Sla(minutes(40), escalate_to=LEAD, warn_at=0.75, repeat=minutes(20)))
working = State[Visit]("working", owner=DESK)
asking = State[Visit]("asking")
stuck = State[Visit]("stuck", owner=LEAD)
solved = State[Visit]("solved", owner=DESK)
dropped = State[Visit]("dropped")
ended = State[Visit]("ended", final=True)

solving = Clock[Visit](
    "solving",
    within=target,
    met=(solved,),
    pauses=(asking,),
    void=(dropped,),
    escalate_to=LEAD,
    warn_at=0.5,
    repeat=hours(2),
    reasons=("parts", "weather"),
)
open_states = any_of(booked, working, asking)

visit = Machine[Visit](
    "visit",
    data=Visit,
    events=(VisitEvent,),
    clocks=(solving,),
    transitions=(
        opens(Booked, to=booked, then=book),
        any_of(booked, asking, stuck).on(Begun, to=working),
        any_of(booked, working).on(Asked, to=asking),
        any_of(booked, working, asking, stuck).on(Solved, to=solved),
        any_of(booked, working, asking, stuck).on(Dropped, to=dropped),
        any_of(solved, dropped).on(Failed, to=working),
        any_of(booked, working, asking, stuck, solved, dropped).on(Ended, to=ended),
        open_states.on(solving.breached, to=stuck, when=is_urgent),
        any_of(working, solved).on(solving.warned, then=hurry),
        working.on(solving.escalated, then=hurry),
        anytime(Rated, then=rate),
    ),
)

app = App("visits", machines=(visit,))
V = Ref("visit", "v")

SAYS = {
    "booked": Booked,
    "begun": Begun,
    "asked": Asked,
    "solved": Solved,
    "failed": Failed,
    "dropped": Dropped,
    "ended": Ended,
}


def played(*told: tuple[float, str] | tuple[float, str, int]) -> Play:
    """A visit after (minute, what, hours): each event a batch of its own."""
    play = Play(app)
    tell(play, *told)
    return play


def tell(play: Play, *told: tuple[float, str] | tuple[float, str, int]) -> None:
    for minute, what, *more in told:
        if what == "fire":
            play.fire(V, minute)
        else:
            play.send((event(what, *more), minute, f"{len(play.all.history)}/{what}/{minute}"))


def event(what: str, hours: int = 4) -> VisitEvent:
    if what == "rated":
        return Rated(visit_id="v", hours=hours)
    return Booked(visit_id="v", hours=hours) if what == "booked" else SAYS[what](visit_id="v")
