"""Every trap of the design's tables is there once, with a proof that exists or with what is open."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
SAID = (TESTS.parent / "docs/design.md").read_text(encoding="utf-8").partition("\n## Traps\n")[2].partition("\n## ")[0]
LINES = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in SAID.splitlines() if re.match(r"\| [TPG]\d", line)]
ROWS = {row[0]: row[1:] for row in LINES}
FILES = {path.stem: path for path in TESTS.rglob("test_*.py")}


def test_every_trap_has_its_row() -> None:
    assert [row[0] for row in LINES] == [f"{letter}{n}" for letter, last in (("T", 26), ("P", 12), ("G", 16)) for n in range(1, last + 1)]
    assert {len(row) for row in ROWS.values()} == {3}


def test_every_proof_is_there_and_what_has_none_says_why() -> None:
    proofs = {trap: re.findall(r"`(test_\w+)`", row[-1]) for trap, row in ROWS.items()}
    assert [name for names in proofs.values() for name in names if name not in FILES] == []
    assert [trap for trap, names in proofs.items() if not names and "Open: " not in ROWS[trap][1]] == []


def test_a_file_of_traps_has_a_test_by_the_number_of_each_that_names_it() -> None:
    said = {(trap, name) for trap, row in ROWS.items() for name in re.findall(r"`(test_\w+_traps)`", row[-1])}
    numbers = {name: set(re.findall(r"(?<=_)[tpg]\d+(?=_)", FILES[name].read_text(encoding="utf-8"))) for _, name in said}
    assert [(trap, name) for trap, name in sorted(said) if trap.lower() not in numbers[name]] == []
