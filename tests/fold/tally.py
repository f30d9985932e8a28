"""What is compared: final states, what was applied and rejected, what was said, and what became of clocks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from tests.fold.facts import canonical, instant

Kind = tuple[str, str, str, str]
Saying = tuple[str, str, str, str]
Noted = tuple[str, str, str]
K = TypeVar("K", tuple[str, str], tuple[str, str, str], tuple[str, str, str, str])


class Thing(NamedTuple):
    """Whose clock it is, where it rests, whose turn it is there, and who is told in the end."""

    machine: str
    id: str
    state: str
    owner: str
    escalate_to: str

    @property
    def told(self) -> dict[str, object]:
        return {"machine": self.machine, "entity_id": self.id, "state": self.state, "owner": self.owner, "escalate_to": self.escalate_to}


@dataclass
class Tally:
    """`states` by (machine, id); `outcomes` by (machine, outcome): applied, rejected and parked, clocks not among them.

    `rejected` by (machine, state, event type, reason); `said` by (topic, type, key, body). `noted` by (machine, clock, what): warned, breached,
    escalated, withdrawn, met, met late, void. `priorities` by (machine, id), of those that have one.
    """

    states: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    rejected: Counter[Kind] = field(default_factory=Counter[Kind])
    said: Counter[Saying] = field(default_factory=Counter[Saying])
    noted: Counter[Noted] = field(default_factory=Counter[Noted])
    priorities: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def reject(self, machine: str, state: str, type: str, reason: str) -> None:
        self.outcomes[machine, "rejected"] += 1
        self.rejected[machine, state, type, reason] += 1

    def say(self, topic: str, type: str, key: str, body: Mapping[str, object]) -> None:
        self.said[topic, type, key, canonical(body)] += 1

    def note(self, machine: str, clock: str, what: str) -> None:
        self.noted[machine, clock, what] += 1

    def ring(self, thing: Thing, entered: datetime, said: Mapping[str, object]) -> None:
        """A rung: `said` names clock, level, due and late. `entered`: since when the thing rests in its state."""
        what = ("warned", "breached", "escalated")[min(int(str(said["level"])), 2)]
        self.note(thing.machine, str(said["clock"]), what)
        self.say("alerts", f"sla.{what}", thing.id, {**thing.told, **said, "entered": instant(entered)})

    def withdraw(self, thing: Thing, clock: str, due: datetime, met: datetime) -> None:
        self.note(thing.machine, clock, "withdrawn")
        self.say("alerts", "sla.withdrawn", thing.id, {**thing.told, "clock": clock, "due": instant(due), "met": instant(met)})

    def expire(self, machine: str, id: str, event: tuple[str, str], due: datetime) -> None:
        """An event (id, type) for something that was never born."""
        self.reject(machine, "", event[1], "unborn")
        owner = "service desk" if machine == "ticket" else "dispatcher"
        told = {"machine": machine, "entity_id": id, "state": "", "reason": "unborn", "event_id": event[0], "event_type": event[1], "owner": owner}
        self.say("alerts", "wait.expired", id, {**told, "due": instant(due)})

    @property
    def breaches(self) -> int:
        return sum(n for (_, type, _, _), n in self.said.items() if type == "sla.breached")

    def breached(self) -> Counter[tuple[str, str, str]]:
        """Breaches told, withdrawn ones among them, by (machine, clock, priority); the priority is what it was in the end."""
        found = Counter[tuple[str, str, str]]()
        for (_, type, _, text), n in self.said.items():
            if type == "sla.breached":
                body = json.loads(text)
                found[body["machine"], body["clock"], self.priorities.get((body["machine"], body["entity_id"]), "")] += n
        return found

    def differences(self, other: Tally, most: int = 5) -> Iterator[str]:
        """One line for each thing that is not as `other` says, at most `most` of a sort."""
        yield from _unequal("state", self.states, other.states, most)
        yield from _unequal("count", self.outcomes, other.outcomes, most)
        yield from _unequal("rejected", self.rejected, other.rejected, most)
        yield from _unequal("said", self.said, other.said, most)
        yield from _unequal("noted", self.noted, other.noted, most)
        yield from _unequal("priority", self.priorities, other.priorities, most)


def _unequal(what: str, mine: Mapping[K, object], others: Mapping[K, object], most: int) -> Iterator[str]:
    wrong = sorted(key for key in mine.keys() | others.keys() if mine.get(key) != others.get(key))
    for key in wrong[:most]:
        yield f"{what} of {' / '.join(key)}: {mine.get(key)}, and by the other {others.get(key)}"
    if len(wrong) > most:
        yield f"{what}: {len(wrong) - most} more"
