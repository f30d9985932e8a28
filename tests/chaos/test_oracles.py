"""Every oracle sees what it is there for: one small run without faults, and then its evidence changed, one thing at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stream.core.record import Ref, TopicPartition
from tests.chaos.aside import Aside
from tests.chaos.evidence import Evidence, gather
from tests.chaos.load import Acknowledged, Maker, Mix, Publisher
from tests.chaos.oracle import CHECKS, faults
from tests.chaos.stand import Stand
from tests.conftest import named, order

Row = dict[str, Any]


@pytest.fixture(scope="module")
def calm(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """What is left behind by four hundred events and one process."""
    home: Path = tmp_path_factory.mktemp("calm")
    database = f"chaos_{secrets.token_hex(6)}"
    with Aside() as aside:
        aside.run(order(postgres, f"create database {database}"))
        with Stand(kafka, named(postgres, database), home, aside) as stand:
            stand.prepare()
            publisher = Publisher(stand.kafka, stand.names)
            publisher.publish(Maker(5).make(400, Mix(spoiled=0.02, holds=0.1)))
            setup = stand.setup("w0")
            stand.start(setup)
            stand.drain()
            parked = frozenset(Ref(row["machine"], row["entity_id"]) for row in stand.rows("parked"))
            stand.mend({"w0": setup})
            stand.ring()
            stand.children.pop("w0").stop()
            yield gather(stand, publisher.acknowledged, parked)
        aside.run(order(postgres, f"drop database {database} with (force)"))


def test_no_oracle_complains_of_a_calm_run(calm: Evidence) -> None:
    assert faults(calm) == []
    assert calm.parked
    assert {"sla.breached", "after.elapsed"} <= {row["event_type"] for row in calm.tables["history"]}


def edited(table: str, edit: Callable[[list[Row]], object]) -> Callable[[Evidence], Evidence]:
    """The evidence with one table changed."""

    def change(evidence: Evidence) -> Evidence:
        rows = [dict(row) for row in evidence.tables[table]]
        edit(rows)
        tables: Any = {**evidence.tables, table: rows}
        return replace(evidence, tables=tables)

    return change


def first(rows: Sequence[Row], **wanted: object) -> Row:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def twice(rows: list[Row]) -> None:
    """An event that was applied twice, in a history that otherwise is in order."""
    row = first(rows, outcome="applied", event_type="account.deposited")
    rows.insert(rows.index(row), row)


def swapped(rows: list[Row]) -> None:
    at = next(n for n in range(len(rows)) if [row["event_type"] for row in rows[n : n + 2]] == ["account.deposited"] * 2)
    one, other = rows[at], rows[at + 1]
    one["event_id"], other["event_id"] = other["event_id"], one["event_id"]


def misquoted(rows: list[Row]) -> None:
    next(row for row in rows if row["type"] == "booked" and row["entity_id"] == "a-0")["value"] = b"{}"


def overlapping(rows: list[Row]) -> None:
    """Somebody without the newest epoch moved a partition."""
    rows.append({**rows[-1], "epoch": rows[-1]["epoch"] - 1, "before": rows[-1]["before"]})


def unsent(evidence: Evidence) -> Evidence:
    place = next(place for place, records in evidence.logs.items() if place.topic == "reports" and records)
    return replace(evidence, logs={**evidence.logs, place: evidence.logs[place][:-1]})


def unwritten(evidence: Evidence) -> Evidence:
    """The broker said that it had put something where nothing stands."""
    acknowledged = Acknowledged(dict(evidence.acknowledged.offsets), dict(evidence.acknowledged.marks))
    acknowledged.note(TopicPartition(evidence.names.topic("accounts"), 0), 10_000, b"8 bytes.")
    return replace(evidence, acknowledged=acknowledged)


def early(rows: list[Row]) -> None:
    first(rows, event_type="after.elapsed")["at"] -= timedelta(hours=2)


def breached_early(rows: list[Row]) -> None:
    first(rows, event_type="sla.breached")["at"] -= timedelta(hours=2)


CHANGES: Mapping[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an acknowledged record is gone": ("I1", unwritten),
    "a record was passed over": ("I1", edited("standing", lambda rows: first(rows, partition=0).update(records=1))),
    "an event came to nothing": ("I1", edited("history", lambda rows: rows.remove(first(rows, event_type="account.deposited", outcome="applied")))),
    "an identity was forgotten": ("I1", edited("inbox", lambda rows: rows[0].update(n=rows[0]["n"] - 1))),
    "an event was applied twice": ("I2", edited("history", twice)),
    "a balance is wrong": ("I2", edited("entities", lambda rows: first(rows, machine="account").update(data=b'{"balance":7}'))),
    "two events changed places": ("I3", edited("history", swapped)),
    "a byte of an entity is another": ("I4", edited("entities", lambda rows: first(rows, machine="book").update(state="full"))),
    "a message says something else": ("I4", edited("messages", misquoted)),
    "a history row was changed": ("I5", edited("history", lambda rows: first(rows, outcome="applied").update(reason="nobody knows"))),
    "a rejection has no letter": ("I5", edited("letters", lambda rows: rows.remove(first(rows, reason="guard_refused")))),
    "a committed message was never sent": ("I6", unsent),
    "a message was sent changed": ("I6", edited("messages", lambda rows: first(rows, type="reported").update(key=b"x"))),
    "something was said that nobody committed": ("I7", edited("messages", lambda rows: rows.remove(first(rows, type="reported")))),
    "a verdict was counted twice": ("I8", edited("standing", lambda rows: first(rows, partition=0).update(admitted=9999))),
    "a hold expired too early": ("I9", edited("history", early)),
    "a breach came too early": ("I9", edited("history", breached_early)),
    "a breach was never told": ("I9", edited("messages", lambda rows: rows.remove(first(rows, type="sla.breached")))),
    "a timer is left": ("I9", edited("timers", lambda rows: rows.append({"name": "sla live"}))),
    "two epochs moved one range": ("I11", edited("moves", overlapping)),
    "a healthy entity was parked": ("I12", lambda evidence: replace(evidence, parked=frozenset({Ref("book", "b-0")}))),
    "a message lost its cause": ("I13", edited("messages", lambda rows: first(rows, type="booked").update(entity_id="a-none"))),
    "a trace was broken": ("I13", edited("history", lambda rows: first(rows, machine="book").update(trace_id="0" * 32))),
    "something is left to take": ("I15", lambda evidence: replace(evidence, left=(1, 0))),
    "a line was lost": ("I15", edited("waiting", lambda rows: rows.append({"entity_id": "a-none", "outcome": "deferred"}))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_oracle_sees_that(calm: Evidence, change: str) -> None:
    number, spoil = CHANGES[change]
    check = next(check for name, check in CHECKS.items() if name.split()[0] == number)
    assert check(spoil(calm))
