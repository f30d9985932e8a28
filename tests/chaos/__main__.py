"""`python -m tests.chaos --events 20000 --faults 20 --seed 7 [--workers 3]`: ends with 0 only when every oracle holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from tests.chaos.course import Report, Wish, run
from tests.chaos.nemesis import FAULTS

console = Console(highlight=False)


def asked() -> tuple[Wish, Path | None, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="events made up; repeats come on top")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--session", type=float, default=6.0, help="seconds after which a silent process is taken for dead")
    parser.add_argument("--kinds", default=",".join(FAULTS), help=f"of {', '.join(FAULTS)}; all when left out")
    parser.add_argument("--out", type=Path, default=None, help="a file for the figures, as JSON")
    parser.add_argument("--logs", type=Path, default=None, help="a folder to keep the logs of all parts in")
    words = vars(parser.parse_args())
    out, keep, kinds = words.pop("out"), words.pop("logs"), words.pop("kinds").split(",")
    if unknown := sorted(set(kinds) - set(FAULTS)):
        parser.error(f"no fault is called {unknown[0]!r}: say some of {', '.join(FAULTS)}")
    return Wish(kinds=tuple(kinds), **words), out, keep


def show(report: Report) -> None:
    for name, value in report.figures.items():
        if name != "struck":
            console.print(f"  {name:14} {_line(value)}")
    for line in report.faults:
        console.print(f"[red]fault[/red] {line}", markup=True, soft_wrap=True)
    told = f"[red]{len(report.faults)} FAULTS[/red], again by: {report.command}" if report.faults else "[green]every oracle holds[/green]"
    console.print(told, soft_wrap=True)


def told(report: Report, out: Path | None) -> int:
    """Show a report, write it down where asked to; the code to end with."""
    show(report)
    if out:
        out.write_text(json.dumps({"command": report.command, "faults": report.faults, **report.figures}, indent=2))
    return 1 if report.faults else 0


def _line(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value:,}"
    return ", ".join(f"{name} {_line(part)}" for name, part in cast("dict[str, Any]", value).items())


def main() -> int:
    wish, out, keep = asked()
    return told(run(wish, console.print, keep), out)


if __name__ == "__main__":
    raise SystemExit(main())
