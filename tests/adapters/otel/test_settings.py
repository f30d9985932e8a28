"""The `OTEL_*` variables, and the page that lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.adapters.otel.settings import BY_SDK, OWN, read_settings
from stream.core.errors import ConfigurationError

PAGE = Path(__file__).parents[3] / "docs" / "tracing.md"


def test_the_page_lists_exactly_what_is_honoured() -> None:
    assert sorted(re.findall(r"^- `(OTEL_\w+)`$", PAGE.read_text(), re.MULTILINE)) == sorted((*OWN, *BY_SDK))


def test_the_general_endpoint_gets_the_path_and_the_own_one_stands_as_it_is() -> None:
    assert read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/"}).endpoint == "http://a:1/v1/traces"
    assert read_settings({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:1/x"}).endpoint == "http://a:1/x"


def test_disabling_by_either_variable_turns_exporting_off() -> None:
    assert not read_settings({"OTEL_SDK_DISABLED": "true"}).enabled
    assert not read_settings({"OTEL_TRACES_EXPORTER": "none"}).enabled


@pytest.mark.parametrize(
    "variable", ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"]
)
def test_a_value_that_means_nothing_is_named(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        read_settings({variable: "what"})
