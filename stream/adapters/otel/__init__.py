"""OpenTelemetry over OTLP/HTTP JSON: configured by the SDK's own variables, encoded and exported by us because an SDK span is too dear."""
