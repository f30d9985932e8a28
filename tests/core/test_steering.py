"""What a person does to clocks: held, moved, let go on, taken away; and when nothing is done."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from stream import App, Calendar, Data, Event, Machine, Sla, State, hours, opens
from stream.core.changes import Changes
from stream.core.ladder import Note, Reading, timer_of
from stream.core.order import Steer
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from stream.core.record import Ref
from tests.core.play import Play, at
from tests.core.test_clocks import rungs
from tests.core.visits import V, played, tell


def steer(play: Play, minute: float, event: ClockOrder, *, ref: Ref = V, seen: Reading | None = None) -> Changes:
    later, play.now = play.now, at(minute)
    seen = seen or play.entities[ref].clocks[timer_of(event.clock)]
    changes = play.order(Steer(ref, event, seen, "ann", "by phone"), "desk")
    play.now = later
    return changes


def refusal(changes: Changes) -> str:
    (told,) = changes.handled
    assert (told.outcome, changes.history, changes.entities) == ("rejected", [], {})
    return told.error


def noted(play: Play, n: int = -1) -> Note:
    return msgspec.json.decode(play.all.history[n].clocks, type=list[Note])[-1]


def stands(play: Play, clock: str = "solving") -> str:
    return play.entities[V].clocks[timer_of(clock)].stands


def by(minutes: float, clock: str = "solving") -> ClockMoved:
    return ClockMoved(clock=clock, by=minutes * 60)


HOLD, GO_ON, END = ClockPaused(clock="solving"), ClockResumed(clock="solving"), ClockCancelled(clock="solving")


def test_an_order_is_a_row_of_the_history_with_who_and_why_and_the_instants_before_and_after() -> None:
    play = played((0, "booked", 4))
    steer(play, 10, by(60))
    row = play.all.history[-1]
    assert (row.event_type, row.outcome, row.reason, row.error, row.actor, row.door, row.from_state, row.to_state, row.time) == (
        *("clock.moved", "applied", "manual", "by phone", "ann", "desk", "booked", "booked", at(10)),
    )
    assert noted(play) == Note("solving", "moved", "desk", due=at(300), was=at(240))
    assert play.balanced()


def test_a_held_clock_says_nothing_until_a_person_lets_it_go_on() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 30, HOLD)
    assert (stands(play), noted(play)) == ("held", Note("solving", "paused", "desk", was=at(240)))
    # A move into a state in which it would run, or stand still, does not change that.
    tell(play, (1000, "asked"), (1100, "begun"), (2000, "fire"))
    assert (stands(play), rungs(play)) == ("held", [])
    steer(play, 2000, GO_ON)
    assert (stands(play), noted(play)) == ("", Note("solving", "resumed", "desk", due=at(2210)))
    tell(play, (3000, "fire"))
    assert rungs(play)[:2] == [("solving", "warned", 2090.0), ("solving", "breached", 2210.0)]


def test_a_clock_that_is_let_go_on_stands_still_where_the_state_says_so() -> None:
    play = played((0, "booked", 4), (10, "asked"))
    steer(play, 20, HOLD)
    steer(play, 30, GO_ON)
    assert (stands(play), play.entities[V].timers) == ("paused", {})
    tell(play, (40, "begun"))
    assert play.entities[V].timers == {"sla solving": at(150)}


def test_a_held_clock_is_met_with_what_was_used_up_when_it_was_held() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 30, HOLD)
    tell(play, (900, "solved"))
    assert noted(play) == Note("solving", "met", "desk", took=1800.0)
    tell(play, (910, "failed"))
    assert (stands(play), play.entities[V].timers) == ("", {"sla solving": at(910 + 90)})


def test_the_ladder_of_a_breached_clock_is_held_and_goes_on() -> None:
    play = played((0, "booked", 4), (10, "begun"), (250, "fire"))
    steer(play, 300, HOLD)
    tell(play, (2000, "fire"))
    steer(play, 2000, GO_ON)
    tell(play, (2060, "fire"))
    assert rungs(play) == [("solving", "warned", 120.0), ("solving", "breached", 240.0), ("solving", "escalated", 2060.0)]


def test_a_late_event_takes_the_breach_of_a_held_clock_back_and_leaves_it_held() -> None:
    play = played((0, "booked", 4), (10, "begun"), (250, "fire"))
    steer(play, 300, HOLD)
    tell(play, (200, "asked"))
    assert (noted(play).what, stands(play)) == ("withdrawn", "held")
    steer(play, 400, GO_ON)
    tell(play, (410, "begun"))
    assert play.entities[V].timers == {"sla solving": at(450)}


def test_the_warning_is_a_share_of_the_moved_target_and_what_is_late_counts_from_it() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 20, by(-120))
    tell(play, (70, "fire"), (150, "fire"), (160, "solved"))
    assert rungs(play) == [("solving", "warned", 60.0), ("solving", "breached", 120.0)]
    assert noted(play) == Note("solving", "met", "desk", took=9600.0, late=2400.0)


def test_a_moved_target_that_follows_the_data_keeps_the_difference() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 20, by(30))
    tell(play, (30, "rated", 6), (1000, "fire"))
    assert ("solving", "breached", 390.0) in rungs(play)


def test_a_breach_is_moved_to_an_instant() -> None:
    play = played((0, "booked", 4), (10, "asked"), (60, "begun"))
    steer(play, 70, ClockMoved(clock="solving", at=at(500)))
    assert (noted(play).was, noted(play).due) == (at(290), at(500))
    tell(play, (510, "fire"))
    assert rungs(play)[-1] == ("solving", "breached", 500.0)


@pytest.mark.parametrize("event", [ClockMoved(clock="solving", at=at(5)), by(-600)])
def test_what_is_moved_into_the_past_is_told_at_once_as_of_the_order(event: ClockMoved) -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 100, event)
    assert rungs(play) == [("solving", "warned", 100.0), ("solving", "breached", 100.0)]


def test_what_is_due_comes_first_and_a_breached_clock_is_not_moved() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    changes = steer(play, 250, by(60))
    assert "breached already" in changes.handled[-1].error
    assert [row.event_type for row in changes.history] == ["sla.warned", "sla.breached"]


def test_a_warning_that_was_due_does_not_stand_in_the_way() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 130, by(60))
    assert [row.event_type for row in play.all.history][-2:] == ["sla.warned", "clock.moved"]
    assert play.entities[V].timers == {"sla solving": at(300)}


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        ((HOLD, HOLD), "is paused already"),
        ((GO_ON,), "was not paused by anybody"),
        ((END, HOLD), "is cancelled"),
        ((END, by(10)), "is cancelled"),
        ((END, END), "is cancelled"),
        ((HOLD, ClockMoved(clock="solving", at=at(900))), "stands still"),
        ((by(60 * 24 * 8000),), "7305 days"),
        ((ClockMoved(clock="solving", at=datetime(9999, 1, 1, tzinfo=UTC)),), "7305 days"),
    ],
)
def test_what_would_mean_nothing_is_refused(orders: tuple[ClockOrder, ...], said: str) -> None:
    play = played((0, "booked", 4), (10, "begun"))
    for order in orders[:-1]:
        steer(play, 20, order)
    assert said in refusal(steer(play, 30, orders[-1]))


def test_what_is_met_is_left_alone() -> None:
    play = played((0, "booked", 4), (10, "solved"))
    assert "is met" in refusal(steer(play, 20, HOLD))


@pytest.mark.parametrize("first", [HOLD, by(10), END])
def test_nothing_is_done_to_a_clock_that_stands_otherwise_than_it_was_seen(first: ClockOrder) -> None:
    play = played((0, "booked", 4), (10, "begun"))
    seen = play.entities[V].clocks["sla solving"]
    steer(play, 20, first, seen=seen)
    changes = steer(play, 20, by(60), seen=seen)
    assert (changes.handled, changes.history, changes.entities) == ([], [], {})


def test_a_cancelled_clock_across_states_is_silent_for_good_and_counts_as_neither() -> None:
    play = played((0, "booked", 4), (10, "begun"))
    steer(play, 20, END)
    assert noted(play) == Note("solving", "cancelled", "desk", was=at(240))
    tell(play, (900, "solved"), (910, "failed"), (3000, "fire"), (3100, "dropped"), (3200, "ended"))
    assert rungs(play) == []
    assert [row.clocks for row in play.all.history[-4:]] == [""] * 4


def test_the_cancelled_clock_of_a_state_comes_back_with_the_state() -> None:
    play = Play(shop)
    play.send((Sold(id="s"), 0, "1"))
    steer(play, 5, ClockCancelled(clock="sold"), ref=SALE)
    play.send((Sent(id="s"), 100, "2"))
    play.send((Sold(id="s"), 110, "3"))
    assert [row.clocks for row in play.all.history[-2:]] == ["", ""]
    assert play.entities[SALE].timers == {"sla sold": at(110 + 120)}


def test_an_instant_outside_working_time_is_refused_and_one_within_is_kept() -> None:
    play = Play(shop)
    play.send((Sold(id="s"), 0, "1"))
    for minute in (60 * 20, 60 * 25):
        assert "not within the working time of 'shop'" in refusal(steer(play, 5, ClockMoved(clock="sold", at=at(minute)), ref=SALE))
    steer(play, 5, ClockMoved(clock="sold", at=at(60 * 25 + 1)), ref=SALE)
    assert play.entities[SALE].timers == {"sla sold": at(60 * 25 + 1)}
    steer(play, 6, by(-61, "sold"), ref=SALE)
    assert play.entities[SALE].timers == {"sla sold": at(60 + 120)}


def test_a_reading_from_before_there_were_orders_is_read() -> None:
    old = msgspec.json.decode(b'{"target":"PT4H","level":1,"runs":"2026-03-02T12:00:00Z"}', type=Reading)
    assert (old.moved, old.aim, old.stands) == (None, hours(4), "")


class SaleEvent(Event, topic="sales", key="id"):
    id: str


class Sold(SaleEvent, type="sale.sold"): ...


class Sent(SaleEvent, type="sale.sent"): ...


class Sale(Data):
    id: str


def sell(e: Sold) -> Sale:
    return Sale(id=e.id)


SALE = Ref("sale", "s")
sold = State[Sale]("sold", sla=Sla(hours(2), calendar=Calendar("shop", "UTC", {"mon-sun": "13:00-16:00"})))
sent = State[Sale]("sent")
shop = App(
    "shop",
    machines=(
        Machine[Sale](
            "sale", data=Sale, events=(SaleEvent,), transitions=(opens(Sold, to=sold, then=sell), sold.on(Sent, to=sent), sent.on(Sold, to=sold))
        ),
    ),
)
