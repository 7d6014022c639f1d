"""
The compressions of Kafka's record batches, taken off: gzip always, the others by the libraries of the extras.

A few bytes may claim to become any number: nothing becomes more than `most_bytes` says, and no more memory is taken.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from eventlog.batches.header import error_parts
from eventlog.errors import MissingLibrary
from eventlog.interruptions import unless_interrupted

NAMES = ("no compression", "gzip", "snappy", "lz4", "zstd")
"""The compressions by their numbers in the attributes of a record batch."""
_GZIP_WINDOW = 31
_LEAST_BOUND_BYTES = 32 << 20
_MOST_RATIO = 128
_MOST_BYTES = 1 << 30
_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEAD_BYTES = 16
_LENGTH_BYTES = 4

Decompress = Callable[[memoryview, int], bytes]


def most_raw_bytes(stored_bytes: int) -> int:
    """Return how many bytes the records of a batch of this size may become: 32 MiB, or more of a large one."""
    return min(max(_LEAST_BOUND_BYTES, _MOST_RATIO * stored_bytes), _MOST_BYTES)


def decompressed(number: int, data: memoryview, place: object) -> bytes:
    """
    Return the records of a batch as they were before they were compressed.

    Raises:
        ValueError: they are not what this compression writes, or become too many bytes.
        MissingLibrary: the library is not installed.
    """
    name = NAMES[number]
    try:
        decompress = _decompressor(name)
    except unless_interrupted(ImportError) as error:
        raise MissingLibrary(
            f"cannot read {place}: its records are compressed by {name}, and the library for that is not installed "
            f"({error}).",
            extra=name,
            **error_parts(
                place,
                stored="Nothing is lost, and nothing was changed.",
                advice=f'Install it, and try again: pip install "eventlog[{name}]".',
            ),
        ) from error
    most_bytes = most_raw_bytes(len(data))
    raw = decompress(data, most_bytes)
    if len(raw) > most_bytes:
        raise ValueError(f"they become more than {most_bytes} bytes")
    return raw


def can_decompress(number: int) -> bool:
    """Return whether there is no compression, or one whose library is installed."""
    if number == 0 or number >= len(NAMES):
        return number == 0
    try:
        _decompressor(NAMES[number])
    except unless_interrupted(ImportError):
        return False
    return True


@cache
def _decompressor(name: str) -> Decompress:
    return {"gzip": _gzip, "snappy": _snappy, "lz4": _lz4, "zstd": _zstd}[name]()


def _gzip() -> Decompress:
    def decompress(data: memoryview, most_bytes: int) -> bytes:
        stream = zlib.decompressobj(_GZIP_WINDOW)
        try:
            raw = stream.decompress(data, most_bytes + 1)
        except unless_interrupted(zlib.error) as error:
            raise ValueError(str(error)) from error
        return _whole(raw, most_bytes, is_whole=stream.eof and not stream.unused_data)

    return decompress


def _zstd() -> Decompress:
    """Python's module, or its backport before 3.14; Kafka's clients write one frame, mostly without its size."""
    try:
        module: Any = import_module("compression.zstd")
    except unless_interrupted(ImportError):
        module = import_module("backports.zstd")

    def decompress(data: memoryview, most_bytes: int) -> bytes:
        stream = module.ZstdDecompressor()
        try:
            raw: bytes = stream.decompress(data, max_length=most_bytes + 1)
        except unless_interrupted(module.ZstdError) as error:
            raise ValueError(str(error)) from error
        return _whole(raw, most_bytes, is_whole=stream.eof and not stream.unused_data)

    return decompress


def _lz4() -> Decompress:
    module: Any = import_module("lz4.frame")

    def decompress(data: memoryview, most_bytes: int) -> bytes:
        stream = module.LZ4FrameDecompressor()
        try:
            raw: bytes = stream.decompress(data, max_length=most_bytes + 1)
        except unless_interrupted(RuntimeError) as error:
            raise ValueError(str(error)) from error
        return _whole(raw, most_bytes, is_whole=stream.eof and not stream.unused_data)

    return decompress


def _whole(raw: bytes, most_bytes: int, *, is_whole: bool) -> bytes:
    if not is_whole and len(raw) <= most_bytes:
        raise ValueError("they are not one whole frame")
    return raw


def _snappy() -> Decompress:
    """Raw blocks, as librdkafka writes them, or the frames of snappy-java, as Java's clients do."""
    module: Any = import_module("cramjam").snappy

    def block(data: memoryview, most_bytes: int) -> bytes:
        size = _snappy_size(data)
        if size > most_bytes:
            raise ValueError(f"a block becomes {size} bytes")
        try:
            return bytes(module.decompress_raw(data))
        except unless_interrupted(Exception) as error:  # a class of its own, which is no child of ValueError
            raise ValueError(str(error)) from error

    def decompress(data: memoryview, most_bytes: int) -> bytes:
        if bytes(data[: len(_XERIAL)]) != _XERIAL:
            return block(data, most_bytes)
        blocks, at, left = [], _XERIAL_HEAD_BYTES, most_bytes
        while at < len(data):
            end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
            if not at + _LENGTH_BYTES < end <= len(data):
                raise ValueError("a block ends outside of them")
            blocks.append(block(data[at + _LENGTH_BYTES : end], left))
            left -= len(blocks[-1])
            at = end
        return b"".join(blocks)

    return decompress


def _snappy_size(data: memoryview) -> int:
    """The size that a block says at its beginning."""
    size = shift = 0
    for byte in data[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return size
    raise ValueError("a block has no size")
