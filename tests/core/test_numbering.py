"""Events with numbers: early ones are held, late ones are rejected, a gap ends by arrival, by its limit, or by hand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import App, Data, DefinitionError, Event, Machine, Owner, Ref, State, any_of, hours, opens
from stream.core.machine import AnyMachine
from stream.core.order import Release
from tests.core.play import Play, at

ID = Ref("meter", "m")


class MeterEvent(Event, topic="meters", key="meter"):
    meter: str


class Numbered(MeterEvent):
    number: int = 0


class Fitted(Numbered, type="meter.fitted"): ...


class Read(Numbered, type="meter.read"):
    value: int = 0


class Sealed(Numbered, type="meter.sealed"): ...


class Opened(Numbered, type="meter.opened"): ...


class Noted(MeterEvent, type="meter.noted"):
    either: int | str = 0


class Meter(Data):
    meter: str
    values: list[int] = msgspec.field(default_factory=list[int])
    notes: int = 0


def fit(e: Fitted) -> Meter:
    return Meter(meter=e.meter)


def read(m: Meter, e: Read) -> None:
    if e.value == 13:
        raise RuntimeError("unlucky")
    m.values.append(e.value)


def note(m: Meter, e: Noted) -> None:
    m.notes += 1


def is_sane(m: Meter, e: Read) -> bool:
    return e.value >= 0


def machine(order_by: str = "number") -> AnyMachine:
    running, sealed, gone = State[Meter]("running", owner=Owner("grid")), State[Meter]("sealed", defers=(Read,)), State[Meter]("gone", final=True)
    return Machine(
        "meter",
        data=Meter,
        events=(MeterEvent,),
        order_by=order_by,
        gap_within=hours(2),
        transitions=(
            opens(Fitted, to=running, then=fit),
            running.on(Read, when=is_sane, then=read),
            running.on(Sealed, to=sealed),
            sealed.on(Opened, to=running),
            any_of(running, sealed).on(Noted, then=note),
            running.on(Fitted, to=gone),
        ),
    )


APP = App("grid", machines=(machine(),))


def played(*told: tuple[int, Event]) -> Play:
    """A meter after (minute, event), each a batch of its own, after its fitting as number 1."""
    play = Play(APP)
    play.send((Fitted(meter="m", number=1), 0, "f"))
    tell(play, *told)
    return play


def tell(play: Play, *told: tuple[int, Event]) -> None:
    for minute, event in told:
        play.send((event, minute, f"{minute}/{event}"))


def reading(number: int, value: int | None = None) -> Read:
    return Read(meter="m", number=number, value=number if value is None else value)


def values(play: Play) -> object:
    return play.data(ID)["values"]


def waits(play: Play) -> list[tuple[str, int | None]]:
    return [(str(w.reason), w.number) for w in play.entities[ID].line]


def test_what_comes_before_its_turn_is_held_and_taken_at_once_when_that_comes() -> None:
    play = played((1, reading(4)), (2, reading(3)))
    assert (values(play), waits(play)) == ([], [("gap", 4), ("gap", 3)])
    tell(play, (3, reading(2)))
    assert (values(play), waits(play), play.entities[ID].number) == ([2, 3, 4], [], 4)
    assert play.balanced()


def test_what_comes_after_its_turn_is_late_and_changes_nothing() -> None:
    play = played((1, reading(2)), (2, reading(2, 99)), (3, reading(1)))
    assert (values(play), play.outcomes()[-2:]) == ([2], [("rejected", "late")] * 2)
    assert play.all.dead[-1].error == "its number is 1, and 2 was seen"


def test_of_two_of_one_number_that_are_held_the_first_counts() -> None:
    play = played((1, reading(3)), (2, reading(3, 99)), (3, reading(2)))
    assert (values(play), waits(play), play.outcomes()[-1]) == ([2, 3], [], ("rejected", "late"))


def test_a_number_is_used_up_whatever_became_of_its_event() -> None:
    play = played((1, reading(2, -5)), (2, reading(3)))
    assert (play.outcomes()[-2], values(play)) == (("rejected", "guard_refused"), [3])


def test_what_a_state_defers_had_its_turn() -> None:
    play = played((1, Sealed(meter="m", number=2)), (2, reading(4)), (3, reading(3)), (4, reading(6)))
    assert (waits(play), play.entities[ID].number) == ([("early", 4), ("early", 3), ("gap", 6)], 4)
    tell(play, (5, Opened(meter="m", number=5)))
    assert (values(play), waits(play)) == ([3, 4, 6], [])


def test_an_event_without_a_number_comes_as_it_comes() -> None:
    play = played((1, reading(3)), (2, Noted(meter="m")))
    assert (play.data(ID)["notes"], waits(play)) == (1, [("gap", 3)])


def test_what_comes_before_the_birth_is_held_by_its_number() -> None:
    play = Play(APP)
    tell(play, (1, reading(3)), (2, reading(2)))
    assert waits(play) == [("gap", 3), ("gap", 2)]
    tell(play, (3, Fitted(meter="m", number=1)))
    assert (values(play), waits(play)) == ([2, 3], [])


def test_after_its_limit_a_gap_is_told_and_passed_over() -> None:
    play = played((1, reading(5)), (2, reading(4)), (3, reading(8)))
    play.fire(ID, 120)
    assert values(play) == []
    play.fire(ID, 121)
    assert (values(play), waits(play), play.said()) == ([4, 5], [("gap", 8)], ["gap.passed"])
    assert b'"missing":"2-3"' in play.all.messages[-1].value
    assert b'"following":4' in play.all.messages[-1].value
    assert b'"owner":"grid"' in play.all.messages[-1].value
    play.fire(ID, 123)
    assert (values(play), play.said()) == ([4, 5, 8], ["gap.passed"] * 2)
    tell(play, (130, reading(3)))
    assert (play.outcomes()[-1], values(play)) == (("rejected", "late"), [4, 5, 8])


def test_a_gap_before_the_birth_ends_by_its_limit_too() -> None:
    play = Play(APP)
    tell(play, (1, Fitted(meter="m", number=2)), (2, reading(3)))
    play.fire(ID, 121)
    assert (values(play), play.said()) == ([3], ["gap.passed"])


def test_a_person_goes_on_without() -> None:
    play = played((1, reading(3)), (2, reading(5)))
    play.now = at(30)
    changes = play.order(Release(ID, "ann", "never sent"), "desk")
    assert (values(play), waits(play)) == ([3], [("gap", 5)])
    row = next(row for row in play.all.history if row.event_type == "gap.passed")
    assert (row.actor, row.reason, row.error, row.door) == ("ann", "manual", "never sent", "desk")
    assert [one.envelope.type for one in changes.handled] == ["gap.passed", "meter.read"]
    assert play.order(Release(Ref("meter", "other"), "ann", "x"), "desk").handled == []


def test_a_parked_event_holds_its_number_until_somebody_decides() -> None:
    play = played((1, reading(2, 13)), (2, reading(4)), (3, reading(3)))
    assert [w.reason for w in play.entities[ID].line] == ["handler_failed", "behind", "behind"]
    play.retry(ID, skip="unlucky")
    assert (values(play), waits(play), play.entities[ID].number) == ([3, 4], [], 4)


def test_what_is_late_behind_a_failure_is_late_after_it() -> None:
    play = played((1, reading(2)), (2, reading(3, 13)), (3, reading(2, 99)))
    play.retry(ID, skip="unlucky")
    assert (values(play), play.outcomes()[-1]) == ([2], ("rejected", "late"))


def test_a_gap_that_ends_while_the_line_is_parked_waits_for_the_decision() -> None:
    play = played((1, reading(3)), (2, reading(2, 13)))
    play.fire(ID, 200)
    assert values(play) == []
    play.retry(ID, skip="unlucky")
    assert (values(play), waits(play)) == ([3], [])


def test_a_held_event_that_fails_keeps_its_place_in_the_line() -> None:
    play = played((1, reading(5)), (2, reading(3, 13)), (3, reading(2)))
    assert waits(play) == [("gap", 5), ("handler_failed", 3)]
    play.retry(ID, skip="unlucky")
    assert (values(play), waits(play), play.entities[ID].number) == ([2], [("gap", 5)], 3)


def test_nobody_goes_on_without_a_number_that_is_parked() -> None:
    play = played((1, reading(3)), (2, reading(2, 13)))
    play.now = at(30)
    assert play.order(Release(ID, "ann", "never sent"), "desk").handled == []
    assert (play.said(), play.entities[ID].number) == ([], 1)


def test_a_limit_that_runs_out_behind_a_failure_takes_no_number_away() -> None:
    play = played((1, reading(3)), (2, reading(2, 13)))
    play.fire(ID, 200)
    assert (play.said(), play.entities[ID].number) == ([], 1)
    play.retry(ID, skip="unlucky")
    assert (values(play), waits(play)) == ([3], [])


def test_an_early_event_that_the_database_refused_waits_for_its_turn_all_the_same() -> None:
    play = played()
    play.take([play.record(reading(5), 1, "x")], fault="22P02")
    play.retry(ID)
    assert (values(play), waits(play)) == ([], [("gap", 5)])
    tell(play, (2, reading(2)), (3, reading(4)), (4, reading(3)))
    assert values(play) == [2, 3, 4, 5]


def test_the_field_must_be_a_number_of_something_it_takes() -> None:
    with pytest.raises(DefinitionError, match="order_by='sequence' is a field of no event that it takes"):
        machine("sequence")
    with pytest.raises(DefinitionError, match="order_by='meter' is no int in "):
        machine("meter")
    with pytest.raises(DefinitionError, match="order_by='either' is no int in "):
        machine("either")


@st.composite
def shuffles(draw: st.DrawFn) -> tuple[list[int], int]:
    """Numbers from 2 on in any order, some twice, some never; and a cut into batches."""
    kept = draw(st.lists(st.integers(2, 12), min_size=1, max_size=9, unique=True))
    twice = draw(st.lists(st.sampled_from(kept), max_size=4))
    return draw(st.permutations([*kept, *twice])), draw(st.integers(1, 5))


@settings(max_examples=300, deadline=None)
@given(shuffles())
def test_any_order_ends_as_the_numbers_say_and_loses_nothing(told: tuple[Sequence[int], int]) -> None:
    numbers, size = told
    play = Play(APP)
    play.send((Fitted(meter="m", number=1), 0, "f"))
    batch = [(reading(number), 1 + n / 100, f"n{number}") for n, number in enumerate(numbers)]
    for first in range(0, len(batch), size):
        play.send(*batch[first : first + size])
    whole = sorted(set(numbers))
    straight = [number for n, number in enumerate(whole) if number == n + 2]
    assert values(play) == straight
    assert sorted(number or 0 for _, number in waits(play)) == whole[len(straight) :]
    for hour in range(1, 13):
        play.fire(ID, hour * 130)
    assert (values(play), waits(play)) == (whole, [])
    assert play.balanced()
