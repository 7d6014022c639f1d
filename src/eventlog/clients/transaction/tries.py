"""
How often a processor has tried a record, stored in the log.

A record that ends its process (a crash in C code, the kernel's out-of-memory killer) raises nothing that could be
counted. So the try is stored before it begins, for the records that are worth a commit of their own: the first of each
partition after a start or a takeover, those that failed before, and the suspects. These are the records of the
transaction in which a process died soon after its start: each of its transactions says how far the next one may go.

    row of a partition   offset        of the record that is tried, or is next
                         timestamp     of that record; None while it is not known
                         count         how often it was tried
                         until         the offset up to which records are suspects

In steady work there are no rows, and nothing is written. Where a backend keeps no states, tries are counted in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventlog.clients.transaction.attempts import wait_a_little
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.errors import ConflictError, EventLogError
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.records import Record, TopicPartition

_MOST_CONFLICTS = 100


class StoredTries:
    """
    The tries of one group's records.

    Belongs to the processor's thread.
    """

    def __init__(self, begin: Callable[[], LentTransaction], group: str) -> None:
        self._begin = begin
        self._group = group
        self._stored: set[TopicPartition] = set()
        """The partitions that may have a row."""

    def note(self, record: Record[Any, Any], known: int) -> tuple[int, int]:
        """Store that a record is about to be tried; how often it was before, and up to where others are suspects."""
        self._stored.add(TopicPartition(record.topic, record.partition))
        before, until = self._change(record, lambda before: max(before, known) + 1)
        return max(known, before), until

    def take_back(self, record: Record[Any, Any]) -> None:
        """Count the last try no longer: it ended for a reason that is not the record's."""
        if TopicPartition(record.topic, record.partition) in self._stored:
            with suppress(EventLogError):  # the log may be closed by now
                self._change(record, lambda before: max(before - 1, 0))

    def forget(self, record: Record[Any, Any]) -> None:
        """Give a record all its tries again."""
        if TopicPartition(record.topic, record.partition) in self._stored:
            with suppress(EventLogError):
                self._change(record, lambda _: 0)

    def pass_by(self, tx: LentTransaction, place: TopicPartition, offset: int, until: int) -> None:
        """
        Note in a transaction that a partition goes on at an offset.

        Args:
            until: the offset up to which records are suspects, if the process dies in the next transaction.
        """
        if until <= offset and place not in self._stored:
            return
        rows = tx.tries(self._group)
        if rows is None:
            return
        if until > offset:
            rows.put(tuple(place), [offset, None, 0, until])
            self._stored.add(place)
        else:
            rows.delete(tuple(place))

    def note_passed(self, place: TopicPartition, offset: int, until: int) -> None:
        """Note that this is stored."""
        if until <= offset:
            self._stored.discard(place)

    def _change(self, record: Record[Any, Any], count_after: Callable[[int], int]) -> tuple[int, int]:
        """Store another count for a record; the one before and the end of the suspects."""
        key, offset = (record.topic, record.partition), record.offset
        for attempt in range(1, _MOST_CONFLICTS + 1):
            tx = self._begin()
            try:
                rows = tx.tries(self._group)
                if rows is None:
                    return 0, 0
                row = rows.get(key)
                before, until = 0, 0
                if row is not None and row[0] == offset and row[1] in (None, record.timestamp_ms):
                    before, until = row[2:]
                count = count_after(before)
                if count != before:
                    rows.put(key, [offset, record.timestamp_ms, count, until])
                tx.commit_as_owner()
            except unless_interrupted(ConflictError):
                if attempt == _MOST_CONFLICTS:
                    raise
                wait_a_little(attempt)
            else:
                return before, until
            finally:
                tx.abort()
        raise AssertionError("there is at least one attempt")
