"""Telemetry that keeps its spans in a list, for tests and the harness."""

from __future__ import annotations

from collections.abc import Sequence

from stream.core.changes import Changes
from stream.core.order import Claim
from stream.core.spans import Span, batch_spans, send_spans
from stream.ports import Outgoing


class MemoryTelemetry:
    """`spans` in the order in which they were made."""

    def __init__(self, *, group: str = "test") -> None:
        self.spans: list[Span] = []
        self._group = group

    def start(self) -> None: ...

    def close(self, within: float = 5.0) -> bool:
        return True

    def sampling(self, trace_id: str) -> bool:
        return True

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None:
        self.spans.extend(batch_spans(claim, changes, began, ended, self._group))

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None:
        self.spans.extend(send_spans(batch, began, ended, error))
