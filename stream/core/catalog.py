"""The catalog: from the type on the wire to the class, and from bytes to a checked event."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from stream.core.errors import RAISED, DefinitionError, MalformedError, described
from stream.core.event import Event, wire_type
from stream.core.outcome import Reason
from stream.core.repeats import Repeats
from stream.core.text import check_json

# The messages of msgspec that quote the event; a path holds names of fields, places in lists, and `[...]` for a mapping's keys.
_QUOTES = re.compile(r"^(Invalid enum value|Invalid value).*?(?= - at `\$[^`]*`$|$)|^(Object contains unknown field).*", re.DOTALL)


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
            raise MalformedError(Reason.SCHEMA_INVALID, _told(error)) from error
        except RecursionError as error:
            raise MalformedError(Reason.TOO_DEEP, "nested too deep") from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise MalformedError(Reason.UNDECODABLE, str(error)) from error
        except RAISED as error:  # the author's `__post_init__`: pure code fails as a value
            raise MalformedError(Reason.SCHEMA_INVALID, f"the class refuses it: {described(error)}") from error
        self._repeats[cls].refuse(value)
        return event


def _told(error: msgspec.ValidationError) -> str:
    """What is wrong, and where, by the class's own names: what the event says instead is not quoted."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        # Not the decoder's own: the class has one of its own at work.
        return f"the class refuses it: {described(error)}"
    if error.__cause__ is not None:
        return f"the class refuses it: {described(error.__cause__)}"
    return _QUOTES.sub(r"\1\2", str(error))
