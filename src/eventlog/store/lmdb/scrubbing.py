"""
Zeros for the bytes of a copied data file that hold nothing.

LMDB writes whole pages. Beside its content a page has whatever was in memory at that place: maybe a part of
another page, of a record that was deleted or redacted since. A compacted copy has no free pages, but it has such rests.
This goes over the pages of the copy, without LMDB, and overwrites them.
"""

from __future__ import annotations

import os
import struct
import sys

from eventlog.store.lmdb.pages import HEAD_BYTES, LEAST_PAGE

_ORDER = "<" if sys.byteorder == "little" else ">"
_HEAD = struct.Struct(f"{_ORDER}QHHHH")
_PAGE_COUNT = struct.Struct(f"{_ORDER}12xI")
_NODE = struct.Struct(f"{_ORDER}HHHH")
_NUMBER = struct.Struct(f"{_ORDER}Q")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_ELSEWHERE = 1
"""The flag of a node whose value is on pages of its own."""
_FLAGS_AT = 4 if sys.byteorder == "little" else 5
_CHUNK_BYTES = 1 << 20


def scrub(descriptor: int, page_bytes: int) -> None:
    """Overwrite what is between the content of the pages of a compacted copy, which nobody else uses yet."""
    size, number = os.fstat(descriptor).st_size, LEAST_PAGE
    chunk, first = b"", 0
    while (place := number * page_bytes) + page_bytes <= size:
        at = place - first
        if not 0 <= at <= len(chunk) - page_bytes:
            chunk, first, at = os.pread(descriptor, _CHUNK_BYTES, place), place, 0
        _, _, flags, lower, upper = _HEAD.unpack_from(chunk, at)
        if flags & _OVERFLOW:
            number += max(1, _PAGE_COUNT.unpack_from(chunk, at)[0])
            continue
        if flags & (_BRANCH | _LEAF) and HEAD_BYTES <= lower <= upper <= page_bytes:
            _clear(descriptor, chunk[at + lower : at + upper], place + lower)
            if flags & _LEAF:
                _scrub_values(descriptor, chunk[at : at + page_bytes], lower, page_bytes)
        number += 1


def _scrub_values(descriptor: int, page: bytes, lower: int, page_bytes: int) -> None:
    """Overwrite what follows the values of a leaf page that are on pages of their own."""
    for node in struct.unpack_from(f"{_ORDER}{(lower - HEAD_BYTES) // 2}H", page, HEAD_BYTES):
        if page[node + _FLAGS_AT] & _ELSEWHERE:
            parts = _NODE.unpack_from(page, node)
            low, high = parts[:2] if sys.byteorder == "little" else parts[1::-1]
            begin = _NUMBER.unpack_from(page, node + _NODE.size + parts[3])[0] * page_bytes
            end = begin + HEAD_BYTES + (high << 16 | low)
            rest = -end % page_bytes
            if rest:
                _clear(descriptor, os.pread(descriptor, rest, end), end)


def _clear(descriptor: int, stored: bytes, place: int) -> None:
    if stored.strip(b"\0"):
        os.pwrite(descriptor, bytes(len(stored)), place)
