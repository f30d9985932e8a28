"""Describing what the author's code raised."""

import pytest

from stream.core.errors import described, outlined


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


def quote(secret: str) -> None:
    raise ValueError(f"no depot\n{secret} (made, line 9): more")


def test_the_words_of_an_error_come_last_and_can_be_left_out() -> None:
    with pytest.raises(ValueError, match="no depot") as caught:
        quote("hush")
    told = described(caught.value)
    assert told.startswith("ValueError (quote, line ")
    assert told.endswith("): no depot\nhush (made, line 9): more")
    assert outlined(told) == told.partition(": ")[0]
    assert outlined(f"the class refuses it: {told}") == f"the class refuses it: {outlined(told)}"
    assert outlined("as it is: 3 (of 4)") == "as it is: 3 (of 4)"


def test_an_error_that_was_never_raised_has_words_that_can_be_left_out() -> None:
    assert outlined(described(KeyError("hush"))) == "KeyError (somewhere, line 0)"
