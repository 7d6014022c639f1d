"""
The compression of the bodies of batches, by zstd or lz4.

Imported when a topic is compressed, or a compressed batch is read; the libraries come with the extras `zstd` and `lz4`.
A body stays as it is where compression does not make it an eighth smaller. Layout: docs/reference/format.md; why it is
so, with measurements: docs/decisions/0049-compression.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from eventlog.batches.header import (
    COLUMNS,
    COMPRESSION_MASK,
    COMPRESSIONS,
    DICTIONARY,
    BatchHeader,
    EncodedBatch,
    corrupt,
    error_parts,
    too_new,
)
from eventlog.errors import MissingLibrary
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

LEAST_BYTES = 512
"""The smallest body that is compressed: reading takes up to 15 us more for each batch, and less is not saved."""
MOST_SHARE = 7 / 8
"""A body stays as it is unless compression makes it as small as this part of it."""
MOST_RECORDS_BYTES = 256 << 10
"""The most bytes of several records that become one batch: whoever wants one of them decompresses all."""
_LEVEL = 1
_MOST_LZ4_RATIO = 255
"""A byte of a block of lz4 stands for at most this many."""
_TELLING_BYTES = 16 << 10
"""The smallest body that tells how well larger ones of the topic are compressed."""
_MOST_IDLE = 2
_LENGTH_BYTES = 4
"""What the raw length adds to the header."""

_EXTRAS = {"zstd": "zstd", "lz4": "lz4"}


class Library(NamedTuple):
    """A library that compresses and decompresses."""

    compress: Callable[[bytes], bytes]
    decompress: Callable[[memoryview, int], bytes]
    """Return as many bytes as the header says, or raise one of `errors`; never takes more memory than that."""
    errors: tuple[type[Exception], ...]


class Compressor:
    """
    The compressor of the batches of one topic, which learns how many bytes of records become a full batch.

    Any thread may use it.

    Args:
        name: "zstd" or "lz4".
        purpose: what cannot be done without the library, for the error.

    Raises:
        MissingLibrary: the library is not installed.
    """

    __slots__ = ("_compress", "_number", "_ratio", "name")

    def __init__(self, name: str, purpose: str) -> None:
        self._compress = library(name, purpose).compress
        self._number = COMPRESSIONS.index(name)
        self.name = name
        self._ratio = 1.0

    def encode(
        self, pack: Callable[[int, int, int], list[EncodedBatch]], count: int, target_bytes: int
    ) -> list[EncodedBatch]:
        """
        Return the batches of `count` records, compressed, of at most `target_bytes` each, or one record.

        Args:
            pack: returns the batches of the records from one number to another that are at most so large before
                compression.
        """
        batches: list[EncodedBatch] = []
        start, most_bytes = 0, self.records_bytes(target_bytes)
        # What is too large once it is compressed is packed again in smaller pieces, which come before the rest.
        levels = [(iter(pack(0, count, most_bytes)), most_bytes)]
        while levels:
            packed, most_bytes = levels[-1]
            batch = next(packed, None)
            if batch is None:
                levels.pop()
                continue
            self.compress(batch)
            end = start + batch.count
            if len(batch.body) > target_bytes - _LENGTH_BYTES * bool(batch.compression) and batch.count > 1:
                smaller = max(most_bytes // 2, target_bytes)
                levels.append((iter(pack(start, end, smaller)), smaller))
                continue
            batches.append(batch)
            start = end
            larger = self.records_bytes(target_bytes)
            if len(levels) == 1 and start < count and larger >= 2 * most_bytes:
                levels = [(iter(pack(start, count, larger)), larger)]
        return batches

    def records_bytes(self, target_bytes: int) -> int:
        """Return how many bytes of records are likely to become a batch of the target."""
        return max(target_bytes, min(int(target_bytes * self._ratio), MOST_RECORDS_BYTES))

    def compress(self, batch: EncodedBatch) -> None:
        """Compress the body of a batch, unless it is too small or does not become an eighth smaller."""
        raw_bytes = len(batch.body)
        if raw_bytes < LEAST_BYTES or batch.compression or batch.kind != COLUMNS:
            return
        body = self._compress(batch.body)
        if raw_bytes >= _TELLING_BYTES:
            self._ratio = 0.9 * raw_bytes / len(body)
        if len(body) <= MOST_SHARE * raw_bytes:
            batch.body, batch.raw_bytes, batch.compression = body, raw_bytes, self._number


def raw_body(data: bytes, header: BatchHeader, place: object) -> bytes:
    """
    Return the body of a compressed batch whose checksum holds, as it was before.

    Raises:
        CorruptBatch: it is not what the header says. No more memory was taken than it says.
        FormatTooNew: it is compressed with a dictionary.
        MissingLibrary: the library is not installed.
    """
    name = COMPRESSIONS[header.flags & COMPRESSION_MASK]
    if header.flags & DICTIONARY:
        raise too_new(place, f"a body compressed by {name} with a dictionary, which this eventlog does not decompress")
    chosen = library(name, f"read {place}", place)
    try:
        raw = chosen.decompress(memoryview(data)[header.body_at : -4], header.raw_bytes)
        if len(raw) != header.raw_bytes:
            raise ValueError(f"{len(raw)} bytes come out")
    except unless_interrupted(*chosen.errors) as error:
        raise corrupt(place, f"its body is not {header.raw_bytes} bytes, compressed by {name}") from error
    return raw


def library(name: str, purpose: str, place: object = None) -> Library:
    """
    Return the library of a compression.

    Args:
        purpose: what cannot be done without it, for the error: `read the batch of ...`.

    Raises:
        MissingLibrary: it is not installed.
    """
    try:
        return _loaded(name)
    except unless_interrupted(ImportError) as error:
        extra = _EXTRAS[name]
        parts = error_parts(
            place,
            stored="Nothing is lost, and nothing was changed.",
            advice=f'Install it, and try again: pip install "eventlog[{extra}]".',
        )
        raise MissingLibrary(
            f"cannot {purpose}: the library for {name} is not installed ({error}).", extra=extra, **parts
        ) from error


@cache
def _loaded(name: str) -> Library:
    return _zstd() if name == "zstd" else _lz4()


def _zstd() -> Library:
    """Python's module, or its backport before 3.14; both are one API."""
    try:
        module: Any = import_module("compression.zstd")
    except unless_interrupted(ImportError):
        module = import_module("backports.zstd")
    whole_frame = module.ZstdCompressor.FLUSH_FRAME
    idle: list[Any] = []

    def compress(body: bytes) -> bytes:
        # A context is a fifth of the time of a small batch; taking it off the list is one step, for any thread.
        try:
            context = idle.pop()
        except unless_interrupted(IndexError):
            context = module.ZstdCompressor(level=_LEVEL)
        context.set_pledged_input_size(len(body))
        data: bytes = context.compress(body, mode=whole_frame)
        if len(idle) < _MOST_IDLE:
            idle.append(context)
        return data

    def decompress(data: memoryview, raw_bytes: int) -> bytes:
        size = module.get_frame_info(data).decompressed_size
        if size != raw_bytes:
            raise ValueError(f"the frame says {size}")
        frame = module.ZstdDecompressor()
        raw: bytes = frame.decompress(data, max_length=raw_bytes + 1)
        if not frame.eof or frame.unused_data:
            raise ValueError("it is not one whole frame")
        return raw

    return Library(compress, decompress, (ValueError, module.ZstdError))


def _lz4() -> Library:
    module: Any = import_module("lz4.block")

    def compress(body: bytes) -> bytes:
        data: bytes = module.compress(body, store_size=False)
        return data

    def decompress(data: memoryview, raw_bytes: int) -> bytes:
        if raw_bytes > _MOST_LZ4_RATIO * len(data):
            raise ValueError(f"{len(data)} bytes cannot become as many")
        raw: bytes = module.decompress(data, uncompressed_size=raw_bytes)
        return raw

    return Library(compress, decompress, (ValueError, module.LZ4BlockError))
