"""Events of older versions are lifted before a machine sees them; identity stays that of what was sent."""

from __future__ import annotations

import msgspec
import pytest

from stream import App, Data, DefinitionError, Event, Machine, Owner, Ref, State, opens, upcast
from stream.core.upcast import Upcast
from tests.core.play import Play

ID = Ref("parcel", "p")


class ParcelEvent(Event, topic="parcels", key="parcel"):
    parcel: str


class SentOnce(ParcelEvent, type="parcel.sent"):
    weight: str


class SentTwice(ParcelEvent, type="parcel.sent", version=2):
    grams: int


class Sent(ParcelEvent, type="parcel.sent", version=3):
    grams: int
    fragile: bool = False


class Weighed(ParcelEvent, type="parcel.weighed"):
    grams: int


class Parcel(Data):
    parcel: str
    grams: int
    fragile: bool


def send(e: Sent) -> Parcel:
    return Parcel(parcel=e.parcel, grams=e.grams, fragile=e.fragile)


def weigh(p: Parcel, e: Weighed) -> None:
    p.grams = e.grams


def to_grams(e: SentOnce) -> SentTwice:
    return SentTwice(parcel=e.parcel, grams=int(float(e.weight) * 1000))


def to_careful(e: SentTwice) -> Sent:
    return Sent(parcel=e.parcel, grams=e.grams, fragile=e.grams < 100)


away = State[Parcel]("away", owner=Owner("depot"))
arrived = State[Parcel]("arrived", final=True)
parcel = Machine[Parcel](
    "parcel", data=Parcel, events=(ParcelEvent,), transitions=(opens(Sent, to=away, then=send), away.on(Weighed, to=arrived, then=weigh))
)
LIFTS = (upcast(SentOnce, SentTwice, to_grams), upcast(SentTwice, Sent, to_careful))


@pytest.fixture
def play() -> Play:
    return Play(App("post", machines=(parcel,), upcasts=LIFTS))


def test_each_version_comes_to_the_newest(play: Play) -> None:
    for n, event in enumerate((SentOnce(parcel="p", weight="0.05"), SentTwice(parcel="q", grams=700), Sent(parcel="r", grams=5, fragile=False))):
        play.send((event, n, f"e{n}"))
    assert [play.data(Ref("parcel", id)) for id in "pqr"] == [
        {"parcel": "p", "grams": 50, "fragile": True},
        {"parcel": "q", "grams": 700, "fragile": False},
        {"parcel": "r", "grams": 5, "fragile": False},
    ]
    assert [row.event_type for row in play.all.history] == ["parcel.sent", "parcel.sent.v2", "parcel.sent.v3"]


def test_a_repeat_of_the_old_bytes_is_a_duplicate_and_the_same_id_in_the_new_version_a_conflict(play: Play) -> None:
    play.send((SentOnce(parcel="p", weight="0.05"), 0, "a"), (SentOnce(parcel="p", weight="0.05"), 0, "a"))
    play.send((Sent(parcel="p", grams=50, fragile=True), 0, "a"))
    assert (play.counts["admitted"], play.counts["duplicate"], play.counts["conflict"]) == (1, 1, 1)


@pytest.mark.parametrize("weight", ["heavy", "1e300"])
def test_what_cannot_be_lifted_is_a_dead_letter_with_its_own_bytes(play: Play, weight: str) -> None:
    record = play.record(SentOnce(parcel="p", weight=weight), 0, "a")
    play.take([record])
    (letter,) = play.all.dead
    assert (letter.record.value, letter.reason.startswith("schema") or letter.reason.startswith("unsafe")) == (record.value, True)
    assert "parcel.sent.v2" in letter.error
    assert play.balanced()


def test_what_was_made_is_checked_like_what_is_sent() -> None:
    def wrong(e: SentTwice) -> Sent:
        return Sent(parcel=e.parcel, grams=e.grams, fragile="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    play = Play(App("post", machines=(parcel,), upcasts=(upcast(SentTwice, Sent, wrong),)))
    play.send((SentTwice(parcel="p", grams=1), 0, "a"))
    assert (play.entities, play.all.dead[0].reason) == ({}, "schema_invalid")


def test_what_waits_for_its_birth_is_lifted_when_its_turn_comes(play: Play) -> None:
    class Corrected(ParcelEvent, type="parcel.weighed", version=2):
        kilos: float

    def to_weighed(e: Corrected) -> Weighed:
        return Weighed(parcel=e.parcel, grams=int(e.kilos * 1000))

    play = Play(App("post", machines=(parcel,), upcasts=(*LIFTS, upcast(Corrected, Weighed, to_weighed))))
    play.send((Corrected(parcel="p", kilos=2.0), 0, "a"))
    assert msgspec.json.decode(play.entities[ID].line[0].record.value or b"") == {"parcel": "p", "kilos": 2.0}
    play.send((Sent(parcel="p", grams=1), 1, "b"))
    assert (play.state(ID), play.data(ID)["grams"]) == ("arrived", 2000)


def back(e: Sent) -> SentOnce:
    return SentOnce(parcel=e.parcel, weight="1")


@pytest.mark.parametrize(
    ("upcasts", "why"),
    [
        ((*LIFTS, upcast(SentOnce, Sent, lambda e: Sent(parcel=e.parcel, grams=1))), "SentOnce is lifted twice: to SentTwice and to Sent"),
        ((*LIFTS, upcast(Sent, SentOnce, back)), "upcasts go in a circle: SentOnce -> SentTwice -> Sent -> SentOnce"),
        ((upcast(Weighed, Sent, lambda e: Sent(parcel=e.parcel, grams=1)),), "a row of parcel on Weighed can never fire: it is lifted to Sent"),
        ((Upcast(ParcelEvent, Sent, back),), "ParcelEvent has no type="),
    ],
)
def test_a_slip_is_told_at_import(upcasts: tuple[Upcast, ...], why: str) -> None:
    with pytest.raises(DefinitionError) as told:
        App("post", machines=(parcel,), upcasts=upcasts)
    assert why in str(told.value)
