"""
The row of a compacted partition: how far it is clean, and since when its tombstones may be counted.

Layout: docs/reference/format.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.rows.packing import LARGEST, NOT_A_ROW, checked, damaged, fields_of, moment, packed, whole
from eventlog.store.rows.tables import partition_key, split_partition_key

COMPACTION_KEY = b"compaction "
"""How the keys of these rows begin in the table of the format; topic id and partition follow."""
_VERSION = 1
_PARTS = 8
"""Into how many parts the retention of tombstones is divided: rounds of one part share an entry of the row."""


class Round(NamedTuple):
    """A finished round that left tombstones before `end` (exclusive), when it ended, and how many."""

    end: int
    ended_ms: int
    tombstone_count: int


class CompactionRow(NamedTuple):
    """
    What is known of a compacted partition.

    Before `clean_end` no two records have one key; the batches there have `clean_bytes`. `dropped_count` is the number
    of records that compaction has taken out of the partition in all. `rounds` ascend.
    """

    dropped_count: int = 0
    clean_end: int = 0
    clean_bytes: int = 0
    rounds: tuple[Round, ...] = ()

    def tombstones_end(self, now_ms: int, retention_ms: int) -> int:
        """The offset before which tombstones may go now, 0 if none may."""
        return max((one.end for one in self.rounds if one.ended_ms + retention_ms <= now_ms), default=0)

    def due_tombstones(self, now_ms: int, retention_ms: int) -> int:
        """How many tombstones may go now."""
        return sum(one.tombstone_count for one in self.rounds if one.ended_ms + retention_ms <= now_ms)

    def after_round(
        self,
        end: int,
        clean_bytes: int,
        tombstones: Sequence[int],
        now_ms: int,
        retention_ms: int,
    ) -> CompactionRow:
        """
        The row when a round has ended.

        Args:
            end: up to where it has cleaned (exclusive).
            tombstones: the offsets of those that are left before it, ascending.
        """
        part_ms = max(retention_ms // _PARTS, 1)
        rounds: list[Round] = []
        start = 0
        for one in (*self.rounds, Round(end, now_ms, 0)):
            behind = bisect_right(tombstones, one.end - 1)
            count, start = max(behind - start, 0), max(behind, start)
            if not count:
                continue
            if rounds and rounds[-1].ended_ms // part_ms == one.ended_ms // part_ms:
                before = rounds.pop()
                one = Round(one.end, max(before.ended_ms, one.ended_ms), before.tombstone_count + count)
            else:
                one = one._replace(tombstone_count=count)
            rounds.append(one)
        return CompactionRow(self.dropped_count, max(end, self.clean_end), clean_bytes, tuple(rounds))

    def pack(self) -> bytes:
        """Return the row's bytes."""
        return packed(
            {
                "version": _VERSION,
                "dropped": self.dropped_count,
                "clean_end": self.clean_end,
                "clean_bytes": self.clean_bytes,
                "rounds": [list(one) for one in self.rounds],
            }
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview | None) -> CompactionRow:
        """Return the row of these bytes; there is none for a partition that was never compacted."""
        if data is None:
            return cls()
        try:
            fields = fields_of(data, "the compaction of a partition", _VERSION)
            rounds = []
            for one in checked(fields["rounds"], list):
                end, ended_ms, count = checked(one, list)
                rounds.append(Round(whole(end), moment(ended_ms), whole(count)))
            if [one.end for one in rounds] != sorted({one.end for one in rounds}):
                raise ValueError("its rounds do not ascend")
            return cls(
                whole(fields["dropped"], 0, LARGEST),
                whole(fields["clean_end"], 0, LARGEST),
                whole(fields["clean_bytes"], 0, LARGEST),
                tuple(rounds),
            )
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("the compaction of a partition", error) from error


def compaction_key(topic_id: int, partition: int) -> bytes:
    """Return the key of the row of a partition."""
    return COMPACTION_KEY + partition_key(topic_id, partition)


def split_compaction_key(key: bytes) -> tuple[int, int]:
    """Return the topic id and the partition of a key."""
    return split_partition_key(key.removeprefix(COMPACTION_KEY))
