"""What happened, in neutral form: neither the engine's events nor anything that was made with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple


class Fact(NamedTuple):
    """One thing that happened. `body` is its data as JSON says it; `time` is aware."""

    id: str
    time: datetime
    type: str
    body: Mapping[str, str | int]
    actor: str = ""

    @property
    def topic(self) -> str:
        return "tickets" if self.type.startswith("ticket.") else "dispatch"

    @property
    def key(self) -> str:
        return str(self.body["ticket_id" if self.topic == "tickets" else "call_id"])

    @property
    def value(self) -> bytes:
        return canonical(self.body).encode()


def canonical(body: Mapping[str, object]) -> str:
    """One text for equal bodies."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def instant(at: datetime) -> str:
    """As JSON says an instant."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
