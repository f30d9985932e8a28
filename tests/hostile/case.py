"""What a case of the corpus is: a record, and what must become of it. A family makes cases from a seed, the same ones each time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias

from stream.core.outcome import Reason, Verdict
from tests.hostile.app import Note
from tests.hostile.frames import Pair

Where: TypeAlias = Literal["notes", "skipping", "plain"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One record. `reason` belongs to a dead one; `note`, `event_id`, `trace` and `correlation` to one that is applied, where they are known."""

    name: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[Pair]
    verdict: Verdict
    reason: Reason | None = None
    note: Note | None = None
    event_id: str = ""
    trace: str = ""
    correlation: str = ""
    where: Where = "notes"
    timestamp: int | None = None


Value: TypeAlias = bytes | Mapping[str, object] | None
GOOD: Mapping[str, object] = {}
Family: TypeAlias = Callable[["Maker"], Iterator[Case]]
FAMILIES: dict[str, Family] = {}


def family(made: Family) -> Family:
    """Enters a generator under its own name."""
    assert made.__name__ not in FAMILIES
    FAMILIES[made.__name__] = made
    return made


@cache
def corpus(seed: int) -> Sequence[Case]:
    """Every case of every family, mixed, each family's own in their order."""
    chance = random.Random(seed)
    waiting = [iter(list(make(Maker(name, seed)))) for name, make in FAMILIES.items()]
    found: list[Case] = []
    while waiting:
        cases = chance.choice(waiting)
        if case := next(cases, None):
            found.append(case)
        else:
            waiting.remove(cases)
    return found


@dataclass
class Maker:
    """Makes the cases of one family: each has an id of its own, which is its event's id and its entity's."""

    name: str
    seed: int
    made: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.name} {self.seed}")

    def next(self) -> str:
        self.made += 1
        return f"{self.name}/{self.made}"

    def dead(self, reason: Reason, value: Value = GOOD, headers: Sequence[Pair] | None = None, **more: Any) -> Case:
        """`value`: bytes as they are, a mapping with an id put into it, or nothing for a good one. `headers`: good ones if None."""
        name = self.next()
        kept: dict[str, Any] = {"key": name.encode(), **more}
        return Case(
            name=name, value=_value(name, value), headers=own(name) if headers is None else headers, verdict=Verdict.DEAD, reason=reason, **kept
        )

    def taken(self, value: Value = GOOD, headers: Sequence[Pair] | None = None, *, note: Mapping[str, Any] | None = None, **more: Any) -> Case:
        """`note`: what the entity's note holds beside its id, when it is not what a good value says."""
        name = self.next()
        said: Mapping[str, object] = value if isinstance(value, Mapping) else GOOD
        given: dict[str, Any] = {"id": name, **(said if note is None else note)}
        kept: dict[str, Any] = {"key": name.encode(), "event_id": name, **more}
        return Case(
            name=name,
            value=_value(name, value),
            headers=own(name) if headers is None else headers,
            verdict=Verdict.ADMITTED,
            note=Note(**given),
            **kept,
        )

    def id(self) -> str:
        """The id of the case that is made next."""
        return f"{self.name}/{self.made + 1}"

    def raw(self, text: bytes) -> bytes:
        """A good value with something behind its id: `,"n":1` and the like."""
        return b'{"id":"%s"%s}' % (self.id().encode(), text)


def own(name: str, /, *more: Pair, **changed: bytes | None) -> Sequence[Pair]:
    """The CloudEvents headers of a good event; an attribute of None is left out."""
    said: dict[str, bytes | None] = {"specversion": b"1.0", "id": name.encode(), "source": b"/hostile", "type": b"note.written"}
    return (*((f"ce_{key}".encode(), value) for key, value in {**said, **changed}.items() if value is not None), *more)


def _value(name: str, value: Value) -> bytes | None:
    if isinstance(value, Mapping):
        return json.dumps({"id": name, **value}, ensure_ascii=False).encode()
    return value
