"""The Telemetry port over OTLP: hands each committed batch to the exporter and goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.sdk.trace.sampling import Decision, Sampler

from stream.adapters.otel.encoder import request, resource_json
from stream.adapters.otel.exporter import Exporter, Tally
from stream.adapters.otel.settings import Configuration, read_configuration
from stream.core.changes import Changes
from stream.core.order import Claim
from stream.core.spans import Span, batch_spans, created_span, send_spans
from stream.ports import Outgoing


class OtelTelemetry:
    """Spans of committed batches and of sends. `sampling` is for the codec: whether a trace that begins here is sampled."""

    def __init__(self, configuration: Configuration, *, group: str) -> None:
        resource, limits, ours = resource_json(configuration.resource), configuration.limits, _version()

        def encode(spans: Iterable[Span]) -> bytes:
            return request(resource, ours, spans, limits)

        self._group = group
        self._sampler: Sampler = configuration.sampler
        self._exporter = Exporter(configuration.export, encode) if configuration.export.enabled else None
        self.off = Tally()

    @property
    def tally(self) -> Tally:
        return self._exporter.tally if self._exporter else self.off

    def start(self) -> None:
        if self._exporter:
            self._exporter.start()

    def close(self, within: float = 5.0) -> bool:
        """Send what is queued, at most `within` seconds. Blocks."""
        return self._exporter.close(within) if self._exporter else True

    def sampling(self, trace_id: str) -> bool:
        """By the SDK's sampler (`OTEL_TRACES_SAMPLER`), asked as for a root span. Never when nothing is exported."""
        if self._exporter is None:
            return False
        return self._sampler.should_sample(None, int(trace_id, 16), "process").decision is Decision.RECORD_AND_SAMPLE

    def processed(self, claim: Claim, changes: Changes, began: int, ended: int) -> None:
        if self._exporter is None:
            return
        weight = len(changes.handled) + len(changes.messages) + len(changes.dead)
        if weight:
            self._exporter.offer(lambda: batch_spans(claim, changes, began, ended, self._group), weight)

    def sent(self, batch: Sequence[Outgoing], began: int, ended: int, error: str = "") -> None:
        if self._exporter is not None and batch:
            self._exporter.offer(lambda: send_spans(batch, began, ended, error), len({row.topic for row in batch}))

    def created(self, message: Outgoing, began: int, ended: int) -> None:
        """A message that a person published, whose headers begin a trace."""
        span = created_span(message, began, ended)
        if self._exporter is not None and span is not None:
            self._exporter.offer(lambda: [span], 1)


def from_environment(environ: Mapping[str, str], *, service: str, group: str) -> OtelTelemetry:
    """Built by the `OTEL_*` variables; `service` names it where they do not. Raises `ConfigurationError`. Call `start` on it."""
    return OtelTelemetry(read_configuration(environ, service), group=group)


def _version() -> str:
    try:
        return version("opstream")
    except PackageNotFoundError:
        return "0"
