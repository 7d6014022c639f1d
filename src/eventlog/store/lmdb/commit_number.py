"""
Whether anything was committed, seen in the file itself: a comparison of eight bytes in place of a call of LMDB.

LMDB 0.9 keeps two pages at the beginning of the file that take turns: commit number n is noted in page n modulo 2,
behind all that it wrote. So when n is the last commit, the word of page n + 1 modulo 2 says n - 1, until there is
another commit. Whether the file is as we think is asked when it is opened; where it is not, nothing is known without
a call. Knows nothing of who looks.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Callable
from typing import TypeAlias

_NUMBER_PLACE = 144
"""Where the number of its commit is in a page: behind 16 bytes of every page, 32 of the map and 96 of two tables."""
_NUMBER_BYTES = 8
_MOST_ATTEMPTS = 3

Sign: TypeAlias = tuple["mmap.mmap | bytes", slice, bytes]
"""`(page, place, word)`: as long as `page[place] == word` nothing was committed; else something may have been."""
_NO_SIGN: Sign = (b"", slice(0), b"?")


class CommitNumber:
    """
    A view of the numbers of the last two commits.

    Any thread may look. Once it is closed, a look at a sign raises `ValueError`.
    """

    def __init__(self, data: str, last_transaction: Callable[[], int]) -> None:
        self._pages: mmap.mmap | None = None
        with contextlib.suppress(OSError, ValueError):  # then whoever asks calls LMDB
            self._pages = _mapped(data)
        if self._pages is not None and not self._is_true(last_transaction):
            self.close()
            self._pages = None

    def sign(self, seen: int) -> Sign:
        """What stays as it is until there is a later commit than `seen`."""
        pages = self._pages
        if pages is None or seen < 1:
            return _NO_SIGN
        return pages, _place(seen + 1), (seen - 1).to_bytes(_NUMBER_BYTES, sys.byteorder)

    def close(self) -> None:
        """Ends the view."""
        if self._pages is not None:
            self._pages.close()

    def _is_true(self, last_transaction: Callable[[], int]) -> bool:
        """Whether the last commit is noted where we look for it; others may commit meanwhile."""
        assert self._pages is not None
        for _ in range(_MOST_ATTEMPTS):
            number = last_transaction()
            if self._pages[_place(number)] == number.to_bytes(_NUMBER_BYTES, sys.byteorder):
                return True
        return False


def _mapped(data: str) -> mmap.mmap:
    descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return mmap.mmap(descriptor, 2 * mmap.PAGESIZE, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _place(number: int) -> slice:
    start = number % 2 * mmap.PAGESIZE + _NUMBER_PLACE
    return slice(start, start + _NUMBER_BYTES)
