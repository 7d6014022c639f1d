"""A producer as users see it, and the `Delivery` that `send()` returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypedDict, TypeVar, overload

from eventlog.api.features import Closing, FrontDoor
from eventlog.api.topic import Topic
from eventlog.options import HeadersInput
from eventlog.records import RecordMetadata

KT = TypeVar("KT")
VT = TypeVar("VT")


class Producing(TypedDict, total=False):
    """The options of `EventLog.producer`."""

    name: str | None
    linger: float
    batch_bytes: int
    max_buffered_bytes: int
    max_block: float


class Producer(Closing, FrontDoor):
    """
    A sender of records: `send` puts them into batches, which are stored in the background.

    Records of one partition are stored in the order of the `send` calls. Any number of threads may share a producer,
    and a signal handler may send, but not wait for the record. A record is stored when its `Delivery` is done without
    an error. If the program ends without `close()`, the records are still stored, unless it is killed.

    With a name, only the newest producer of that name may store; older ones, in any process, are fenced. Its records
    are numbered: if some could not be stored, no record sent later is stored in front of them.

    Args:
        name: 1 to 249 bytes of printable UTF-8. Making the producer then costs a commit.
        linger: seconds that a record may wait for others to share its batch (default 0.005).
        batch_bytes: the encoded bytes of a full batch (default and at most 65,520; docs/decisions/0003).
        max_buffered_bytes: the encoded bytes that may wait to be stored (default 32 MiB). Beyond it `send` stores them
            itself, and blocks.
        max_block: seconds that `send` may then block (default 60.0), before `BufferFull`.

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
        """The name of the producer, or None."""

    @overload
    def send(
        self,
        topic: Topic[KT, VT],
        value: VT | None = None,
        *,
        key: KT | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery: ...
    @overload
    def send(
        self,
        topic: str,
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery: ...
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
        Send a record, and return at once with the promise of its place.

        The value is stored as it is now; changing it later changes nothing. Blocks only if `max_buffered_bytes` wait to
        be stored.

        Args:
            topic: a topic's name, or the `Topic` itself, whose codecs and partitioner are then used.
            value: None is a tombstone.
            key: decides the partition, by the topic's partitioner. Without one, partitions take turns.
            headers: a mapping or pairs of str and bytes.
            partition: overrides the partitioner.
            timestamp_ms: ms since 1970 UTC (default: the time at which the batch was begun).
            message_id: 1 to 255 bytes; the record is stored only once within the topic's `duplicate_window`, however
                often and by whomever it is sent. The delivery has the place of the first one.

        Raises:
            TypeError: the value or key does not fit its codec. The record was not taken.
            RecordTooLarge: it is larger than the topic's `max_record_bytes`. It was not taken.
            UnknownTopic, UnknownPartition: there is no such topic or partition. It was not taken.
            BufferFull: there was no room for `max_block` seconds. It was not taken.
            StorageError: an earlier write failed; the log must be opened again. It was not taken.
            ProducerFenced, OutOfOrderSequence: a newer producer has the name, or earlier records of this named producer
                could not be stored. It was not taken.
            LogClosed, UsedAfterFork: this producer can no longer be used. It was not taken.
        """

    @overload
    def send_many(
        self,
        topic: Topic[KT, VT],
        values: Iterable[VT | None],
        *,
        keys: Iterable[KT | None] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]: ...
    @overload
    def send_many(
        self,
        topic: str,
        values: Iterable[Any],
        *,
        keys: Iterable[Any] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]: ...
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
        Send records given in columns, in order, as if by one `send` each.

        Raises:
            ValueError: the columns differ in length. No record was taken.
            TypeError, RecordTooLarge, BufferFull: as for `send`; the records before the refused one were taken.
        """

    @abstractmethod
    def flush(self, timeout: float | None = None) -> None:
        """
        Block until all records sent before are stored.

        Args:
            timeout: seconds to wait, None for as long as it takes.

        Raises:
            DeliveryError: records were not stored, and nobody looked at their deliveries.
            TimeoutError: it takes longer than `timeout`. The waiting records are still queued.
            NestedCall: called in a signal handler or finalizer that interrupted this producer in the same thread. The
                waiting records are still queued.
        """

    @abstractmethod
    def close(self, timeout: float | None = None) -> None:
        """
        Flush, and close the producer.

        It takes no more records from here on, so a callback that sends gets `LogClosed`; where callbacks send, call
        `flush()` first. Calling it again does nothing. In a signal handler or finalizer that interrupts a call of the
        same thread it waits for nothing: what was sent is stored in the background. Call it again outside to wait for
        that, and to learn of failures.

        Raises:
            DeliveryError, TimeoutError: as for `flush`; the producer is closed all the same.
        """


class Delivery(FrontDoor):
    """
    The promise of one sent record, in the manner of a future.

    Any thread may ask for it. Asking for the result ends the wait for more records: the asking thread stores the batch
    at once, together with everything else that waits. A failed delivery that nobody looked at makes `flush()` and
    `close()` raise `DeliveryError`.

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
        Wait until the record is stored, and return its place.

        Args:
            timeout: seconds to wait, None for as long as it takes.

        Raises:
            TimeoutError: it is not stored by then; it may still be stored later.
            NestedCall: called in a signal handler or finalizer that interrupted the producer in the same thread.
            StorageError, UnknownTopic: it was not stored.
        """

    @abstractmethod
    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        Return the error for which the record was not stored, or None if it is stored.

        Blocks and raises as `result()` does.
        """

    @abstractmethod
    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        """
        Wait in asyncio until the record is stored: `await delivery` is its place.

        The record is stored soon, with all else that waits, and the loop is not blocked. A cancelled task does not
        cancel the record: the delivery still says what became of it.

        Raises:
            StorageError, UnknownTopic: it was not stored.
        """

    @abstractmethod
    def done(self) -> bool:
        """
        Whether the record is stored or has failed for good.

        Does not block.
        """

    @abstractmethod
    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        """
        Call `callback(delivery)` once the record is stored or has failed; at once if it already has.

        It runs in the thread that stored the batch, outside of all locks, in the order of the offsets; it may send and
        flush, until `close()` is called. An error in it is logged and changes nothing.
        """
