"""docs/patterns/people.md and owners.md: the machine of the one played as its table says, the file of the other read."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from stream import App, Event, Ref, parse_owners
from stream.core.changes import Changes, Handled
from stream.core.order import Answer
from stream.core.outcome import Outcome
from tests.core.play import Play, at
from tests.pages import names_of, text_of

PAGE = "patterns/people.md"
ROW = re.compile(r"^\| (R-\d) \| (.*?) \| (\w+) \| (\w+) \| (.*?) ?\|$", re.MULTILINE)
EVENT = re.compile(r"(?:(\w+) answers )?`([\w.]+)`(?: amount=(\d+))?(?: for `([\w ]+)`)?(: refused|: too late)?")


@pytest.fixture
def page() -> dict[str, Any]:
    return names_of(PAGE)


class Told:
    """The page's App, and who was told what since the last question."""

    def __init__(self, app: App) -> None:
        self.app, self.play, self.minute = app, Play(app), 0.0
        self.kinds: dict[str, type[Event]] = {kind.__fact_type__: kind for kind in app.classes}
        self.seen = (0, 0)

    def happen(self, id: str, words: str) -> Changes:
        self.minute += 1
        self.play.now = at(self.minute + 600)
        if words == "eight hours pass":
            self.minute += 480
            return self.play.fire(Ref("refund", id), self.minute)
        found = EVENT.fullmatch(words)
        assert found, words
        person, kind, amount, reason, _ = found.groups()
        event = msgspec.convert({"refund_id": id, **({"amount": int(amount)} if amount else {})}, self.kinds[kind])
        if person is None:
            return self.play.send((event, self.minute, f"e{self.minute}"))
        self.play.now = at(self.minute)
        number = next(n for n, (asked, _) in self.play.tasks.items() if asked.ref.id == id)
        return self.play.order(Answer(Ref("refund", id), number, event, person, reason or ""), "desk")

    def task(self, id: str) -> str:
        end = next(end for asked, end in self.play.tasks.values() if asked.ref.id == id)
        return "open" if end is None else "answered" if end.answer else "closed"

    def heard(self) -> list[str]:
        messages, notices = self.play.all.messages[self.seen[0] :], self.play.all.notices[self.seen[1] :]
        self.seen = (len(self.play.all.messages), len(self.play.all.notices))
        inbox = {"finance-inbox": "finance"}
        told = [f"{inbox[m.topic]}: {m.type}" for m in messages if m.topic in inbox]
        return [*told, *(f"{n.owner}: {n.type}" for n in notices)]


def refused(handled: list[Handled]) -> bool:
    return any(one.outcome is Outcome.REJECTED for one in handled)


def test_the_table_of_the_page_is_what_happens(page: dict[str, Any]) -> None:
    told, rows = Told(page["app"]), ROW.findall(text_of(PAGE))
    assert len(rows) == 11
    for id, words, state, task, heard in rows:
        changes = told.happen(id, words)
        assert refused(changes.handled) == words.endswith(": refused"), words
        assert (changes.handled == []) == words.endswith(": too late"), words
        assert (told.play.state(Ref("refund", id)), told.task(id), told.heard()) == (state, task, [heard] if heard else []), words


def test_the_owners_of_the_page_can_be_read() -> None:
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", text_of("patterns/owners.md"), re.MULTILINE | re.DOTALL)
    owners = parse_owners(toml)
    assert owners.people_of("desk lead") == ("ann", "bob", "cleo")
    assert [channel.kind for channel in owners.channels_of("desk lead")] == ["webhook", "topic", "log"]
    assert owners.secrets == frozenset({"DESK_LEAD_HOOK"})
