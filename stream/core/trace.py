"""Trace contexts (W3C): read strictly, written once, and every id derived from what it names, so that a retry makes the same ids."""

from __future__ import annotations

import re
from collections.abc import Callable

from stream.core.entity import Trace
from stream.core.identity import digest

Sampling = Callable[[str], bool]
"""Whether the trace of this id is sampled; asked only where a trace begins."""

_ZERO = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])")
_LATER = re.compile("(?!00|ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(?:-.*)?", re.DOTALL)


def parse_traceparent(text: str) -> tuple[str, str, bool] | None:
    """(trace id, span id, sampled) of a valid `traceparent`, else None. Later versions than 00 may carry more after the flags."""
    found = _ZERO.fullmatch(text) or _LATER.fullmatch(text)
    if found is None:
        return None
    trace_id, parent_id, flags = found.groups()
    return trace_id, parent_id, flags in "13579bdf"


def traceparent(trace: Trace) -> str:
    """The header that says: this span is your creator."""
    return f"00-{trace.trace_id}-{trace.span_id}-{'01' if trace.sampled else '00'}"


def created(cause: Trace, message_id: str) -> Trace:
    """The `create` span of a message: a child of the span that emitted it."""
    return Trace(cause.trace_id, span_id("create", message_id), cause.span_id, cause.sampled)


def fresh(seed: bytes, link: tuple[str, str] | None, sample: Sampling) -> Trace:
    """A new trace, with a link to what caused it. The same seed gives the same trace."""
    trace_id = digest("trace", seed.hex()).hex()
    return Trace(trace_id, span_id("root", seed.hex()), "", sample(trace_id), link)


def span_id(*parts: str) -> str:
    """A span's id, from the names of what it is about."""
    return digest(*parts, size=8).hex()
