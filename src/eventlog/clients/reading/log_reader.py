"""Reading the whole log in the order in which it was stored, over all topics and partitions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.backend.reading import Deletion, OrderedBatch, StoredBatch
from eventlog.batches.header import COMPRESSION_AT, RUNS
from eventlog.clients.reading.batch_reader import BatchReader, Cursor
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clock import to_ms
from eventlog.errors import CorruptBatch, DecodeError, EventLogError, OffsetOutOfRange
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_end, check_int, check_topic_name
from eventlog.records import Record, RecordBatch

_READ_BYTES = 1 << 20
_MOST_WHOLE = 64
"""The number of merged batches that are kept decoded: each is read once for each run of its positions."""
_ADVICE = ("Open the topic with the codec that wrote it.", "Run `eventlog verify` to list all damage.")


class LogReader:
    """
    A reader of batches in the order of the log.

    Belongs to one thread at a time. Knows the topics since it last asked, and asks again when it meets another.

    Args:
        topics: reads what is of these alone; None reads all. Of one that is not there yet, what comes later.
        start_ms: `begin` moves it back from its position to the first record of this time or later.
    """

    def __init__(
        self,
        backend: Backend,
        topics_by_id: Callable[[], Mapping[int, TopicHandle]],
        topics: Collection[str] | None,
        log_position: int,
        start_ms: int | None = None,
    ) -> None:
        self._backend = backend
        self._start_ms = start_ms
        self._fetcher = BatchReader(backend)
        self._topics_by_id = topics_by_id
        self._names = None if topics is None else frozenset(topics)
        self._topics: Mapping[int, TopicHandle] = {}
        self._version = -1
        self.log_position = log_position
        """The position to read next: behind all that was handed out or passed by."""
        self.transaction = -1
        """The number of the last snapshot."""
        self.deletions: tuple[Deletion, ...] = ()
        """Deletions of records that were not read, at the last look."""
        self._whole: dict[tuple[int, int, int, bytes], RecordBatch[Any, Any]] = {}

    @property
    def has_begun(self) -> bool:
        """Whether its position is where it starts."""
        return self._start_ms is None

    def begin(self) -> None:
        """Look for the first record of the time that it starts with, if it does; it takes longer than a read."""
        if self._start_ms is not None:
            from eventlog.clients.reading.time_starts import position_of_time  # few programs look for a time

            self.log_position = position_of_time(
                self._backend, self._topics_by_id(), self._names, self._start_ms, self.log_position
            )
            self._start_ms = None

    def read(self, max_bytes: int = _READ_BYTES) -> list[tuple[int, RecordBatch[Any, Any]]]:
        """
        The next batches with the positions of their first records; none at the end of the log.

        Raises:
            CorruptBatch, DecodeError: if the first batch cannot be read. The position is unchanged; else what comes
                before it is read first.
        """
        found, behind = self._scanned(max_bytes)
        if any(batch.topic_id not in self._topics for batch in found):
            self._topics = self._topics_by_id()
        batches: list[tuple[int, RecordBatch[Any, Any]]] = []
        for stored in found:
            topic = self._topics.get(stored.topic_id)
            if topic is None:
                continue  # deleted since
            try:
                batch = self._decoded(topic, stored)
            except unless_interrupted(EventLogError) as error:
                if batches:
                    return batches
                if isinstance(error, (DecodeError, CorruptBatch)) and error.offset is not None:
                    behind = stored.log_position + stored.span - (stored.last - error.offset)
                    error._reword(advice=f"{_ADVICE[type(error) is CorruptBatch]} start={behind} goes on behind it.")
                raise
            behind_batch = end = stored.log_position + stored.end - (stored.last - stored.span + 1)
            if batch is not None:
                first, records, end = batch
                batches.append((first, records))
            self.log_position = end
            if end < behind_batch:
                return batches  # before a record that cannot be read
        self.log_position = max(self.log_position, behind)
        return batches

    def lost(self, since: int) -> tuple[str, Deletion] | None:
        """
        A deletion that took records of the topics that are read before the last look came to them, and the topic.

        Args:
            since: the number of the last deletion that does not matter.
        """
        deletions = [one for one in self.deletions if one.number > since]
        if any(one.topic_id not in self._topics for one in deletions):
            self._topics = self._topics_by_id()
        for one in deletions:
            topic = self._topics.get(one.topic_id)
            if topic is not None and (self._names is None or topic.row.name in self._names):
                return topic.row.name, one
        return None

    def _scanned(self, max_bytes: int) -> tuple[list[OrderedBatch], int]:
        """
        The next batches of the chosen topics, and the position behind what was looked at.

        A topic that is made after we chose, and gets records before we look, would be passed by for good: then we
        choose and look again.
        """
        while True:
            ids = self._chosen()
            found, behind, self.transaction, self.deletions = self._backend.scan_order(
                self.log_position, max_bytes, topic_ids=ids
            )
            if ids is None or self._backend.topics_version() == self._version:
                return found, behind

    def _chosen(self) -> Collection[int] | None:
        if self._names is None:
            return None
        version = self._backend.topics_version()
        if version != self._version:
            self._topics = self._topics_by_id()
            self._version = version
        return {number for number, topic in self._topics.items() if topic.row.name in self._names}

    def _decoded(self, topic: TopicHandle, stored: OrderedBatch) -> tuple[int, RecordBatch[Any, Any], int] | None:
        """The position of the first record, the records, and the position behind them; None when none may be read."""
        base = stored.last - stored.span + 1
        offset = max(base + self.log_position - stored.log_position, base, stored.first)
        if offset >= stored.end:
            return None
        shift = stored.log_position - base
        if stored.data[COMPRESSION_AT] & RUNS:
            whole = self._of_runs(topic, stored)
            if whole is not None:
                part = whole.slice(bisect_left(whole.offsets, offset), bisect_left(whole.offsets, stored.end))
                return (part.offsets[0] + shift, part, stored.end + shift) if len(part) else None
        cursor: Cursor[Any, Any] = Cursor(topic, stored.partition, offset)
        batch = self._fetcher.batch(cursor, StoredBatch(stored.last, stored.data), stored.end)
        if batch is None:
            return None
        return batch.offsets[0] + shift, batch, cursor.offset + shift

    def _of_runs(self, topic: TopicHandle, stored: OrderedBatch) -> RecordBatch[Any, Any] | None:
        """All records of a batch of several runs, decoded once; None if one of them cannot be read."""
        known = stored.topic_id, stored.partition, stored.last, stored.data[-4:]
        whole = self._whole.get(known)
        if whole is None:
            cursor: Cursor[Any, Any] = Cursor(topic, stored.partition, stored.last - stored.span + 1)
            try:
                whole = self._fetcher.batch(cursor, StoredBatch(stored.last, stored.data), None)
            except unless_interrupted(EventLogError):
                return None
            if whole is None or cursor.offset <= stored.last:
                return None
            while len(self._whole) >= _MOST_WHOLE:
                del self._whole[next(iter(self._whole))]
            self._whole[known] = whole
        return whole


def read_batches(
    reader: LogReader, end: int, max_records: int | None, end_ms: int | None = None
) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
    """The batches of a reader up to a position or a time, with the positions of their first records."""
    left = max_records
    while reader.log_position < end and (left is None or left > 0):
        before = reader.log_position
        batches = reader.read()
        for first, batch in batches:
            shift = first - batch.offsets[0]
            count = len(batch)
            if batch.offsets[-1] + shift >= end:
                count = sum(offset + shift < end for offset in batch.offsets)
            if end_ms is not None:
                late = (number for number, time_ms in enumerate(batch.timestamps_ms) if time_ms >= end_ms)
                count = min(count, next(late, count))
            if left is not None:
                count = min(count, left)
                left -= count
            if count:
                yield first, batch.slice(0, count)
            if count < len(batch):
                return
        if not batches and reader.log_position == before:
            return  # else what was found is of a topic that was deleted since


def check_topics(topics: Iterable[str | Topic[Any, Any]] | None) -> list[str] | None:
    """The names of some topics, None for all."""
    if topics is None:
        return None
    if isinstance(topics, str) or not isinstance(topics, Iterable):
        raise TypeError(f"topics is a list of names, not one {type(topics).__name__}. Nothing was read. Pass [name].")
    return [check_topic_name(topic.name if isinstance(topic, Topic) else topic) for topic in topics]


def records_of(batches: Iterable[tuple[int, RecordBatch[Any, Any]]]) -> Iterator[tuple[int, Record[Any, Any]]]:
    """The records one by one, each with its position."""
    for first, batch in batches:
        shift = first - batch.offsets[0]
        for record in batch.records():
            yield record.offset + shift, record


def read_log(
    store: Backend,
    topics_by_id: Callable[[], Mapping[int, TopicHandle]],
    start: int,
    *,
    end: int | datetime | None,
    topics: Iterable[str | Topic[Any, Any]] | None,
    max_records: int | None,
) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
    """
    The batches from one log position to another, with the log positions of their first records.

    Raises:
        ValueError, TypeError, InvalidTopicName, OffsetOutOfRange: as `EventLog.read_all`, at the call.
    """
    if max_records is not None:
        check_int("max_records", max_records, least=0)
    stop = _checked_end(store, start)
    end_ms = to_ms(end) if isinstance(end, datetime) else None
    if end is not None and not isinstance(end, datetime):
        wanted = check_end("end", end, least=0)
        if wanted > stop and wanted > (stop := store.next_log_position()):
            raise _out_of_range(wanted, stop, f"Read up to {stop} at most, which is what end=None does")
        stop = wanted
    return read_batches(LogReader(store, topics_by_id, check_topics(topics), start), stop, max_records, end_ms)


def open_reader(
    store: Backend,
    topics_by_id: Callable[[], Mapping[int, TopicHandle]],
    start: int | datetime | Literal["latest"],
    topics: Iterable[str | Topic[Any, Any]] | None,
) -> LogReader:
    """
    A reader from a log position on, or from the end that the log has now; raises as `read_log`.

    One that starts with a time stands at the end of the log until `begin` is called.
    """
    start_ms = to_ms(start) if isinstance(start, datetime) else None
    if isinstance(start, bool) or not (start_ms is not None or start == "latest" or isinstance(start, int)):
        raise TypeError(
            f'start must be a log position, "latest" or a datetime with a time zone, not {start!r}. Nothing was read.'
        )
    position = store.end_log_position() if start == "latest" or isinstance(start, datetime) else start
    _checked_end(store, position)
    return LogReader(store, topics_by_id, check_topics(topics), position, start_ms)


def _checked_end(store: Backend, start: int) -> int:
    """The end of the log for readers; an error for a start that is no position, or beyond all that is stored."""
    check_int("start", start, least=0)
    stop = store.end_log_position()
    if start > stop and start > (stop := store.next_log_position()):
        raise _out_of_range(start, stop, f"Read from {stop} at most")
    return stop


def _out_of_range(log_position: int, end: int, advice: str) -> OffsetOutOfRange:
    return OffsetOutOfRange(
        f"log position {log_position} is out of range: the log holds positions 0 to {end} ({end} exclusive).",
        stored="Nothing was read.",
        advice=f"{advice}; a reader that was further has read another log, or this one before it was restored.",
        first=0,
        end=end,
    )
