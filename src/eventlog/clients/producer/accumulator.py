"""
The open batches of a producer: one for each partition, filled without a lock.

`Producer.send` puts a record into its lane's open batch by one list operation, which no other thread can come
between. Everything else happens here, under one lock: opening a batch, sealing it, and settling who was faster.

How a batch is sealed while others send. The sealer holds the lock:

    sealer                                  sender, without a lock
    1  lane.batch = CLOSED                  a  batch = lane.batch; n = len(batch.rows)
    2  rows = copy of batch.rows            b  batch.rows += key, value, token
    3  encodes and queues these rows        c  is lane.batch still batch, and len(rows) == n + 3?

* (b) before (1): (c) may say yes, and the copy of (2) has the record.
* (b) between (1) and (2): (c) says no; the copy has the record. `settle_late` finds its place in it.
* (b) after (2): (c) says no; the copy does not have it. `settle_late` puts it into the next batch.
* two senders at once: the second check of (c) says no to one of them at least, and `settle_late` finds where its
  record stands. A token is an object of its own, whatever number it is, so its place is certain.

The lock does not keep out what our own thread does in between: a signal handler, or a finalizer that the garbage
collector runs, may send too. What it sends then goes into a batch of its own, which is queued as soon as the change
that it came into the middle of is over; waiting is refused there.

Knows nothing of codecs or partitioners, and nothing of when to send.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from eventlog.api.producer import Delivery
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES, BatchEncoder
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery
from eventlog.clients.producer.batch import CLOSED, PartitionBuffer, ProducerBatch
from eventlog.errors import BufferFull, DeliveryError, LogClosed, UsedAfterFork
from eventlog.records import Headers
from eventlog.store.records.append import Condition, Rows
from eventlog.store.store import Store

T = TypeVar("T")

COMMIT_BYTES = 1 << 20
"""As soon as this much is queued, the thread that queued it commits."""
SMALL_BYTES = 2048
"""Records below this are counted, not measured; a batch's length in records follows from the one before."""
_BUSY_SECONDS = 0.015
"""A thread that goes on filling batches sees to their commit after this, if not for their size."""
_MAX_BATCH_RECORDS = 4096

TOKEN_BASE = 1 << 20
"""
Added to a record's place it makes its token: an int too large to be shared, so an object of its own.

The delivery itself would do as well; but kept in the rows it would have the garbage collector walk over all rows again
and again (docs/decisions/0004-send-path.md).
"""


class Accumulator:
    """
    Holds what was sent and is not stored.

    Any thread may call anything. Nothing waits for the committer's turn while it holds `lock`.
    """

    def __init__(
        self,
        store: Store,
        *,
        linger: float,
        batch_bytes: int,
        max_buffered_bytes: int,
        max_block: float,
        make_batch: Callable[[PartitionBuffer, int, int, float], ProducerBatch] = ProducerBatch,
    ) -> None:
        self._store = store
        self._make_batch = make_batch
        self._clock = store.clock
        self.linger = linger
        self._batch_bytes = batch_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._max_block = max_block
        self.on_open: Callable[[], None] = _nothing
        self.on_due: Callable[[], object] = _nothing
        self.on_gone: Callable[[StoredTopic], None] = _nothing
        self.on_grown: Callable[[StoredTopic], None] = _nothing
        self._encoder = BatchEncoder(target_bytes=min(batch_bytes, TARGET_BYTES))
        self._lanes: dict[int, list[PartitionBuffer]] = {}
        self._open_lanes: dict[PartitionBuffer, None] = {}
        self._pending: deque[ProducerBatch] = deque()
        self._pending_bytes = 0
        self._unhanded_bytes = 0
        """What was queued since somebody was last asked to commit."""
        self._unhanded_since_s = 0.0
        self._failed: list[ProducerBatch] = []
        self._refusal: Callable[[], Exception] | None = None
        self.lock = threading.RLock()
        self._changer: int | None = None
        """The thread that opens, fills or seals batches now."""
        self._late: deque[ProducerBatch] = deque()
        """What came into the middle of that, from the same thread."""

    def lanes(self, topic: StoredTopic) -> list[PartitionBuffer]:
        """
        The lanes of a topic, by partition: the same list however the topic is named.

        It grows in place when the topic got partitions; who sends by the old number does not notice.
        """
        with self.lock:
            lanes = self._lanes.setdefault(topic.id, [])
            if len(lanes) < topic.partitions:
                for lane in lanes:
                    lane.topic = topic
                lanes += [PartitionBuffer(self, topic, number) for number in range(len(lanes), topic.partitions)]
            return lanes

    def grow(self, topic: StoredTopic) -> None:
        """Makes lanes for a topic's new partitions, and then has them used."""
        with self.lock:
            self.lanes(topic)
            self.on_grown(topic)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no batch is open, and none waits to be stored."""
        return not self._open_lanes and not self._late and self.buffered_bytes() == 0

    # -- adding ----------------------------------------------------------------------------------------------

    def add(
        self,
        lane: PartitionBuffer,
        key: bytes | None,
        value: bytes | None,
        *,
        size_bytes: int,
        headers: Headers = (),
        timestamp_ms: int | None = None,
        message_id: bytes | None = None,
    ) -> Delivery:
        """Puts one record into its lane, opening a batch when there is none or it is full."""
        extras = (headers, timestamp_ms, message_id) if headers or timestamp_ms is not None or message_id else None
        if self._changer == get_ident():
            return self._add_late(lane, key, value, extras)
        self._make_room()
        delivery = self._change(partial(self._put, lane, key, value, extras, size_bytes))
        self._commit_if_due()
        return delivery

    def _put(
        self, lane: PartitionBuffer, key: bytes | None, value: bytes | None, extras: object, size_bytes: int
    ) -> Delivery:
        """Is `add` while nobody else changes anything; belongs to `_change`, as `_seal` and `_open` do."""
        batch = lane.batch
        if len(batch.rows) >= batch.limit:
            self._seal(lane)
            batch = self._open(lane)
        batch.has_extras = batch.has_extras or extras is not None
        rows: list[Any] = batch.rows
        place = len(rows)
        token = extras or place + TOKEN_BASE  # in one step with the record: it is never there without them
        rows += (key, value, token)
        place = _place_of(rows, token, place)
        if size_bytes >= SMALL_BYTES:
            batch.measured_bytes += size_bytes
            if batch.measured_bytes >= self._batch_bytes:
                self._seal(lane)
        return EmbeddedDelivery((batch, place))

    def _change(self, change: Callable[[], T]) -> T:
        """Opens, fills or seals batches; takes up before and after it what came into the middle of a change."""
        with self.lock:
            try:
                self._changer = get_ident()
                if self._late:
                    self._take_late()
                return change()
            finally:
                try:
                    if self._late:
                        self._take_late()
                finally:
                    self._changer = None

    def _add_late(self, lane: PartitionBuffer, key: bytes | None, value: bytes | None, extras: object) -> Delivery:
        """Takes a record in the middle of a change that our own thread makes."""
        self.check_usable()
        batch = self._late[-1] if self._late else None
        if batch is None or batch.lane is not lane or not batch.limit:
            batch = self._make_batch(lane, _MAX_BATCH_RECORDS, self._clock.now_ms(), self._clock.monotonic())
            batch.has_extras = True
            self._late.append(batch)
        lane.batch.limit = 0  # what is sent to it later comes behind us
        rows: list[Any] = batch.rows
        place = len(rows)
        token = extras or place + TOKEN_BASE
        rows += (key, value, token)
        return EmbeddedDelivery((batch, _place_of(rows, token, place)))

    def _take_late(self) -> None:
        """
        Queues what came into the middle of a change; belongs to who holds the lock, and has made it.

        What comes into the middle of this waits for the next change: a finalizer may send whenever memory is collected,
        and to queue what it sent takes memory.
        """
        for _ in range(len(self._late)):
            batch = self._late[0]
            try:
                batch.limit = 0
                if not batch.parts:  # else Ctrl-C came when it was queued
                    self._seal(batch.lane)
                    self._queue(batch.lane, batch, batch.rows)
                batch.rows = ()
                self._late.popleft()
            except Exception as error:  # noqa: BLE001  # it is not the caller's: `flush` tells it
                self._late.popleft()
                batch.error, batch.is_done = error, True
                if batch not in self._pending:
                    self._failed.append(batch)
            self.on_open()

    def settle_late(self, lane: PartitionBuffer, batch: ProducerBatch, rows: list[Any], token: int) -> Delivery:
        """Finds the place of a record that another thread came between, or puts it into the next batch."""
        with self.lock:
            place = _place_of(rows, token, token - TOKEN_BASE)
            if lane.batch is batch or place < ROW_WIDTH * batch.count:
                return EmbeddedDelivery((batch, place))
        return self.add(lane, rows[place], rows[place + 1], size_bytes=0)

    def _open(self, lane: PartitionBuffer) -> ProducerBatch:
        self.check_usable()
        clock = self._clock
        batch = self._make_batch(lane, ROW_WIDTH * lane.batch_records, clock.now_ms(), clock.monotonic())
        self._open_lanes[lane] = None
        lane.batch = batch
        self.on_open()
        return batch

    def _seal(self, lane: PartitionBuffer) -> None:
        """Closes a lane's batch for good, and queues it; an interruption (Ctrl-C) leaves it open."""
        batch = lane.batch
        if batch is CLOSED:
            self._open_lanes.pop(lane, None)
            return
        rows, limit = batch.rows, batch.limit
        try:
            lane.batch = CLOSED
            self._open_lanes.pop(lane, None)
            sealed = rows[:]
            batch.limit = 0  # before rows: who reads the empty rows finds them full
            batch.rows = ()
            self._queue(lane, batch, sealed)
        except BaseException:
            if batch.parts:
                self._store.committer.submit(batch)  # maybe a second time, which does nothing
            elif not batch.is_done:
                self._open_lanes[lane] = None
                batch.rows, batch.limit, lane.batch = rows, limit, batch
            raise

    def _queue(self, lane: PartitionBuffer, batch: ProducerBatch, rows: list[Any]) -> None:
        batch.count = count = len(rows) // ROW_WIDTH
        if count == 0:
            batch.is_done = True
            return
        if batch.has_extras:
            batch.note_extras(rows[2::ROW_WIDTH])
        keys: list[bytes | None] = rows[0::ROW_WIDTH]
        values: list[bytes | None] = rows[1::ROW_WIDTH]
        headers = batch.headers
        timestamps = batch.timestamps_ms
        times = [batch.timestamp_of(index) for index in range(count)] if timestamps else batch.timestamp_ms
        header_column = [headers.get(index, ()) for index in range(count)] if headers else None
        self._queue_rows(lane, batch, Rows(keys, values, times, header_column))

    def _queue_rows(self, lane: PartitionBuffer, batch: ProducerBatch, rows: Rows) -> None:
        keys, values, count = rows.keys, rows.values, batch.count
        encoded = self._encoder.encode(
            None if keys[0] is None and keys.count(None) == count else keys,
            values,
            timestamps_ms=rows.timestamps_ms,
            headers=rows.headers,
        )
        batch.size_bytes = sum(len(one.body) for one in encoded)
        average = batch.size_bytes / count
        fitting = int(self._batch_bytes * 0.98 / average)
        lane.batch_records = max(1, min(fitting, _MAX_BATCH_RECORDS, 2 * lane.batch_records))
        batch.sealed_s = self._clock.monotonic()
        self._pending.append(batch)
        self._pending_bytes += batch.size_bytes
        if not self._unhanded_bytes:
            self._unhanded_since_s = batch.sealed_s
        self._unhanded_bytes += batch.size_bytes
        part = batch.part_of(encoded, rows)
        if part.rows is not None:
            part.message_ids = batch.message_ids
            batch.now_ms = self._clock.now_ms()
            batch.conditions = [Condition(part, index, None, one) for index, one in sorted(batch.message_ids.items())]
        batch.parts.append(part)
        self._store.committer.submit(batch)

    # -- storing ---------------------------------------------------------------------------------------------

    def seal_all(self, *, older_than_s: float | None = None) -> None:
        """Seals the open batches, or those opened at `older_than_s` or before; none in the middle of a change."""
        if self._changer == get_ident():
            return
        self._change(partial(self._seal_lanes, older_than_s))

    def _seal_lanes(self, older_than_s: float | None) -> None:
        for lane in list(self._open_lanes):
            if older_than_s is None or lane.batch.opened_s <= older_than_s:
                self._seal(lane)

    def settle(self, batch: ProducerBatch, timeout: float | None) -> bool:
        """Has one batch stored now, with all else that is queued."""
        self._check_waiting()
        self._change(partial(self._seal_batch, batch))
        return self._store.committer.wait(batch, timeout)

    def _seal_batch(self, batch: ProducerBatch) -> None:
        if batch.lane.batch is batch:
            self._seal(batch.lane)

    def flush(self, timeout: float | None) -> None:
        """Has everything stored that was sent before the call; raises `DeliveryError` and `TimeoutError`."""
        self._check_waiting()
        self.seal_all()
        with self.lock:
            last = self._pending[-1] if self._pending else None
        if last is not None and not self._store.committer.wait(last, timeout):
            raise TimeoutError(
                f"cannot flush: {self.buffered_bytes()} bytes are not stored after {timeout} s. They are still "
                "queued. Call flush() again."
            )
        self.raise_failed()

    def raise_failed(self) -> None:
        """Raises `DeliveryError` for the failed deliveries that nobody looked at, once."""
        self.buffered_bytes()
        with self.lock:
            failed, self._failed = self._failed, []
        unseen = [(batch, indexes) for batch in failed if (indexes := batch.unseen())]
        if unseen:
            first, indexes = unseen[0]
            error = first.error_of(indexes[0])
            count = sum(len(some) for _, some in unseen)
            raise DeliveryError(
                f"{count} sent records were not stored, the first of them for {first.place}: {error} "
                f"What was stored before is unaffected. {first.advice}",
                count=count,
            ) from error

    def commit_oldest(self, timeout: float | None, *, before_flush: Callable[[], None] | None = None) -> bool:
        """
        Has the oldest sealed batch stored, with all else that is queued.

        False when that takes longer. `before_flush` is as for `Committer.wait`.
        """
        with self.lock:
            self.buffered_bytes()  # what is done is not waited for, and would be taken for the oldest
            oldest = self._pending[0] if self._pending else None
            self._unhanded_bytes = 0
        return oldest is None or self._store.committer.wait(oldest, timeout, before_flush=before_flush)

    def buffered_bytes(self) -> int:
        """How much is sealed and not stored, in encoded bytes."""
        with self.lock:
            while self._pending and self._pending[0].is_done:
                batch = self._pending.popleft()
                self._pending_bytes -= batch.size_bytes
                if batch.error is not None or (batch.message_ids and batch.parts[0].refusals):
                    self._failed.append(batch)
            return self._pending_bytes

    def next_deadline(self) -> float | None:
        """When the oldest record is to be stored, on the monotonic clock; None when nothing waits."""
        with self.lock:
            self.buffered_bytes()
            # In the order in which they were opened; one that an interruption left open may stand too late.
            oldest = next(iter(self._open_lanes), None)
            deadlines_s = [] if oldest is None else [oldest.batch.opened_s + self.linger]
            if self._late:
                deadlines_s.append(self._late[0].opened_s + self.linger)
            if self._pending:
                # Who goes on filling batches sees to their commit, in larger rounds.
                oldest_s, newest_s = self._pending[0].sealed_s, self._pending[-1].sealed_s
                deadlines_s.append(min(newest_s + self.linger, oldest_s + self.linger + _BUSY_SECONDS))
            return min(deadlines_s) if deadlines_s else None

    def _check_waiting(self) -> None:
        """Refuses to wait for ourselves."""
        if self._changer == get_ident():
            raise RuntimeError(
                "cannot wait for records inside a send() of the same thread: a signal handler or a finalizer called "
                "us. What it sent is taken and will be stored. Use send() there, and do not wait."
            )

    def check_usable(self) -> None:
        """Raises why no record can be taken, when none can."""
        if self._refusal is not None:
            raise self._refusal()
        self._store.environment.check_writable()

    def refuse(self, refusal: Callable[[], Exception]) -> None:
        """Takes no more records from now on, and says why; the first reason stands."""
        with self.lock:
            self._refusal = self._refusal or refusal

    def refuse_closed(self) -> None:
        """Takes no more records, because the producer is closed."""
        self.refuse(
            lambda: LogClosed("the producer is closed. The record was not taken. Make another with log.producer().")
        )

    def refuse_forked(self) -> None:
        """Starts empty in a child: what waits belongs to the parent, which will store it."""
        self.lock = threading.RLock()
        for lane in self._open_lanes:
            lane.batch = CLOSED
        self._open_lanes = {}
        self._pending = deque()
        self._pending_bytes = 0
        self._changer = None
        self._late = deque()
        self._refusal = lambda: UsedAfterFork(
            "the producer was made before a fork and its records are the parent's. The record was not taken. "
            "Make another with log.producer() in the child."
        )

    def _make_room(self) -> None:
        if self._pending_bytes <= self._max_buffered_bytes:
            return
        deadline_s = self._clock.monotonic() + self._max_block
        while (buffered := self.buffered_bytes()) > self._max_buffered_bytes:
            left_s = deadline_s - self._clock.monotonic()
            if left_s < 0 or not self.commit_oldest(left_s):
                raise BufferFull(
                    f"no room for a record: {buffered} bytes wait to be stored, and max_block={self._max_block} s "
                    "is over. The record was not taken; those before it are still queued. Send slower, or raise "
                    "max_buffered_bytes."
                )

    def _commit_if_due(self) -> None:
        """Sees to a commit when enough is queued; a thread that goes on sending pays for its commits."""
        if not self._unhanded_bytes:
            return
        waited_s = self._clock.monotonic() - self._unhanded_since_s
        if self._unhanded_bytes < COMMIT_BYTES and waited_s <= _BUSY_SECONDS:
            return
        if self.on_due():
            with self.lock:
                self._unhanded_bytes = 0


def _place_of(rows: list[Any], token: object, place: int) -> int:
    """Where a record stands: where it was to be put, or behind it, if other threads came between."""
    while rows[place + 2] is not token:
        place += ROW_WIDTH
    return place


def _nothing(*_: object) -> None:
    """Stands in until somebody listens."""
