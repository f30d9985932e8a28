"""Describing what the author's code raised."""

import pytest

from stream.core.errors import described


class SilentError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def fail() -> None:
    raise SilentError


def test_an_error_whose_own_text_raises_is_described_all_the_same() -> None:
    with pytest.raises(SilentError) as caught:
        fail()
    assert "SilentError" in described(caught.value)
    assert "(fail, line" in described(caught.value)
