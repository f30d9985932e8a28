"""Routes: which entities of an App an event concerns."""

from __future__ import annotations

from stream.core.app import App
from stream.core.errors import UnusableError
from stream.core.event import Event
from stream.core.machine import AnyMachine, Ids
from stream.core.record import Ref
from stream.core.text import unsafe_text

MAX_ID = 512


class Routes:
    """The machines of an App by name, and for each event class those that take it."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._machines = {machine.name: machine for machine in app.machines}
        self._takers = {kind: _takers(app, kind) for kind in app.classes}

    def machine(self, name: str) -> AnyMachine:
        """Raises `KeyError` for a machine that this App does not have."""
        return self._machines[name]

    def route(self, event: Event) -> tuple[Ref, ...]:
        """The entities an event concerns, each once, in the order of machines and ids. Raises what the author's function raises.

        Raises `UnusableError` for an id that is no text of 1 to 512 storable characters.
        """
        found: list[Ref] = []
        for name, ids in self._takers.get(type(event), ()):
            said = ids(event)
            found.extend(Ref(name, _checked(id)) for id in ((said,) if isinstance(said, str) else said))
        return tuple(found) if len(found) < 2 else tuple(dict.fromkeys(found))


def _takers(app: App, kind: type[Event]) -> tuple[tuple[str, Ids], ...]:
    taking = [(m.name, m.ids_of(kind)) for m in app.machines if issubclass(kind, tuple(m.takes))]
    return tuple((name, ids) for name, ids in taking if ids is not None)


def _checked(id: object) -> str:
    if not isinstance(id, str):
        raise UnusableError(f"an entity's id must be text, not {type(id).__name__}")
    if not 0 < len(id) <= MAX_ID:
        raise UnusableError(f"an entity's id must be 1 to {MAX_ID} characters, not {len(id)}")
    if wrong := unsafe_text(id):
        raise UnusableError(f"an entity's id must be storable text: {wrong}")
    return id
