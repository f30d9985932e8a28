"""A breach takes its code from a rule; where the rule says none or fails, a person is asked, and the clock is told all the same."""

from __future__ import annotations

import msgspec
import pytest

from stream import App, Clock, Data, DefinitionError, Event, Machine, Owner, Sla, State, hours, opens
from stream.core.ladder import Note
from stream.core.record import Ref
from tests.core.play import Play

D = Ref("delivery", "d")


class DeliveryEvent(Event, topic="deliveries", key="id"):
    id: str


class Sent(DeliveryEvent, type="delivery.sent"):
    way: str


class Handed(DeliveryEvent, type="delivery.handed"): ...


class Delivery(Data):
    id: str
    way: str


def send(e: Sent) -> Delivery:
    return Delivery(id=e.id, way=e.way)


def cause(d: Delivery) -> str:
    if d.way == "sea":
        raise RuntimeError("no such way")
    return {"road": "traffic", "air": "", "rail": "strike"}[d.way]


LEAD = Owner("lead")
moving = State[Delivery]("moving", sla=Sla(hours(1), escalate_to=LEAD, reasons=("traffic", "weather"), reason=cause))
handed = State[Delivery]("handed", final=True)
late = State[Delivery]("late", final=True)
app = App(
    "deliveries",
    machines=(
        Machine[Delivery](
            "delivery",
            data=Delivery,
            events=(DeliveryEvent,),
            transitions=(opens(Sent, to=moving, then=send), moving.on(Handed, to=handed), moving.on(moving.breached, to=late)),
        ),
    ),
)


def breach(way: str) -> Play:
    play = Play(app)
    play.send((Sent(id="d", way=way), 0, "1"))
    play.fire(D, 100)
    assert play.state(D) == "late"
    return play


def notes(play: Play) -> list[tuple[str, str]]:
    return [(note.what, note.reason) for note in msgspec.json.decode(play.all.history[-1].clocks, type=list[Note])]


def test_a_breach_takes_its_code_from_the_rule_and_nobody_is_asked() -> None:
    play = breach("road")
    assert msgspec.json.decode(play.all.messages[0].value)["reason"] == "traffic"
    assert notes(play)[:2] == [("breached", ""), ("explained", "traffic")]
    assert (play.all.history[-1].error, play.tasks) == ("", {})


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("air", ""),
        ("rail", "no reason by rule: it says 'strike', which is none of traffic, weather"),
        ("sea", "no reason by rule: "),
        ("foot", "no reason by rule: "),
    ],
)
def test_a_rule_that_says_none_leaves_the_question_to_a_person(way: str, said: str) -> None:
    play = breach(way)
    assert "reason" not in msgspec.json.decode(play.all.messages[0].value) or not msgspec.json.decode(play.all.messages[0].value)["reason"]
    assert [what for what, _ in notes(play)] == ["breached", "met"]
    error = play.all.history[-1].error
    assert error.startswith(said)
    assert bool(error) == bool(said)
    assert [asked.name for asked, _ in play.tasks.values()] == ["reason moving"]


def test_a_rule_without_codes_is_refused_at_import() -> None:
    with pytest.raises(DefinitionError, match="say them, reasons="):
        Sla(hours(1), reason=cause)
    with pytest.raises(DefinitionError, match="say them, reasons="):
        Clock[Delivery]("c", within=hours(1), met=(handed,), reason=cause)
