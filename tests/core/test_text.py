"""Reading what anybody may send takes time in proportion to its size."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from stream.core.errors import MalformedError
from stream.core.text import check_json

SUSPECT = {"many brackets": b"[" * 129, "a long number": b"1" * 19}


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Ends a test that hangs: the work below took hours."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("head", SUSPECT.values(), ids=SUSPECT.keys())
@pytest.mark.parametrize("tail", [b'"' + b'\\"' * 450_000, b'"a' * 450_000, b'"' + b"\\" * 900_001, b'"' * 900_000])
def test_quotes_without_an_end_are_walked_once(head: bytes, tail: bytes) -> None:
    with suppress(MalformedError):
        check_json(head + tail, 1_000_000)
