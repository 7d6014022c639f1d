"""
How many records a processor takes in one transaction.

Few after a start or a takeover, because one of them may have ended the process before: 1, 2, 4, ... So a restart after
such a record gets nearer to it, until it is the first. And few where the work is slow, so that a member polls in time.
Knows nothing of logs, clocks or threads.
"""

from __future__ import annotations


class Pace:
    """
    The size of the next transaction.

    Belongs to the processor's thread.

    Args:
        max_records: the most.
        budget_s: how long the records of one poll may take.
    """

    __slots__ = ("_max_records", "budget_s", "is_beginning", "most")

    def __init__(self, max_records: int, budget_s: float) -> None:
        self._max_records = max_records
        self.budget_s = budget_s
        self.most = 1
        """The most records of the next poll."""
        self.is_beginning = max_records > 1
        """Whether the transactions still grow after a start."""

    def begin_small(self) -> None:
        """Begin with one record again."""
        self.most = 1
        self.is_beginning = self._max_records > 1

    def note(self, count: int, took_s: float, *, is_cut: bool) -> bool:
        """
        Note how long some records took, and return whether they are too slow for twice as many.

        Args:
            is_cut: there were more, and no time left for them.
        """
        grown = min(2 * self.most, self._max_records)
        is_measured = is_cut or 2 * count >= self.most  # one of few that came may be an outlier
        fitting = max(1, int(self.budget_s * count / took_s)) if took_s > 0 and is_measured else grown
        self.most = min(grown, fitting)
        self.is_beginning = self.is_beginning and self.most < self._max_records and fitting >= grown
        return fitting < grown
