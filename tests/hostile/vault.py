"""An App that is told secrets: it keeps them, sends them on, and fails with them in every way that its author's code can."""

import json
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from stream import App, Data, Event, Machine, State, opens
from stream.core.record import Record
from stream.core.row import about
from stream.core.topic import Topic


class Vault(Data):
    id: str
    words: list[str] = msgspec.field(default_factory=list[str])


def application(tag: str) -> App:
    class VaultEvent(Event, topic=f"vaults-{tag}", key="id"):
        id: str
        words: str = ""

    class VaultMade(VaultEvent, type="vault.made"): ...

    class VaultTold(VaultEvent, type="vault.told"):
        mood: Literal["calm", "wild"] = "calm"
        sizes: dict[str, int] = msgspec.field(default_factory=dict[str, int])

    class VaultFailed(VaultEvent, type="vault.failed"):
        how: str

    class VaultChecked(VaultEvent, type="vault.checked"):
        def __post_init__(self) -> None:
            FAILURES[self.id](self.words)

    class VaultStrict(VaultEvent, type="vault.strict", forbid_unknown_fields=True): ...

    class VaultRouted(VaultEvent, type="vault.routed"): ...

    class VaultMapped(Event, type="vault.mapped", topic=f"mapped-{tag}", key="id"):
        id: str

    class VaultSaid(Event, type="vault.said", topic=f"said-{tag}", key="id"):
        id: str
        words: str

    def make(e: VaultMade) -> Vault:
        return Vault(id=e.id, words=[e.words])

    def keep(vault: Vault, e: VaultTold) -> None:
        vault.words.append(e.words)

    def say(vault: Vault, e: VaultTold) -> VaultSaid:
        return VaultSaid(id=vault.id, words=e.words)

    def fail(vault: Vault, e: VaultFailed) -> None:
        FAILURES[e.how](e.words)

    def nothing(vault: Vault, e: VaultEvent) -> None:
        return

    def route(e: VaultRouted) -> str:
        FAILURES[e.id](e.words)
        return e.id

    def mapper(record: Record) -> Mapping[str, str]:
        FAILURES["key"]((record.value or b"").decode())
        return {}

    open_, shut = State[Vault]("open"), State[Vault]("shut", final=True)
    vault = Machine[Vault](
        "vault",
        data=Vault,
        events=(VaultMade, VaultTold, VaultFailed, VaultChecked, VaultStrict, about(VaultRouted, route), VaultMapped),
        transitions=(
            opens(VaultMade, to=open_, then=make),
            open_.on(VaultTold, then=keep, emit=say),
            open_.on(VaultFailed, then=fail),
            open_.on(VaultChecked, then=nothing),
            open_.on(VaultRouted, then=nothing),
            open_.on(VaultStrict, to=shut),
            open_.on(VaultMapped, to=shut),
        ),
    )
    topics = (Topic(f"vaults-{tag}", partitions=1), Topic(f"mapped-{tag}", partitions=1, mapper=mapper), Topic(f"said-{tag}", partitions=1))
    return App("vaults", machines=(vault,), topics=topics, alerts=f"alerts-{tag}")


class _LoudError(Exception):
    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def __repr__(self) -> str:
        return self.words

    def __str__(self) -> str:
        return self.words


def _raise(error: Exception) -> None:
    raise error


def _noted(words: str) -> None:
    error = RuntimeError("nothing to see")
    error.add_note(words)
    raise error


def _caused(words: str) -> None:
    raise RuntimeError("nothing to see") from KeyError(words)


def _missing(words: str) -> str:
    nothing: Mapping[str, str] = {}
    return nothing[words]


FAILURES: Mapping[str, Callable[[str], object]] = {
    "key": _missing,
    "number": int,
    "formatted": lambda words: _raise(ValueError(f"no such customer: {words}")),
    "several": lambda words: _raise(ValueError("a", words)),
    "asserted": lambda words: _raise(AssertionError(words)),
    "loud": lambda words: _raise(_LoudError(words)),
    "noted": _noted,
    "caused": _caused,
    "json": json.loads,
    "converted": lambda words: msgspec.convert({"id": words, "words": words}, Vault),
    "enum": lambda words: msgspec.convert(words, Literal["calm"]),
    "encoded": lambda words: (words + "\udc00").encode(),
    "attribute": lambda words: getattr(words, words),
    "opened": open,
}
