"""Named SQL statements, read from `.sql` files: a statement begins at `-- name:` and its comment says what it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_HEAD = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


def parse(text: str) -> Mapping[str, str]:
    """Statements by name; their comment lines stay out. Raises `ValueError` when a name comes twice."""
    parts = _HEAD.split(text)[1:]
    named = list(zip(parts[::2], map(_body, parts[1::2]), strict=True))
    if len(dict(named)) < len(named):
        raise ValueError("two statements have one name")
    return MappingProxyType(dict(named))


def statements(package: str, file: str = "queries.sql") -> Mapping[str, str]:
    """The statements of a file that lies in a package: `statements("stream.ops")`."""
    return parse(files(package).joinpath(file).read_text(encoding="utf-8"))


def _body(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().rstrip(";")
