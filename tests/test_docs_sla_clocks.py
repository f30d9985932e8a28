"""docs/patterns/sla-clocks.md: its machine, played minute by minute as its table says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from stream import App, Calendar, Event, Ref, hours
from stream.core.ladder import Note
from stream.core.order import Steer
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from stream.ops.cli_clocks import signed
from tests.core.play import NOON, Play
from tests.pages import names_of, text_of

PAGE = "patterns/sla-clocks.md"
ID = Ref("request", "R-1")
DUE = re.compile(r"^\| (\d{4}-\S+ \S+) \| (\d+) h \| (\d{4}-\S+ \S+) \|", re.MULTILINE)
ORDER = re.compile(r"^\| (\d\d:\d\d) \| `(\w+)(?: --(\w+) (\S+))?` \| (\S+) \|$", re.MULTILINE)
ROW = re.compile(r"^\| (\d\d):(\d\d) \| (?:`(.*?)`)? ?\| (?:`sla\.(\w+)` (\w+))? ?\| (.*?) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return names_of(PAGE)


def heard(play: Play) -> list[tuple[str, str, str]]:
    """(time, what, clock) of everything on the alerts topic."""
    return [
        (
            datetime.fromisoformat(dict(m.headers)["ce_time"]).strftime("%H:%M"),
            m.type.removeprefix("sla."),
            msgspec.json.decode(m.value, type=dict[str, Any])["clock"],
        )
        for m in play.all.messages
    ]


def test_the_table_of_the_page_is_what_happens(names: dict[str, Any]) -> None:
    app, told, rows = names["app"], list[tuple[str, str, str]](), ROW.findall(text_of(PAGE))
    assert len(rows) > 10
    kinds: dict[str, type[Event]] = {kind.__fact_type__: kind for kind in app.classes}
    play = Play(app)
    for hour, minute, event, what, clock, state in rows:
        at = (datetime(NOON.year, NOON.month, NOON.day, int(hour), int(minute), tzinfo=UTC) - NOON).total_seconds() / 60
        if event:
            body = {"request_id": ID.id, "urgent": event == "request.opened"}
            play.send((msgspec.convert(body, kinds[event]), at, f"{hour}{minute}"))
        else:
            play.fire(ID, at)
            told.append((f"{hour}:{minute}", what, clock))
        assert (heard(play), play.state(ID)) == (told, state)


def test_the_orders_of_the_page_move_its_clock_as_its_table_says(names: dict[str, Any]) -> None:
    app, rows = names["app"], ORDER.findall(text_of(PAGE))
    assert len(rows) == 6
    kinds: dict[str, type[Event]] = {kind.__fact_type__: kind for kind in app.classes}
    play = Play(app)
    play.send((msgspec.convert({"request_id": ID.id, "urgent": True}, kinds["request.opened"]), -180, "1"))
    for time, word, option, value, reached in rows:
        play.now = instant(time)
        seen = play.entities[ID].clocks["sla solution"]
        play.order(Steer(ID, ordered(word, option, value), seen, "ann", "by phone"), "desk")
        (note,) = msgspec.json.decode(play.all.history[-1].clocks, type=list[Note])
        assert (note.clock, note.due) == ("solution", None if reached == "none" else instant(reached))


def instant(text: str) -> datetime:
    return datetime.combine(NOON.date(), datetime.strptime(text, "%H:%M").time(), NOON.tzinfo)


def ordered(word: str, option: str, value: str) -> ClockOrder:
    if word == "move":
        return ClockMoved(clock="solution", at=instant(value)) if option == "at" else ClockMoved(clock="solution", by=signed(value).total_seconds())
    return {"pause": ClockPaused, "resume": ClockResumed, "cancel": ClockCancelled}[word](clock="solution")


def test_the_calendar_of_the_page_reckons_as_its_table_says(names: dict[str, Any]) -> None:
    office, rows = names["office"], DUE.findall(text_of(PAGE))
    assert isinstance(office, Calendar)
    assert len(rows) == 7
    for start, working, due in rows:
        begin, end = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(office.zone)) for text in (start, due))
        assert office.add(begin, hours(int(working))) == end
        assert office.between(begin, end) == hours(int(working))


def test_the_page_names_every_rung(names: dict[str, Any]) -> None:
    assert isinstance(names["app"], App)
    said = set(re.findall(r"`sla\.(\w+)` \|", text_of(PAGE)))
    assert said == {"warned", "breached", "escalated", "withdrawn"}
