"""A setting: a field of a frozen value that people may set by name, and how what they wrote is read.

Each part declares its own (the broker's beside the broker), and `stream.runtime.settings` reads them all without knowing whose they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """`name` is what people write, the field's own when empty. `read` raises `ValueError` with the end of a sentence; `secret`: never shown."""

    read: Callable[[object], Any]
    name: str = ""
    secret: bool = False


@runtime_checkable
class Consistent(Protocol):
    """Settings that can contradict each other, or what is there: a line each that says what to do."""

    def faults(self) -> Iterator[str]: ...


def setting(default: T, read: Callable[[object], T], *, name: str = "", secret: bool = False) -> T:
    """Declares a field of a dataclass as a setting. A secret stays out of the value's `repr`."""
    declared: T = dataclasses.field(default=default, repr=not secret, metadata={_KEY: Setting(read, name, secret)})
    return declared


def setting_of(field: dataclasses.Field[Any]) -> Setting | None:
    """How a field is set, its name filled in; None when it cannot be set."""
    found: Setting | None = field.metadata.get(_KEY)
    return dataclasses.replace(found, name=found.name or field.name) if found else None


# -- readers -------------------------------------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """One line, possibly empty."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("is not one line of text")
    return value


def word(value: object) -> str:
    """One line that says something."""
    if not text(value).strip():
        raise ValueError("is empty")
    return text(value)


def one_of(*allowed: T) -> Callable[[object], T]:
    def read(value: object) -> T:
        for one in allowed:
            if one == value:
                return one
        raise ValueError(f"is none of {', '.join(map(str, allowed))}")

    return read


def whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return number

    return read


def seconds(least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        try:
            number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise ValueError(f"is no number of seconds from {least:g} to {most:g}")
        return number

    return read


def yes_or_no(value: object) -> bool:
    if value in (True, "true", "yes", "1"):
        return True
    if value in (False, "false", "no", "0"):
        return False
    raise ValueError("is neither true nor false")
