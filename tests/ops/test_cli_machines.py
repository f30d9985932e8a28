"""A definition that changes under stored work, on a real database: planned, moved in batches, and gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from stream.core.changes import Changes
from stream.core.errors import UnavailableError
from stream.core.order import Lift, Move
from stream.ops import machines
from stream.ops.machines import Batches, move_all
from stream.ops.orders import Note, order_all
from stream.ops.site import Site, load_app, read_site
from tests.conftest import order
from tests.ops.conftest import Stream, answer, play, record

START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


@pytest.fixture
async def changed(at_database: Stream, lamps: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Seven lamps that shine and one that is off; then a program of version 2, in which "on" is called "lit" and its clock with it."""
    topic = next(iter(load_app(lamps).consumed))
    told = [("lamp.on", b'{"lamp":"l%d"}' % n, f"e{n}") for n in range(8)] + [("lamp.off", b'{"lamp":"l0"}', "o")]
    await play(database, lamps, [record(topic, n, *one, START) for n, one in enumerate(told)])
    text = (tmp_path / f"{lamps.partition(':')[0]}.py").read_text()
    newer = text.replace('State[Lamp]("on"', 'State[Lamp]("lit"').replace("events=(LampEvent,)", "events=(LampEvent,), version=2")
    (tmp_path / f"newer_{lamps.partition(':')[0]}.py").write_text(newer)
    monkeypatch.setenv("STREAM_APP", f"newer_{lamps}")
    return at_database


def planned(stream: Stream) -> dict[str, tuple[str, int, bool]]:
    found = stream("machines", "plan", "-o", "json")
    rows = msgspec.json.decode(found.stdout, type=list[dict[str, Any]])
    assert (found.exit_code == 1) == any(row["trouble"] for row in rows)
    return {row["what"]: (row["about"], row["n"], row["trouble"]) for row in rows}


def states(stream: Stream) -> list[str]:
    return [e["state"] for e in cast("list[dict[str, Any]]", answer(stream("entities", "list", "-o", "json")))]


def test_a_plan_names_what_no_longer_fits(changed: Stream) -> None:
    assert planned(changed) == {
        "older": ("'off', version 1", 1, False),
        "state_gone": ("'on', version 1", 7, True),
        "clock_gone": ("'on'", 7, False),
    }
    said = changed("machines", "plan")
    assert (said.exit_code, "7 entities would not go on: state_gone" in said.stderr) == (1, True)
    assert "stream machines apply lamp --move 'on'=STATE" in said.stdout.replace("\n", "")


def test_all_of_a_state_are_moved_in_batches_and_go_on(changed: Stream, database: str) -> None:
    words = ("machines", "apply", "lamp", "--move", "on=lit", "--reason", "renamed")
    asked = changed(*words)
    assert (asked.exit_code, "7 of lamp from on to lit" in asked.stderr, states(changed).count("lit")) == (1, True, 0)
    done = changed(*words, "--batch", "3", "--yes", "-o", "json")
    assert (answer(done), states(changed)) == ({"done": 7, "left": 0, "why": []}, ["off", *["lit"] * 7])
    assert planned(changed) == {"older": ("'off', version 1", 1, False), "same": ("'lit', version 2", 7, False)}
    orders = cast("list[dict[str, Any]]", answer(changed("audit", "list", "-o", "json")))
    assert [(o["action"], o["target"], o["reason"]) for o in orders] == [("machines apply", "lamp", "on -> lit: renamed")] * 3
    shown = cast("dict[str, Any]", answer(changed("entities", "show", "lamp", "l3", "-o", "json")))
    assert ([c["clock"] for c in shown["clocks"]], shown["timeline"][-1]["event_type"]) == (["lit"], "entity.moved")
    assert changed("audit", "verify").exit_code == 0
    again = changed(*words, "--yes")
    assert (again.exit_code, "no lamp is in 'on'" in again.stderr) == (1, True)


def test_it_may_be_ended_in_the_middle_and_begun_again(changed: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    async def half() -> None:
        site = read_site()
        (lamp,) = site.app.machines

        def stop(n: int) -> None:
            raise UnavailableError("gone")

        with pytest.raises(UnavailableError):
            await move_all(site, lamp, ("on", "lit"), Note("ann", "machines apply", "lamp", "x"), Batches(3, stop))

    asyncio.run(half())
    assert states(changed).count("lit") == 3
    assert changed("machines", "apply", "lamp", "--move", "on=lit", "--reason", "renamed", "--yes").exit_code == 0
    assert states(changed).count("lit") == 7


def test_an_older_program_is_told_of_what_a_later_one_wrote(changed: Stream, lamps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed("machines", "apply", "lamp", "--move", "on=lit", "--reason", "renamed", "--yes").exit_code == 0
    monkeypatch.setenv("STREAM_APP", lamps)
    assert planned(changed)["later_version"] == ("'lit', version 2", 7, True)
    sent = changed("entities", "send", "lamp.off", '{"lamp":"l3"}', "--reason", "x", "--yes")
    assert (sent.exit_code, "lamp 'l3' was written by version 2 of its machine, this program has 1" in sent.stderr) == (1, True)
    assert states(changed).count("lit") == 7


def test_data_that_does_not_fit_is_found(changed: Stream, lamps: str, tmp_path: Path) -> None:
    path = tmp_path / f"newer_{lamps.partition(':')[0]}.py"
    path.write_text(path.read_text().replace("    power: int = 0", "    power: int = 0\n    colour: str"))
    found = planned(changed)["data_unfit"]
    assert found == ("Lamp", 8, True)
    assert "missing required field `colour`" in changed("machines", "plan").stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("plan", "lump"), 2, "the App has no machine 'lump'; it has lamp"),
        (("apply", "lamp", "--move", "on=dim"), 2, "lamp has no state 'dim'; it has lit, off"),
        (("apply", "lamp", "--move", "lit=lit"), 2, "moves nobody"),
        (("apply", "lamp", "--move", "on"), 2, "--move 'on': say OLD=NEW, two states of lamp"),
        (("apply", "lamp", "--move", "dark=off"), 1, "no lamp is in 'dark'"),
    ],
)
def test_what_cannot_be_meant_is_told(changed: Stream, words: tuple[str, ...], code: int, said: str) -> None:
    more = ("--reason", "x", "--yes") if words[0] == "apply" else ()
    found = changed("machines", *words, *more)
    assert (found.exit_code, said in found.stderr) == (code, True), found.stderr


@pytest.fixture
async def rebuilt(changed: Stream, lamps: str, tmp_path: Path) -> Stream:
    """Version 2 keeps a lamp's power as `watts`; of one lamp the power is too much for it."""
    path = tmp_path / f"newer_{lamps.partition(':')[0]}.py"
    head, rest = path.read_text().split("class Lamp(Data):\n", 1)
    rest = rest.replace("power: int = 0", "watts: int").replace("power=e.power", "watts=e.power").replace("l.power", "l.watts")
    old = "from stream import upcast\nclass Lamp1(Data):\n    lamp: str\n    power: int = 0\nclass Lamp(Data):\n"
    rest = rest.replace("version=2", "version=2, upcasts={1: upcast(Lamp1, Lamp, lambda l: Lamp(lamp=l.lamp, watts=100 // (l.power - 9)))}")
    path.write_text(head + old + rest)
    return changed


def test_stored_data_is_planned_and_lifted_in_batches(rebuilt: Stream, database: str) -> None:
    found = planned(rebuilt)
    assert (found["data_older"], found["state_gone"]) == (("Lamp1, version 1", 8, False), ("'on', version 1", 7, True))
    words = ("machines", "apply", "lamp", "--data", "--reason", "version 1 goes")
    asked = rebuilt(*words)
    assert (asked.exit_code, "8 of lamp from version 1 on to 2" in asked.stderr, planned(rebuilt)["data_older"][1]) == (1, True, 8)
    assert answer(rebuilt(*words, "--batch", "3", "--yes", "-o", "json")) == {"done": 8, "left": 0, "why": []}
    assert planned(rebuilt) == {
        "same": ("'off', version 2", 1, False),
        "state_gone": ("'on', version 2", 7, True),
        "clock_gone": ("'on'", 7, False),
    }
    orders = cast("list[dict[str, Any]]", answer(rebuilt("audit", "list", "-o", "json")))
    assert [(o["action"], o["reason"], o["before"], o["after"]) for o in orders] == [
        ("machines apply", "data: version 1 goes", '{"version": 1}', '{"version": 2}')
    ] * 3
    shown = cast("dict[str, Any]", answer(rebuilt("entities", "show", "lamp", "l0", "-o", "json")))
    assert (shown["entity"]["data"], shown["timeline"][-1]["event_type"]) == ({"lamp": "l0", "watts": -13}, "entity.lifted")
    assert rebuilt("audit", "verify").exit_code == 0
    again = rebuilt(*words, "--yes")
    assert (again.exit_code, "every lamp is of version 2: nothing is to be lifted" in again.stderr) == (1, True)


def test_data_that_cannot_be_lifted_is_named_and_left(rebuilt: Stream, database: str) -> None:
    asyncio.run(order(database, """update stream.entity set data = '{"lamp":"l3","power":9}' where id = 'l3'"""))
    found = planned(rebuilt)
    assert (found["data_unfit"], found["data_older"][1]) == (("Lamp", 1, True), 7)
    done = rebuilt("machines", "apply", "lamp", "--data", "--reason", "x", "--yes", "-o", "json")
    assert (done.exit_code, msgspec.json.decode(done.stdout, type=dict[str, Any])["left"]) == (1, 1)
    assert "l3: its data, of version 1, could not be lifted to Lamp: ZeroDivisionError" in done.stderr
    assert planned(rebuilt)["data_unfit"][1] == 1


def test_a_dry_run_says_who_would_go_and_changes_nothing(rebuilt: Stream, database: str) -> None:
    asyncio.run(order(database, """update stream.entity set data = '{"lamp":"l3","power":9}' where id = 'l3'"""))
    for words, done in ((("--data",), 7), (("--move", "on=lit"), 6)):
        tried = rebuilt("machines", "apply", "lamp", *words, "--reason", "x", "--dry-run", "--batch", "3", "-o", "json")
        found = msgspec.json.decode(tried.stdout, type=dict[str, Any])
        assert (tried.exit_code, found["done"], found["left"]) == (1, done, 1)
        assert "l3: its data, of version 1, could not be lifted" in found["why"][0]
    assert (answer(rebuilt("audit", "list", "-o", "json")), states(rebuilt)) == ([], ["off", *["on"] * 7])
    assert planned(rebuilt)["data_older"][1] == 7
    assert "7 would go; nothing was done" in rebuilt("machines", "apply", "lamp", "--data", "--reason", "x", "--dry-run").stderr


@pytest.mark.parametrize("words", [(), ("--data", "--move", "on=lit")])
def test_apply_wants_one_thing(changed: Stream, words: tuple[str, ...]) -> None:
    found = changed("machines", "apply", "lamp", "--reason", "x", *words)
    assert (found.exit_code, "--move OLD=NEW for a state, or --data" in found.stderr) == (2, True)


def test_why_names_what_no_longer_fits_before_what_is_late(rebuilt: Stream, lamps: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(id: str) -> tuple[object, ...]:
        told = cast("dict[str, Any]", answer(rebuilt("why", "lamp", id, "-o", "json")))
        return told["cause"], told["sentence"], told["command"]

    spoilt = """update stream.entity set data = '{"lamp":"l3","power":9}' where id = 'l3'"""
    late = """update stream.timer set due_at = due_at - interval '9 hours' where entity_id in ('l3', 'l4')"""
    asyncio.run(order(database, spoilt))
    asyncio.run(order(database, late))
    cause, sentence, command = why("l3")
    assert (cause, command) == ("misfit", "stream machines plan lamp")
    assert str(sentence).startswith("its data, of version 1, could not be lifted to Lamp: ZeroDivisionError")
    gone = "its state 'on' is no more in version 2 of lamp; its events park or wait, what is due stays due"
    assert why("l4") == ("misfit", gone, "stream entities move lamp l4 STATE --reason")
    assert why("l0")[0] == "rests"
    assert rebuilt("machines", "apply", "lamp", "--move", "on=lit", "--reason", "x", "--yes").exit_code == 1
    monkeypatch.setenv("STREAM_APP", lamps)
    older = "this lamp is of version 2, and this program has version 1: run one that is as new; its events park or wait, what is due stays due"
    assert why("l4") == ("misfit", older, "")


def test_rows_that_were_taken_are_counted_and_the_others_named(at_database: Stream, played: str) -> None:
    found = cast("dict[str, list[dict[str, Any]]]", answer(at_database("machines", "coverage", "-o", "json")))
    assert [(c["row"]["source"], c["row"]["on"], c["row"]["target"], c["n"]) for c in found["lamp"]] == [
        *(("", "lamp.on", "on", 2), ("on", "lamp.off", "off", 1), ("off", "lamp.on", "on", 0), ("on", "lamp.hit", "on", 0)),
    ]
    strict = at_database("machines", "coverage", "lamp", "--strict")
    assert (strict.exit_code, "2 of 4 rows were taken" in strict.stderr, strict.stdout.count("never")) == (1, True, 2)
    later = at_database("machines", "coverage", "--since", "2999-01-01", "-o", "json")
    assert "0 of 4 rows were taken" in later.stderr


def lifting(rebuilt: Stream) -> tuple[dict[str, Any], str]:
    done = rebuilt("machines", "apply", "lamp", "--data", "--reason", "x", "--yes", "-o", "json")
    return msgspec.json.decode(done.stdout, type=dict[str, Any]), done.stderr


def test_one_that_was_lifted_meanwhile_is_as_ordered(rebuilt: Stream, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def after_a_rival(site: Site, orders: Sequence[Move | Lift], note: Note) -> Changes:
        await order_all(site, orders, note)
        return await order_all(site, orders, note)

    monkeypatch.setattr(machines, "order_all", after_a_rival)
    assert lifting(rebuilt) == ({"done": 8, "left": 0, "why": []}, "8 of lamp from version 1 on to 2\n")


def test_one_that_the_database_refuses_holds_up_no_other(rebuilt: Stream, database: str) -> None:
    asyncio.run(order(database, "alter table stream.history add constraint no check (entity_id <> 'l3' or event_type <> 'entity.lifted')"))
    done, said = lifting(rebuilt)
    assert (done["done"], done["left"], "l3: the database refuses it: " in said) == (7, 1, True)
    assert planned(rebuilt)["data_older"][1] == 1


def test_a_batch_is_bounded_by_what_its_entities_weigh(rebuilt: Stream, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "WEIGHT", 1)
    assert planned(rebuilt)["data_older"][1] == 8
    assert lifting(rebuilt)[0]["done"] == 8
    assert len(cast("list[object]", answer(rebuilt("audit", "list", "-o", "json")))) == 8


def test_what_an_error_quotes_does_not_spoil_the_plan(rebuilt: Stream, lamps: str, tmp_path: Path) -> None:
    path = tmp_path / f"newer_{lamps.partition(':')[0]}.py"
    path.write_text(path.read_text().replace("lambda l: Lamp(", "lambda l: (_ for _ in ()).throw(ValueError(chr(0xD800))) or Lamp("))
    assert planned(rebuilt)["data_unfit"][1] == 8
    assert "ValueError" in rebuilt("machines", "plan").stdout


def test_data_of_the_same_class_that_means_something_else_is_older_too(rebuilt: Stream, lamps: str, tmp_path: Path) -> None:
    path = tmp_path / f"newer_{lamps.partition(':')[0]}.py"
    text = path.read_text().replace("watts", "power").replace("upcast(Lamp1, Lamp,", "upcast(Lamp, Lamp,")
    path.write_text(text)
    assert planned(rebuilt)["data_older"] == ("Lamp, version 1", 8, False)
