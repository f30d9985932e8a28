"""Orders on clocks by the command line, on a real database: shown, asked, done once, noted, or refused with nothing done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import FencedError
from stream.core.order import Fire
from stream.core.own import ClockCancelled, ClockMoved, ClockOrder, ClockPaused, ClockResumed
from stream.core.record import Ref
from stream.ops.desk import OtherwiseError, perform, refused, rehearse
from stream.ops.site import load_app, read_site
from stream.ops.steering import NoClockError, order_on
from stream.runtime.app import carrying
from stream.runtime.doors import Desk, Timers
from stream.runtime.settings import Settings
from tests.ops.conftest import Stream, answer, play, record
from tests.ops.test_cli_desk import counted, yes

NOW = datetime.now(UTC).replace(microsecond=0)
LIT = NOW - timedelta(hours=1)
A = Ref("lamp", "a")


@pytest.fixture
async def lit(at_database: Stream, database: str, lamps: str) -> Stream:
    """Lamps under two hours: one for an hour, one that is overdue by an hour and was told of by nobody, one that is out."""
    topic = next(iter(load_app(lamps).consumed))
    told = [("lamp.on", "a", LIT), ("lamp.on", "late", NOW - timedelta(hours=3)), ("lamp.on", "out", LIT), ("lamp.off", "out", LIT)]
    await play(database, lamps, [record(topic, n, kind, f'{{"lamp":"{id}"}}'.encode(), f"e{n}", when) for n, (kind, id, when) in enumerate(told)])
    return at_database


def do(stream: Stream, word: str, id: str = "a", *more: str) -> dict[str, Any]:
    words = ("clocks", word, "lamp", id, "on", *more, "--reason", "by phone", "--yes", "-o", "json")
    return cast("dict[str, Any]", answer(stream(*words)))


def shown(stream: Stream, id: str = "a") -> dict[str, Any]:
    return cast("dict[str, Any]", answer(stream("entities", "show", "lamp", id, "-o", "json")))


def audited(stream: Stream) -> dict[str, Any]:
    note = cast("list[dict[str, Any]]", answer(stream("audit", "list", "-o", "json")))[0]
    return {**note, **{word: msgspec.json.decode(note[word]) for word in ("before", "after")}}


def test_a_clock_is_paused_and_resumed_and_both_are_in_history_and_audit(lit: Stream) -> None:
    do(lit, "pause")
    (clock,) = shown(lit)["clocks"]
    assert (clock["stands"], clock["due"]) == ("held", None)
    last = shown(lit)["timeline"][-1]
    assert (last["event_type"], last["actor"], last["door"], last["error"]) == ("clock.paused", "ann", "desk", "by phone")
    note = audited(lit)
    assert (note["actor"], note["action"], note["target"], note["reason"]) == ("ann", "clocks pause", "lamp/a", "by phone")
    assert (note["before"]["on"]["stands"], note["after"]["clocks"]) == ("runs", ["on paused"])
    assert cast("list[object]", answer(lit("clocks", "list", "-o", "json"))) != []
    do(lit, "resume")
    (clock,) = shown(lit)["clocks"]
    assert (clock["stands"], clock["next"]) == ("runs", "breached")
    assert (audited(lit)["action"], audited(lit)["before"]["on"]["stands"]) == ("clocks resume", "held")
    assert lit("audit", "verify").exit_code == 0


def test_held_clocks_are_listed_the_longest_first(lit: Stream) -> None:
    assert answer(lit("clocks", "list", "--held", "-o", "json")) == []
    do(lit, "pause", "late")
    do(lit, "pause", "a")
    found = cast("list[dict[str, Any]]", answer(lit("clocks", "list", "--held", "-o", "json")))
    assert [(c["entity_id"], c["clock"], c["state"], c["owner"], c["left"] < 0) for c in found] == [
        ("late", "on", "on", "house", True),
        ("a", "on", "on", "house", False),
    ]
    assert found[0]["age"] >= found[1]["age"] >= 0
    assert cast("list[object]", answer(lit("clocks", "list", "-o", "json"))) == []
    assert cast("list[object]", answer(lit("clocks", "list", "--held", "--machine", "other", "-o", "json"))) == []
    assert "held since" in lit("clocks", "list", "--held").stdout


def test_a_clock_is_moved_by_a_span_and_to_an_instant(lit: Stream) -> None:
    (effect,) = do(lit, "move", "a", "--by", "30m")["effects"]
    assert effect["clocks"] == [f"on moved: due {(LIT + timedelta(hours=2)).isoformat()} -> due {(LIT + timedelta(hours=2.5)).isoformat()}"]
    assert audited(lit)["after"]["clocks"] == effect["clocks"]
    do(lit, "move", "a", "--by", "-10m")
    assert datetime.fromisoformat(shown(lit)["clocks"][0]["due"]) == LIT + timedelta(hours=2, minutes=20)
    do(lit, "move", "a", "--at", (NOW + timedelta(days=1)).isoformat())
    assert datetime.fromisoformat(shown(lit)["clocks"][0]["due"]) == NOW + timedelta(days=1)
    assert "moved to" in lit("entities", "show", "lamp", "a").stdout.replace("\n", " ")


def test_what_is_moved_into_the_past_is_told_with_the_order(lit: Stream) -> None:
    found = do(lit, "move", "a", "--at", "2026-01-01T00:00:00Z")["effects"]
    assert [(e["event"], e["clocks"]) for e in found][1] == ("sla.breached", ["on breached"])
    assert found[0]["clocks"][0].endswith("-> due at once")


def test_a_cancelled_clock_is_counted_as_neither_met_nor_void(lit: Stream) -> None:
    do(lit, "cancel")
    answer(lit("entities", "send", "lamp.off", '{"lamp":"a"}', "--reason", "x", "--yes", "-o", "json"))
    (report,) = cast("list[dict[str, Any]]", answer(lit("sla", "report", "-o", "json")))
    assert {name: report[name] for name in ("met", "met_late", "void", "cancelled")} == {"met": 1, "met_late": 0, "void": 0, "cancelled": 1}
    assert "cancelled" in lit("sla", "report", "-o", "csv").stdout.splitlines()[0].split(",")
    assert "cancelled" in lit("sla", "report").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pause", "lamp", "nobody", "on"), 1, "there is no lamp 'nobody'"),
        (("pause", "lamp", "out", "on"), 1, "has no clock 'on' in 'off'; it has none"),
        (("resume", "lamp", "a", "on"), 1, "was not paused by anybody"),
        (("move", "lamp", "late", "on", "--by", "1h"), 1, "was breached already"),
        (("move", "lamp", "a", "on"), 2, "say --at INSTANT or --by SPAN"),
        (("move", "lamp", "a", "on", "--by", "1h", "--at", "2026-01-01T00:00:00Z"), 2, "say --at INSTANT or --by SPAN"),
        (("move", "lamp", "a", "on", "--by", "0m"), 2, "moves nothing"),
        (("move", "lamp", "a", "on", "--by", "--1m"), 2, "say 90s"),
        (("move", "lamp", "a", "on", "--at", "2026-01-01T00:00:00"), 2, "says no offset"),
        (("move", "lamp", "a", "on", "--at", "9999-01-01T00:00:00Z"), 1, "7305 days"),
        (("cancel", "lamp", "a", "off"), 2, "lamp has no clock 'off'; it has on"),
        (("cancel", "lump", "a", "on"), 2, "the App has no machine 'lump'; it has lamp"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_done(
    lit: Stream, database: str, words: tuple[str, ...], code: int, said: str
) -> None:
    before = counted(database)
    found = lit("clocks", *words, "--reason", "by phone", "--yes")
    assert (found.exit_code, said in found.stderr) == (code, True), found.stderr
    assert found.stderr.count("\n") == 1
    assert counted(database) == before


def test_an_order_is_shown_and_done_when_a_person_says_so(lit: Stream, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = counted(database)
    words = ("clocks", "pause", "lamp", "a", "on", "--reason", "by phone")
    found = lit(*words)
    assert (found.exit_code, "clock.paused: on -> on; clocks: on paused" in found.stderr, counted(database)) == (1, True, before)
    assert lit("clocks", "pause", "lamp", "a", "on", "--reason", " ", "--yes").exit_code == 2
    monkeypatch.setattr("typer.confirm", yes)
    assert lit(*words).exit_code == 0
    assert counted(database) != before


@pytest.mark.parametrize("second", [ClockPaused(clock="on"), ClockMoved(clock="on", by=60.0), ClockCancelled(clock="on")])
async def test_of_two_persons_at_once_one_wins_and_the_other_is_told_to_look_again(lit: Stream, database: str, second: ClockOrder) -> None:
    site = read_site()
    asked = [await order_on(site, A, event, who, "x") for event, who in ((ClockPaused(clock="on"), "ann"), (second, "bob"))]
    seen = [(Desk(orders=[order]), note, await rehearse(site, Desk(orders=[order]))) for order, note in asked]
    ends = await asyncio.gather(*(perform(site, door, [note], shown) for door, note, shown in seen), return_exceptions=True)
    lost = [end for end in ends if end is not None]
    assert [type(end) for end in lost] == [OtherwiseError]
    assert len(cast("list[object]", answer(await asyncio.to_thread(lit, "audit", "list", "-o", "json")))) == 1


async def test_a_pause_and_the_ticker_after_the_same_clock_leave_one_of_two_histories(lit: Stream, database: str, lamps: str) -> None:
    site, late = read_site(), Ref("lamp", "late")
    order, note = await order_on(site, late, ClockPaused(clock="on"), "ann", "x")
    door = Desk(orders=[order])
    seen = await rehearse(site, door)
    assert refused(seen) == ""
    store = PostgresStore(site.postgres)
    carry = carrying(load_app(lamps), Settings(app=lamps), lambda trace_id: False)
    ends = await asyncio.gather(perform(site, door, [note], seen), carry(Timers([Fire(late, NOW)]), store, ""), return_exceptions=True)
    await store.close()
    assert isinstance(ends[0], OtherwiseError | None)
    assert not isinstance(ends[1], Exception) or isinstance(ends[1], FencedError)
    found = await asyncio.to_thread(shown, lit, "late")
    told = [m["event_type"] for m in found["timeline"]]
    assert told == ["lamp.on", "sla.breached", *(["clock.paused"] if ends[0] is None else [])]
    assert found["clocks"][0]["stands"] == ("held" if ends[0] is None else "runs")


async def test_whoever_asks_for_what_is_not_there_hears_it_by_an_error(lit: Stream) -> None:
    with pytest.raises(NoClockError):
        await order_on(read_site(), Ref("lamp", "out"), ClockResumed(clock="on"), "ann", "x")
