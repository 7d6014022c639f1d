"""
The records in which a process died that folded a projection.

A record that ends its process raises nothing. Before each transaction the folder leaves word in the file of the lock of
where it begins; when the process dies, the next one finds it, folds these records in smaller transactions and says so
in Python's log. So the next deaths tell the record: a transaction that has one. A projection cannot pass it by, but
whoever looks into the log knows which record it is.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.backend.projections import FoldLock
from eventlog.records import Record

_ALL = 1 << 63
_PARTS = 32
"""The number of parts in which a transaction is done after a process died in it."""


class Suspects:
    """
    The part of a fold that is done with care.

    Args:
        name: the projection's.
        log_position: where the fold begins.
        record_at: the first record from a log position on, for the message.
    """

    def __init__(
        self,
        name: str,
        lock: FoldLock,
        log_position: int,
        record_at: Callable[[int], tuple[int, Record[object, object]] | None],
    ) -> None:
        self._name = name
        self._lock = lock
        self._record_at = record_at
        first, left = lock.left_note() or (_ALL, 0)
        self._first = first
        self._left = left if first >= log_position else 0  # else it was stored after all
        self._size = max(1, left // _PARTS)
        self._is_said = False

    def bound(self, log_position: int, end: int, max_records: int) -> tuple[int, int]:
        """Where the next transaction ends, and its most records; leaves word of it."""
        most = max_records
        if self._left > 0 and log_position < self._first:
            end = min(end, self._first)
        elif self._left > 0:
            self._say()
            most = min(self._size, max_records)
        self._lock.note(log_position, max(min(most, end - log_position), 0))
        return end, most

    def note_folded(self, log_position: int, count: int) -> None:
        """Note that a transaction which began there is stored."""
        if log_position >= self._first:
            self._left -= max(count, 1)

    def _say(self) -> None:
        found = None if self._is_said else self._record_at(self._first)
        self._is_said = True
        if found is None:
            return
        from eventlog.notices import DIED_FOLDING, tell  # here, since it is rare

        log_position, record = found
        tell(
            DIED_FOLDING,
            projection=self._name,
            which="the record of" if self._left == 1 else "one of the records from",
            log_position=log_position,
            offset=record.offset,
            topic=record.topic,
            partition=record.partition,
        )
