"""Events, commands and entity data: msgspec Structs whose class keywords say what is fixed about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, cast, dataclass_transform

import msgspec

from stream.core.errors import DefinitionError


class FactMeta(msgspec.StructMeta):
    """Takes the class keywords of events and commands, and checks at import that every key names a field."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        type: str = "",
        version: int = 1,
        topic: str = "",
        key: str = "",
        natural_key: tuple[str, ...] = (),
        **options: Any,
    ) -> FactMeta:
        settings: dict[str, Any] = {"frozen": True, "kw_only": True, **options}
        made = super().__new__(mcls, name, bases, namespace, **settings)
        fact = cast("Any", made)
        fact.__fact_type__ = type
        fact.__fact_version__ = version
        fact.__topic__ = topic or getattr(made, "__topic__", "")
        fact.__key__ = key or getattr(made, "__key__", "")
        fact.__natural_key__ = natural_key or getattr(made, "__natural_key__", ())
        for part in (key, *natural_key):
            if part and part not in fact.__struct_fields__:
                raise DefinitionError(f"{name}: key {part!r} is not a field of it (fields: {', '.join(fact.__struct_fields__)})")
        if version < 1:
            raise DefinitionError(f"{name}: version {version} is below 1")
        return made


class DataMeta(msgspec.StructMeta):
    """Makes every subclass keyword-only: msgspec does not inherit that, and a default could not be followed by a required field."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> DataMeta:
        settings: dict[str, Any] = {"kw_only": True, **options}
        return super().__new__(mcls, name, bases, namespace, **settings)


# `dataclass_transform` stands on the base classes: msgspec.Struct carries one of its own, and mypy takes that before a metaclass's.
@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class Data(msgspec.Struct, metaclass=DataMeta):
    """What an entity knows. Mutable, so that type checkers check each change; an action gets a private copy, dropped when it raises."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, metaclass=FactMeta, frozen=True):
    """Something that happened, in the past tense. A family shares `topic=` and `key=`; a member adds `type=` and its fields.

    `natural_key=` names the fields that make it the same business fact even under another id. Unknown fields are accepted on reading.
    """

    __fact_type__: ClassVar[str]
    __fact_version__: ClassVar[int]
    __topic__: ClassVar[str]
    __key__: ClassVar[str]
    __natural_key__: ClassVar[tuple[str, ...]]


R = TypeVar("R", bound=Event)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Command(msgspec.Struct, Generic[R], metaclass=FactMeta, frozen=True):
    """An order to somebody else, in the imperative. `R` says which events may come back. Sent to its topic like an event."""

    __fact_type__: ClassVar[str]
    __fact_version__: ClassVar[int]
    __topic__: ClassVar[str]
    __key__: ClassVar[str]
    __natural_key__: ClassVar[tuple[str, ...]]


Fact: TypeAlias = Event | Command[Any]
Says: TypeAlias = Event | Command[Any] | Sequence[Event | Command[Any]] | None


def wire_type(fact: type[Fact]) -> str:
    """The CloudEvents type: `ticket.opened`, and `ticket.opened.v2` from version 2 on (a breaking change is a new type)."""
    return fact.__fact_type__ if fact.__fact_version__ == 1 else f"{fact.__fact_type__}.v{fact.__fact_version__}"


def key_of(fact: Fact) -> str:
    """The record key of a fact, by its family's `key=`."""
    return str(getattr(fact, type(fact).__key__))
