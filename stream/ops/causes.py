"""The tree of causes of one flow: which event led to which, what it did to whom, and what was said because of it.

It is put together from the history (by the index on its correlation id), the lines, the dead letters and what the outbox still holds. A message
that this App itself took again is an event of the history; the outbox adds those that only others take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from stream.adapters.postgres.columns import message_headers
from stream.core.errors import UnavailableError
from stream.ops.queries import Questions
from stream.ops.render import cell

Row = dict[str, Any]


class Effect(msgspec.Struct):
    """What one event did to one entity, or that it waits for it (`deferred`, `parked`), or was refused (`dead`)."""

    entity: str
    outcome: str
    reason: str
    from_state: str
    to_state: str
    error: str
    at: datetime


class Node(msgspec.Struct):
    """One event or message. `cause` is the id of what led to it; it is a root where nothing here has that id. `topic`: it left by the outbox."""

    id: str
    type: str = ""
    cause: str = ""
    source: str = ""
    actor: str = ""
    time: datetime | None = None
    topic: str = ""
    trace_id: str = ""
    effects: list[Effect] = msgspec.field(default_factory=list[Effect])
    led_to: list[Node] = msgspec.field(default_factory=list["Node"])


async def read_flow(ask: Questions, correlation_id: str, most: int) -> tuple[list[Node], str]:
    """The roots of a flow, and what could not be read ("": nothing). Up to `most` rows of each kind."""
    nodes: dict[str, Node] = {}
    missing = ""
    for row in await ask.rows("outcomes_of_flow", correlation_id, most):
        _moved(nodes, row)
    for name, note in (("lines_of_flow", _waits), ("letters_of_flow", _refused), ("messages_of_flow", _said)):
        try:
            _each(note, nodes, await ask.rows(name, correlation_id, most))
        except UnavailableError:
            # These are found by reading through their tables: where they are too long for that, the history still answers.
            missing = f"{name.removesuffix('_of_flow')} could not be read in time"
    return _roots(nodes), missing


def _each(note: Callable[[dict[str, Node], Row], None], nodes: dict[str, Node], rows: Iterable[Row]) -> None:
    for row in rows:
        note(nodes, row)


def _node(nodes: dict[str, Node], id: str, type: str) -> Node:
    node = nodes.setdefault(id, Node(id))
    node.type = node.type or type
    return node


def _moved(nodes: dict[str, Node], row: Row) -> None:
    node = _node(nodes, row["event_id"], row["event_type"])
    node.cause, node.source, node.actor = row["causation_id"], row["source"], row["actor"]
    node.time, node.trace_id = row["time"], row["trace_id"]
    node.effects.append(
        Effect(_entity(row), row["outcome"], row["reason"], row["from_state"], row["to_state"], row["error"], row["at"]),
    )


def _waits(nodes: dict[str, Node], row: Row) -> None:
    node = _node(nodes, row["event_id"], row["event_type"])
    # A failed one is in the history already.
    if not any(e.entity == _entity(row) and e.outcome == row["outcome"] for e in node.effects):
        node.effects.append(Effect(_entity(row), row["outcome"], row["reason"], "", "", row["error"], row["since"]))


def _refused(nodes: dict[str, Node], row: Row) -> None:
    node = _node(nodes, row["event_id"] or f"dead letter {row['id']}", row["event_type"])
    # One that an entity rejected is in the history already.
    if row["machine"] is None:
        node.effects.append(Effect(f"dead letter {row['id']}", "dead", row["reason"], "", "", row["error"], row["at"]))


def _said(nodes: dict[str, Node], row: Row) -> None:
    headers = {name: value.decode("utf-8", "replace") for name, value in message_headers(row["headers"])}
    node = _node(nodes, row["message_id"], row["type"])
    node.topic, node.source = row["topic"], node.source or f"{row['machine']}/{row['entity_id']}"
    node.cause = node.cause or headers.get("ce_causationid", "")
    if node.time is None and "ce_time" in headers:
        node.time = datetime.fromisoformat(headers["ce_time"])


def _entity(row: Row) -> str:
    return f"{row['machine']}/{row['entity_id']}"


def _roots(nodes: dict[str, Node]) -> list[Node]:
    """Each node under its cause; what has none here, or would close a ring of causes, is a root."""
    roots: list[Node] = []
    for node in nodes.values():
        cause = nodes.get(node.cause)
        if cause is None or _comes_from(nodes, cause, node):
            roots.append(node)
        else:
            cause.led_to.append(node)
    return roots


def _comes_from(nodes: dict[str, Node], node: Node, ancestor: Node) -> bool:
    seen: set[str] = set()
    at: Node | None = node
    while at is not None and at.id not in seen:
        if at.id == ancestor.id:
            return True
        seen.add(at.id)
        at = nodes.get(at.cause)
    return at is not None


def flow_tree(correlation_id: str, roots: list[Node]) -> RenderableType:
    """For people."""
    tree = Tree(cell(correlation_id))
    todo = [(tree, root) for root in reversed(roots)]
    while todo:
        at, node = todo.pop()
        branch = at.add(_title(node))
        for effect in node.effects:
            branch.add(_effect(effect))
        todo += [(branch, led) for led in reversed(node.led_to)]
    return tree


def _title(node: Node) -> Text:
    to = f" -> {node.topic}" if node.topic else ""
    by = f" by {node.actor}" if node.actor else ""
    return Text.assemble((cell(node.type or "?").plain, "bold"), cell(to), " ", cell(node.time), cell(by), " ", (cell(node.id).plain, "dim"))


def _effect(effect: Effect) -> Text:
    move = f": {effect.from_state or 'unborn'} -> {effect.to_state}" if effect.outcome == "applied" else ""
    why = " ".join(part for part in (effect.reason, effect.error) if part)
    return cell(f"{effect.entity} {effect.outcome}{move}" + (f" ({why})" if why else ""))
