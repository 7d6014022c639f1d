"""
What `send()` hands back: the promise of a place in the log.

A `Delivery` is a pair of its batch and its place in it, so that millions of them cost little; what is to be said
of a whole batch is kept once, in the batch. Knows nothing of threads or of storage.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Protocol, cast

from eventlog.records import RecordMetadata

ROW_WIDTH = 3
"""An open batch keeps its rows flat: key, value, token, key, value, token, and so on."""


class DeliveredBatch(Protocol):
    """Is what a delivery asks: the batch of a producer, or the records of a transaction."""

    is_done: bool
    error: BaseException | None
    looked_at: set[int]

    @property
    def place(self) -> str:
        """Where the records go, for messages."""
        ...

    def error_of(self, index: int) -> BaseException | None:
        """Why one record was not stored; None when it is."""
        ...

    def settle(self, timeout: float | None) -> bool:
        """Has the records stored now; False when that takes longer."""
        ...

    def metadata(self, index: int) -> RecordMetadata:
        """Where one record is stored."""
        ...

    def add_callback(self, delivery: Delivery, callback: Callable[[Delivery], object]) -> None:
        """Notes a callback, or calls it when all is done."""
        ...


# A tuple without a constructor of its own: built in 75 ns where a class with __init__ takes 180
# (docs/decisions/0004-send-path.md).
class Delivery(tuple):  # type: ignore[type-arg]
    """
    The future of one sent record.

    Any thread may ask. Asking for the result ends the wait for more records: the batch is stored at once, by the
    thread that asks, together with all else that waits. A delivery that failed and that nobody looked at makes
    `flush()` and `close()` raise `DeliveryError`.

    Example:
        >>> with eventlog.open(":memory:") as log, log.producer() as producer:
        ...     delivery = producer.send(log.topic("orders"), b"tea", key=b"alice")
        ...     delivery.result(timeout=1.0).offset
        0
    """

    __slots__ = ()

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """
        Where the record is stored, once it is: blocks until then.

        Args:
            timeout: seconds to wait, None for as long as it takes.

        Raises:
            TimeoutError: if it is not stored by then; it still may be later.
            RuntimeError: in a signal handler or a finalizer that has interrupted the producer in the same thread.
            StorageError, UnknownTopic: if it was not stored.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        batch, place = self
        return cast("RecordMetadata", batch.metadata(place // ROW_WIDTH))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """
        The error why the record was not stored, None when it is stored.

        Blocks and raises as `result()` does.
        """
        batch, place = self
        if not batch.is_done and not batch.settle(timeout):
            raise TimeoutError(
                f"a record for {batch.place} is not stored after {timeout} s. It is still queued. Ask again."
            )
        index = place // ROW_WIDTH
        error: BaseException | None = batch.error_of(index)
        if error is not None:
            batch.looked_at.add(index)
        return error

    def done(self) -> bool:
        """
        Whether the record is stored, or failed for good.

        Does not block.
        """
        return self._batch().is_done

    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        """
        Has `callback(delivery)` called once the record is stored or failed; at once if it is already.

        It runs in the thread that stored the batch, outside all locks, in the order of the offsets; it may send
        and flush. An error in it is logged and changes nothing.
        """
        self._batch().add_callback(self, callback)

    def _batch(self) -> DeliveredBatch:
        return cast("DeliveredBatch", self[0])

    def __repr__(self) -> str:
        batch = self._batch()
        state = "failed" if batch.error else "stored" if batch.is_done else "pending"
        return f"<Delivery to {batch.place}: {state}>"


def deliveries(batch: DeliveredBatch, first: int, count: int) -> list[Delivery]:
    """Those of consecutive records of a batch."""
    return list(map(Delivery, zip(repeat(batch), range(first * ROW_WIDTH, (first + count) * ROW_WIDTH, ROW_WIDTH))))


def call_logged(callback: Callable[[Delivery], object], delivery: Delivery) -> None:
    """Calls one callback, so that an error in it is logged and keeps no other from being called."""
    try:
        callback(delivery)
    except Exception:
        import logging  # which the first producer has loaded

        logging.getLogger("eventlog").exception(
            "the callback %r of %r failed; the delivery itself stands", callback, delivery
        )
