"""
What the killed writers write, and how they say that it is stored.

A value says by itself who wrote it, in which call, and at which place of the call. So the parent knows from the
stored bytes alone whether they are whole, and whether their neighbours are there. Knows nothing of processes.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import NamedTuple

TOPIC = "crash"
PARTITIONS = 3

_STAMP = struct.Struct(">IQIII")
_FRAME = struct.Struct(">IQIQQ")


class Stamp(NamedTuple):
    """The origin of a record: the writer, its call, the index in the call, and the number of records in the call."""

    writer: int
    call: int
    index: int
    count: int


class Acknowledgement(NamedTuple):
    """Says that records of one call are stored: offsets `first` to `end` (exclusive) of one partition."""

    writer: int
    call: int
    partition: int
    first: int
    end: int


def value_of(stamp: Stamp) -> bytes:
    """The one value that belongs to a stamp: 24 to 1,023 bytes, now and then more than a page."""
    seed = zlib.crc32(repr(stamp).encode())
    length = 20_000 if seed % 97 == 0 else seed % 1000
    return _STAMP.pack(*stamp, seed) + seed.to_bytes(4, "big") * (length // 4)


def stamp_of(value: bytes) -> Stamp | None:
    """The stamp of a value, None when one byte of it is not as it was written."""
    if len(value) < _STAMP.size:
        return None
    stamp = Stamp(*_STAMP.unpack_from(value)[:4])
    return stamp if value == value_of(stamp) else None


def acknowledge(pipe: int, acknowledgement: Acknowledgement) -> None:
    """Writes one frame; the kernel takes it whole or not at all, because it is smaller than `PIPE_BUF`."""
    os.write(pipe, _FRAME.pack(*acknowledgement))


def acknowledgements(data: bytes) -> list[Acknowledgement]:
    """The frames that a writer wrote."""
    assert len(data) % _FRAME.size == 0, "a frame is torn: this is the test's fault, not the log's"
    return [Acknowledgement(*fields) for fields in _FRAME.iter_unpack(data)]
