"""
The records of the comparison: the same for every peer, and known by their position.

Knows nothing of peers.
"""

from __future__ import annotations

import random

import attrs

from benchmarks.setting import KEY_BYTES

SIZES = (100, 1_000)

_POOL_BYTES = 5_000_000


@attrs.frozen
class Records:
    """As many records as anybody wants, made of a pool of 5 MB that repeats."""

    value_bytes: int
    values: list[bytes] = attrs.field(repr=False)
    keys: list[bytes] = attrs.field(repr=False)

    def value(self, position: int) -> bytes:
        """The value at a position of the log."""
        return self.values[position % len(self.values)]

    def part(self, first: int, count: int) -> tuple[list[bytes], list[bytes]]:
        """Values and keys of some positions; `count` is at most the pool."""
        start = first % len(self.values)
        end = start + count
        rest = max(0, end - len(self.values))
        return self.values[start:end] + self.values[:rest], self.keys[start:end] + self.keys[:rest]


def make_records(value_bytes: int) -> Records:
    """The pool for one size, the same in every process."""
    count = _POOL_BYTES // value_bytes
    values, keys = random.Random(1), random.Random(2)
    return Records(
        value_bytes,
        [values.randbytes(value_bytes) for _ in range(count)],
        [keys.randbytes(KEY_BYTES) for _ in range(count)],
    )
