"""
The consumer: reads topics from a position, waits for more, and keeps the position in the log for its group.

Knows nothing of how batches are stored or decoded (`clients/fetcher.py`), and nothing of other members: balancing
a group is not its business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from operator import length_hint
from types import TracebackType
from typing import Any, Generic

import attrs

from eventlog.clients.fetcher import Fetcher, resolve_start
from eventlog.clients.positions import Position
from eventlog.clients.topic import Topic
from eventlog.clock import to_ms
from eventlog.errors import ConcurrentUse, LogClosed, UsedAfterFork
from eventlog.options import Start, check_int, check_seconds
from eventlog.records import K, Record, RecordBatch, TopicPartition, V
from eventlog.store.store import Store
from eventlog.store.works import CommitOffsets

_FIRST_CHUNK = 16
_ALL = 1 << 62
_LONG_SECONDS = 3600.0


@attrs.frozen
class ConsumerOptions:
    """Is what `EventLog.consumer` was told; the meaning of each is in `Consumer`."""

    group: str | None
    start: Start
    auto_commit: bool
    auto_commit_interval: float
    max_poll_records: int
    fetch_max_bytes: int


class Consumer(Generic[K, V]):
    """
    Reads the records of some topics in order, and waits for more.

    Delivery is at least once: a record comes again if the program stops between receiving it and committing it.
    What was handed out is *finished* when the caller asks for more; with a group, finished offsets are committed
    every `auto_commit_interval` and on `close()`. So nothing is committed that the caller has not done with: leave
    the loop by `break` or an exception, and the record in hand comes again. `commit()` says "done with all of it".

    One consumer belongs to one thread at a time; only `wakeup()` may come from another.

    Args:
        group: keeps positions in the log under this name. Without one, reading starts at `start` each time.
        start: where to begin when the group has no committed offset: "earliest" (default), "latest", an offset,
            or a `datetime`.
        auto_commit: whether finished offsets are committed without a call (default, with a group).
        auto_commit_interval: seconds between automatic commits (default 1.0). Each costs a sync.
        max_poll_records: the most records `poll()` hands out (default 500).
        fetch_max_bytes: the most encoded bytes read from disk at once (default 1 MiB). One batch is read even if
            larger: reading never gets stuck.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders", key=str).append(b"tea", key="alice")
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         [record.value for record in consumer.poll(timeout=1.0)]
        [b'tea']
    """

    def __init__(
        self,
        store: Store,
        open_topic: Callable[[str], Topic[Any, Any]],
        topics: Iterable[Topic[Any, Any]],
        options: ConsumerOptions,
    ) -> None:
        self._store = store
        self._open_topic = open_topic
        self._options = options
        self._fetcher = Fetcher(store)
        self._waiter = store.waiter()
        self._positions: dict[TopicPartition, Position] = {}
        self._order: list[Position] = []
        self._hand: _Hand | None = None
        self._in_use = threading.Lock()
        self._refusal: Exception | None = None
        self._is_woken = False
        self._is_armed = False
        self._seen_transaction = -1
        self._committed_at_s = store.clock.monotonic()
        self._assign(
            (topic, TopicPartition(topic.name, number)) for topic in topics for number in range(topic.partitions)
        )
        store.on_fork(self)

    @property
    def group(self) -> str | None:
        """The group whose offsets this consumer keeps, None without one."""
        return self._options.group

    # -- reading ---------------------------------------------------------------------------------------------

    def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Record[K, V]]:
        """
        The next records, in order within each partition; says that those of the call before are finished.

        Args:
            timeout: seconds to wait when there is none (default 0.0: look once). Waiting takes no CPU, and Ctrl-C
                and `wakeup()` end it.
            max_records: the most to hand out, `max_poll_records` when not given.

        Returns:
            At least one record, or an empty list when the time is over.

        Raises:
            OffsetOutOfRange: if the next offset of a partition was deleted, or `seek()` went beyond its end. The
                position is unchanged; `seek()` moves it.
            CorruptBatch, DecodeError: if the next record can not be read. The position is unchanged.
            ConcurrentUse, LogClosed, UsedAfterFork: for what their names say. Nothing was handed out.
        """
        limit = self._options.max_poll_records
        if max_records is not None:
            limit = check_int("max_records", max_records, least=1)
        batches = self._poll(check_seconds("timeout", timeout), limit)
        if len(batches) == 1:
            return batches[0].records()
        return [record for batch in batches for record in batch.records()]

    def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """
        The next records in columns: whole batches as they were stored, up to `fetch_max_bytes`.

        The fastest way to read: no object for each record. Waits, finishes and raises as `poll` does.
        """
        return self._poll(check_seconds("timeout", timeout), None)

    def __iter__(self) -> Iterator[Record[K, V]]:
        """
        Hands out records one by one, and blocks for more; `wakeup()` ends it.

        Asking for the next record says that the one before is finished.
        """
        # The chain walks lists of records in C. Where it stands is asked of the list's iterator, not counted.
        return chain.from_iterable(self._chunks())

    def _chunks(self) -> Generator[Iterator[Record[K, V]], None, None]:
        options = self._options
        chunk = _FIRST_CHUNK if self._commits else options.max_poll_records
        clock = self._store.clock
        while True:
            batches = self._poll(None, chunk, is_loop=True)
            if not batches:
                return
            began_s = clock.monotonic()
            hand = _Hand(self._positions[TopicPartition(batches[0].topic, batches[0].partition)], batches[0])
            self._hand = hand
            yield hand.records
            # Slow work means small chunks, so that a crash repeats no more than an interval's work.
            is_slow = self._commits and clock.monotonic() - began_s > options.auto_commit_interval / 2
            chunk = max(1, chunk // 2) if is_slow else min(2 * chunk, options.max_poll_records)

    def _poll(
        self, timeout: float | None, max_records: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[K, V]]:
        with self._used():
            self._finish()
            self._commit_if_due()
            deadline_s = None if timeout is None else self._store.clock.monotonic() + timeout
            while True:
                batches = self._take(max_records, is_loop=is_loop)
                if batches:
                    return batches
                if self._is_woken:
                    self._is_woken = False
                    return []
                if not self._wait(deadline_s):
                    return []

    def _take(self, max_records: int | None, *, is_loop: bool) -> list[RecordBatch[K, V]]:
        """
        Hands out what is fetched, after fetching when nothing is.

        A loop gets one batch at a time: what it has not seen must not look handed out.
        """
        if not any(position.fetched and not position.is_paused for position in self._order) and not self._fetch():
            return []
        left = _ALL if max_records is None else max_records
        taken: list[RecordBatch[K, V]] = []
        for position in self._order:
            while left > 0 and not position.is_paused:
                batch = position.take(left)
                if batch is None:
                    break
                taken.append(batch)
                left = 0 if is_loop else left - len(batch)
        return taken

    def _fetch(self) -> bool:
        transaction = self._store.last_transaction()
        if transaction == self._seen_transaction:
            return False
        self._order = self._order[1:] + self._order[:1]
        active = [position for position in self._order if not position.is_paused]
        cursors = [position.cursor for position in active]
        batches = self._fetcher.fetch(cursors, self._options.fetch_max_bytes)
        for batch in batches:
            self._positions[TopicPartition(batch.topic, batch.partition)].fetched.append(batch)
        if not batches:
            self._seen_transaction = transaction
            for position in active:
                position.handed = position.cursor.offset
        return bool(batches)

    def _wait(self, deadline_s: float | None) -> bool:
        """Sleeps until there may be more. False when the time is over."""
        now_s = self._store.clock.monotonic()
        if deadline_s is not None and now_s >= deadline_s:
            return False
        if not self._is_armed:
            self._is_armed = True
            self._waiter.arm()
            return True  # look once more: what came before the bell hung there rings no bell
        self._waiter.wait(_LONG_SECONDS if deadline_s is None else deadline_s - now_s)
        self._commit_if_due()
        return True

    def wakeup(self) -> None:
        """
        Ends a wait that runs now in another thread, or else the next one: `poll` returns what it has, a loop ends.

        The one method that any thread may call, and a signal handler too.
        """
        self._is_woken = True
        self._waiter.wake()

    # -- finishing and committing ----------------------------------------------------------------------------

    @property
    def _commits(self) -> bool:
        return self._options.auto_commit and self._options.group is not None

    def _reclaim(self) -> None:
        """Takes back from a loop that was left what it did not look at."""
        hand, self._hand = self._hand, None
        if hand is not None:
            hand.position.give_back(hand.rest())

    def _finish(self) -> None:
        self._reclaim()
        for position in self._order:
            position.finish()

    def _commit_if_due(self) -> None:
        if not self._commits:
            return
        now_s = self._store.clock.monotonic()
        if now_s - self._committed_at_s >= self._options.auto_commit_interval:
            self._committed_at_s = now_s
            self._commit_finished()

    def _commit_finished(self) -> None:
        self._store_offsets(
            {position.tp: offset for position in self._order if (offset := position.uncommitted) is not None}
        )

    def commit(self, offsets: Mapping[TopicPartition | tuple[str, int], int] | None = None) -> None:
        """
        Stores the group's position: everything handed out is finished. Durable when the call returns.

        Called before the work on what `poll` returned, delivery is at most once; after it, at least once.

        Args:
            offsets: the next offset to read, for some partitions; when not given, all positions.

        Raises:
            ValueError: if the consumer has no group, or an offset is negative. Nothing was stored.
            UnknownTopic, UnknownPartition: if there is none of that name. Nothing was stored.
        """
        with self._used():
            self._require_group("commit")
            if offsets is None:
                self._finish_in_hand()
                self._commit_finished()
                return
            checked = {self._pair(tp): check_int("an offset", offset, least=0) for tp, offset in offsets.items()}
            self._store_offsets(checked)

    def _finish_in_hand(self) -> None:
        hand = self._hand
        for position in self._order:
            position.finished = position.handed
        if hand is not None:
            hand.position.finished = hand.next_offset()

    def _store_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        group = self._options.group
        if not offsets or group is None:
            return
        rows = {}
        for tp, offset in offsets.items():
            position = self._positions.get(tp)
            route = position.cursor.route if position else self._open_topic(tp.topic).route
            rows[route.row.id, route.check_partition(tp.partition)] = offset
        self._store.run(CommitOffsets(group, rows, self._store.clock.now_ms()))
        for tp, offset in offsets.items():
            if tp in self._positions:
                self._positions[tp].committed = offset

    def committed(self, tp: TopicPartition | tuple[str, int]) -> int | None:
        """
        The offset that the log has for the group in one partition, None when it has none.

        Raises:
            ValueError: if the consumer has no group.
            UnknownTopic, UnknownPartition: if there is none of that name.
        """
        with self._used():
            group = self._require_group("ask for a committed offset")
            pair = self._pair(tp)
            route = self._open_topic(pair.topic).route
            return self._store.committed(group, [(route.row.id, route.check_partition(pair.partition))])[0]

    def _require_group(self, what: str) -> str:
        group = self._options.group
        if group is None:
            raise ValueError(
                f"cannot {what}: this consumer has no group, and offsets are kept for groups. Nothing was stored. "
                'Make it with log.consumer(..., group="name").'
            )
        return group

    # -- positions -------------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition | tuple[str, int]]) -> None:
        """
        Reads exactly these partitions from now on, from the committed offset or `start`.

        What was finished is committed first; partitions that stay keep their positions.

        Raises:
            UnknownTopic, UnknownPartition: if there is none of that name. The assignment is unchanged.
        """
        with self._used():
            pairs = [self._pair(tp) for tp in partitions]
            chosen = [(self._open_topic(pair.topic), pair) for pair in pairs]
            for topic, pair in chosen:
                topic.route.check_partition(pair.partition)
            self._finish()
            if self._commits:
                self._commit_finished()
            self._assign(chosen)

    def _assign(self, chosen: Iterable[tuple[Topic[Any, Any], TopicPartition]]) -> None:
        positions: dict[TopicPartition, Position] = {}
        for topic, tp in chosen:
            positions[tp] = self._positions.get(tp) or self._first_position(topic, tp)
        self._positions = positions
        self._order = list(positions.values())
        self._seen_transaction = -1

    def _first_position(self, topic: Topic[Any, Any], tp: TopicPartition) -> Position:
        row, options = topic.route.row, self._options
        committed = None
        if options.group is not None:
            committed = self._store.committed(options.group, [(row.id, tp.partition)])[0]
        if committed is not None:
            return Position(tp, topic.route, committed, committed)
        return Position(tp, topic.route, resolve_start(self._store, row, tp.partition, options.start), None)

    def assignment(self) -> list[TopicPartition]:
        """The partitions that this consumer reads."""
        with self._used():
            return list(self._positions)

    def position(self, tp: TopicPartition | tuple[str, int]) -> int:
        """The offset of the next record that will be handed out of one partition."""
        with self._used():
            position = self._assigned(tp)
            if self._hand is not None and self._hand.position is position:
                return self._hand.next_offset()
            return position.handed

    def seek(self, tp: TopicPartition | tuple[str, int], offset: int) -> None:
        """
        Goes to an offset of one assigned partition; the next record handed out has that offset or a later one.

        An offset outside the partition is found at the next `poll`, which raises `OffsetOutOfRange`.

        Raises:
            ValueError: if the offset is negative, or the partition is not assigned. The position is unchanged.
        """
        check_int("an offset", offset, least=0)
        with self._used():
            position = self._assigned(tp)
            self._reclaim()
            position.seek(offset)
            self._seen_transaction = -1

    def seek_to_beginning(self, *partitions: TopicPartition | tuple[str, int]) -> None:
        """Goes to the first record of some assigned partitions, or of all."""
        self._seek_each(partitions, "earliest")

    def seek_to_end(self, *partitions: TopicPartition | tuple[str, int]) -> None:
        """Goes behind the last record of some assigned partitions, or of all."""
        self._seek_each(partitions, "latest")

    def seek_to_time(self, moment: datetime | int, *partitions: TopicPartition | tuple[str, int]) -> None:
        """
        Goes to the first record of a time or later, in some assigned partitions, or in all.

        Args:
            moment: a `datetime` with a time zone, or ms since 1970 UTC. Where no record is as late, the position
                is the end.
        """
        timestamp_ms = to_ms(moment)
        with self._used():
            self._reclaim()
            for position in self._chosen(partitions):
                row = position.cursor.route.row
                position.seek(self._store.offset_of_time(row, position.tp.partition, timestamp_ms))
            self._seen_transaction = -1

    def _seek_each(self, partitions: tuple[TopicPartition | tuple[str, int], ...], start: Start) -> None:
        with self._used():
            self._reclaim()
            for position in self._chosen(partitions):
                row = position.cursor.route.row
                position.seek(resolve_start(self._store, row, position.tp.partition, start))
            self._seen_transaction = -1

    def pause(self, *partitions: TopicPartition | tuple[str, int]) -> None:
        """Hands out nothing of some assigned partitions, or of all, until `resume`. Positions stay."""
        with self._used():
            self._reclaim()
            for position in self._chosen(partitions):
                position.is_paused = True

    def resume(self, *partitions: TopicPartition | tuple[str, int]) -> None:
        """Goes on with some paused partitions, or with all."""
        with self._used():
            for position in self._chosen(partitions):
                position.is_paused = False
            self._seen_transaction = -1

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        with self._used():
            return [position.tp for position in self._order if position.is_paused]

    def lag(self) -> dict[TopicPartition, int]:
        """How many offsets lie between the position and the end, for each assigned partition."""
        with self._used():
            lags: dict[TopicPartition, int] = {}
            for tp, position in self._positions.items():
                end = self._store.bounds(position.cursor.route.row, [tp.partition])[0][1]
                hand = self._hand
                is_in_hand = hand is not None and hand.position is position
                lags[tp] = end - (hand.next_offset() if hand and is_in_hand else position.handed)
            return lags

    def _assigned(self, tp: TopicPartition | tuple[str, int]) -> Position:
        pair = self._pair(tp)
        if pair not in self._positions:
            raise ValueError(
                f"{pair.topic}[{pair.partition}] is not assigned to this consumer. The positions are unchanged. "
                "Name it in log.consumer(), or assign() it first."
            )
        return self._positions[pair]

    def _chosen(self, partitions: tuple[TopicPartition | tuple[str, int], ...]) -> list[Position]:
        return [self._assigned(tp) for tp in partitions] if partitions else self._order

    @staticmethod
    def _pair(tp: TopicPartition | tuple[str, int]) -> TopicPartition:
        if not isinstance(tp, tuple) or len(tp) != 2 or not isinstance(tp[0], str):
            raise TypeError(f"a partition is a TopicPartition or a (str, int) pair, not {tp!r}. Nothing was changed.")
        return TopicPartition(tp[0], check_int("partition", tp[1], least=0))

    # -- life ------------------------------------------------------------------------------------------------

    @contextmanager
    def _used(self) -> Iterator[None]:
        if not self._in_use.acquire(blocking=False):
            raise ConcurrentUse(
                "another thread is using this consumer. Nothing was handed out. Give each thread a consumer of its "
                "own; only wakeup() may be called from others."
            )
        try:
            if self._refusal is not None:
                raise self._refusal
            yield
        finally:
            self._in_use.release()

    def close(self) -> None:
        """
        Commits what is finished, and ends the consumer. Calling it again does nothing.

        What was handed out last counts as finished only if `commit()` said so: it comes again to the next one.
        """
        if self._refusal is not None:
            return
        with self._used():
            try:
                self._finish_loop()
                if self._commits:
                    self._commit_finished()
            finally:
                self._waiter.close()
                self._refusal = LogClosed("the consumer is closed. Make another with log.consumer().")

    def _finish_loop(self) -> None:
        """In a loop, every record before the one in hand is finished."""
        hand = self._hand
        if hand is not None:
            hand.position.finished = max(hand.position.finished, hand.finished_offset())

    def after_fork(self) -> None:
        """Leaves the parent's place to sleep alone; this consumer is of no use in the child."""
        self._waiter.forget()
        self._in_use = threading.Lock()
        self._refusal = UsedAfterFork(
            "the consumer was made before a fork and belongs to the parent. Nothing was handed out. Make another "
            "with log.consumer() in the child."
        )

    def __enter__(self) -> Consumer[K, V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Hand:
    """Is a batch that a loop walks through. How far it came is what the iterator has left."""

    __slots__ = ("_batch", "position", "records")

    def __init__(self, position: Position, batch: RecordBatch[Any, Any]) -> None:
        self.position = position
        self._batch = batch
        self.records = iter(batch.records())

    def _taken(self) -> int:
        return len(self._batch) - length_hint(self.records)

    def next_offset(self) -> int:
        """The offset after the last record taken."""
        taken = self._taken()
        if taken < len(self._batch):
            return self._batch.offsets[taken]
        return self.position.handed

    def finished_offset(self) -> int:
        """The offset of the record in hand: those before it are finished."""
        return self._batch.offsets[max(self._taken() - 1, 0)]

    def rest(self) -> RecordBatch[Any, Any]:
        """What was not taken; the loop gets nothing of it any more."""
        rest = self._batch.slice(self._taken(), len(self._batch))
        for _ in self.records:
            pass
        return rest

