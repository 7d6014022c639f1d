"""
What the deliveries of a transaction ask: where their records are stored, once it has ended.

They may live for longer than the transaction, and know places alone. Knows nothing of how records are placed.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.api.producer import Delivery
from eventlog.clients.delivery import EmbeddedDelivery, call_logged
from eventlog.clients.topic.append import metadata_of
from eventlog.clients.transaction.records import TransactionRecords
from eventlog.records import RecordMetadata


class SentRecords:
    """Is what the deliveries of a transaction ask."""

    def __init__(self, sends: TransactionRecords) -> None:
        self._sends = sends
        self._callbacks: list[tuple[EmbeddedDelivery, Callable[[Delivery], object]]] = []
        self.is_done = False
        self.error: BaseException | None = None
        self.looked_at: set[int] = set()

    @property
    def place(self) -> str:
        """The topics, for messages."""
        return f"a transaction on {', '.join(self._sends.topics())}"

    def settle(self, timeout: float | None) -> bool:  # noqa: ARG002
        """Raises: only the commit of the transaction stores the records."""
        raise ValueError(
            "the result of a record sent in a transaction is known once the transaction has ended. Nothing was "
            "changed. Leave the with block, or call commit(), first."
        )

    def error_of(self, index: int) -> BaseException | None:  # noqa: ARG002
        """Why the records were not stored, all of them; None when they are."""
        return self.error

    def metadata(self, index: int) -> RecordMetadata:
        """Where one record is stored."""
        topic, place = self._sends.stored(index)
        return metadata_of(topic.name, place)

    def add_callback(self, delivery: EmbeddedDelivery, callback: Callable[[Delivery], object]) -> None:
        """Notes a callback, or calls it when the transaction has ended."""
        if self.is_done:
            call_logged(callback, delivery)
        else:
            self._callbacks.append((delivery, callback))

    def fail(self, error: BaseException) -> None:
        """Says that nothing was stored."""
        self.error = error
        self.is_done = True
        self.call_back()

    def forget(self, error: BaseException) -> None:
        """Says that nothing is stored here, without a word to the callbacks: they are the parent's."""
        self._callbacks = []
        self.error = error
        self.is_done = True

    def call_back(self) -> None:
        """Calls the callbacks, in the order of the records."""
        callbacks, self._callbacks = self._callbacks, []
        for delivery, callback in sorted(callbacks, key=lambda pair: pair[0][1]):
            call_logged(callback, delivery)
