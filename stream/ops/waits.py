"""What the whole waits for, and since when: what a person must decide first, then what nobody runs, then what processes say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from stream.adapters.postgres.partitions import halt_of
from stream.core.halt import MEANS
from stream.ops.partitions import Row
from stream.ops.render import table

SHOWN = 5
"""Of one process in the table; a broker that is away is felt by every partition."""


def waits(partitions: Sequence[Row], instances: Sequence[Row], broker: str, roles: Sequence[str]) -> list[Row]:
    """`since` is None where nobody knows; `command` helps with it, or is empty. `roles`: what somebody must run."""
    return [*_halted(partitions), *_missing(instances, roles), *_away(broker), *_said(instances)]


def _wait(what: str, where: str, since: datetime | None, detail: str, command: str = "") -> Row:
    return {"what": what, "where": where, "since": since, "detail": detail, "command": command}


def _halted(partitions: Sequence[Row]) -> Iterator[Row]:
    for row in partitions:
        if halt := halt_of(row):
            place = f"{row['topic']}/{row['partition']}"
            yield _wait("partition halted", place, halt.since, f"{halt.reason}: {MEANS[halt.reason]}", f"stream partitions show {place}")


def _missing(instances: Sequence[Row], roles: Sequence[str]) -> Iterator[Row]:
    for role in roles:
        seen = [one for one in instances if role in one["roles"]]
        if not any(one["fresh"] for one in seen):
            last = max((one["seen_at"] for one in seen), default=None)
            yield _wait(f"no {role} runs", "", last, "since it was last seen" if last else "none was seen within a day", f"stream run --role {role}")


def _away(broker: str) -> Iterator[Row]:
    if broker not in ("ok", "not asked"):
        yield _wait("broker away", "", None, broker, "stream health")


def _said(instances: Sequence[Row]) -> Iterator[Row]:
    for one in instances:
        if one["fresh"]:
            for wait in one["waits"]:
                yield _wait(wait["what"], one["owner"], datetime.fromisoformat(wait["since"]), wait["detail"])


def waits_table(rows: Sequence[Row]) -> RenderableType:
    """What stands still until a person does something is red."""
    names = ("what", "where", "since", "detail", "command")
    shown: list[list[object]] = []
    many: dict[str, int] = {}
    for row in rows:
        many[row["where"]] = many.get(row["where"], 0) + 1
        if row["command"] or many[row["where"]] <= SHOWN:
            style = "red" if row["command"] else "yellow"
            shown.append([Text(row["what"], style=style), *(row[name] for name in names[1:])])
    more: list[list[object]] = [
        [Text("and more", style="yellow"), where, None, f"{n - SHOWN} like these", ""] for where, n in many.items() if where and n > SHOWN
    ]
    return table("waits for", names, [*shown, *more])
