"""
The buffers of a producer, one per partition, and the batch that is open in each.

`clients/producer/accumulator.py` describes how batches are filled without a lock, sealed and queued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from eventlog.api.producer import Delivery
from eventlog.backend.records import PendingAppend, Rows, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery, Run, call_logged, metadata_of
from eventlog.errors import StorageError
from eventlog.records import RecordMetadata

_FIRST_BATCH_RECORDS = 256


class BatchOwner(Protocol):
    """What a batch asks of the accumulator that it belongs to."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """The lock that guards what belongs to all batches of the producer."""
        ...

    def settle(self, batch: ProducerBatch, timeout: float | None) -> bool:
        """Have a batch stored now; False when that takes longer than `timeout` seconds."""
        ...

    def settle_soon(self, batch: ProducerBatch) -> None:
        """Have a batch stored soon, without waiting for it."""
        ...

    def take_finished(self) -> None:
        """Take note of what became of the batches that are done."""
        ...


class ProducerBatch:
    """
    A batch of sent records; its states are a table in `clients/producer/accumulator.py`.

    `rows` and `limit` count in list items, `ROW_WIDTH` for each record. Once sealed, `count` never changes.
    """

    __slots__ = (
        "_callbacks",
        "buffer",
        "count",
        "error",
        "first_sequence",
        "has_extras",
        "is_done",
        "limit",
        "looked_at",
        "measured_bytes",
        "newer",
        "opened_s",
        "pending",
        "rows",
        "run",
        "sealed_s",
        "size_bytes",
        "stored",
        "timestamp_ms",
        "timestamps_ms",
    )

    def __init__(self, buffer: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float) -> None:
        self.buffer = buffer
        self.limit = limit
        self.rows: Any = []
        self.count = 0
        self.has_extras = False
        """Whether a record may have headers, a time or an id of its own: then its token is what it has."""
        self.timestamp_ms = timestamp_ms
        self.timestamps_ms: int | Sequence[int] = timestamp_ms
        """The timestamps of the records, once it is sealed."""
        self.opened_s = opened_s
        self.sealed_s = opened_s
        self.measured_bytes = 0
        self.size_bytes = 0
        self.first_sequence = -1
        """The number of the first record, if the producer has a name."""
        self.pending: PendingAppend | None = None
        """What the backend was given, while it is queued."""
        self.is_done = False
        self.error: BaseException | None = None
        """Why the records were not stored, all of them."""
        self.stored: Any = None
        """What became of the records (`StoredRecords`), if there was no error."""
        self.run: Run | None = None
        """Where all the records are, if they are stored one behind the other, at one time, and somebody awaits them."""
        self.newer: StoredTopic | None = None
        """The topic as it is stored, if it has more partitions than the producer knew of."""
        self.looked_at: set[int] = set()
        self._callbacks: list[tuple[EmbeddedDelivery, Callable[[Delivery], object]]] = []

    def columns(self, rows: Sequence[Any]) -> tuple[Rows, dict[int, bytes]]:
        """The records of sealed rows in columns, and the message ids of those that have one."""
        keys: list[bytes | None] = rows[0::ROW_WIDTH]  # type: ignore[assignment]
        values: list[bytes | None] = rows[1::ROW_WIDTH]  # type: ignore[assignment]
        columns, ids = Rows(keys, values, self.timestamp_ms), {}
        if self.has_extras:
            tokens = rows[2::ROW_WIDTH]
            extras = [token if type(token) is tuple else ((), None, None) for token in tokens]
            headers, times, identities = map(list, zip(*extras, strict=True))
            if times.count(None) < len(times):
                columns.timestamps_ms = [self.timestamp_ms if one is None else one for one in times]
            if any(headers):
                columns.headers = headers
            ids = {index: one for index, one in enumerate(identities) if one is not None}
        self.timestamps_ms = columns.timestamps_ms
        return columns, ids

    def take_outcome(self) -> bool:
        """Take over what became of it, if it is done; whether it is."""
        pending = self.pending
        if pending is not None and pending.is_done:
            self.error, self.stored, self.newer = pending.error, pending.stored, pending.newer
            self.is_done = True
            self.pending = None  # it leads back to us, and a circle keeps memory for longer
        return self.is_done

    # -- what deliveries ask ---------------------------------------------------------------------------------

    def error_of(self, index: int) -> BaseException | None:
        """The error of one record that was not stored; None when it is."""
        if self.error is not None:
            self.buffer.owner.take_finished()  # whoever sees the error may expect the next `send` to know of it
            return self.error
        stored: StoredRecords = self.stored
        return stored.refusals.get(index) if stored.others else None

    def unseen(self) -> list[int]:
        """The records that were not stored, and whose deliveries nobody looked at."""
        failed = range(self.count) if self.error is not None else self.stored.refusals if self.stored else ()
        return [index for index in failed if index not in self.looked_at]

    @property
    def advice(self) -> str:
        """The advice of messages that say that it was not stored."""
        if isinstance(self.error, StorageError):  # nobody can tell what a disk has kept of a failed write
            return "They may be stored all the same: read the topic, or send again what has a message_id=."
        return "Send them again once the cause is removed."

    @property
    def place(self) -> str:
        """The partition, for messages."""
        return f"{self.buffer.topic.name}[{self.buffer.partition}]"

    def metadata(self, index: int) -> RecordMetadata:
        """The place where one record is stored."""
        stored: StoredRecords = self.stored
        name = self.buffer.topic.name
        if stored.versions is None and not stored.others:
            times = self.timestamps_ms
            moment_ms = times if isinstance(times, int) else times[index]
            offset, log_position = stored.first_offset + index, stored.first_position + index
            return RecordMetadata(name, stored.partition, offset, moment_ms, log_position)
        return metadata_of(name, stored.location(index))

    def learn_run(self) -> None:
        """Find out where all the records are, once it is done, for those who await them."""
        stored: StoredRecords | None = self.stored
        times = self.timestamps_ms
        if stored is not None and stored.versions is None and not stored.others and isinstance(times, int):
            name = self.buffer.topic.name
            self.run = (name, stored.partition, stored.first_offset, times, stored.first_position)

    def settle(self, timeout: float | None) -> bool:
        """Have this batch stored now; False when that takes longer than `timeout` seconds."""
        return self.buffer.owner.settle(self, timeout)

    def settle_soon(self) -> None:
        """Have this batch stored soon, without waiting for it."""
        self.buffer.owner.settle_soon(self)

    def add_callback(self, delivery: EmbeddedDelivery, callback: Callable[[Delivery], object]) -> None:
        """Note a callback, or call it when the batch is done."""
        with self.buffer.owner.lock:
            if not self.is_done:
                self._callbacks.append((delivery, callback))
                return
        call_logged(callback, delivery)

    def call_back(self) -> None:
        """Call the callbacks of the deliveries, now that the batch is done."""
        owner = self.buffer.owner
        with owner.lock:
            self.take_outcome()
            callbacks, self._callbacks = self._callbacks, []
        if callbacks:
            owner.take_finished()  # a callback may send, and expects the topic as it is now
        for delivery, callback in sorted(callbacks, key=lambda pair: pair[0][1]):
            call_logged(callback, delivery)


class _Closed:
    """What stands where no batch is open: it is always full."""

    rows: tuple[Any, ...] = ()
    limit = 0
    opened_s = 0.0


CLOSED: Any = _Closed()


class PartitionBuffer:
    """One partition as a producer sees it: its open batch, or `CLOSED`."""

    __slots__ = ("batch", "batch_records", "next_sequence", "owner", "partition", "topic")

    def __init__(self, owner: BatchOwner, topic: StoredTopic, partition: int) -> None:
        self.owner = owner
        self.topic = topic
        self.partition = partition
        self.batch: Any = CLOSED
        self.batch_records = _FIRST_BATCH_RECORDS
        self.next_sequence = 0
        """The number of the first record of the next batch, if the producer has a name."""
