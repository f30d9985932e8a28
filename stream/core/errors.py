"""Errors, sorted by whose fault it is and what the one who catches them must do."""

from __future__ import annotations

import re
import traceback

from stream.core.record import TopicPartition


class StreamError(Exception):
    """The root: every error this library raises on purpose is one of these."""


class DefinitionError(StreamError):
    """Your definition is wrong (a machine, an event class, an App). Raised at import; nothing was started."""


class ConfigurationError(StreamError):
    """A setting, a topic, a right or the schema is not as it must be. The message says what to do; the command ends with code 2."""


class MalformedError(StreamError):
    """Their bytes are no event we know. `reason` is one of `Reason`; the record becomes a dead letter, its partition goes on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class FencedError(StreamError):
    """Another owner claimed what we hold. Nothing of ours was committed: drop the batch, then claim again or let go.

    `lost` names what was lost: topic partitions as (topic, partition), or outbox shards.
    """

    def __init__(self, lost: tuple[object, ...]) -> None:
        super().__init__("fenced: " + ", ".join(map(str, lost)))
        self.lost = lost


class UnavailableError(StreamError):
    """The database or the broker is away, or a lock could not be had. Nothing was committed: try the same again, with backoff, for ever."""


class UnreadableBatchError(StreamError):
    """The log holds a batch nobody can read: offsets `start` up to before `end` of `place`. Reading again gives the same: halt, and ask a person.

    `fault` says what is wrong with it: a checksum, a codec, its length, its size when unpacked.
    """

    def __init__(self, place: TopicPartition, start: int, end: int, fault: str = "") -> None:
        super().__init__(f"the batch at {start} of {place.topic}/{place.partition}, up to {end}, cannot be read" + (f": {fault}" if fault else ""))
        self.place, self.start, self.end, self.fault = place, start, end, fault


class UnstorableError(StreamError):
    """The database refused the data itself (SQLSTATE 22, 23, 54). Nothing was committed: bisect the batch down to the one event."""


class UncertainError(StreamError):
    """A send whose outcome nobody knows. The producer is unusable: build a new one and read the outbox again."""


RAISED = (Exception, SystemExit)
"""What is caught around the author's code. `sys.exit()` in it is one event's fault: it must not end the worker, and every next one."""


class UnusableError(StreamError):
    """What the author's code gave cannot be used; the message says what is wrong with it and never quotes it."""


def described(error: BaseException) -> str:
    """An error of the author's code: its class, where it was raised, its words. For what is stored beside the event; for what is not, `outlined`.

    Survives an exception whose own text raises.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames, words = list(traceback.walk_tb(error.__traceback__)), _text(error)
    place = f" ({frames[-1][0].f_code.co_name}, line {frames[-1][1]})" if frames else " (somewhere, line 0)"
    return f"{name}{place}: {words}" if words else f"{name}{place}"


_PLACE = re.compile(r"^(.*?\(\S+, line \d+\)): .*", re.DOTALL)


def outlined(text: str) -> str:
    """What `described` told, without the words: they may quote an event, and an event is in no log and no span."""
    return _PLACE.sub(r"\1", text)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except RAISED:  # the author's code too
        return ""
