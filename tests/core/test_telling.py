"""Alerts reach owners: a message for each of their topics, a notice for each webhook and log, the same after a retry."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from stream import App, Ref, parse_owners
from stream.core.changes import Notice
from stream.core.order import Fire
from tests.core.play import Play, at
from tests.core.test_tasks import ID, Again, Asked, Dropped, Granted, refund

OWNERS = """
[owners.boss]
tell = [{ webhook = "https://boss.example/x", secret = "BOSS" }, { topic = "bosses" }, { log = true }]
[owners.desk]
tell = [{ topic = "desks" }, { topic = "all" }]
"""


def begun(owners: str = OWNERS) -> Play:
    play = Play(App("money", machines=(refund,), owners=parse_owners(owners)))
    play.now = at(1000)
    play.send((Asked(refund="r1"), 0, "a"))
    return play


@pytest.fixture
def play() -> Play:
    """A refund that the boss is asked about, within an hour, else the desk is told."""
    return begun()


def placed(play: Play) -> list[tuple[str, str, int]]:
    return [(m.topic, m.type, m.sequence) for m in play.all.messages]


def told(notices: Sequence[Notice]) -> list[tuple[str, str, str]]:
    return [(n.owner, n.channel, n.type) for n in notices]


def test_whoever_is_asked_is_told_by_each_of_their_channels(play: Play) -> None:
    assert placed(play) == [("alerts", "task.opened", 1), ("bosses", "task.opened", 1)]
    assert told(play.all.notices) == [("boss", "webhook", "task.opened"), ("boss", "log", "task.opened")]
    first, second = play.all.messages
    assert first.id != second.id
    assert (first.value, first.key) == (second.value, second.key)


def test_a_notice_is_a_cloud_event_that_names_its_entity_and_its_flow(play: Play) -> None:
    notice = play.all.notices[0]
    body = msgspec.json.decode(notice.body, type=dict[str, object])
    alert = play.all.messages[0]
    assert (body["specversion"], body["id"], body["type"], body["subject"]) == ("1.0", alert.id, "task.opened", "r1")
    assert body["correlationid"] == alert.correlation_id == notice.correlation_id
    assert body["data"] == msgspec.json.decode(alert.value)
    assert (notice.ref, notice.target, notice.secret, notice.key) == (ID, "https://boss.example/x", "BOSS", f"{alert.id}.0")


def test_a_breach_goes_to_whom_it_is_escalated(play: Play) -> None:
    play.fire(ID, 60)
    assert placed(play)[2:] == [("alerts", "sla.breached", 2), ("desks", "sla.breached", 1), ("all", "sla.breached", 1)]
    assert len(play.all.notices) == 2


def test_what_takes_a_breach_back_goes_where_the_breach_went(play: Play) -> None:
    play.send((Granted(refund="r1"), 5, "b"))
    play.fire(ID, 35)
    before = len(play.all.notices)
    play.send((Again(refund="r1"), 20, "c"))
    assert ("boss", "webhook", "sla.withdrawn") in told(play.all.notices[before:])


def test_an_event_for_something_that_is_never_born_is_told_to_whom_it_would_concern(play: Play) -> None:
    play.send((Dropped(refund="r9"), 0, "d"))
    play.fire(Ref("refund", "r9"), 60 * 24)
    assert placed(play)[-3:] == [("alerts", "wait.expired", 1), ("desks", "wait.expired", 1), ("all", "wait.expired", 1)]


def test_a_retry_writes_the_same() -> None:
    one, other = (begun().order(Fire(ID, at(60))) for _ in range(2))
    assert [(m.id, m.topic, m.sequence) for m in one.messages] == [(m.id, m.topic, m.sequence) for m in other.messages]
    assert one.notices == other.notices


def test_the_ids_of_what_is_said_besides_do_not_hang_on_who_is_told() -> None:
    assert [m.id for m in begun("").all.messages] == [m.id for m in begun().all.messages if m.topic == "alerts"]
