"""Families about text: kept as it came, wherever it is kept, and an id is any text that can be stored."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stream.core.outcome import Reason
from tests.hostile.app import Part
from tests.hostile.case import Case, Maker, family, own
from tests.hostile.texts import ALL

_TEXTS = [text for text in ALL if "\0" not in text]


@family
def text_kept(m: Maker) -> Iterator[Case]:
    for text in _TEXTS:
        yield m.taken({"text": text})
        yield m.taken({"tags": [text], "sizes": {text: 1}, "part": {"name": text, "share": 0.0}}, note=_noted(text))


def _noted(text: str) -> dict[str, object]:
    return {"tags": [text], "sizes": {text: 1}, "part": Part(text)}


@family
def text_written_with_escapes(m: Maker) -> Iterator[Case]:
    for text in _TEXTS:
        yield m.taken(m.raw(b',"text":%s' % json.dumps(text).encode()), note={"text": text})


@family
def entity_of_hostile_name(m: Maker) -> Iterator[Case]:
    for text in _TEXTS:
        id = f"{text} {m.id()}"
        yield m.taken({"id": id}, note={"id": id}, key=text.encode())


@family
def entity_of_the_longest_name(m: Maker) -> Iterator[Case]:
    """Incompressible, four bytes a character: what an index has to hold of it is as large as it can be."""
    for low, high in ((0x61, 0x7A), (0xE0, 0x2FF), (0x4E00, 0x9FFF), (0x10000, 0x10FFFF)):
        for _ in range(3):
            id = (m.id() + "".join(chr(m.chance.randint(low, high)) for _ in range(512)))[:512]
            yield m.taken({"id": id}, own(m.id(), id=id.encode(), subject=id.encode()), note={"id": id}, key=id.encode(), event_id=id)


@family
def entity_without_a_name(m: Maker) -> Iterator[Case]:
    for id in ("", "a" * 513, "\U0001f600" * 513, "a" * 100_000):
        yield m.dead(Reason.ROUTE_FAILED, {"id": id})
        yield m.dead(Reason.ROUTE_FAILED, {"id": id, "n": 1})


@family
def long_text(m: Maker) -> Iterator[Case]:
    for fill in ("a", "\u4e2d", "\U0001f600", "\\", '"', "\n", "\u202e", "9"):
        for size in (10_000, 60_000):
            yield m.taken({"text": fill * size})
