"""
What a producer fills: a lane for each partition, and in it the batch that is open.

How they are filled without a lock, and sealed, is told in `clients/producer/accumulator.py`. Knows nothing of when to
send.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from eventlog.api.producer import Delivery
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import EncodedBatch
from eventlog.clients.delivery import EmbeddedDelivery, call_logged
from eventlog.errors import StorageError, UnknownTopic
from eventlog.records import Headers, RecordMetadata
from eventlog.store.records.append import Append, Part, Rows

if TYPE_CHECKING:
    from eventlog.clients.producer.accumulator import Accumulator

_FIRST_BATCH_RECORDS = 256


class ProducerBatch(Append):
    """
    A batch of sent records: open, then sealed and queued, then done.

    `rows` and `limit` count in list items, `ROW_WIDTH` for each record. Once sealed, `count` never changes.
    """

    __slots__ = (
        "_callbacks",
        "count",
        "has_extras",
        "headers",
        "lane",
        "limit",
        "looked_at",
        "measured_bytes",
        "message_ids",
        "opened_s",
        "rows",
        "sealed_s",
        "size_bytes",
        "timestamp_ms",
        "timestamps_ms",
    )

    def __init__(self, lane: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float) -> None:
        super().__init__([])
        self.lane = lane
        self.limit = limit
        self.rows: Any = []
        self.count = 0
        self.has_extras = False
        """Whether a record may have headers, a time or an id of its own: then its token is what it has."""
        self.timestamp_ms = timestamp_ms
        self.opened_s = opened_s
        self.sealed_s = opened_s
        self.headers: dict[int, Headers] = {}
        self.timestamps_ms: dict[int, int] = {}
        self.message_ids: dict[int, bytes] = {}
        self.measured_bytes = 0
        self.size_bytes = 0
        self.looked_at: set[int] = set()
        self._callbacks: list[tuple[EmbeddedDelivery, Callable[[Delivery], object]]] = []

    is_lenient = True

    def note_extras(self, tokens: Sequence[object]) -> None:
        """Keeps what records have of their own, by their index."""
        for index, token in enumerate(tokens):
            if type(token) is tuple:
                headers, timestamp_ms, message_id = token
                if headers:
                    self.headers[index] = headers
                if timestamp_ms is not None:
                    self.timestamps_ms[index] = timestamp_ms
                if message_id is not None:
                    self.message_ids[index] = message_id

    def error_of(self, index: int) -> BaseException | None:
        """Why one record was not stored; None when it is."""
        if self.error is not None or not self.message_ids:
            return self.error
        return self.parts[0].refusals.get(index)

    def unseen(self) -> list[int]:
        """The records that were not stored, and whose deliveries nobody looked at."""
        failed = range(self.count) if self.error is not None else self.parts[0].refusals
        return [index for index in failed if index not in self.looked_at]

    @property
    def advice(self) -> str:
        """What to do when it was not stored, for messages."""
        if isinstance(self.error, StorageError):  # nobody can tell what a disk has kept of a failed write
            return "They may be stored all the same: read the topic, or send again what has a message_id=."
        return "Send them again once the cause is removed."

    @property
    def place(self) -> str:
        """The partition, for messages."""
        return f"{self.lane.topic.name}[{self.lane.partition}]"

    def timestamp_of(self, index: int) -> int:
        """The timestamp of one record."""
        return self.timestamps_ms.get(index, self.timestamp_ms)

    def part_of(self, encoded: list[EncodedBatch], rows: Rows) -> Part:
        """What is to be stored of it, now that it is sealed."""
        needs_rows = self.lane.topic.index is not None or self.message_ids
        return Part(self.lane.topic, self.lane.partition, encoded, rows if needs_rows else None)

    def metadata(self, index: int) -> RecordMetadata:
        """Where one record is stored."""
        part = self.parts[0]
        if part.rows is not None:
            place = part.place(index)
            version = place.version or None
            return RecordMetadata(
                part.topic.name, place.partition, place.offset, place.timestamp_ms, place.log_position, version
            )
        moment_ms = self.timestamp_of(index)
        return RecordMetadata(part.topic.name, part.partition, part.base + index, moment_ms, part.log_position + index)

    def settle(self, timeout: float | None) -> bool:
        """
        Has this batch stored now.

        False when that takes longer than `timeout` seconds.
        """
        return self.lane.accumulator.settle(self, timeout)

    def add_callback(self, delivery: EmbeddedDelivery, callback: Callable[[Delivery], object]) -> None:
        """Notes a callback, or calls it when the batch is done."""
        with self.lane.accumulator.lock:
            if not self.is_done:
                self._callbacks.append((delivery, callback))
                return
        call_logged(callback, delivery)

    def report(self) -> Callable[[], None] | None:
        """Calls the callbacks; before that, frees what only storing needed, since deliveries keep the batch alive."""
        self.parts[0].free()
        self.headers = {}
        if isinstance(self.error, UnknownTopic):
            self.lane.accumulator.on_gone(self.lane.topic)
        if self.newer is not None and self.error is None:
            self.lane.accumulator.grow(self.newer)
        return self._call_back

    def _call_back(self) -> None:
        with self.lane.accumulator.lock:
            callbacks, self._callbacks = self._callbacks, []
        for delivery, callback in sorted(callbacks, key=lambda pair: pair[0][1]):
            call_logged(callback, delivery)


class _Closed:
    """Stands where no batch is open: it is always full."""

    rows: tuple[Any, ...] = ()
    limit = 0
    opened_s = 0.0


CLOSED: Any = _Closed()


class PartitionBuffer:
    """One partition as a producer sees it: its open batch, or `CLOSED`."""

    __slots__ = ("accumulator", "batch", "batch_records", "next_sequence", "partition", "topic")

    def __init__(self, accumulator: Accumulator, topic: StoredTopic, partition: int) -> None:
        self.accumulator = accumulator
        self.topic = topic
        self.partition = partition
        self.batch: Any = CLOSED
        self.batch_records = _FIRST_BATCH_RECORDS
        self.next_sequence = 0
        """What a named producer calls the first record of its next batch."""
