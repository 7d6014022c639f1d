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
    """
    Overwrite what is between the content of the pages of a compacted copy, which nobody else uses yet.

    A damaged page is copied as it is: what looks like a rest there may be a part of what `repair` still finds.
    """
    size, number = os.fstat(descriptor).st_size, LEAST_PAGE
    chunk, first = b"", 0
    while (place := number * page_bytes) + page_bytes <= size:
        at = place - first
        if not 0 <= at <= len(chunk) - page_bytes:
            chunk, first, at = os.pread(descriptor, _CHUNK_BYTES, place), place, 0
        stored, _, flags, lower, upper = _HEAD.unpack_from(chunk, at)
        if flags & _OVERFLOW and stored == number:
            number += max(1, _PAGE_COUNT.unpack_from(chunk, at)[0])
            continue
        if stored == number and flags & (_BRANCH | _LEAF) and HEAD_BYTES <= lower <= upper <= page_bytes:
            page = chunk[at : at + page_bytes]
            nodes = struct.unpack_from(f"{_ORDER}{(lower - HEAD_BYTES) // 2}H", page, HEAD_BYTES)
            if not nodes or (upper <= min(nodes) and max(nodes) <= page_bytes - _NODE.size):
                _clear(descriptor, page[lower:upper], place + lower)
                if flags & _LEAF:
                    _scrub_values(descriptor, page, nodes)
        number += 1


def _scrub_values(descriptor: int, page: bytes, nodes: tuple[int, ...]) -> None:
    """Overwrite what follows the values of a leaf page that are on pages of their own."""
    page_bytes = len(page)
    for node in nodes:
        if page[node + _FLAGS_AT] & _ELSEWHERE:
            parts = _NODE.unpack_from(page, node)
            low, high = parts[:2] if sys.byteorder == "little" else parts[1::-1]
            number_at = node + _NODE.size + parts[3]
            if number_at + _NUMBER.size > page_bytes:
                continue
            number, size = _NUMBER.unpack_from(page, number_at)[0], high << 16 | low
            end = number * page_bytes + HEAD_BYTES + size
            rest = -end % page_bytes
            if rest and _begins_value(descriptor, number, page_bytes, (HEAD_BYTES + size + rest) // page_bytes):
                _clear(descriptor, os.pread(descriptor, rest, end), end)


def _begins_value(descriptor: int, number: int, page_bytes: int, page_count: int) -> bool:
    """Return whether a page says that a value begins on it that takes this number of pages."""
    if number >= 2**63 // page_bytes:
        return False
    head = os.pread(descriptor, HEAD_BYTES, number * page_bytes)
    return (
        len(head) == HEAD_BYTES
        and _HEAD.unpack(head)[0] == number
        and bool(_HEAD.unpack(head)[2] & _OVERFLOW)
        and _PAGE_COUNT.unpack(head)[0] == page_count
    )


def _clear(descriptor: int, stored: bytes, place: int) -> None:
    if stored.strip(b"\0"):
        os.pwrite(descriptor, bytes(len(stored)), place)
