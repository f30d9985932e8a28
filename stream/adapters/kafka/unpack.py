"""Unpacking a batch's body: every codec stops at a limit, and costs no more memory than what was unpacked.

One MiB of zstd can become 31 GiB, of gzip one, and a broker limits only what is packed. So everything is unpacked into one mapped room of the
limit's size. Its pages come into being when they are written and are written again by the next batch: a buffer made for each batch would be
zeroed as a whole, 16,384 page faults a batch.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable

import cramjam
from aiokafka.errors import CorruptRecordException

LARGEST = 64 * 1024 * 1024
_KEPT = 4 * 1024 * 1024
_NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
# What Java's snappy stream begins with; then 8 bytes of versions, then blocks behind their lengths.
_XERIAL = b"\x82SNAPPY\x00"

_rooms: list[mmap.mmap] = []


def unpack(codec: int, packed: bytes, before: bytes = b"", limit: int = LARGEST) -> bytes:
    """`before`, followed by the unpacked body. Raises `CorruptRecordException` for an unknown codec, a broken body, and one beyond `limit` bytes."""
    reader = _READERS.get(codec)
    if reader is None:
        raise CorruptRecordException(f"its codec {codec} is unknown")
    room = _rooms.pop() if _rooms else mmap.mmap(-1, LARGEST)
    space = memoryview(room)[:limit]
    body, broken = b"", False
    try:
        size = reader(packed, space)
        body = b"".join((before, space[:size]))
        if size <= _KEPT:
            _rooms.append(room)
    except (cramjam.DecompressionError, zlib.error, ValueError):
        broken = True
    # Not by the error: its traceback would hold on to the room, and to every page a bomb has touched.
    del room, space
    if broken:
        raise CorruptRecordException(f"its {_NAMES[codec]} body is broken, or unpacks beyond {limit} bytes")
    return body


def _gzip(packed: bytes, space: memoryview) -> int:
    unpacker = zlib.decompressobj(wbits=31)
    size = 0
    while not unpacker.eof:
        piece = unpacker.decompress(packed, 1 << 20)
        packed = unpacker.unconsumed_tail
        if size + len(piece) > len(space) or not (piece or packed or unpacker.eof):
            raise ValueError("too large, or cut short")
        space[size : size + len(piece)] = piece
        size += len(piece)
    return size


def _snappy(packed: bytes, space: memoryview) -> int:
    if not packed.startswith(_XERIAL):
        return cramjam.snappy.decompress_raw_into(packed, space)
    size, at = 0, 16
    while at < len(packed):
        end = at + 4 + int.from_bytes(packed[at : at + 4], "big")
        if end > len(packed):
            raise ValueError("a block is cut short")
        size += cramjam.snappy.decompress_raw_into(packed[at + 4 : end], space[size:])
        at = end
    return size


_READERS: dict[int, Callable[[bytes, memoryview], int]] = {
    1: _gzip,
    2: _snappy,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}
