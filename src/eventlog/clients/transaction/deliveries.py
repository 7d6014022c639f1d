"""
The places of a transaction's records, which its deliveries ask for once it has ended.

Deliveries may outlive their transaction; they keep only the places.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.api.producer import Delivery
from eventlog.clients.delivery import EmbeddedDelivery, Run, call_logged, metadata_of
from eventlog.clients.transaction.records import TransactionRecords
from eventlog.records import RecordMetadata


class SentRecords:
    """The records of a transaction, as its deliveries see them."""

    is_done = False
    error: BaseException | None = None
    run: Run | None = None

    def __init__(self, sends: TransactionRecords) -> None:
        self._sends = sends
        self._callbacks: list[tuple[EmbeddedDelivery, Callable[[Delivery], object]]] = []
        self.looked_at: set[int] = set()

    @property
    def place(self) -> str:
        """The topics, for messages."""
        return f"a transaction on {', '.join(self._sends.topics())}"

    def settle_soon(self) -> None:
        """Raise an error, as `settle` does."""
        self.settle(None)

    def settle(self, timeout: float | None) -> bool:  # noqa: ARG002
        """Raise an error: only the commit of the transaction stores the records."""
        raise ValueError(
            "the result of a record sent in a transaction is known once the transaction has ended. Nothing was "
            "changed. Leave the with block, or call commit(), first."
        )

    def take_outcome(self) -> bool:
        """Whether the transaction has ended; it says so itself."""
        return self.is_done

    def learn_run(self) -> None:
        """Do nothing: the records of a transaction are in several partitions."""

    def error_of(self, index: int) -> BaseException | None:  # noqa: ARG002
        """The error that kept all the records from being stored; None when they are."""
        return self.error

    def metadata(self, index: int) -> RecordMetadata:
        """The place where one record is stored."""
        return metadata_of(*self._sends.location(index))

    def add_callback(self, delivery: EmbeddedDelivery, callback: Callable[[Delivery], object]) -> None:
        """Note a callback, or call it when the transaction has ended."""
        if self.is_done:
            call_logged(callback, delivery)
        else:
            self._callbacks.append((delivery, callback))

    def fail(self, error: BaseException) -> None:
        """Note that nothing was stored."""
        self.error = error
        self.is_done = True
        self.call_back()

    def forget(self, error: BaseException) -> None:
        """Note that nothing is stored here, and call no callback: they are the parent's."""
        self._callbacks = []
        self.error = error
        self.is_done = True

    def call_back(self) -> None:
        """Call the callbacks, in the order of the records."""
        if not self._callbacks:
            return
        callbacks, self._callbacks = self._callbacks, []
        for delivery, callback in sorted(callbacks, key=lambda pair: pair[0][1]):
            call_logged(callback, delivery)
