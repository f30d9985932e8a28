"""Programs of three versions in turns on the same entities: a version always tells the layout of its data, and nothing is lost or doubled."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import App, Data, Event, Machine, Owner, Ref, Sla, State, Task, any_of, minutes, opens, upcast
from stream.core.decide import outdated
from stream.core.entity import Entity
from stream.core.ladder import timer_of
from stream.core.layout import layout_of
from stream.core.machine import AnyMachine
from stream.core.order import Answer, Fire, Lift, Move, Order, Release, Retry, Steer
from stream.core.own import ClockPaused, ClockResumed
from tests.core.play import Play, at

IDS = [Ref("jar", "a"), Ref("jar", "bad"), Ref("jar", "c")]


class JarEvent(Event, topic="jars", key="jar"):
    jar: str


class Made(JarEvent, type="jar.made"): ...


class Filled(JarEvent, type="jar.filled"):
    n: int
    fails: bool = False


class Closed(JarEvent, type="jar.closed"): ...


class Opened(JarEvent, type="jar.opened"): ...


class Jar1(Data, forbid_unknown_fields=True):
    jar: str
    spoons: int


class Jar2(Data, forbid_unknown_fields=True):
    jar: str
    cups: int


class Jar(Data, forbid_unknown_fields=True):
    jar: str
    litres: int
    label: str = ""


def to_cups(jar: Jar1) -> Jar2:
    if jar.jar == "bad":
        raise ValueError("cracked")
    return Jar2(jar=jar.jar, cups=jar.spoons)


def to_litres(jar: Jar2) -> Jar:
    return Jar(jar=jar.jar, litres=jar.cups)


def program(version: int, data: type[Any], amount: str, upcasts: dict[int, Any]) -> App:
    def make(e: Made) -> Any:
        return data(jar=e.jar, **{amount: 0})

    def fill(jar: Any, e: Filled) -> None:
        setattr(jar, amount, getattr(jar, amount) + 1)
        if e.fails and version == 2:
            raise RuntimeError("spilt")

    task = Task[Any](question=lambda jar: f"{getattr(jar, amount)}?", answers=(Opened,))
    opened = State[Any]("open", owner=Owner("cook"), sla=Sla(minutes(7)))
    closed = State[Any]("closed", owner=Owner("cook"), task=task, defers=(Filled,))
    ends = State[Any]("gone", final=True)
    rows = (
        *(opens(Made, to=opened, then=make), opened.on(Filled, then=fill), opened.on(Closed, to=closed), closed.on(Opened, to=opened)),
        *(closed.after(minutes(9), to=opened), any_of(opened, closed).on(Made, to=ends)),
    )
    jars: AnyMachine = Machine("jar", data=data, events=(JarEvent,), transitions=rows, version=version, order_by="n", upcasts=upcasts)
    return App("kitchen", machines=(jars,))


FIRST, SECOND = upcast(Jar1, Jar2, to_cups), upcast(Jar2, Jar, to_litres)
PROGRAMS = [program(1, Jar1, "spoons", {}), program(2, Jar2, "cups", {1: FIRST}), program(4, Jar, "litres", {1: FIRST, 3: SECOND})]
NEWEST = PROGRAMS[2].machines[0]
DOINGS = ("fill", "fill", "fail", "close", "open", "fire", "retry", "skip", "move", "answer", "pause", "resume", "release", "lift", "end")
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(IDS), st.sampled_from(DOINGS), st.integers(0, 2)), max_size=60)


def ordered(entity: Entity, doing: str, minute: float) -> Order | None:
    ref = entity.ref
    if doing == "answer":
        return Answer(ref, next(iter(entity.tasks)), Opened(jar=ref.id), "ann") if entity.tasks else None
    if doing in ("pause", "resume"):
        reading = entity.clocks.get(timer_of("open"))
        event = ClockPaused(clock="open") if doing == "pause" else ClockResumed(clock="open")
        return Steer(ref, event, reading, "ann", "x") if reading else None
    plain: dict[str, Order] = {
        "fire": Fire(ref, at(minute)),
        "retry": Retry(ref, "ann"),
        "skip": Retry(ref, "ann", "x"),
        "move": Move(ref, "open", "closed", "ann", "x"),
        "release": Release(ref, "ann", "x"),
        "lift": Lift(ref, "ann", "x"),
    }
    return plain.get(doing)


def fits(entity: Entity) -> None:
    """Its data is read by the class that its version says, and by no other; and it is what was applied to it."""
    if entity.born:
        msgspec.json.decode(entity.data, type=layout_of(NEWEST.data, NEWEST.upcasts, entity.machine_version))


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_version_always_tells_the_layout_and_no_filling_is_lost(steps: list[tuple[int, Ref, str, int]]) -> None:
    plays = [Play(app) for app in PROGRAMS]
    for play in plays[1:]:
        play.entities, play.seen, play.tasks, play.all, play.counts = plays[0].entities, plays[0].seen, plays[0].tasks, plays[0].all, plays[0].counts
    plays[0].send(*((Made(jar=ref.id), 0, f"made {ref.id}") for ref in IDS))
    numbers = dict.fromkeys(IDS, 0)
    for minute, (who, ref, doing, gap) in enumerate(steps, 1):
        play = plays[who]
        play.now, play.line_id = at(minute), max(one.line_id for one in plays)
        entity = play.entities[ref]
        event: JarEvent | None = None
        if doing in ("fill", "fail"):
            numbers[ref] += 1 + (gap == 2)
            event = Filled(jar=ref.id, n=numbers[ref], fails=doing == "fail")
        elif doing in ("close", "open", "end"):
            event = {"close": Closed, "open": Opened, "end": Made}[doing](jar=ref.id) if doing != "end" or gap == 2 else None
        before = copy.deepcopy(entity)
        order = ordered(entity, doing, minute)
        probe = Retry(ref, "") if event or isinstance(order, Retry) else Fire(ref, at(0))
        if outdated(play.routes, play.entities, [probe]):
            continue
        if event:
            play.send((event, minute, f"e{minute}"))
        elif order:
            play.orders([order], "desk")
        after = play.entities[ref]
        if before.machine_version > PROGRAMS[who].machines[0].version:
            assert (after.data, after.machine_version, after.version) == (before.data, before.machine_version, before.version)
        assert after.machine_version >= before.machine_version
        fits(after)
    for ref in IDS:
        data = plays[0].data(ref)
        applied = sum(row.ref == ref and row.event_type == "jar.filled" and row.outcome == "applied" for row in plays[0].all.history)
        assert applied == next(data[name] for name in ("spoons", "cups", "litres") if name in data)
    assert plays[0].balanced()
