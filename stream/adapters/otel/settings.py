"""Which `OTEL_*` variables say what; resource, sampler and limits are read by the OpenTelemetry SDK itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from stream.adapters.otel.encoder import Limits
from stream.core.errors import ConfigurationError
from stream.core.spans import Value

OWN = (
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
)
"""Read here."""

BY_SDK = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
"""Read by the SDK, from the environment of this process."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Where spans go, and how patiently. Seconds. `headers` may hold a token: never shown."""

    enabled: bool = True
    endpoint: str = "http://localhost:4318/v1/traces"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 10.0
    gzip: bool = False
    certificate: str = ""
    queue: int = 65_536
    batch: int = 4_096
    delay: float = 1.0


@dataclass(frozen=True)
class Configuration:
    """What the SDK and we read together. `sampler` decides for traces that begin here."""

    export: ExportSettings
    limits: Limits
    resource: Mapping[str, Value]
    sampler: Sampler


def read_settings(environ: Mapping[str, str]) -> ExportSettings:
    """Ours. Raises `ConfigurationError` for a value that means nothing, naming the variable."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    if exporter not in ("otlp", "none"):
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER={exporter}: only otlp and none are known here")
    compression = _of(environ, "COMPRESSION").lower() or "none"
    if compression not in ("gzip", "none"):
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_COMPRESSION={compression}: only gzip and none are known here")
    return ExportSettings(
        enabled=exporter == "otlp" and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true",
        endpoint=_endpoint(environ),
        headers=_headers(_of(environ, "HEADERS")),
        timeout=_number(environ, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", _number(environ, "OTEL_EXPORTER_OTLP_TIMEOUT", 10)),
        gzip=compression == "gzip",
        certificate=_of(environ, "CERTIFICATE"),
        queue=int(_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 65_536)),
        batch=int(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 4_096)),
        delay=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", 1_000) / 1000,
    )


def read_configuration(environ: Mapping[str, str], service: str) -> Configuration:
    """Everything. `service` is the service's name where no variable gives one. The SDK reads the process environment, whatever `environ` is."""
    resource = Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": service}))
    limits = SpanLimits()
    provider = TracerProvider(shutdown_on_exit=False)
    return Configuration(
        export=read_settings(environ),
        limits=Limits(limits.max_span_attributes, limits.max_span_attribute_length, limits.max_links, limits.max_events),
        resource={key: _value(value) for key, value in resource.attributes.items()},
        sampler=provider.sampler,
    )


def _of(environ: Mapping[str, str], what: str) -> str:
    return (environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{what}") or environ.get(f"OTEL_EXPORTER_OTLP_{what}") or "").strip()


def _endpoint(environ: Mapping[str, str]) -> str:
    """The traces endpoint as it stands, or the general one with `v1/traces` behind it (OTLP exporter specification)."""
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    endpoint = own or (environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318").rstrip("/") + "/v1/traces"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_ENDPOINT: {endpoint!r} is no http(s) address such as http://localhost:4318")
    return endpoint


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise ConfigurationError("OTEL_EXPORTER_OTLP_HEADERS: expected name=value,name=value")
        headers[unquote(name.strip())] = unquote(value.strip())
    return headers


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        raise ConfigurationError(f"{name}={text}: not a number") from None
    if number <= 0:
        raise ConfigurationError(f"{name}={text}: must be above zero")
    return number


def _value(value: object) -> Value:
    if isinstance(value, str | bool | int | float):
        return value
    return str(value)
