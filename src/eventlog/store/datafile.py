"""
LMDB's file seen from outside, as far as opening needs it: is it LMDB's, and was it ever finished.

Knows nothing of what we keep in it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = slice(16, 20), 0xBEEFC0DE.to_bytes(4, sys.byteorder)
_COMMITS = slice(144, 152), bytes(8)
"""Where the first page has its magic and the number of the last commit in it, and what they are at first."""
_FIRST_BYTES = 152


def is_engines(data: Path) -> bool:
    """Whether the file is LMDB's, as far as its first bytes tell."""
    place, magic = _MAGIC
    return _beginning(data)[place] == magic


def remove_unfinished(data: Path) -> None:
    """Empties a file whose very first write was cut short by a kill: LMDB would refuse it for ever."""
    beginning = _beginning(data)
    is_new = all(beginning[place] == expected for place, expected in (_MAGIC, _COMMITS))
    if is_new and data.stat().st_size < 2 * os.sysconf("SC_PAGE_SIZE"):
        os.truncate(data, 0)


def _beginning(data: Path) -> bytes:
    try:
        with data.open("rb") as file:
            return file.read(_FIRST_BYTES)
    except FileNotFoundError:
        return b""
