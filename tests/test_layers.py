"""Rooms and their doors: who may import whom, and what the pure core and the loops may never do. Read from the source, so nothing need run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "stream.core": {"stream.core"},
    "stream.ports": {"stream.core"},
    "stream.pipeline": {"stream.ports", "stream.core"},
    "stream.runtime": {"stream.runtime", "stream.pipeline", "stream.ports", "stream.core"},
    "stream.adapters": {"stream.adapters", "stream.ports", "stream.core"},
    # What operators read is SQL of their own over the store's tables and the broker's admin calls: a port there would only forward.
    "stream.ops": {"stream.ops", "stream.adapters", "stream.pipeline", "stream.ports", "stream.core"},
    "schemas": {"schemas", "stream", "stream.core"},
    "handlers": {"handlers", "schemas", "stream", "stream.core"},
}
# Composition roots put the parts together, so they know them all.
ROOTS = (
    *("handlers.__init__", "handlers.demo", "stream.__init__", "stream.__main__", "stream.dev", "stream.testing"),
    *("stream.ops.cli", "stream.ops.orders", "stream.ops.parts", "stream.ops.site"),
)
PURE = {
    "__future__", "ast", "base64", "binascii", "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "functools",
    "hashlib", "heapq", "holidays", "inspect", "itertools", "json", "math", "msgspec", "operator", "orjson", "re", "string", "struct", "traceback",
    "types", "typing", "urllib.parse", "zoneinfo",
}  # fmt: skip
FORBIDDEN = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "random", "uuid1", "uuid4", "urandom", "sleep", "open", "print", "input"}
# Loops wait and measure by one clock, the event loop's, and are not random: so that a run of them can be repeated (`tests/simulation`).
UNREPEATABLE = {"monotonic", "perf_counter", "process_time", "random", "randint", "uuid1", "uuid4", "urandom", "to_thread"}
ROOMS = sorted(ALLOWED, key=len, reverse=True)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room_of(module: str) -> str:
    return next((room for room in ROOMS if module == room or module.startswith(f"{room}.")), module.partition(".")[0])


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            rooms = [f"{whole}.{alias.name}" for alias in node.names if f"{whole}.{alias.name}" in ALLOWED]
            yield from rooms or [("." * node.level) + whole]


def faults(module: str, source: str) -> list[str]:
    """Why this source may not stand in that module."""
    tree, room, found = ast.parse(source), room_of(module), list[str]()
    if room in ALLOWED and not module.startswith(ROOTS):
        ours = [name for name in imported(tree) if name.partition(".")[0] in {"stream", "schemas", "handlers"} or name.startswith(".")]
        found += [f"{module} imports {name}" for name in ours if room_of(name) not in ALLOWED[room]]
    if room == "stream.core":
        found += [f"{module} imports {n}" for n in imported(tree) if n not in PURE and n.partition(".")[0] not in PURE | {"stream"}]
        found += [f"{module} line {node.lineno}: async" for node in ast.walk(tree) if isinstance(node, ASYNC)]
    if room in {"stream.core", "schemas", "handlers"} and not module.startswith(ROOTS):
        found += [f"{module} line {call.lineno} calls {name}()" for call, name in calls(tree) if name in FORBIDDEN]
    if room == "stream.runtime":
        found += [f"{module} line {call.lineno} calls {name}()" for call, name in calls(tree) if name in UNREPEATABLE]
    return found


ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node, node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node, node.func.id


def test_every_module_keeps_to_its_room() -> None:
    paths = [path for top in ("stream", "schemas", "handlers") for path in sorted((ROOT / top).rglob("*.py"))]
    assert len(paths) > 20
    assert [fault for path in paths for fault in faults(name_of(path), path.read_text())] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("stream.core.decide", "from datetime import datetime\nat = datetime.now()"),
        ("stream.core.decide", "import time"),
        ("stream.core.decide", "from random import choice"),
        ("stream.core.decide", "async def f(): ..."),
        ("stream.core.decide", "import asyncpg"),
        ("stream.core.decide", "from stream.ports import Store"),
        ("stream.core.decide", "print(1)"),
        ("stream.ports", "from stream.runtime.worker import Worker"),
        ("stream.pipeline", "from stream.adapters.postgres.store import PostgresStore"),
        ("stream.runtime.worker", "from stream.adapters import kafka"),
        ("stream.runtime.worker", "began = time.monotonic()"),
        ("stream.adapters.kafka.consumer", "import stream.runtime.worker"),
        ("stream.ops.queries", "from stream.runtime import app"),
        ("handlers.tickets", "from stream.adapters.kafka import consumer"),
        ("handlers.tickets", "from datetime import datetime\nat = datetime.now()"),
        ("schemas.tickets", "from handlers.tickets import ticket"),
    ],
)
def test_a_planted_line_is_found(module: str, line: str) -> None:
    assert faults(module, line)
