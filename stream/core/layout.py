"""Layouts of stored data: what an older version of a machine wrote is lifted to the present class before anything looks at it.

Theory of operation. An entity carries the version of the machine that wrote its data; `Machine(upcasts={1: upcast(Old, New, by)})` says that data up
to version 1 is an `Old`. Whoever touches an entity of an older version lifts its data first, checks that the present class reads it, and writes it
back, with the present version, only together with what else the event does. So the version of an entity always tells the layout of its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from stream.core.errors import RAISED, DefinitionError, described
from stream.core.event import Data
from stream.core.text import LIMIT, check_storable, safe
from stream.core.upcast import Upcast

LATEST = (1 << 31) - 1
"""The last version that a column of the database holds."""

_encoder = msgspec.json.Encoder(order="sorted")


class LayoutError(Exception):
    """Stored data does not become what the present class reads; the message says why."""


def check_layouts(machine: str, data: type[Data], version: int, upcasts: Mapping[int, Upcast]) -> None:
    """Raises `DefinitionError` unless each lifts to what the next one takes, and the last to the present class."""
    if not _counts(version) or version > LATEST:
        raise DefinitionError(f"{machine}: version={version!r} is no whole number from 1 on")
    given, say = cast("object", upcasts), f"say upcasts={{1: upcast(OldData, {data.__name__}, function)}}"
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{machine}: upcasts= does not say which version each of them lifts: {say}")
    for written, one in upcasts.items():
        if not _lifts_data(written, one):
            raise DefinitionError(f"{machine}: upcasts={{{written!r}: ...}} lifts no data: {say}")
        if not 0 < written < version:
            raise DefinitionError(f"{machine}: data of version {written} is lifted, and the machine has version {version}: raise it above")
    lifts = [upcasts[written] for written in sorted(upcasts)]
    for one, takes in zip(lifts, [*(other.old for other in lifts[1:]), data], strict=False):
        if one.new is not takes:
            raise DefinitionError(f"{machine}: {one.old.__name__} is lifted to {one.new.__name__}, and what follows takes a {takes.__name__}")
        try:
            msgspec.json.Decoder(one.old)
        except (TypeError, NameError) as error:
            raise DefinitionError(f"{machine}: {one.old.__name__} cannot be read: {error}") from error


def _counts(version: object) -> bool:
    return isinstance(version, int) and not isinstance(version, bool) and version > 0


def _lifts_data(written: object, one: object) -> bool:
    if not isinstance(written, int) or isinstance(written, bool) or not isinstance(one, Upcast):
        return False
    old = cast("object", one.old)
    return isinstance(old, type) and issubclass(old, Data) and callable(one.by)


def encoded(data: Data) -> bytes:
    """Data as it is stored. Raises `MalformedError` for what no database could keep, `ValueError` and `TypeError` for what is no JSON."""
    made = _encoder.encode(data)
    check_storable(made, LIMIT)
    return made


def layout_of(data: type[Data], upcasts: Mapping[int, Upcast], version: int) -> type[Data]:
    """The class of data which that version wrote."""
    return next((cast("type[Data]", upcasts[written].old) for written in sorted(upcasts) if written >= version), data)


def lifted_data(data: type[Data], upcasts: Mapping[int, Upcast], version: int, stored: bytes) -> bytes:
    """Data that `version` wrote, as the present class `data` has it. Raises `LayoutError`."""
    kind = layout_of(data, upcasts, version)
    try:
        made: Any = msgspec.json.decode(stored, type=kind)
        for one in (upcasts[written] for written in sorted(upcasts) if written >= version):
            made = one.by(made)
            if type(made) is not one.new:
                raise TypeError(f"{one.old.__name__} was lifted to a {type(made).__name__}, not to a {one.new.__name__}")
            made = msgspec.json.decode(encoded(made), type=one.new)
        return encoded(made)
    except RAISED as error:  # the author's function, or data that its class does not read
        raise LayoutError(safe(f"its data, of version {version}, could not be lifted to {data.__name__}: {described(error)}")) from error
