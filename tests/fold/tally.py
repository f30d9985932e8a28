"""What is compared: final states, what was applied and rejected, and what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from tests.fold.facts import canonical, instant

Kind = tuple[str, str, str, str]
Saying = tuple[str, str, str, str]
K = TypeVar("K", tuple[str, str], tuple[str, str, str, str])


@dataclass
class Tally:
    """`states` by (machine, id); `outcomes` by (machine, outcome): applied, rejected and parked, clocks not among them.

    `rejected` by (machine, state, event type, reason); `said` by (topic, type, key, body).
    """

    states: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    rejected: Counter[Kind] = field(default_factory=Counter[Kind])
    said: Counter[Saying] = field(default_factory=Counter[Saying])

    def reject(self, machine: str, state: str, type: str, reason: str) -> None:
        self.outcomes[machine, "rejected"] += 1
        self.rejected[machine, state, type, reason] += 1

    def say(self, topic: str, type: str, key: str, body: Mapping[str, object]) -> None:
        self.said[topic, type, key, canonical(body)] += 1

    def breach(self, machine: str, id: str, state: str, who: tuple[str, str], rest: tuple[datetime, datetime]) -> None:
        """`who`: owner, and whom it is escalated to; `rest`: since when, until when it was allowed."""
        (owner, escalate_to), (entered, due) = who, rest
        told = {"clock": state, "machine": machine, "entity_id": id, "state": state, "owner": owner, "escalate_to": escalate_to}
        more: dict[str, object] = {"due": instant(due), "entered": instant(entered), "level": 1, "late": 0.0, "reasons": []}
        self.say("alerts", "sla.breached", id, {**told, **more})

    def withdraw(self, machine: str, id: str, state: str, who: tuple[str, str], due: datetime, met: datetime) -> None:
        told = {"clock": state, "machine": machine, "entity_id": id, "state": state, "owner": who[0], "escalate_to": who[1]}
        self.say("alerts", "sla.withdrawn", id, {**told, "due": instant(due), "met": instant(met)})

    def expire(self, machine: str, id: str, event: tuple[str, str], due: datetime) -> None:
        """An event (id, type) for something that was never born."""
        self.reject(machine, "", event[1], "unborn")
        told = {"machine": machine, "entity_id": id, "state": "", "reason": "unborn", "event_id": event[0], "event_type": event[1]}
        self.say("alerts", "wait.expired", id, {**told, "due": instant(due)})

    @property
    def breaches(self) -> int:
        return sum(n for (_, type, _, _), n in self.said.items() if type == "sla.breached")

    def differences(self, other: Tally, most: int = 5) -> Iterator[str]:
        """One line for each thing that is not as `other` says, at most `most` of a sort."""
        yield from _unequal("state", self.states, other.states, most)
        yield from _unequal("count", self.outcomes, other.outcomes, most)
        yield from _unequal("rejected", self.rejected, other.rejected, most)
        yield from _unequal("said", self.said, other.said, most)


def _unequal(what: str, mine: Mapping[K, object], others: Mapping[K, object], most: int) -> Iterator[str]:
    wrong = sorted(key for key in mine.keys() | others.keys() if mine.get(key) != others.get(key))
    for key in wrong[:most]:
        yield f"{what} of {' / '.join(key)}: {mine.get(key)}, and by the other {others.get(key)}"
    if len(wrong) > most:
        yield f"{what}: {len(wrong) - most} more"
