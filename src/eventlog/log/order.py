"""The whole log in the order in which it was stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from eventlog.clients.reading.log_reader import LogReader, check_topics, read_batches, records_of
from eventlog.clients.topic.topic import Topic
from eventlog.log.part import LogPart
from eventlog.options import check_int
from eventlog.records import Record, RecordBatch


class LogOrder(LogPart):
    """Is what a log says of its order."""

    def end_log_position(self) -> int:
        """
        The log position that the next record will get: how many records were ever stored, over all topics.

        Durable ones only: whoever waits for it waits for everything that was acknowledged before the call.
        """
        self._check_open()
        return self._store.end_log_position()

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, Record[Any, Any]]]:
        """
        Reads the log in the order in which it was stored, over all topics and partitions, and ends at the end.

        Positions are dense and never change, so a reader that goes on behind the last one it saw misses nothing and
        sees nothing twice. What was deleted is passed by. Nothing is kept open between records.

        Args:
            start: the first log position.
            end: the log position to stop before; None is where the log ends at the call.
            topics: reads the records of these alone.
            max_records: the most records to read, None for all.

        Returns:
            Pairs of a log position and its record.

        Raises:
            ValueError, TypeError, InvalidTopicName: at the call, for what their names say.
            CorruptBatch, DecodeError: at the record that cannot be read.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     for name in ("orders", "payments", "orders"):
            ...         meta = log.topic(name).append(b"new")
            ...     [(log_position, record.topic) for log_position, record in log.read_all(start=1)]
            [(1, 'payments'), (2, 'orders')]
        """
        return records_of(self.read_all_batches(start, end=end, topics=topics, max_records=max_records))

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
        """The same as `read_all`, in columns: batches, each with the log position of its first record."""
        self._check_open()
        check_int("start", start, least=0)
        if max_records is not None:
            check_int("max_records", max_records, least=0)
        stop = self._store.end_log_position()
        if end is not None:
            stop = min(stop, check_int("end", end, least=0))
        reader = LogReader(self._store, self._topics.by_id, check_topics(topics), start)
        return read_batches(reader, stop, max_records)
