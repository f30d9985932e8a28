"""Identities: 16-byte hashes by which an event is known again, and ids of messages that come out the same after every retry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

import msgspec

from stream.core.event import Fact
from stream.core.record import Ref

_UUID7 = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_CROCKFORD = {c: i for i, c in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_encoder = msgspec.json.Encoder(order="sorted")


def identity_of(source: str, id: str) -> bytes:
    """The dedupe key of (source, id). It starts with a time only where the id carries one (UUIDv7, ULID): kind to the inbox's index."""
    whole = blake2b(f"id {len(source)}:{source}{id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return prefix + whole[:10] if (prefix := _time_prefix(id)) else whole


def natural_identity(type: str, values: Sequence[object]) -> bytes:
    """The dedupe key of a business fact: its type and the values of its `natural_key`, whatever id it came under."""
    return blake2b(b"natural\0" + _encoder.encode((type, values)), digest_size=16).digest()


def content_of(type: str, subject: str, event: Fact) -> bytes:
    """What must not differ under one identity: type, subject, and the fields that differ from their defaults, in sorted order.

    A field added later with a default therefore changes no hash. Headers and times are no content.
    """
    required, optional = _fields.get(event.__class__) or _learn(event.__class__)
    known: object = event
    if optional:
        known = {name: getattr(event, field) for field, name in required}
        for field, name, default in optional:
            if (value := getattr(event, field)) != default:
                known[name] = value
    return blake2b(_encoder.encode((type, subject, known)), digest_size=16).digest()


def emitted_id(identity: bytes, emitter: Ref, n: int, time: datetime) -> str:
    """The id of the n-th message `emitter` emits for a cause: shaped as a UUIDv7, its first 48 bits the milliseconds of `time`."""
    milliseconds = min(max((time - _EPOCH) // _MILLISECOND, 0), (1 << 48) - 1)
    rest = digest(identity.hex(), emitter.machine, emitter.id, str(n), size=10).hex()
    prefix = f"{milliseconds:012x}"
    return f"{prefix[:8]}-{prefix[8:]}-7{rest[:3]}-{_VARIANT[rest[3]]}{rest[4:7]}-{rest[7:19]}"


def digest(*parts: str, size: int = 16) -> bytes:
    """A blake2b hash over texts, each framed by its length, so that no two lists of parts hash alike. Lone surrogates are let through."""
    return blake2b("".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _time_prefix(id: str) -> bytes:
    if len(id) == 36 and _UUID7.fullmatch(id):
        return bytes.fromhex(id[:8] + id[9:13])
    if len(id) == 26 and _ULID.fullmatch(id):
        milliseconds = 0
        for letter in id[:10].upper():
            milliseconds = milliseconds << 5 | _CROCKFORD[letter]
        return milliseconds.to_bytes(6, "big")
    return b""


_Required = tuple[tuple[str, str], ...]
_Optional = tuple[tuple[str, str, object], ...]
_fields: dict[type, tuple[_Required, _Optional]] = {}


def _learn(kind: type[Fact]) -> tuple[_Required, _Optional]:
    """The (attribute, name on the wire) of fields that must be there, and of the others with their defaults."""
    found = [(f.name, f.encode_name, _default(f)) for f in msgspec.structs.fields(kind)]
    required = tuple((field, name) for field, name, default in found if default is msgspec.NODEFAULT)
    return _fields.setdefault(kind, (required, tuple(f for f in found if f[2] is not msgspec.NODEFAULT)))


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if callable(field.default_factory) else field.default
