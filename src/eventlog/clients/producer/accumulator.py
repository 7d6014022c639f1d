"""
The open batches of a producer: one for each partition, filled without a lock, sealed and queued under one.

A batch is in one of four states, and never goes back but from *sealed* to *open*, when an interruption comes between:

    state    how it is seen                       what becomes of a record          what ends the state
    ------   ----------------------------------   -------------------------------   ------------------------------------
    open     `buffer.batch` is it, `limit` > 0    `send` adds it, without a lock    it is full, its linger is over, or
                                                                                    somebody waits for it: `_seal`
    sealed   `limit` is 0, `rows` are empty,      goes into the next batch          it is encoded and handed to the
             `pending` is None                                                      backend: `_queue`
    queued   `pending` is set; in the backlog     -                                 a commit of any thread, and then
                                                                                    the next reader: `take_outcome`
    done     `is_done`, with `stored` or `error`  -                                 nothing

`Producer.send` puts a record into the open batch by one list operation, which no other thread can come between.
Everything else happens here, under `lock`. A batch is sealed while others send:

    sealer, with the lock                   sender, without a lock
    1  buffer.batch = CLOSED                a  batch = buffer.batch; n = len(batch.rows)
    2  rows = copy of batch.rows            b  batch.rows += key, value, token
    3  encodes and queues these rows        c  is buffer.batch still batch, and len(rows) == n + 3?

* (b) before (1): (c) may say yes, and the copy of (2) has the record.
* (b) between (1) and (2): (c) says no; the copy has the record. `settle_late` finds its place in it.
* (b) after (2): (c) says no; the copy does not have it. `settle_late` puts it into the next batch.
* two senders at once: the second check of (c) says no to one of them at least, and `settle_late` finds where its
  record stands. A token is an object of its own, whatever number it is, so its place is certain.

The lock does not keep out what our own thread does in between: a signal handler, or a finalizer that the garbage
collector runs, may send too. Its records go into batches of their own, the *late* ones, which are queued as soon as
the change that they interrupted is over; until then no open batch takes a record by `send` alone, since it would come
before them (`limit` is 0). Waiting is refused there.

When to send is the sender thread's business (`clients/producer/sender.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from eventlog.api.producer import Delivery
from eventlog.backend import Backend
from eventlog.backend.records import PartitionRecords, ProducerEpoch, ProducerStamp
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES, BatchEncoder, Compressors
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery
from eventlog.clients.producer.backlog import Backlog
from eventlog.clients.producer.batch import CLOSED, PartitionBuffer, ProducerBatch
from eventlog.clients.producer.handoff import Handoff
from eventlog.clients.producer.send_path import SMALL_BYTES, SendPath, forget_topic, grow_topic, rest
from eventlog.errors import (
    BufferFull,
    LogClosed,
    MissingLibrary,
    NestedCall,
    OutOfOrderSequence,
    ProducerFenced,
    UnknownTopic,
    UsedAfterFork,
)
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers
from eventlog.uninterruptible import NestingLock, WeakMembers

T = TypeVar("T")

_MOST_RATIO = 4
"""A batch is sealed at this many times its size before compression, however well it is compressed."""
_MAX_BATCH_RECORDS = 4096

_LOCKS: WeakMembers[NestingLock] = WeakMembers()
"""The locks of all producers: a thread that holds any of them waits for none of the others."""

TOKEN_BASE = 1 << 20
"""
Added to a record's place it makes its token: an int too large to be shared, so an object of its own.

The delivery itself would do as well; but kept in the rows it would have the garbage collector walk over all rows again
and again (docs/decisions/0004-send-path.md).
"""


class Accumulator:
    """
    The records that were sent and are not stored.

    Any thread may call anything. Nothing waits for a commit while it holds `lock`.

    Args:
        paths: the topics that `send` knows; kept true of what commits tell of topics.
        producer: the epoch of a named producer, which numbers its records.
    """

    def __init__(
        self,
        backend: Backend,
        handoff: Handoff,
        paths: dict[object, SendPath],
        *,
        linger: float,
        batch_bytes: int,
        max_buffered_bytes: int,
        max_block: float,
        producer: ProducerEpoch | None = None,
    ) -> None:
        self._backend = backend
        self._handoff = handoff
        self._paths = paths
        self.handle_ids: set[int] = set()
        """The topics to which something was sent by a `Topic`, which means that topic and no other of its name."""
        self.resting: dict[object, SendPath] = {}
        """The paths of names since nothing was under way: a name may be that of another topic by now."""
        self._clock = backend.clock
        self.linger = linger
        self._batch_bytes = batch_bytes
        self._max_buffered_bytes = max_buffered_bytes
        self._max_block = max_block
        self._producer = producer
        self._encoder = BatchEncoder(target_bytes=min(batch_bytes, TARGET_BYTES))
        self._buffers: dict[int, list[PartitionBuffer]] = {}
        self._compressors = Compressors()
        self._open_buffers: dict[PartitionBuffer, None] = {}
        self._backlog = Backlog(backend, handoff)
        self._refusal: Callable[[], Exception] | None = None
        self._is_forked = False
        self.start_sender: Callable[[], object] = bool
        """Starts the sender thread if it does not run, for whatever reason; set by the sender."""
        self.lock = self._new_lock()
        self._changer: int | None = None
        """The thread that opens, fills or seals batches now."""
        self._late: deque[ProducerBatch] = deque()
        """What came into the middle of that, from the same thread."""

    def _new_lock(self) -> NestingLock:
        lock = NestingLock(self.is_interrupted)
        _LOCKS.add(lock)
        return lock

    def is_interrupted(self) -> bool:
        """Whether this thread was interrupted while others may wait for it: for a producer, a commit, or a read."""
        return self._backend.is_interrupted or any(lock.is_ours for lock in _LOCKS)

    def buffers(self, topic: StoredTopic) -> list[PartitionBuffer]:
        """
        The buffers of a topic, by partition: the same list however the topic is named.

        It grows in place when the topic got partitions; a thread that sends by the old number does not notice.
        """
        with self.lock:
            buffers = self._buffers.setdefault(topic.id, [])
            if len(buffers) < topic.partitions or (buffers and buffers[0].topic.compression != topic.compression):
                for buffer in buffers:
                    buffer.topic = topic
                buffers += [PartitionBuffer(self, topic, number) for number in range(len(buffers), topic.partitions)]
            return buffers

    def grow(self, topic: StoredTopic) -> None:
        """Make buffers for a topic's new partitions, and then have them used; compress as the topic says now."""
        with self.lock:
            if topic.compression is not None:
                try:
                    self._compressors.of(topic.id, topic.compression, topic.name)
                except unless_interrupted(MissingLibrary):  # what is sent is not refused now: it stays as it is
                    known = self._buffers.get(topic.id)
                    topic = topic._replace(compression=known[0].topic.compression if known else None)
            self.buffers(topic)
            grow_topic(self._paths, topic)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no batch is open, and none waits to be stored."""
        try:
            return not self._open_buffers and not self._late and self.buffered_bytes() == 0
        except unless_interrupted(NestedCall):
            return False

    # -- adding ----------------------------------------------------------------------------------------------

    def add(
        self,
        buffer: PartitionBuffer,
        key: bytes | None,
        value: bytes | None,
        *,
        size_bytes: int,
        headers: Headers = (),
        timestamp_ms: int | None = None,
        message_id: bytes | None = None,
    ) -> Delivery:
        """Put one record into its partition's batch, opening one when there is none or it is full."""
        extras = (headers, timestamp_ms, message_id) if headers or timestamp_ms is not None or message_id else None
        if self._changer == get_ident():
            return self._add_late(buffer, key, value, extras)
        try:
            self._make_room(buffer)
            delivery = self._change(partial(self._put, buffer, key, value, extras, size_bytes))
        except unless_interrupted(NestedCall):
            return self._add_late(buffer, key, value, extras)
        self._commit_if_due()
        return delivery

    def _put(
        self, buffer: PartitionBuffer, key: bytes | None, value: bytes | None, extras: object, size_bytes: int
    ) -> Delivery:
        """Do what `add` says while nobody else changes anything; belongs to `_change`, as `_seal` and `_open` do."""
        batch = buffer.batch
        if len(batch.rows) >= batch.limit:
            self._seal(buffer)
            batch = self._open(buffer)
        batch.has_extras = batch.has_extras or extras is not None
        rows: list[Any] = batch.rows
        place = len(rows)
        token = extras or place + TOKEN_BASE  # in one step with the record: it is never there without them
        rows += (key, value, token)
        place = _place_of(rows, token, place)
        if size_bytes >= SMALL_BYTES:
            batch.measured_bytes += size_bytes
            if batch.measured_bytes >= self._batch_bytes:
                self._seal(buffer)
        return EmbeddedDelivery((batch, place))

    def _change(self, change: Callable[[], T]) -> T:
        """Open, fill or seal batches; take up before and after it what came into the middle of a change."""
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

    def _add_late(self, buffer: PartitionBuffer, key: bytes | None, value: bytes | None, extras: object) -> Delivery:
        """
        Take a record in the middle of a change that our own thread makes, or whose end it must not wait for.

        Its batch is complete before another thread can see it, and nothing is added to it later.
        """
        self.check_usable()
        batch = ProducerBatch(buffer, 0, self._clock.now_ms(), self._clock.monotonic())
        batch.has_extras = True
        batch.rows = [key, value, extras or TOKEN_BASE]
        self._late.append(batch)
        buffer.batch.limit = 0  # what is sent to it later comes behind us
        self._handoff.tell_open()
        return EmbeddedDelivery((batch, 0))

    def _take_late(self) -> None:
        """
        Queue what came into the middle of a change; belongs to the thread that holds the lock, and has made it.

        What comes into the middle of this waits for the next change: a finalizer may send whenever memory is collected,
        and to queue what it sent takes memory.
        """
        for _ in range(len(self._late)):
            batch = self._late[0]
            try:
                if batch.pending is None and not batch.is_done:
                    self._seal(batch.buffer)
                    self._queue(batch.buffer, batch, batch.rows)
                else:  # Ctrl-C came when it was queued
                    self._backlog.queue_again(batch)
                batch.rows = ()
                self._late.popleft()
            except unless_interrupted(Exception) as error:  # it is not the caller's: `flush` tells it
                self._late.popleft()
                self._backlog.fail(batch, error)
            self._handoff.tell_open()

    def settle_late(self, buffer: PartitionBuffer, batch: ProducerBatch, rows: list[Any], token: int) -> Delivery:
        """Find the place of a record that another thread came between, or put it into the next batch."""
        with self.lock:
            place = _place_of(rows, token, token - TOKEN_BASE)
            if buffer.batch is batch or place < ROW_WIDTH * batch.count:
                return EmbeddedDelivery((batch, place))
        return self.add(buffer, rows[place], rows[place + 1], size_bytes=0)

    def _open(self, buffer: PartitionBuffer) -> ProducerBatch:
        self.check_usable()
        if not self._handoff.is_running:
            self.start_sender()
        clock = self._clock
        batch = ProducerBatch(buffer, 0, clock.now_ms(), clock.monotonic())
        self._open_buffers[buffer] = None
        buffer.batch = batch
        # While there are late records, `send` may not come before them. No handler runs in the middle of this line: it
        # calls nothing.
        batch.limit = 0 if self._late else ROW_WIDTH * buffer.batch_records
        self._handoff.tell_open()
        return batch

    def _seal(self, buffer: PartitionBuffer) -> None:
        """Close the open batch of a partition for good, and queue it; an interruption (Ctrl-C) leaves it open."""
        batch = buffer.batch
        if batch is CLOSED:
            self._open_buffers.pop(buffer, None)
            return
        rows, limit = batch.rows, batch.limit
        try:
            buffer.batch = CLOSED
            self._open_buffers.pop(buffer, None)
            sealed = rows[:]
            batch.limit = 0  # before rows: a sender that reads the empty rows finds them full
            batch.rows = ()
            self._queue(buffer, batch, sealed)
        except BaseException:
            if batch.pending is not None:
                self._backlog.queue_again(batch)
            elif not batch.is_done:
                self._open_buffers[buffer] = None
                batch.rows, batch.limit, buffer.batch = rows, limit, batch
            raise

    def _queue(self, buffer: PartitionBuffer, batch: ProducerBatch, rows: list[Any]) -> None:
        """Encode a sealed batch, and hand it to the backend; from the moment it has a `pending` it is queued."""
        batch.count = count = len(rows) // ROW_WIDTH
        if count == 0:
            batch.is_done = True
            return
        columns, message_ids = batch.columns(rows)
        keys, topic, compressor = columns.keys, buffer.topic, None
        if topic.compression is not None:
            compressor = self._compressors.of(topic.id, topic.compression, topic.name)
        encoded = self._encoder.encode(
            None if keys[0] is None and keys.count(None) == count else keys,
            columns.values,
            timestamps_ms=columns.timestamps_ms,
            headers=columns.headers,
            compressor=compressor,
        )
        batch.size_bytes = sum(len(one.body) for one in encoded)
        filled_bytes = float(batch.size_bytes)
        if compressor is not None:
            filled_bytes = max(filled_bytes, sum(one.records_bytes for one in encoded) / _MOST_RATIO)
        fitting = int(self._batch_bytes * 0.98 / (filled_bytes / count))
        buffer.batch_records = max(1, min(fitting, _MAX_BATCH_RECORDS, 2 * buffer.batch_records))
        batch.sealed_s = self._clock.monotonic()
        stamp = None if self._producer is None else _stamp(self._producer, buffer, batch)
        if stamp is not None:
            stamp.mark(encoded)
        needs_rows = buffer.topic.index is not None or message_ids or stamp is not None
        records = PartitionRecords(
            buffer.topic,
            buffer.partition,
            encoded,
            columns if needs_rows else None,
            message_ids=message_ids,
            stamp=stamp,
            is_by_name=stamp is None and buffer.topic.id not in self.handle_ids,
        )
        self._backlog.queue(batch, self._backend.prepare_append(records, batch.call_back))

    # -- storing ---------------------------------------------------------------------------------------------

    def seal_all(self, *, older_than_s: float | None = None) -> None:
        """Seal the open batches, or those opened at `older_than_s` or before; none in the middle of a change."""
        if self._changer == get_ident():
            return
        self._change(partial(self._seal_buffers, older_than_s))

    def _seal_buffers(self, older_than_s: float | None) -> None:
        for buffer in list(self._open_buffers):
            if older_than_s is None or buffer.batch.opened_s <= older_than_s:
                self._seal(buffer)

    def settle(self, batch: ProducerBatch, timeout: float | None) -> bool:
        """Have one batch stored now, with all else that is queued."""
        if self._is_forked:
            return self._settle_forked(batch)
        self._check_waiting()
        self._change(partial(self._seal_batch, batch))
        return self._wait(batch, timeout)

    def settle_soon(self, batch: ProducerBatch) -> None:
        """Have one batch stored soon, by the sender thread; does not wait."""
        if self._is_forked:
            self._settle_forked(batch)
            return
        if not self._handoff.is_running:
            with self.lock:
                self.start_sender()
        self._handoff.ask_for_all()

    def _settle_forked(self, batch: ProducerBatch) -> bool:
        """The same in a child, which knows of the parent's records what the parent knew at the fork."""
        if batch.take_outcome():
            return True
        raise UsedAfterFork(
            f"cannot wait in the child for a record for {batch.place} that was sent before a fork: the parent stores "
            "it.",
            stored="Nothing was changed.",
            advice="Ask in the parent.",
        )

    def _seal_batch(self, batch: ProducerBatch) -> None:
        if batch.buffer.batch is batch:
            self._seal(batch.buffer)

    def _wait(
        self, batch: ProducerBatch | None, timeout: float | None, before_sync: Callable[[], None] | None = None
    ) -> bool:
        """Have a queued batch stored; False when that takes longer than `timeout` seconds."""
        pending = None if batch is None else batch.pending
        if batch is not None and pending is not None:
            if not self._backend.wait(pending, timeout, before_sync=before_sync):
                return False
            batch.take_outcome()
            self.take_finished()
        return True

    def flush(self, timeout: float | None) -> None:
        """Have everything stored that was sent before the call; raises `DeliveryError` and `TimeoutError`."""
        self._check_waiting()
        self.seal_all()
        with self.lock:
            newest = self._backlog.newest
        if not self._wait(newest, timeout):
            raise TimeoutError(
                f"cannot flush: {self.buffered_bytes()} bytes are not stored after {timeout} s. They are still "
                "queued. Call flush() again."
            )
        self.take_finished()
        with self.lock:
            failure = self._backlog.take_failure()
        if failure is not None:
            raise failure

    def commit_oldest(self, timeout: float | None, *, before_sync: Callable[[], None] | None = None) -> bool:
        """
        Have the oldest queued batch stored, with all else that is queued.

        False when that takes longer. `before_sync` is as for `Backend.wait`.
        """
        with self.lock:
            self.take_finished()  # what is done is not waited for, and would be taken for the oldest
            oldest = self._backlog.oldest
            self._backlog.note_handed()
        return self._wait(oldest, timeout, before_sync)

    def take_finished(self) -> None:
        """Take note of what became of the batches that are done, and of what that says of their topics."""
        with self.lock:
            is_new = False
            while (batch := self._backlog.oldest_done()) is not None:
                is_new, error = True, batch.error
                if isinstance(error, UnknownTopic):
                    forget_topic(self._paths, batch.buffer.topic.id)
                    forget_topic(self.resting, batch.buffer.topic.id)
                elif isinstance(error, (ProducerFenced, OutOfOrderSequence)):
                    self.refuse(partial(_ended, self._producer, error))
                elif error is None and batch.newer is not None:
                    if batch.newer.id != batch.buffer.topic.id:  # the name is that of another topic
                        forget_topic(self._paths, batch.buffer.topic.id)
                    else:
                        self.grow(batch.newer)
                self._backlog.remove(batch)  # last: an interruption before it has all of this done again
            if is_new and not self._open_buffers and not self._late and not self._backlog.size_bytes:
                rest(self._paths, self.resting)

    def buffered_bytes(self) -> int:
        """The size of what is queued and not stored, in encoded bytes."""
        with self.lock:
            self.take_finished()
            return self._backlog.size_bytes

    def next_deadline(self) -> float | None:
        """The time when the oldest record is to be stored, on the monotonic clock; None when nothing waits."""
        with self.lock:
            self.take_finished()
            # In the order in which they were opened; one that an interruption left open may stand too late.
            oldest = next(iter(self._open_buffers), None)
            deadlines_s = [] if oldest is None else [oldest.batch.opened_s + self.linger]
            if self._late:
                deadlines_s.append(self._late[0].opened_s + self.linger)
            queued_s = self._backlog.deadline_s(self.linger)
            if queued_s is not None:
                deadlines_s.append(queued_s)
            return min(deadlines_s) if deadlines_s else None

    # -- refusals and room -----------------------------------------------------------------------------------

    def _check_waiting(self) -> None:
        """Refuse to wait for ourselves."""
        if self._changer == get_ident():
            raise NestedCall(
                "cannot wait for records inside a send() of the same thread: a signal handler or a finalizer called "
                "us.",
                stored="What it sent is taken and will be stored.",
                advice="Use send() there, and do not wait.",
            )

    def check_usable(self) -> None:
        """Raise why no record can be taken, when none can."""
        if self._refusal is not None:
            raise self._refusal()
        self._backend.check_writable()

    def refuse(self, refusal: Callable[[], Exception]) -> None:
        """Take no more records from now on, and say why; the first reason stands."""
        self._refusal = self._refusal or refusal  # without the lock, which a signal handler could not wait for

    def refuse_closed(self) -> None:
        """Take no more records, because the producer is closed."""
        self.refuse(
            lambda: LogClosed(
                "the producer is closed.",
                stored="The record was not taken.",
                advice="Make another with log.producer().",
            )
        )

    def refuse_forked(self) -> None:
        """Start empty in a child: what waits belongs to the parent, which will store it."""
        self.lock = self._new_lock()
        self._is_forked = True
        for buffer in self._open_buffers:
            buffer.batch = CLOSED
        self._open_buffers = {}
        self._backlog = Backlog(self._backend, self._handoff)
        self._changer = None
        self._late = deque()
        self._refusal = lambda: UsedAfterFork(
            "the producer was made before a fork and its records are the parent's.",
            stored="The record was not taken.",
            advice="Make another with log.producer() in the child.",
        )

    def _make_room(self, buffer: PartitionBuffer) -> None:
        if self._backlog.size_bytes <= self._max_buffered_bytes:
            return
        is_interrupted = self.is_interrupted()
        deadline_s = self._clock.monotonic() + (0.0 if is_interrupted else self._max_block)
        while (buffered := self.buffered_bytes()) > self._max_buffered_bytes:
            left_s = deadline_s - self._clock.monotonic()
            if left_s <= 0 or not self.commit_oldest(left_s):
                why = f"max_block={self._max_block} s is over"
                if is_interrupted:
                    why = "a signal handler or a finalizer in the middle of another call cannot wait for room"
                raise BufferFull(
                    f"no room for a record: {buffered} bytes wait to be stored, and {why}.",
                    stored="The record was not taken; those before it are still queued.",
                    advice="Send slower, or raise max_buffered_bytes.",
                    topic=buffer.topic.name,
                    partition=buffer.partition,
                )

    def _commit_if_due(self) -> None:
        """See to a commit when enough is queued; a thread that goes on sending pays for its commits."""
        backlog = self._backlog
        if backlog.is_commit_due() and not self.is_interrupted() and backlog.hand_over():
            with self.lock:
                backlog.note_handed()


def _stamp(producer: ProducerEpoch, buffer: PartitionBuffer, batch: ProducerBatch) -> ProducerStamp:
    """The stamp of a sealed batch, which follows on those that its partition had before."""
    if batch.first_sequence < 0:  # else an interruption came when it was sealed before; it may have grown since
        batch.first_sequence = buffer.next_sequence
    buffer.next_sequence = batch.first_sequence + batch.count
    return producer.stamp(batch.first_sequence, batch.count)


def _ended(producer: ProducerEpoch | None, cause: Exception) -> Exception:
    """The error for a record that a named producer takes no more."""
    name = None if producer is None else producer.name
    return type(cause)(
        f"the producer {name!r} takes no records, since earlier ones could not be stored: {cause} The record was not "
        "taken. Close this producer; log.producer(name=...) makes another of that name."
    )


def _place_of(rows: list[Any], token: object, place: int) -> int:
    """The place of a record: where it was to be put, or behind it, if other threads came between."""
    while rows[place + 2] is not token:
        place += ROW_WIDTH
    return place
