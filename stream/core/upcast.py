"""Upcasters: an event of an older version is lifted to the newer class before any machine sees it.

Its identity and content are those of what was sent, so a repeat of the old bytes is a duplicate. What waits in a line or lies in a letter is kept
as it came, and lifted when it is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import msgspec

from stream.core.catalog import Catalog
from stream.core.errors import RAISED, DefinitionError, MalformedError, described
from stream.core.event import Data, Event, wire_type
from stream.core.outcome import Reason

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=Event)
C = TypeVar("C", bound=Data)
D = TypeVar("D", bound=Data)

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Upcast:
    """From one class of events, or of data, to the next. Made by `upcast`."""

    old: type[Any]
    new: type[Any]
    by: Callable[[Any], Any]


@overload
def upcast(old: type[E], new: type[F], by: Callable[[E], F]) -> Upcast: ...
@overload
def upcast(old: type[C], new: type[D], by: Callable[[C], D]) -> Upcast: ...
def upcast(old: type[Any], new: type[Any], by: Callable[[Any], Any]) -> Upcast:
    """Whenever an `old` is read, machines get what `by` makes of it; that may be lifted further.

    Of events it stands in `App(upcasts=)`, of data in `Machine(upcasts=)`.
    """
    return Upcast(old, new, by)


def table_of(upcasts: Sequence[Upcast]) -> Mapping[type[Event], Upcast]:
    """By what they lift. Raises `DefinitionError` for two of one class, a class without a type, and a circle."""
    found: dict[type[Event], Upcast] = {}
    for one in upcasts:
        for kind in (one.old, one.new):
            if not issubclass(kind, Event):
                raise DefinitionError(f"upcast({one.old.__name__}, {one.new.__name__}): of data it stands in Machine(upcasts={{version: ...}})")
            if not kind.__fact_type__:
                raise DefinitionError(f"upcast({one.old.__name__}, {one.new.__name__}): {kind.__name__} has no type=")
        if one.old in found:
            raise DefinitionError(f"{one.old.__name__} is lifted twice: to {found[one.old].new.__name__} and to {one.new.__name__}")
        found[one.old] = one
    for one in upcasts:
        seen, kind = [one.old], one.new
        while kind in found:
            if kind in seen:
                raise DefinitionError(f"upcasts go in a circle: {' -> '.join(k.__name__ for k in [*seen, kind])}")
            seen.append(kind)
            kind = found[kind].new
    return found


def lifted(upcasts: Mapping[type[Event], Upcast], event: Event, catalog: Catalog) -> Event:
    """The event as the newest class has it, checked as if it had been sent. Raises `MalformedError`."""
    while (one := upcasts.get(type(event))) is not None:
        try:
            made = one.by(event)
            if type(made) is not one.new:
                raise TypeError(f"it made a {type(made).__name__}")
            event = catalog.decode(one.new, _encode(made))
        except MalformedError as error:
            raise MalformedError(error.reason, f"lifted to {wire_type(one.new)} it is refused: {error.detail}") from error
        except RAISED as error:  # the author's function: pure code fails as a value
            raise MalformedError(Reason.SCHEMA_INVALID, f"it could not be lifted to {wire_type(one.new)}: {described(error)}") from error
    return event
