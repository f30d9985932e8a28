"""docs/patterns/order.md: its meter, played event by event as its table says."""

from __future__ import annotations

import re

import msgspec

from stream import App, Event, Ref
from stream.core.changes import Changes
from tests.core.play import Play
from tests.pages import names_of, text_of

PAGE = "patterns/order.md"
ID = Ref("meter", "M-1")
ROW = re.compile(r"^\| (\d+) \| (\w?) ?\| (.*?) \| (\w+)(?: (\w+))? \| (\d+) \| ([\d, ]*?) ?\|$", re.MULTILINE)
EVENT = re.compile(r"`([\w.]+)`((?: \w+=\w+)*)")


def became(changes: Changes) -> tuple[str, str]:
    """What became of the first one, or of its record."""
    if changes.handled:
        first = changes.handled[0]
        return first.outcome.value, "" if first.outcome.value == "applied" else str(first.reason)
    counted = changes.counts.popitem()[1]
    return next(word for word in ("duplicate", "conflict") if counted[word]), ""


def test_the_table_of_the_page_is_what_happens() -> None:
    app, rows = names_of(PAGE)["app"], ROW.findall(text_of(PAGE))
    assert isinstance(app, App)
    assert len(rows) == 12
    kinds: dict[str, type[Event]] = {kind.__fact_type__: kind for kind in app.classes}
    play = Play(app)
    for minute, id, words, outcome, reason, kwh, held in rows:
        found = EVENT.fullmatch(words)
        if found:
            said = dict(pair.split("=") for pair in found[2].split())
            event = msgspec.convert({"meter_id": "M-1", **said}, kinds[found[1]], strict=False)
            changes = play.send((event, float(minute), id))
        else:
            changes = play.fire(ID, float(minute))
        waits = ", ".join(str(w.number) for w in sorted(play.entities[ID].line, key=lambda w: w.number or 0))
        assert (became(changes), play.data(ID)["kwh"], waits) == ((outcome, reason), int(kwh), held), (minute, words)
    assert play.data(ID)["bills"] == ["May"]
    assert play.said() == ["gap.passed"]
