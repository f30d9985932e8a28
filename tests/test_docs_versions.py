"""docs/patterns/versions.md: its claims, played as its table says."""

from __future__ import annotations

import re

import msgspec

from stream import App, Event, Ref
from stream.core.changes import Changes
from stream.core.decide import outdated
from stream.core.entity import Entity
from stream.core.errors import MalformedError
from stream.core.event import wire_type
from stream.core.order import Deliver, Move
from tests.core.play import NOON, Play, at
from tests.pages import names_of, text_of

PAGE = "patterns/versions.md"
ROW = re.compile(r"^\| (C-\d) \| (?:version (\d), in `(\w+)`)? ?\| ?(?:(\w+)=(\S+) )?\| (.*?) \| (\w+) \| (\w*) ?\| (\d*) ?\|$", re.MULTILINE)
EVENT = re.compile(r"`([\w.]+)`(?: (\w+)=([\w.]+))?")
MOVED = re.compile(r"moved by hand to `(\w+)`, and tried again")


def became(changes: Changes) -> str:
    return changes.handled[-1].outcome.value if changes.handled else "dead"


def waits(play: Play, event: Event, minute: float, id: str) -> bool:
    """Whether the path would stop before it decides: this program is too old."""
    try:
        decoded = play.codec.revive(play.record(event, minute, f"{id} {minute}"))
    except MalformedError:
        return False
    decoded.refs = (Ref("claim", id),)
    return bool(outdated(play.routes, play.entities, [Deliver(decoded)]))


def test_the_table_of_the_page_is_what_happens() -> None:
    app, rows = names_of(PAGE)["app"], ROW.findall(text_of(PAGE))
    assert isinstance(app, App)
    assert len(rows) == 8
    kinds: dict[str, type[Event]] = {wire_type(kind): kind for kind in app.classes}
    play = Play(app)
    for minute, (id, version, state, field, knows, words, outcome, after, cents) in enumerate(rows):
        ref = Ref("claim", id)
        if version:
            data = msgspec.json.encode({"claim_id": id, field: int(knows) if field == "cents" else knows})
            play.entities[ref] = Entity(ref, 1, int(version), state, data, NOON, NOON, 1, 1, b"x")
        if to := MOVED.fullmatch(words):
            play.now = at(minute)
            play.order(Move(ref, play.state(ref), to[1], "ann", "renamed"), "desk")
            found = became(play.retry(ref))
            play.now = at(60 * 24 * 365)
        else:
            said = EVENT.fullmatch(words)
            assert said
            event = msgspec.convert({"claim_id": id, **({said[2]: said[3]} if said[2] else {})}, kinds[said[1]], strict=False)
            found = "waits" if waits(play, event, minute, id) else became(play.send((event, minute, f"e{minute}")))
        known = play.entities.get(ref)
        told = (known.state, str(play.data(ref).get("cents", ""))) if known and known.born else ("", "")
        assert (found, *told) == (outcome, after, cents), (id, words)
