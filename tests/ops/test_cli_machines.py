"""A definition that changes under stored work, on a real database: planned, moved in batches, and gone on with."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from stream.core.errors import UnavailableError
from stream.ops.machines import apply
from stream.ops.orders import Note
from stream.ops.site import load_app, read_site
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
    assert (answer(done), states(changed)) == ({"moved": 7, "left": 0, "why": []}, ["off", *["lit"] * 7])
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
            await apply(site, lamp, ("on", "lit"), Note("ann", "machines apply", "lamp", "x"), 3, stop)

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
        (("apply", "lamp", "--move", "on"), 2, "lamp has no state ''"),
        (("apply", "lamp", "--move", "dark=off"), 1, "no lamp is in 'dark'"),
    ],
)
def test_what_cannot_be_meant_is_told(changed: Stream, words: tuple[str, ...], code: int, said: str) -> None:
    more = ("--reason", "x", "--yes") if words[0] == "apply" else ()
    found = changed("machines", *words, *more)
    assert (found.exit_code, said in found.stderr) == (code, True), found.stderr
