"""docs/patterns/idempotency.md: its records, taken one by one as its table says."""

from __future__ import annotations

import re
from datetime import timedelta

from stream import App, Ref
from stream.core.record import Record
from tests.core.play import NOON, Play
from tests.pages import names_of, text_of

PAGE = "patterns/idempotency.md"
ID = Ref("account", "A")
ROW = re.compile(r"^\| (\d+) \| (/\w+) \| (\w+) \| ([\w.]+) \| `(.*?)` \| (\w+) \| (\d) \| (\d+) \|$", re.MULTILINE)


def test_the_table_of_the_page_is_what_happens() -> None:
    app, rows = names_of(PAGE)["app"], ROW.findall(text_of(PAGE))
    assert isinstance(app, App)
    assert len(rows) == 12
    play = Play(app)
    for n, (day, source, id, type, data, verdict, notes, cents) in enumerate(rows):
        time = NOON + timedelta(days=int(day))
        said = {"specversion": "1.0", "id": id, "source": source, "type": type, "time": time.isoformat()}
        headers = [(f"ce_{name}", text.encode()) for name, text in said.items()]
        changes = play.take([Record("accounts", 0, n, int(time.timestamp() * 1000), b"A", data.encode(), headers)])
        counted = changes.counts.popitem()[1]
        found = next((word for word in ("admitted", "duplicate", "conflict") if counted[word]), "")
        letters = [letter.reason.value for letter in changes.dead]
        assert letters == {"conflict": ["id_conflict"], "too_old": ["too_old"]}.get(verdict, [])
        assert (found or letters[0]) == verdict
        assert (play.data(ID)["notes"], play.data(ID)["cents"]) == (int(notes), int(cents)), (day, source, id)
    assert len(play.all.history) == sum(row[5] == "admitted" for row in rows)
