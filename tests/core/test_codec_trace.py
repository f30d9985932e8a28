"""`traceparent` as W3C Trace Context says it."""

from __future__ import annotations

import pytest

from stream.core.entity import Trace
from stream.core.trace import parse_traceparent, traceparent

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True), ("fe", False)])
def test_only_the_lowest_flag_means_sampled(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{ID}-{SPAN}-{flags}") == (ID, SPAN, sampled)


@pytest.mark.parametrize("more", ["", "-", "-what the future brings"])
def test_a_later_version_is_read_as_far_as_it_is_known(more: str) -> None:
    assert parse_traceparent(f"cc-{ID}-{SPAN}-01{more}") == (ID, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{ID}-{SPAN}-01",
        f"00-{ID}-{SPAN}-01-more",
        f"00-{ID}-{SPAN}-01\n",
        f" 00-{ID}-{SPAN}-01",
        f"cc-{ID}-{SPAN}-01more",
        f"00-{ID.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"cc-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{SPAN}-1",
        f"00-{ID[1:]}-{SPAN}-01",
        f"0-{ID}-{SPAN}-01",
    ],
)
def test_anything_else_is_no_context(text: str) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("sampled", [True, False])
def test_what_is_written_is_read(sampled: bool) -> None:
    assert parse_traceparent(traceparent(Trace(ID, SPAN, sampled=sampled))) == (ID, SPAN, sampled)
