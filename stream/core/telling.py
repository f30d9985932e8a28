"""Telling owners: who an alert is for, and the notices that are written with it, one for each way that owner is told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream.core.changes import Message, Notice
from stream.core.clock import ClockEvent, SlaWarned, SlaWithdrawn
from stream.core.directory import Directory
from stream.core.event import Fact
from stream.core.own import GapPassed, TaskOpened, WaitExpired

_encode = msgspec.json.Encoder().encode
_BODY = {
    **{f"ce_{name}": name for name in ("specversion", "id", "source", "type", "subject", "time", "correlationid", "causationid")},
    "traceparent": "traceparent",
}


def addressee(fact: Fact) -> str:
    """The owner whom an event of ours is for; "" for nobody.

    A warning is for whoever has the turn, a breach for whom it is escalated to, and so is what takes it back.
    """
    if isinstance(fact, SlaWarned | TaskOpened | WaitExpired | GapPassed):
        return fact.owner
    if isinstance(fact, ClockEvent | SlaWithdrawn):
        return fact.escalate_to or fact.owner
    return ""


def notices_of(owners: Directory, message: Message) -> Sequence[Notice]:
    """One for each webhook and log of its owner; topics are told by messages of their own. Keys are derived, so a retry makes the same."""
    found: list[Notice] = []
    for n, channel in enumerate(owners.channels_of(message.tells)):
        if channel.kind != "topic":
            found.append(
                Notice(
                    ref=message.emitter,
                    owner=message.tells,
                    channel=channel.kind,
                    target=channel.target,
                    secret=channel.secret,
                    private=channel.private,
                    type=message.type,
                    body=body_of(message),
                    key=f"{message.id}.{n}",
                    correlation_id=message.correlation_id,
                )
            )
    return found


def body_of(message: Message) -> bytes:
    """The message as a CloudEvent in structured mode."""
    told: dict[str, object] = {_BODY[name]: text for name, text in message.headers if name in _BODY}
    return _encode({**told, "datacontenttype": "application/json", "data": msgspec.Raw(message.value)})
