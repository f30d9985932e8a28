"""docs/patterns/states.md: its machine, played event by event as its table says."""

from __future__ import annotations

import re

import msgspec

from stream import App, Event, Ref
from tests.core.play import Play
from tests.pages import names_of, text_of

PAGE = "patterns/states.md"
ID = Ref("order", "O-1")
ROW = re.compile(r"^\| (?:`(\S+)`(?: (\w+)=(\w+))?|two weeks pass) \| (\w+) \| (\w*) ?\| (\w*) ?\| (\d) \|$", re.MULTILINE)
WEEKS = 60 * 24 * 14


def test_the_table_of_the_page_is_what_happens() -> None:
    app, rows = names_of(PAGE)["app"], ROW.findall(text_of(PAGE))
    assert isinstance(app, App)
    assert len(rows) == 11
    kinds: dict[str, type[Event]] = {kind.__fact_type__: kind for kind in app.classes}
    play, minute = Play(app), 0.0
    for n, (kind, field, value, outcome, reason, state, waiting) in enumerate(rows):
        if kind:
            event = msgspec.convert({"order_id": ID.id, **({field: value} if field else {})}, kinds[kind], strict=False)
            minute += 1
            changes = play.send((event, minute, f"e{n}"))
        else:
            minute += WEEKS
            changes = play.fire(ID, minute)
        first, entity = changes.handled[0], play.entities[ID]
        assert (first.outcome.value, str(first.reason), entity.state, len(entity.line)) == (outcome, reason, state, int(waiting)), (n, kind)
    assert play.said() == ["order.shipped"]
    assert play.data(ID)["notes"] == ["ring"]
