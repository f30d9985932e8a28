"""Tasks by the command line, on a real database: claimed once, answered once, and everything in the audit."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from stream.adapters.postgres.store import PostgresStore
from stream.core.errors import StreamError
from stream.core.order import Fire
from stream.core.record import Ref
from stream.ops import cli_desk
from stream.ops.desk import OtherwiseError, perform, rehearse
from stream.ops.orders import Note
from stream.ops.site import load_app, read_site
from stream.ops.tasks import NotYoursError, claim, order_of
from stream.runtime.app import carrying
from stream.runtime.doors import Desk, Timers
from stream.runtime.settings import Settings
from tests.ops.conftest import Stream, answer, play, record

REFUNDS = """
from stream import App, Data, Event, Machine, Owner, Sla, State, Task, any_of, hours, opens, parse_owners

class RefundEvent(Event, topic="refunds_{token}", key="refund"):
    refund: str
class Asked(RefundEvent, type="refund.asked"):
    amount: int
class Granted(RefundEvent, type="refund.granted"):
    note: str = ""
class Denied(RefundEvent, type="refund.denied"): ...
class Paid(RefundEvent, type="refund.paid"): ...
class Refund(Data):
    refund: str
    amount: int

def make(e: Asked) -> Refund:
    return Refund(refund=e.refund, amount=e.amount)
def question(r: Refund) -> str:
    return f"Refund {r.amount}?"
def urgency(r: Refund) -> int:
    return {7: 2, 8: 4}[r.amount]
def polite(r: Refund, e: Granted) -> bool:
    return e.note != "rude"

BOSS, BANK = Owner("boss"), Owner("bank")
decide = Task[Refund](question, answers=(Granted, Denied), owner=BOSS, within=hours(4), escalate_to=BANK, priority=urgency)
asked = State[Refund]("asked", owner=BANK, task=decide)
granted = State[Refund]("granted", owner=BANK, sla=Sla(hours(1), escalate_to=BOSS, reasons=("us", "them")))
done = State[Refund]("done", final=True)
refund = Machine[Refund]("refund", data=Refund, events=(RefundEvent,), transitions=(
    opens(Asked, to=asked, then=make), asked.on(Granted, to=granted, when=polite), any_of(asked).on(Denied, to=done), granted.on(Paid, to=done)))
app = App("money", machines=(refund,), alerts="alerts_{token}", owners=parse_owners('''
[groups]
bosses = ["eve"]
[owners.boss]
people = ["ann"]
groups = ["bosses"]
'''))
"""
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


@pytest.fixture
def refunds(lamps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    token = secrets.token_hex(4)
    (tmp_path / f"refunds_{token}.py").write_text(REFUNDS.replace("{token}", token))
    monkeypatch.setenv("STREAM_APP", f"refunds_{token}:app")
    return f"refunds_{token}:app"


@pytest.fixture
async def desk(at_database: Stream, refunds: str, database: str) -> Stream:
    """Two refunds are asked for: task 1 about r1, task 2 about r2."""
    topic = next(iter(load_app(refunds).consumed))
    told = [("refund.asked", b'{"refund":"r1","amount":7}', "a1"), ("refund.asked", b'{"refund":"r2","amount":8}', "a2")]
    await play(database, refunds, [record(topic, n, *one, START + timedelta(minutes=n)) for n, one in enumerate(told)])
    return at_database


def tasks(stream: Stream, *words: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", answer(stream("tasks", "list", *words, "-o", "json")))


def orders(stream: Stream) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", answer(stream("audit", "list", "-o", "json")))


def state(stream: Stream, id: str) -> str:
    found = cast("dict[str, Any]", answer(stream("entities", "show", "refund", id, "-o", "json")))
    return str(found["entity"]["state"])


def test_open_tasks_are_listed_with_whom_they_ask_and_when_they_are_due(desk: Stream) -> None:
    first, second = tasks(desk)
    assert (first["id"], first["entity_id"], first["question"], first["owner"], first["status"]) == (1, "r1", "Refund 7?", "boss", "open")
    assert (first["due"], round(first["left"] / 3600)) == ((START + timedelta(hours=4)).isoformat().replace("+00:00", "Z"), 2)
    assert second["entity_id"] == "r2"
    assert tasks(desk, "--owner", "bank") == []
    assert [task["id"] for task in tasks(desk, "--entity", "r2")] == [2]
    assert "Refund 7?" in desk("tasks", "list").stdout


def test_what_is_most_urgent_comes_first(desk: Stream) -> None:
    assert [(task["id"], task["priority"]) for task in tasks(desk)] == [(1, 2), (2, 4)]
    words = ("tasks", "prioritise", "2", "1", "--reason", "the director rang")
    assert desk(*words).exit_code == 0
    assert [(task["id"], task["priority"]) for task in tasks(desk)] == [(2, 1), (1, 2)]
    again = desk(*words)
    assert (again.exit_code, "task 2 has priority 1 already" in again.stderr) == (1, True)
    (order,) = orders(desk)
    assert (order["action"], order["target"], order["reason"], order["before"], order["after"]) == (
        *("tasks prioritise", "refund/r2 task 2", "the director rang", '{"priority": 4}', '{"priority": 1}'),
    )
    assert desk("tasks", "prioritise", "2", "6", "--reason", "x").exit_code == 2


def test_an_answer_needs_no_key_and_moves_its_entity_once(desk: Stream) -> None:
    words = ("tasks", "answer", "1", "refund.granted", "--comment", "fair", "--yes")
    assert desk(*words).exit_code == 0
    assert (state(desk, "r1"), [task["id"] for task in tasks(desk)]) == ("granted", [2])
    found = cast("dict[str, Any]", answer(desk("tasks", "show", "1", "-o", "json")))["task"]
    assert (found["status"], found["answer"], found["closed_by"], found["comment"]) == ("answered", "refund.granted", "ann", "fair")
    again = desk(*words)
    assert (again.exit_code, "task 1 was answered with refund.granted by ann at" in again.stderr) == (1, True)
    (order,) = orders(desk)
    assert (order["actor"], order["action"], order["target"], order["reason"]) == ("ann", "tasks answer", "refund/r1 task 1", "fair")
    assert '"asked"' in order["before"]
    assert '"granted"' in order["after"]
    assert desk("audit", "verify").exit_code == 0
    shown = cast("dict[str, Any]", answer(desk("entities", "show", "refund", "r1", "-o", "json")))["timeline"][-1]
    assert (shown["actor"], shown["door"], shown["error"]) == ("ann", "desk", "fair")


def test_of_two_answers_at_once_one_is_done(desk: Stream) -> None:
    async def race() -> None:
        site = read_site()
        one, _ = await order_of(site, 1, "ann", "refund.granted", b"{}")
        other, _ = await order_of(site, 1, "eve", "refund.denied", b"{}")
        seen = [await rehearse(site, Desk(orders=[order])) for order in (one, other)]
        ends: list[str] = []

        async def go(order: Any, shown: Any) -> None:
            try:
                await perform(site, Desk(orders=[order]), [Note(order.actor, "tasks answer", "t")], shown)
                ends.append(order.actor)
            except OtherwiseError:
                ends.append("late")

        await asyncio.gather(go(one, seen[0]), go(other, seen[1]))
        assert sorted(ends) in (["ann", "late"], ["eve", "late"])

    asyncio.run(race())
    assert state(desk, "r1") in ("granted", "done")
    assert len(orders(desk)) == 1


def test_whoever_answers_second_reads_who_was_faster(desk: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival is faster before the look, and between the look and the deed."""
    for id, late in (("1", "rehearse"), ("2", "perform")):
        real, words = getattr(cli_desk, late), ("tasks", "answer", id, "refund.granted", "--comment", "mine", "--yes")

        async def overtaken(*given: Any, real: Any = real, id: str = id) -> Any:
            site = read_site()
            order, line = await order_of(site, int(id), "eve", "refund.denied", b"{}")
            door = Desk(orders=[order])
            await perform(site, door, [Note("eve", "tasks answer", line.target)], await rehearse(site, door))
            return await real(*given)

        with monkeypatch.context() as patched:
            patched.setattr(cli_desk, late, overtaken)
            found = desk(*words)
        assert (found.exit_code, f"task {id} was answered with refund.denied by eve at " in found.stderr) == (1, True), found.stderr
    assert [order["actor"] for order in orders(desk)] == ["eve", "eve"]


def test_a_name_nobody_can_have_is_refused_before_anything_is_done(desk: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("an\x1b[31mn", "ann\u202e", "x" * 201, "ann ", "ann\nbob"):
        monkeypatch.setenv("STREAM_ACTOR", name)
        found = desk("tasks", "comment", "1", "hello")
        assert (found.exit_code, "STREAM_ACTOR, or the login name, is no name" in found.stderr, "xxx" in found.stderr) == (2, True, False)
    assert orders(desk) == []


def test_of_two_claims_at_once_one_holds_and_the_other_reads_who(desk: Stream) -> None:
    async def race() -> list[object]:
        site = read_site()
        return [*await asyncio.gather(claim(site, 1, "ann"), claim(site, 1, "eve"), return_exceptions=True)]

    ends = asyncio.run(race())
    (lost,) = [end for end in ends if isinstance(end, StreamError)]
    (task,) = [task for task in tasks(desk) if task["id"] == 1]
    assert isinstance(lost, NotYoursError)
    assert f"{task['assignee']} has claimed task 1 since " in str(lost)
    assert [order["actor"] for order in orders(desk)] == [task["assignee"]]


def test_what_somebody_claimed_is_answered_by_nobody_else(desk: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk("tasks", "claim", "1").exit_code == 0
    monkeypatch.setenv("STREAM_ACTOR", "eve")
    refused = desk("tasks", "answer", "1", "refund.denied", "--yes")
    assert (refused.exit_code, "ann has claimed it; nothing was done" in refused.stderr) == (1, True)
    assert desk("tasks", "release", "1", "--reason", "ann is ill").exit_code == 0
    assert desk("tasks", "answer", "1", "refund.denied", "--yes").exit_code == 0
    assert state(desk, "r1") == "done"


def test_a_task_goes_to_a_person_of_its_owner_or_to_another_owner(desk: Stream) -> None:
    assert desk("tasks", "reassign", "1", "--to", "eve", "--reason", "knows it").exit_code == 0
    assert [task["id"] for task in tasks(desk, "--person", "eve")] == [1]
    stranger = desk("tasks", "reassign", "1", "--to", "zoe", "--reason", "why not")
    assert (stranger.exit_code, "zoe does not belong to 'boss': its people are ann, eve" in stranger.stderr) == (1, True)
    assert desk("tasks", "reassign", "1", "--owner", "bank", "--reason", "about money").exit_code == 0
    assert [(task["id"], task["assignee"]) for task in tasks(desk, "--owner", "bank")] == [(1, "")]
    nowhere = desk("tasks", "reassign", "1", "--owner", "moon", "--reason", "x")
    assert (nowhere.exit_code, "there is no owner 'moon'; there are bank, boss" in nowhere.stderr) == (2, True)
    latest = orders(desk)[0]
    assert ('"owner": "boss"' in latest["before"], '"owner": "bank"' in latest["after"]) == (True, True)


def test_a_stranger_is_told_who_may(desk: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_ACTOR", "zoe")
    for words in (("claim", "1"), ("answer", "1", "refund.denied", "--yes"), ("release", "1", "--reason", "x")):
        refused = desk("tasks", *words)
        assert (refused.exit_code, "zoe does not belong to 'boss'" in refused.stderr) == (1, True), refused.stderr
    assert orders(desk) == []


def test_a_task_gets_more_time_and_is_overdue_when_it_has_none_left(desk: Stream) -> None:
    assert tasks(desk, "--overdue") == []
    assert desk("tasks", "due", "1", "--by", "3h", "--reason", "ann is away", "--yes").exit_code == 0
    assert tasks(desk, "--entity", "r1")[0]["due"] == (START + timedelta(hours=7)).isoformat().replace("+00:00", "Z")
    assert desk("tasks", "due", "2", "--by", "-3h", "--reason", "it is urgent", "--yes").exit_code == 0
    assert [task["entity_id"] for task in tasks(desk, "--overdue")] == ["r2"]
    assert [(o["action"], o["target"], o["reason"]) for o in orders(desk)] == [
        ("clocks move", "refund/r2", "it is urgent"),
        ("clocks move", "refund/r1", "ann is away"),
    ]
    neither = desk("tasks", "due", "1", "--reason", "x", "--yes")
    assert (neither.exit_code, "to when?" in neither.stderr) == (2, True)


def test_a_comment_stays_with_the_task(desk: Stream) -> None:
    assert "rang again" in desk("tasks", "comment", "1", "she rang again").stdout
    found = cast("dict[str, Any]", answer(desk("tasks", "show", "1", "-o", "json")))["comments"]
    assert [(one["actor"], one["text"]) for one in found] == [("ann", "she rang again")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("answer", "9", "refund.denied"), 1, "there is no task 9"),
        (("claim", "99999999999999999999"), 2, "less than or equal to 9223372036854775807"),
        (("due", "1", "--at", "9999-12-31T23:59:59-14:00", "--reason", "x", "--yes"), 2, "beyond the years 1 to 9999"),
        (("answer", "1"), 2, "nothing is no answer to task 1: say refund.granted or refund.denied"),
        (("answer", "1", "refund.paid"), 2, "refund.paid is no answer to task 1"),
        (("answer", "1", "refund.granted", "{"), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", "[1]"), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", '{"note": 7}'), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", '{"mood": "x"}'), 2, "it has no field 'mood'"),
        (("answer", "1", "refund.granted", '{"note": "a", "note": "b"}'), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", '{"note": "a"} {}'), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", '{"refund": "r2"}'), 2, "is about 'r2', and task 1 about refund 'r1'"),
        (("answer", "1", "refund.granted", '{"note": "rude"}'), 1, "would be rejected: every guard"),
        (("answer", "1", "refund.granted", '{"note": "' + "x" * 1_100_000 + '"}'), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", '{"note": "a\\u0000b"}'), 2, "not a refund.granted"),
        (("answer", "1", "refund.granted", "{}", "--comment", "a\x1b[31mb"), 2, "one line of plain text"),
        (("answer", "1", "refund.granted", "{}", "--comment", "x" * 1001), 2, "one line of plain text"),
        (("comment", "1", "x" * 1001), 2, "one line of plain text"),
        (("comment", "7", "x"), 1, "there is no task 7"),
        (("reassign", "1", "--reason", "x"), 2, "to whom?"),
        (("release", "1", "--reason", "x"), 1, "nobody has claimed task 1"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error_and_nothing_is_done(desk: Stream, words: tuple[str, ...], code: int, said: str) -> None:
    more = ("--yes",) if words[0] == "answer" else ()
    found = desk("tasks", *words, *more)
    assert (found.exit_code, said in found.stderr) == (code, True), found.stderr[-300:]
    assert (orders(desk), [task["status"] for task in tasks(desk)], state(desk, "r1")) == ([], ["open", "open"], "asked")


def test_why_names_the_task_and_whose_it_is(desk: Stream) -> None:
    found = cast("dict[str, Any]", answer(desk("why", "refund", "r1", "-o", "json")))
    assert (found["cause"], "it waits for boss to answer task 1 since" in found["sentence"]) == ("task", True)
    desk("tasks", "claim", "1")
    assert (
        "it waits for ann, who has claimed it, to answer task 1"
        in cast("dict[str, Any]", answer(desk("why", "refund", "r1", "-o", "json")))["sentence"]
    )


def test_a_breach_asks_for_its_reason_and_the_report_counts_it(desk: Stream, refunds: str) -> None:
    desk("tasks", "answer", "1", "refund.granted", "--yes")

    async def ring() -> None:
        site = read_site()
        store = PostgresStore(site.postgres)
        try:
            await carrying(site.app, Settings(app=refunds), lambda trace_id: False)(
                Timers([Fire(Ref("refund", "r1"), datetime.now(UTC) + timedelta(hours=2))]), store, ""
            )
        finally:
            await store.close()

    asyncio.run(ring())
    (asked,) = tasks(desk, "--entity", "r1")
    assert (asked["name"], asked["owner"], asked["reasons"]) == ("reason granted", "boss", ["us", "them"])
    for words, said in (
        (("--reason", "weather"), "it needs one of us, them"),
        (("refund.paid", "--reason", "them"), "refund.paid is no answer to task"),
        (("sla.explained", '{"note": "x"}', "--reason", "them"), "sla.explained has no fields to say"),
    ):
        wrong = desk("tasks", "answer", str(asked["id"]), *words, "--yes")
        assert (wrong.exit_code, said in wrong.stderr) == (2, True), wrong.stderr
    assert desk("tasks", "answer", str(asked["id"]), "--reason", "them", "--yes").exit_code == 0
    (report,) = [r for r in cast("list[dict[str, Any]]", answer(desk("sla", "report", "-o", "json"))) if r["clock"] == "granted"]
    assert (report["breached"], report["reasons"]) == (1, {"them": 1})
