"""The catalog: from the type on the wire to the class, and from bytes to a checked event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from stream.core.errors import DefinitionError, MalformedError
from stream.core.event import Event, wire_type
from stream.core.outcome import Reason
from stream.core.repeats import Repeats
from stream.core.text import check_json


class Catalog:
    """Every event class that may be read. Raises `DefinitionError` when two classes claim one wire type. `limit` is in bytes of data."""

    def __init__(self, classes: Iterable[type[Event]], limit: int = 1_000_000) -> None:
        self.classes = tuple(dict.fromkeys(classes))
        self.limit = limit
        self._types: dict[str, type[Event]] = {}
        for cls in self.classes:
            if self._types.setdefault(wire_type(cls), cls) is not cls:
                raise DefinitionError(f"{cls.__name__} and {self._types[wire_type(cls)].__name__} both have the type {wire_type(cls)!r}")
        self._decoders: dict[type[Event], msgspec.json.Decoder[Any]] = {cls: msgspec.json.Decoder(cls) for cls in self.classes}
        self._repeats = {cls: Repeats(cls) for cls in self.classes}

    def find(self, wire_type: str) -> type[Event] | None:
        return self._types.get(wire_type)

    def decode(self, cls: type[Event], value: bytes) -> Event:
        """Raises `MalformedError`: too_large, undecodable, unsafe_text, unsafe_number, too_deep, schema_invalid."""
        check_json(value, self.limit)
        try:
            event: Event = self._decoders[cls].decode(value)
        except msgspec.ValidationError as error:
            raise MalformedError(Reason.SCHEMA_INVALID, str(error)) from error
        except RecursionError as error:
            raise MalformedError(Reason.TOO_DEEP, "nested too deep") from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise MalformedError(Reason.UNDECODABLE, str(error)) from error
        self._repeats[cls].refuse(value)
        return event
