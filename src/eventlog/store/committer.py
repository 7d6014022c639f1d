"""
Group commit: one transaction, one sync, for everything that waits to be stored.

Whoever needs something stored queues a `Work` and asks for its commit. The first to ask takes the turn and
commits all that is queued, its own and the others'; those who wait for the turn find their work done when they
get it. So one thread pays for itself, and sixty-four pay for one.

Offsets are born here and nowhere else: `Writing` knows where each partition ends, inside the write transaction.
Knows nothing of codecs, threads of its own, or who asks.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from eventlog.batches.format import BatchEncoder, EncodedBatch, read_header, seal
from eventlog.errors import EventLogError, UnknownTopic
from eventlog.records import Headers
from eventlog.store.env import (
    BATCHES,
    PARTITIONS,
    TOPICS,
    EngineError,
    EngineMapFull,
    Environment,
    MapFull,
    Transaction,
)
from eventlog.store.tables import PartitionRow, TopicRow, batch_key, partition_key, split_batch_key

_LAST_OFFSET = 2**64 - 1
_logger = logging.getLogger("eventlog")


class Work:
    """
    Is something to store: all of it, in one transaction with whatever else is queued, or nothing.

    `apply` checks first and writes after, so that an error of its own leaves the transaction to the others.
    """

    __slots__ = ("error", "is_done")
    rings = False
    """Whether readers wait for this."""

    def __init__(self) -> None:
        self.is_done = False
        self.error: BaseException | None = None

    def apply(self, writing: Writing) -> None:
        """Writes it. May be called again after the transaction was taken back."""
        raise NotImplementedError

    def report(self) -> Callable[[], None] | None:
        """What to call when it is done, in the order of the commits and outside of all locks."""
        return None


class Writing:
    """
    Is the write transaction of one round, and what it has learned of the partitions.

    What is learned stays true until another process commits; `begin` notices that by the transaction's number.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._encoder = BatchEncoder()
        self._number = -1
        self._topics: set[int] = set()
        self._ends: dict[tuple[int, int], list[int]] = {}
        self._loose: dict[tuple[int, int], list[AppendOne]] = {}
        self.transaction: Transaction

    def begin(self) -> None:
        """Begins the transaction; forgets what another process may have changed."""
        self.transaction = self._environment.begin_writing()
        number = self.transaction.id()
        if number != self._number + 1:
            self.forget()
        self._number = number

    def forget(self) -> None:
        """Forgets all that was learned: after a failure, and when others have written."""
        self._topics.clear()
        self._ends.clear()
        self._loose.clear()
        self._number = -1

    def check_topic(self, topic: TopicRow) -> None:
        """Raises `UnknownTopic` when the topic was deleted since it was opened."""
        if topic.id in self._topics:
            return
        stored = self.get(TOPICS, topic.name.encode())
        if stored is None or TopicRow.unpack(topic.name.encode(), stored).id != topic.id:
            raise UnknownTopic(
                f"cannot append to topic {topic.name!r}: it was deleted. Nothing was stored. "
                "Open it anew with log.topic() to create another one of that name."
            )
        self._topics.add(topic.id)

    def append(self, topic_id: int, partition: int, batches: list[EncodedBatch]) -> int:
        """Puts batches at the end of a partition. The offset of the first record."""
        if self._loose:
            self._flush_loose(topic_id, partition)
        end = self._end(topic_id, partition)
        base = end[0]
        table = self._environment.table(BATCHES)
        for batch in batches:
            end[0] += batch.span
            end[1] = max(end[1], batch.largest_ms)
            key = batch_key(topic_id, partition, end[0] - 1)
            self.transaction.put(key, seal(batch, largest_so_far_ms=end[1]), db=table)
        return base

    def append_loose(self, work: AppendOne) -> None:
        """Puts one record beside others of this round that go to the same partition: they share a batch."""
        self._loose.setdefault((work.topic.id, work.partition), []).append(work)

    def flush_loose(self) -> None:
        """Stores the batches that `append_loose` collected."""
        for topic_id, partition in list(self._loose):
            self._flush_loose(topic_id, partition)

    def _flush_loose(self, topic_id: int, partition: int) -> None:
        works = self._loose.pop((topic_id, partition), None)
        if works is None:
            return
        headers = [work.headers for work in works]
        batches = self._encoder.encode(
            [work.key for work in works],
            [work.value for work in works],
            timestamps_ms=[work.timestamp_ms for work in works],
            headers=headers if any(headers) else None,
        )
        base = self.append(topic_id, partition, batches)
        for index, work in enumerate(works):
            work.offset = base + index

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row, None when there is none."""
        value: bytes | None = self.transaction.get(key, db=self._environment.table(table))
        return value

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        """Writes a row."""
        self.transaction.put(key, value, db=self._environment.table(table))

    def delete(self, table: bytes, key: bytes) -> bool:
        """Removes a row; whether there was one."""
        removed: bool = self.transaction.delete(key, db=self._environment.table(table))
        return removed

    def delete_prefix(self, table: bytes, prefix: bytes, *, below: bytes | None = None) -> None:
        """Removes the rows whose keys begin with `prefix`, or those of them below a key."""
        with self.transaction.cursor(db=self._environment.table(table)) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found:
                key = cursor.key()
                if not key.startswith(prefix) or (below is not None and key >= below):
                    return
                is_found = cursor.delete() and bool(cursor.key())

    def delete_where(self, table: bytes, is_doomed: Callable[[bytes], bool]) -> None:
        """Removes the rows of a small table whose keys a function chooses."""
        with self.transaction.cursor(db=self._environment.table(table)) as cursor:
            doomed = [key for key in cursor.iternext(values=False) if is_doomed(key)]
        for key in doomed:
            self.delete(table, key)

    def forget_learned(self) -> None:
        """Forgets topics and ends, because this very transaction changes them."""
        self._topics.clear()
        self._ends.clear()

    def partition_end(self, topic_id: int, partition: int) -> tuple[int, int]:
        """The end offset of a partition and its largest timestamp so far."""
        end, largest_ms = self._end(topic_id, partition)
        return end, largest_ms

    def _end(self, topic_id: int, partition: int) -> list[int]:
        end = self._ends.get((topic_id, partition))
        if end is None:
            end = self._ends[topic_id, partition] = self._stored_end(topic_id, partition)
        return end

    def _stored_end(self, topic_id: int, partition: int) -> list[int]:
        with self.transaction.cursor(db=self._environment.table(BATCHES)) as cursor:
            found = cursor.set_range(batch_key(topic_id, partition, _LAST_OFFSET))
            if (cursor.prev() if found else cursor.last()) and cursor.key():
                stored_topic, stored_partition, last = split_batch_key(cursor.key())
                if (stored_topic, stored_partition) == (topic_id, partition):
                    header = read_header(cursor.value(), "the last batch of a partition")
                    return [last + 1, header.largest_so_far_ms]
        row = PartitionRow.unpack(self.get(PARTITIONS, partition_key(topic_id, partition)))
        return [row.end, row.largest_ms]


class Part:
    """Is what one `Append` puts into one partition. `base` is the first offset, once it is stored."""

    __slots__ = ("base", "batches", "partition", "topic")

    def __init__(self, topic: TopicRow, partition: int, batches: list[EncodedBatch]) -> None:
        self.topic = topic
        self.partition = partition
        self.batches = batches
        self.base = -1


class Append(Work):
    """Appends encoded batches to some partitions."""

    __slots__ = ("parts",)
    rings = True

    def __init__(self, parts: list[Part]) -> None:
        super().__init__()
        self.parts = parts

    def apply(self, writing: Writing) -> None:
        """Puts every part at the end of its partition."""
        for part in self.parts:
            writing.check_topic(part.topic)
        for part in self.parts:
            part.base = writing.append(part.topic.id, part.partition, part.batches)


class AppendOne(Work):
    """Appends one record, which may share a batch with others of its round."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp_ms", "topic", "value")
    rings = True

    def __init__(
        self,
        topic: TopicRow,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
    ) -> None:
        super().__init__()
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp_ms = timestamp_ms
        self.offset = -1

    def apply(self, writing: Writing) -> None:
        """Hands the record to the round."""
        writing.check_topic(self.topic)
        writing.append_loose(self)


class Committer:
    """
    Commits what is queued, one round at a time.

    Any thread may call anything. `ring` is called after each commit that readers wait for, while the turn is held.
    """

    def __init__(self, environment: Environment, ring: Callable[[], None]) -> None:
        self._environment = environment
        self._ring = ring
        self._writing = Writing(environment)
        self._writing_is_committed = False
        self.reset()

    def reset(self) -> None:
        """Drops what is queued and makes new locks: the state of a child after a fork."""
        self._writing.forget()
        self._turn = threading.Lock()
        self._queue: deque[Work] = deque()
        self._reports: deque[Callable[[], None]] = deque()
        self._reporting = threading.Lock()
        self.round_count = 0

    def submit(self, work: Work) -> None:
        """Queues work for the next round, whoever leads it."""
        self._queue.append(work)

    def run(self, work: Work) -> None:
        """Stores one piece of work; raises its error."""
        self._queue.append(work)
        self.wait(work)
        if work.error is not None:
            raise work.error

    def wait(self, work: Work, timeout: float | None = None) -> bool:
        """Has queued work committed, by us or by others. False when the turn did not come in `timeout` seconds."""
        if work.is_done:
            return True
        if not self._turn.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            return work.is_done
        try:
            if not work.is_done:
                self._round()
        finally:
            self._turn.release()
        if self._reports:
            self._report()
        return True

    def commit_queued(self, timeout: float | None = None) -> bool:
        """Commits what is queued now. False when the turn did not come in `timeout` seconds; 0 does not wait."""
        if not self._queue:
            return True
        if not self._turn.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            return False
        try:
            if self._queue:
                self._round()
        finally:
            self._turn.release()
        if self._reports:
            self._report()
        return True

    @property
    def has_queued(self) -> bool:
        """Whether something waits for a round."""
        return bool(self._queue)

    def _round(self) -> None:
        """
        Commits all that is queued.

        An interruption (Ctrl-C) may come between any two steps. Work whose transaction is taken back goes to the
        front of the queue again; work whose transaction had been committed is done.
        """
        works: list[Work] = []
        while self._queue:
            works.append(self._queue.popleft())
        try:
            self._commit(works)
        except Exception as error:
            self._writing.forget()
            for work in works:
                work.error = work.error or error
        except BaseException:
            self._writing.forget()
            if not self._writing_is_committed:
                self._queue.extendleft(reversed(works))
                raise
            self._finish(works)
            raise
        self._finish(works)

    def _finish(self, works: list[Work]) -> None:
        self.round_count += 1
        for work in works:
            work.is_done = True
            report = work.report()
            if report is not None:
                self._reports.append(report)

    def _commit(self, works: list[Work]) -> None:
        while True:
            try:
                rings = self._write(works)
            except MapFull:
                self._environment.grow()
                continue
            break
        if rings:
            self._ring()

    def _write(self, works: list[Work]) -> bool:
        writing, environment = self._writing, self._environment
        self._writing_is_committed = False
        writing.begin()
        rings = False
        try:
            for work in works:
                work.error = None
                try:
                    work.apply(writing)
                    rings = rings or work.rings
                except EventLogError as error:
                    work.error = error
            writing.flush_loose()
            environment.commit(writing.transaction)
        except BaseException as error:
            self._writing_is_committed = not environment.abort(writing.transaction)
            writing.forget()
            if isinstance(error, EngineMapFull):
                raise MapFull from error
            if isinstance(error, EngineError):
                raise environment.fail(error) from error
            raise
        self._writing_is_committed = True
        return rings

    def _report(self) -> None:
        while self._reports and self._reporting.acquire(blocking=False):
            try:
                while self._reports:
                    report = self._reports.popleft()
                    try:
                        report()
                    except Exception:
                        _logger.exception("a delivery callback failed; the delivery itself stands")
            finally:
                self._reporting.release()
