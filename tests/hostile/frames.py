"""Batches by hand: every byte is ours, so that what no client library writes can be written."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence

import cramjam
from aiokafka.record.util import calc_crc32c

GZIP, SNAPPY, LZ4, ZSTD = CODECS = (1, 2, 3, 4)
Pair = tuple[bytes, bytes | None]
_XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def varint(number: int) -> bytes:
    """Zigzag, as Kafka writes lengths and deltas."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while left > 0x7F:
        out.append(0x80 | (left & 0x7F))
        left >>= 7
    out.append(left)
    return bytes(out)


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record(delta: int, key: bytes | None, value: bytes | None, headers: Sequence[Pair] = (), *, later: int = 0) -> bytes:
    """`later`: milliseconds after the batch's first timestamp."""
    body = b"\0" + varint(later) + varint(delta) + sized(key) + sized(value) + varint(len(headers))
    body += b"".join(sized(name) + sized(content) for name, content in headers)
    return varint(len(body)) + body


def batch(body: bytes, count: int, *, codec: int = 0, attributes: int = 0, first: int = 0, last: int = 0, offsets: int = -1) -> bytes:
    """`body` as it is to be sent: packed already, where `codec` says so. `offsets`: the last offset's delta, if it is not to fit `count`."""
    head = struct.pack(">hiqqqhii", attributes | codec, count - 1 if offsets < 0 else offsets, first, max(first, last), -1, -1, -1, count)
    return struct.pack(">qii", 0, 4 + 1 + 4 + len(head) + len(body), -1) + b"\x02" + checksum(head + body) + head + body


def checksum(data: bytes) -> bytes:
    return int(calc_crc32c(data)).to_bytes(4, "big")


def packed(codec: int, body: bytes) -> bytes:
    if codec == GZIP:
        return gzip.compress(body, 1)
    if codec == SNAPPY:
        block = bytes(cramjam.snappy.compress_raw(body))
        return _XERIAL + struct.pack(">i", len(block)) + block
    if codec == LZ4:
        # As a broker takes it: no block refers to the one before.
        packer = cramjam.lz4.Compressor(block_linked=False)
        packer.compress(body)
        return bytes(packer.finish())
    return bytes(cramjam.zstd.compress(body)) if codec == ZSTD else body


def bomb(codec: int, pieces: int) -> bytes:
    """A body that unpacks to so many MiB of zeros; made without ever holding them."""
    piece = bytes(1 << 20)
    if codec == GZIP:
        packer = zlib.compressobj(wbits=31)
        begun = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
        first = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
        # After a full flush nothing refers back: the same bytes again say the same again.
        again = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
        return begun + first + again * (pieces - 1) + packer.flush()
    if codec == SNAPPY:
        block = bytes(cramjam.snappy.compress_raw(piece))
        return _XERIAL + (struct.pack(">i", len(block)) + block) * pieces
    return packed(codec, piece) * pieces
