"""Pages of `docs/patterns/`: their Python is run, and their tables are what the tests compare with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def text_of(page: str) -> str:
    """A page by its path under `docs/`."""
    return (DOCS / page).read_text(encoding="utf-8")


def names_of(page: str) -> dict[str, Any]:
    """What the page's Python blocks define, run one after another."""
    found: dict[str, Any] = {}
    for n, block in enumerate(re.findall(r"^```python\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)):
        exec(compile(block, f"{page} {n}", "exec"), found)
    return found
