"""
A producer as users see it, and what `send()` returns: the promise of a record's place.

Knows nothing of how a backend batches and stores records.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.options import HeadersInput
from eventlog.records import RecordMetadata


class Producer(FrontDoor):
    """
    A sender of records: `send` puts them into batches, which are stored in the background.

    Records of one partition are stored in the order of the `send` calls. Any number of threads may share a
    producer, and a signal handler may send, but not wait for what it sent. A record counts as stored when its
    `Delivery` says so; nothing that was sent is lost when the program ends without `close()`, unless it is killed.

    With a name, only the newest producer of that name may store; older ones, in any process, are fenced. Its records
    are numbered, so what is stored of each partition is always the beginning of what was sent to it: once records could
    not be stored, nothing sent after them is.

    Args:
        name: 1 to 249 bytes of printable UTF-8. Making the producer costs a commit then.
        linger: seconds that a record may wait for others to share its batch (default 0.005).
        batch_bytes: when a batch is full, in encoded bytes (default and most 65,520; docs/decisions/0003).
        max_buffered_bytes: how much may wait to be stored, in encoded bytes (default 32 MiB). Beyond it `send`
            stores by itself, and blocks.
        max_block: seconds that `send` may block then (default 60.0), before `BufferFull`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", key=str, value="json")
        ...     with log.producer() as producer:
        ...         deliveries = [producer.send("orders", {"n": n}, key="alice") for n in range(3)]
        ...     [delivery.result().offset for delivery in deliveries]
        [0, 1, 2]
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str | None:
        """The name, if it has one."""

    @abstractmethod
    def send(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery:
        """
        Take a record, and hand back the promise of its place at once.

        What is stored is the value as it is now; changing it later changes nothing. Blocks only when
        `max_buffered_bytes` wait to be stored.

        Args:
            topic: a topic's name, or the `Topic` itself, whose codecs and partitioner are then used.
            value: None is a tombstone.
            key: decides the partition, by the topic's partitioner. Without one, partitions take turns.
            headers: a mapping or pairs of str and bytes.
            partition: overrides the partitioner.
            timestamp_ms: ms since 1970 UTC; the time at which the batch was begun when not given.
            message_id: 1 to 255 bytes; has the record stored only once within the topic's `duplicate_window`,
                however often it is sent, and by any producer. The delivery says where the first one is.

        Raises:
            TypeError: if a value or key does not fit its codec. The record was not taken.
            RecordTooLarge: if it is larger than the topic's `max_record_bytes`. It was not taken.
            UnknownTopic, UnknownPartition: if there is no such topic or partition. It was not taken.
            BufferFull: if there was no room for `max_block` seconds. It was not taken.
            StorageError: if an earlier write failed; the log must be opened again. It was not taken.
            ProducerFenced, OutOfOrderSequence: if a newer producer has the name, or if earlier records of this named
                producer could not be stored. It was not taken.
            LogClosed, UsedAfterFork: if this producer cannot be used any more. It was not taken.
        """

    @abstractmethod
    def send_many(
        self,
        topic: str | Topic[Any, Any],
        values: Iterable[Any],
        *,
        keys: Iterable[Any] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]:
        """
        Take records in columns, in order: the same as one `send` for each.

        Raises:
            ValueError: if the columns differ in length. No record was taken.
            TypeError, RecordTooLarge, BufferFull: as `send`; the records before the refused one were taken.
        """

    @abstractmethod
    def flush(self, timeout: float | None = None) -> None:
        """
        Block until everything sent before is stored.

        Args:
            timeout: seconds, None for as long as it takes.

        Raises:
            DeliveryError: if records were not stored and nobody looked at their deliveries.
            TimeoutError: if that takes longer. What waits is still queued.
            RuntimeError: in a signal handler or a finalizer that has interrupted this producer in the same thread.
                What waits is still queued.
        """

    @abstractmethod
    def close(self, timeout: float | None = None) -> None:
        """
        Flush, and end the producer.

        Calling it again does nothing.

        Raises:
            DeliveryError, TimeoutError: as `flush`; the producer is closed all the same.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Delivery(FrontDoor):
    """
    The promise of one sent record, in the manner of a future.

    Any thread may ask. Asking for the result ends the wait for more records: the batch is stored at once, by the
    thread that asks, together with everything else that waits. A failed delivery that nobody looked at makes
    `flush()` and `close()` raise `DeliveryError`.

    Example:
        >>> with eventlog.open(":memory:") as log, log.producer() as producer:
        ...     delivery = producer.send(log.topic("orders"), b"tea", key=b"alice")
        ...     delivery.result(timeout=1.0).offset
        0
    """

    __slots__ = ()

    @abstractmethod
    def result(self, timeout: float | None = None) -> RecordMetadata:
        """
        The place of the record; blocks until it is stored.

        Args:
            timeout: seconds to wait, None for as long as it takes.

        Raises:
            TimeoutError: if it is not stored by then; it still may be later.
            RuntimeError: in a signal handler or a finalizer that has interrupted the producer in the same thread.
            StorageError, UnknownTopic: if it was not stored.
        """

    @abstractmethod
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        The error that kept the record from being stored, None when it is stored.

        Blocks and raises as `result()` does.
        """

    @abstractmethod
    def done(self) -> bool:
        """
        Whether the record is stored, or failed for good.

        Does not block.
        """

    @abstractmethod
    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        """
        Call `callback(delivery)` once the record is stored or failed; at once if it is already.

        It runs in the thread that stored the batch, outside all locks, in the order of the offsets; it may send
        and flush. An error in it is logged and changes nothing.
        """
