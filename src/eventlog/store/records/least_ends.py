"""
How far partitions are known to go, whoever commits meanwhile.

No end moves back: not when records are deleted, nor when a transaction is aborted, and a topic that is made again has
another id. So an end that was read once says for good that the records before it were stored. A worker of a queue takes
records in their order, and need not know the end, which others move at each commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MOST_COUNT = 1000


def note_ends(least: dict[tuple[int, int], int], ends: Mapping[tuple[int, int], Sequence[int]]) -> None:
    """Keep some ends, which must be those of a commit; the first number of each is the offset."""
    if len(least) >= _MOST_COUNT:
        least.clear()
    for place, end in ends.items():
        least[place] = end[0]
