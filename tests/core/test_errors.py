"""Describing what the author's code raised."""

from stream.core.errors import described


class SilentError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_whose_own_text_raises_is_described_all_the_same() -> None:
    try:
        raise SilentError
    except SilentError as error:
        assert "SilentError" in described(error)
        assert "test_an_error_whose_own_text_raises" in described(error)
