"""Families about whole batches: what is broken halts its partition with a fault in words; what is only odd is read."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count

from stream.core.outcome import Reason
from tests.hostile.case import own
from tests.hostile.frames import CODECS, GZIP, LZ4, SNAPPY, ZSTD, batch, bomb, checksum, packed, record, sized, varint

Build = Callable[[str, int], bytes]
COUNT = 2
"""Offsets that each batch takes."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One batch of two offsets for a pulse, given its id and the moment. `fault`: a pattern; None: it is read, for `beats` and dead `letters`.

    `blind`: its header does not say where it ends, so that one offset at a time is given up.
    """

    name: str
    build: Build
    fault: str | None = None
    blind: bool = False
    beats: Sequence[int] = ()
    letters: Sequence[Reason] = ()


def beat(pulse: str, n: int, delta: int = 0, *more: tuple[bytes, bytes | None]) -> bytes:
    headers = own(f"{pulse} {n}", *more, type=b"pulse.beaten.framed")
    return record(delta, pulse.encode(), b'{"id":"%s","n":%d}' % (pulse.encode(), n), headers)


@cache
def frames(seed: int) -> Sequence[Frame]:
    chance = random.Random(seed)
    found = [replace(frame, name=f"{make.__name__}/{n}") for make in FAMILIES for n, frame in enumerate(make(chance))]
    chance.shuffle(found)
    return found


def _good(pulse: str, now: int, codec: int = 0) -> bytes:
    return batch(packed(codec, beat(pulse, 800) + beat(pulse, 801, 1)), COUNT, codec=codec, first=now)


def signed(data: bytes) -> bytes:
    """With its length and checksum made right for what it holds now."""
    return data[:8] + struct.pack(">i", len(data) - 12) + data[12:17] + checksum(data[21:]) + data[21:]


def _flipped(at: int, bit: int, data: bytes) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def _shorter(less: int, honest: bool, data: bytes) -> bytes:
    return signed(data[:-less]) if honest else data[:-less]


def _put(at: int, what: bytes, honest: bool, data: bytes) -> bytes:
    changed = data[:at] + what + data[at + len(what) :]
    return signed(changed) if honest else changed


def _bad(fault: str, change: Callable[[bytes], bytes], codec: int = 0, *, blind: bool = False) -> Frame:
    return Frame(name="", build=lambda pulse, now: change(_good(pulse, now, codec)), fault=fault, blind=blind)


def _of(fault: str, body: bytes, codec: int = 0) -> Frame:
    return Frame(name="", build=lambda _, now: batch(body, COUNT, codec=codec, first=now), fault=fault)


def wrong_checksum(chance: random.Random) -> Iterator[Frame]:
    for codec in (0, 0, 0, 0, *CODECS):
        at, bit = chance.randrange(17, 90), 1 << chance.randrange(8)
        yield _bad("checksum is wrong", partial(_flipped, at, bit), codec)


def cut_short(chance: random.Random) -> Iterator[Frame]:
    for _ in range(4):
        less = chance.randrange(1, 60)
        yield _bad("reaches beyond|does not end|not as long", partial(_shorter, less, True))
        # Its length says more than there is, and what comes behind it is taken for its end.
        yield _bad("checksum is wrong|cut short", partial(_shorter, less, False))
    for length in (-5, 0, 4, 40):
        yield _bad("shorter than its own header|cut short", partial(_put, 8, struct.pack(">i", length), False), blind=length < 15)


def unknown_codec(_: random.Random) -> Iterator[Frame]:
    for codec in (5, 6, 7):
        yield _bad(f"codec {codec} is unknown", partial(_put, 22, bytes([codec]), True))


def other_format(_: random.Random) -> Iterator[Frame]:
    for magic in (0, 1, 3, 127, 255):
        yield _bad("its format is", partial(_put, 16, bytes([magic]), False), blind=True)


def count_that_lies(_: random.Random) -> Iterator[Frame]:
    for said in (-1, -(1 << 31), 1, 3, 1_000, (1 << 31) - 1):
        yield _bad("records|bytes behind", partial(_put, 57, struct.pack(">i", said), True))


def offsets_that_lie(_: random.Random) -> Iterator[Frame]:
    for first, second in ((1, 0), (0, 0), (-1, 0), (0, 9), (0, 1 << 40), (-(1 << 40), 1)):
        yield _of("not in order", beat("nobody", 1, first) + beat("nobody", 2, second))


def record_that_lies(_: random.Random) -> Iterator[Frame]:
    rest = varint(0) + varint(0)
    for body in (
        *(b"\0" + rest + varint(length) + b"k" for length in (2, 1 << 20, 1 << 40, (1 << 63) - 1)),
        *(b"\0" + rest + sized(b"k") + varint(length) + b"v" for length in (2, 1 << 30, (1 << 63) - 8)),
        *(b"\0" + rest + sized(None) + sized(None) + varint(said) for said in (1, 1 << 31, 1 << 62)),
        b"\0" + b"\xff" * 30,
        b"\0" + rest + sized(b"k"),
        b"\0",
    ):
        yield _of("beyond|does not end|not as long|not in order", varint(len(body)) + body + beat("nobody", 2, 1))
    for length in (0, -1, 1 << 20, 1 << 40):
        yield _of("beyond|does not end|not as long", varint(length) + beat("nobody", 1)[1:] + beat("nobody", 2, 1))


def broken_body(chance: random.Random) -> Iterator[Frame]:
    whole = beat("nobody", 1) + beat("nobody", 2, 1)
    for codec in CODECS:
        other = CODECS[codec % 4]
        for body in (b"", b"\x07" * 99, chance.randbytes(99), packed(codec, whole)[:-20], packed(other, whole), whole):
            yield _of("body is broken|cut short|beyond|does not end|not as long", body, codec)


def bombs(_: random.Random) -> Iterator[Frame]:
    for codec, sizes in ((GZIP, (65, 256, 1_024)), (SNAPPY, (65, 100)), (LZ4, (65, 256, 1_024)), (ZSTD, (65, 256, 1_024, 4_096))):
        for size in sizes:
            yield _of("beyond 67108864 bytes", bomb(codec, size), codec)
    for claim in (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\x7f"):
        yield _of("beyond 67108864 bytes", claim + b"x" * 100, SNAPPY)


def headers_beyond_memory(_: random.Random) -> Iterator[Frame]:
    for codec in (GZIP, ZSTD):
        body = record(0, None, None, [(b"", None)] * 1_100_000) + record(1, None, None)
        yield _of("more than 1000000 headers", packed(codec, body), codec)


def control_without_record(_: random.Random) -> Iterator[Frame]:
    yield _bad("control batch", lambda d: signed(d[:21] + b"\0\x20" + d[23:57] + bytes(4)))
    yield _of_control(record(0, b"", b"") + record(1, b"", b""))
    yield _of_control(record(0, None, b"") + record(1, None, b""))


def _of_control(body: bytes) -> Frame:
    return Frame(name="", build=lambda _, now: batch(body, COUNT, attributes=0x20, first=now), fault="control batch")


def odd_and_read(_: random.Random) -> Iterator[Frame]:
    numbers = count(1_000, COUNT)
    for codec in (0, *CODECS):
        yield _odd(codec, next(numbers), (b"x", None))
        yield _odd(codec, next(numbers), (b"\xff", b"x"), Reason.UNDECODABLE)
        yield _odd(codec, next(numbers), (b"x", bytes(3 << 20)), Reason.HEADER_LIMIT)
    for codec in (GZIP, ZSTD):
        # A value that packs well is kept whole, whatever it weighs.
        body = packed(codec, record(0, b"k", bytes(20 << 20), own("large")) + record(1, b"k", None, own("none")))
        yield Frame(name="", build=_plainly(body, codec), letters=(Reason.TOO_LARGE, Reason.NO_DATA))
    # Compacted away: a batch whose records are gone, and one that kept the second.
    yield Frame(name="", build=lambda _, now: batch(b"", 0, first=now, offsets=1))
    yield Frame(name="", build=lambda pulse, now: batch(beat(pulse, 900, 1), 1, first=now, offsets=1), beats=(900,))


def _odd(codec: int, n: int, header: tuple[bytes, bytes | None], reason: Reason | None = None) -> Frame:
    """A record with an odd header before one without."""

    def build(pulse: str, now: int) -> bytes:
        return batch(packed(codec, beat(pulse, n, 0, header) + beat(pulse, n + 1, 1)), COUNT, codec=codec, first=now)

    return Frame(name="", build=build, beats=(n + 1,) if reason else (n, n + 1), letters=(reason,) if reason else ())


def _plainly(body: bytes, codec: int) -> Build:
    return lambda _, now: batch(body, COUNT, codec=codec, first=now)


FAMILIES = (
    *(wrong_checksum, cut_short, unknown_codec, other_format, count_that_lies, offsets_that_lie, record_that_lies),
    *(broken_body, bombs, headers_beyond_memory, control_without_record, odd_and_read),
)
