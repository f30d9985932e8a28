"""Keys that an object holds twice: one reader takes the first value, another the last, so what such an event says is nobody's to choose.

Good input is only counted: whether a name that a class reads occurs twice at all, or might be written with escapes. What may hold a repeat by
that is parsed a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import inspect

from stream.core.errors import MalformedError
from stream.core.outcome import Reason


class Repeats:
    """Finds repeats of the names that `cls`, and the Structs within it, read. Other names are passed over, as their values are."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._names = frozenset(_names(inspect.type_info(cls), set()))
        self._quoted = tuple(f'"{name}"'.encode() for name in sorted(self._names))
        self._parse = json.JSONDecoder(object_pairs_hook=self._look, parse_int=_nothing, parse_float=_nothing).decode

    def refuse(self, payload: bytes) -> None:
        """Raises `MalformedError` (schema_invalid) for JSON that was decoded before."""
        if b"\\u" in payload:
            self._parse(payload.decode())
            return
        for quoted in self._quoted:
            if payload.count(quoted) > 1:
                self._parse(payload.decode())
                return

    def _look(self, pairs: Sequence[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedError(Reason.SCHEMA_INVALID, f"the key {name!r} is there twice")
            if name in self._names:
                seen.add(name)


def _nothing(_: str) -> None:
    """Numbers are of no interest, and large ones slow to read."""


def _names(found: object, seen: set[type]) -> Iterator[str]:
    """The names of a type's fields, and of those within them, as they are on the wire."""
    if isinstance(found, inspect.StructType | inspect.DataclassType | inspect.TypedDictType):
        if found.cls not in seen:
            seen.add(found.cls)
            for field in found.fields:
                yield field.encode_name
                yield from _names(field.type, seen)
    elif isinstance(found, inspect.UnionType):
        for part in found.types:
            yield from _names(part, seen)
    elif isinstance(found, inspect.DictType | inspect.FrozenDictType):
        yield from _names(found.value_type, seen)
    elif isinstance(found, inspect.CollectionType):
        yield from _names(found.item_type, seen)
    elif isinstance(found, inspect.TupleType):
        for part in found.item_types:
            yield from _names(part, seen)
