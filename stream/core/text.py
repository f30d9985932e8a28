"""What text and JSON may hold here: PostgreSQL keeps no NUL, UTF-8 no lone surrogate, a bigint no more than 64 bits, a parser no deep nest."""

from __future__ import annotations

import re

from stream.core.errors import DefinitionError, MalformedError
from stream.core.outcome import Reason

LIMIT = 1_000_000
"""Bytes of one message's value, and of one entity's data."""

MAX_DEPTH = 128
LONGEST_NAME = 200
"""Characters of a name that an author gives: it stands in keys, messages and on terminals."""
_MAX_INTEGER, _MIN_INTEGER = (1 << 63) - 1, -(1 << 63)
# Takes a string that does not end up to the end: else each quote within would be tried as a beginning, and a value of 16 kB cost seconds.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_BIG_EXPONENT = re.compile(rb"[:,\[\s]-?[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]{3}")
# Every digit as 0, E as e, a plus dropped: then three plain searches find whatever may be a number too big (19 digits, an exponent of three).
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_RUN, _EXPONENT = b"0" * 19, b"0e000"
_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BRACKET = re.compile(rb"[\[\]{}]")


def unsafe_text(value: bytes | str) -> str:
    """Why this text cannot be stored, or "" when it can."""
    try:
        text = value.decode() if isinstance(value, bytes) else value
        if not text.isascii():
            text.encode()
    except UnicodeError:
        return "not UTF-8, or a lone surrogate"
    return "a NUL character" if "\0" in text else ""


def check_name(what: str, name: object) -> None:
    """Raises `DefinitionError` unless it is a line of plain text that can be typed, stored and shown."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        shown = str(name)[:40]
        raise DefinitionError(f"{what} {shown!r}: a name is one line of plain text of 1 to {LONGEST_NAME} characters, no blank at its ends")


def safe(text: str) -> str:
    """Words of an error as they can be stored, and not more of them than a person reads."""
    return (ascii(text) if unsafe_text(text) else text)[:2000]


def check_storable(payload: bytes, limit: int) -> None:
    """Raises `MalformedError` (too_large, unsafe_text) for encoded JSON that must not be stored or sent. `limit` is in bytes."""
    if len(payload) > limit:
        raise MalformedError(Reason.TOO_LARGE, f"{len(payload)} bytes, the limit is {limit}")
    if b"\\u" in payload:
        _check_escapes(payload)


def check_json(payload: bytes, limit: int) -> None:
    """What msgspec lets through or chokes on; raises `MalformedError`. Good input is only scanned, never parsed a second time."""
    check_storable(payload, limit)
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise MalformedError(Reason.UNDECODABLE, f"not UTF-8 at byte {error.start}") from error
    if b"\0" in payload:
        raise MalformedError(Reason.UNSAFE_TEXT, "a NUL character")
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH:
        _check_depth(payload)
    alike = payload.translate(_DIGITS_ALIKE, b"+")
    if _LONG_RUN in alike or (_EXPONENT in alike and _BIG_EXPONENT.search(payload)):
        _check_numbers(payload)


def _check_escapes(payload: bytes) -> None:
    """Walks the escapes: NUL, and a high surrogate not followed at once by a low one (or a low one alone)."""
    high_ends = -1
    for found in _ESCAPE.finditer(payload):
        code = int(found[1], 16) if found[1] else -1
        low = 0xDC00 <= code < 0xE000
        if code == 0:
            raise MalformedError(Reason.UNSAFE_TEXT, "a NUL character")
        if low != (high_ends == found.start()) or (high_ends >= 0 and not low):
            raise MalformedError(Reason.UNSAFE_TEXT, "a lone surrogate")
        high_ends = found.end() if 0xD800 <= code < 0xDC00 else -1
    if high_ends >= 0:
        raise MalformedError(Reason.UNSAFE_TEXT, "a lone surrogate")


def _check_depth(payload: bytes) -> None:
    depth = 0
    for found in _BRACKET.finditer(_STRING.sub(b"", payload)):
        depth += 1 if found[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            raise MalformedError(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH}")


def _check_numbers(payload: bytes) -> None:
    for found in _NUMBER.finditer(_STRING.sub(b'""', payload)):
        digits = found[0]
        if digits.lstrip(b"-").isdigit():
            # The length first: Python refuses, and is slow, to read thousands of digits.
            if len(digits) > 20 or not _MIN_INTEGER <= int(digits) <= _MAX_INTEGER:
                raise MalformedError(Reason.UNSAFE_NUMBER, "an integer beyond 64 bits")
        elif float(digits) in (float("inf"), float("-inf")):
            raise MalformedError(Reason.UNSAFE_NUMBER, "a number beyond a double")
