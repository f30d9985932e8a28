"""Each planted bug is caught: its scene goes wrong with it, in the way that is named, and goes well without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from stream.runtime import notifier, ticker
from tests.chaos import armed, bugs_people, races, races_people
from tests.chaos.bugs import BUGS
from tests.chaos.cases import Building
from tests.chaos.kiln_room import Kilns
from tests.chaos.races import Stage

pytestmark = pytest.mark.proof

SCENES: dict[str, tuple[Callable[[Stage], Awaitable[list[str]]], str]] = {
    "no fence": (races.zombie, "counts"),
    "no gate": (races.group_offset, "counts"),
    "several partitions in one getmany": (races.broken_neighbour, "taken"),
    "cursor by sequence": (races.late_commit, "told"),
    "unsorted keys": (races.opposite_locks, "deadlock"),
    "position before acknowledgement": (races.unsent, "told"),
    "timer without re-check": (races.two_tickers, "chain"),
    "inbox after effect": (races.unnoted, "taken"),
    "swallowed decode error": (races.garbage, "letters"),
    "reused failed producer": (races.refused, "told"),
    "no seek back": (races.lost_position, "counts"),
    "ignored row count": (races.unheard, "counts"),
    "parked without bytes": (races.mended, "taken"),
    "lease without epoch": (races.late_relay, "repeats"),
    "unknown COMMIT redone blindly": (races.lost_reply, "traces"),
}
"""The scene of each bug, and the oracle that must see it."""
PEOPLED: dict[str, tuple[Callable[[Kilns], Awaitable[list[str]]], str]] = {
    "closed task answered": (races_people.two_who_answer, "lives"),
    "task left open": (races_people.calm, "tasks"),
    "notice written apart": (races_people.unnoted, "notices"),
    "notice settled before it was told": (races_people.untold, "heard"),
    "number out of turn": (races_people.calm, "numbers"),
}
"""The same, in a kiln."""


def test_every_bug_has_a_scene() -> None:
    assert (SCENES.keys(), PEOPLED.keys()) == (BUGS.keys(), bugs_people.BUGS.keys())


@pytest.mark.parametrize("bug", SCENES)
async def test_a_planted_bug_is_caught(rooms: Building, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, oracle = SCENES[bug]
    BUGS[bug](monkeypatch)
    seen = {fault.partition(":")[0] for fault in await _played(scene, rooms, monkeypatch)}
    assert oracle in seen


@pytest.mark.proof
@pytest.mark.parametrize("bug", SCENES)
async def test_its_scene_goes_well_without_it(rooms: Building, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await _played(SCENES[bug][0], rooms, monkeypatch)


async def _played(scene: Callable[[Stage], Awaitable[list[str]]], rooms: Building, patch: pytest.MonkeyPatch) -> list[str]:
    with capture_logs() as said:
        return await scene(Stage(rooms, patch, said))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notifier that failed is given up before long, and the next partition of a table is made in time."""
    monkeypatch.setattr(notifier, "TTL", armed.SOON)
    monkeypatch.setattr(ticker, "ROTATE", armed.OFTEN)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("bug", PEOPLED)
async def test_a_planted_bug_is_caught_where_people_are_asked_and_told(kilns: Kilns, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, oracle = PEOPLED[bug]
    bugs_people.BUGS[bug](monkeypatch)
    with capture_logs():
        assert oracle in {fault.partition(":")[0] for fault in await scene(kilns)}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("bug", PEOPLED)
async def test_its_scene_goes_well_without_it_there(kilns: Kilns, bug: str) -> None:
    with capture_logs():
        assert not await PEOPLED[bug][0](kilns)
