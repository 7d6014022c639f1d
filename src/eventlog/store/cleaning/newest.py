"""
The records of a partition that a round of compaction leaves in place.

Pure: columns go in, and booleans come out. The rules are those of Kafka's cleaner:

* of the records of one key, the newest stays;
* the newest record of the partition stays, whatever it is, and so does a record without a key;
* a tombstone goes when it is in the part that earlier rounds have cleaned, and has been there for long enough: no
  older record of its key is left then.

Keys are compared as they are: nothing is dropped because two keys have one hash.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from eventlog.batches.merging import Source

MOST_MAP_BYTES = 128 << 20
"""The most memory of the keys of one round; the rest is left to the next round."""
_ENTRY_BYTES = 33 + 104 + 32
"""What an entry of a dict takes beside the bytes of its key: the heads of two objects, and their place."""


class NewestOffsets:
    """The newest offset of each key in a part of a partition, in bounded memory."""

    def __init__(self, most_bytes: int = MOST_MAP_BYTES) -> None:
        self._offsets: dict[bytes, int] = {}
        self._left_bytes = most_bytes

    @property
    def is_full(self) -> bool:
        """Whether no further batch is to be added."""
        return self._left_bytes <= 0

    @property
    def key_count(self) -> int:
        """The number of keys."""
        return len(self._offsets)

    def add(self, keys: Sequence[bytes | None], offsets: Sequence[int]) -> None:
        """Add the records of one batch, which follow those added before."""
        known = self._offsets
        for key, offset in zip(keys, offsets, strict=True):
            if key is not None:
                if key not in known:
                    self._left_bytes -= len(key) + _ENTRY_BYTES
                known[key] = offset

    def get(self, key: bytes) -> int:
        """The newest offset of a key; -1 if there is none."""
        return self._offsets.get(key, -1)


@attrs.frozen
class KeepRules:
    """
    What a round leaves in place.

    `first` is the first offset that may be read, and what lies before goes. From `end` on everything stays.
    `newest_record` is the offset of the newest record of the partition. Tombstones before `tombstones_end` go.
    """

    newest: NewestOffsets
    first: int
    end: int
    newest_record: int
    tombstones_end: int

    def kept(self, source: Source) -> list[bool]:
        """Which records of a batch stay."""
        if source.first >= self.end:
            return [True] * len(source.offsets)
        return [
            self._stays(offset, key, value)
            for offset, key, value in zip(source.offsets, source.keys, source.values, strict=True)
        ]

    def _stays(self, offset: int, key: bytes | None, value: bytes | None) -> bool:
        if offset < self.first:
            return False
        if key is None or offset >= self.end or offset == self.newest_record:
            return True
        if self.newest.get(key) > offset:
            return False
        return value is not None or offset >= self.tombstones_end


def limited(kept: Sequence[bool], most: int) -> list[bool]:
    """The same, where at most that number of records go, the first ones."""
    found: list[bool] = []
    for stays in kept:
        found.append(stays or most <= 0)
        most -= not stays
    return found
