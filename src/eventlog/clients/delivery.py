"""
The delivery that `send()` returns: the promise of a record's place in the log.

A delivery is a pair of its batch and its index in it, so that millions of them cost little; the outcome is stored once,
in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import repeat
from typing import Any, Protocol, TypeAlias, cast

from eventlog.accelerators import accelerated
from eventlog.api.overriding import override
from eventlog.api.producer import Delivery
from eventlog.backend.records import Location
from eventlog.interruptions import unless_interrupted
from eventlog.records import RecordMetadata

Run: TypeAlias = tuple[str, int, int, int, int]
"""Records that are stored one behind the other: topic, partition, first offset, the time of all, first log position."""

ROW_WIDTH = 3
"""An open batch keeps its rows flat: key, value, token, key, value, token, and so on."""


class DeliveredBatch(Protocol):
    """What a delivery asks: the batch of a producer, or the records of a transaction."""

    looked_at: set[int]
    run: Run | None
    """Where the records are, once `learn_run` has found all stored, one behind the other; else None."""

    @property
    def is_done(self) -> bool:
        """Whether the records are stored, or failed for good."""
        ...

    @property
    def error(self) -> BaseException | None:
        """The error that kept all the records from being stored."""
        ...

    @property
    def place(self) -> str:
        """The name of where the records go, for messages."""
        ...

    def take_outcome(self) -> bool:
        """Take over what became of the records, if that is known; whether it is."""
        ...

    def learn_run(self) -> None:
        """Set `run`, if there is one, of a batch that is done."""
        ...

    def error_of(self, index: int) -> BaseException | None:
        """The error of one record that was not stored; None when it is."""
        ...

    def settle(self, timeout: float | None) -> bool:
        """Have the records stored now; False when that takes longer."""
        ...

    def settle_soon(self) -> None:
        """Have the records stored soon, without waiting for them."""
        ...

    def metadata(self, index: int) -> RecordMetadata:
        """The place where one record is stored."""
        ...

    def add_callback(self, delivery: EmbeddedDelivery, callback: Callable[[Delivery], object]) -> None:
        """Note a callback, or call it when all is done."""
        ...


# A tuple without a constructor of its own: built in 75 ns where a class with __init__ takes 180
# (docs/decisions/0004-send-path.md).
class EmbeddedDelivery(tuple, Delivery):  # type: ignore[type-arg]
    """The embedded delivery: see `eventlog.Delivery`."""

    __slots__ = ()

    @override
    def result(self, timeout: float | None = None) -> RecordMetadata:
        error = self.exception(timeout)
        if error is not None:
            raise error
        batch, place = self
        return cast("RecordMetadata", batch.metadata(place // ROW_WIDTH))

    @override
    def exception(self, timeout: float | None = None) -> BaseException | None:
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

    @override
    def done(self) -> bool:
        batch = self._batch()
        return batch.is_done or batch.take_outcome()

    @override
    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        batch, place = self
        run: Run | None = batch.run
        return self._wait() if run is None else _known_outcome(run, place // ROW_WIDTH)

    def _wait(self) -> Generator[Any, None, RecordMetadata]:
        batch = self._batch()
        if not batch.is_done and not batch.take_outcome():
            from eventlog.clients.awaiting.outbox import wait_for  # few programs have an event loop

            batch.settle_soon()
            yield from wait_for(self)
        batch.learn_run()
        return self.result(0.0)

    @override
    def add_done_callback(self, callback: Callable[[Delivery], object]) -> None:
        self._batch().add_callback(self, callback)

    def _batch(self) -> DeliveredBatch:
        return cast("DeliveredBatch", self[0])

    def __repr__(self) -> str:
        batch = self._batch()
        state = "failed" if batch.error else "stored" if batch.is_done else "pending"
        return f"<Delivery to {batch.place}: {state}>"


@accelerated("OutcomeMaker", RecordMetadata)
def _known_outcome(run: Run, index: int, /) -> Generator[Any, None, RecordMetadata]:
    """Wait for nothing, and return the place of one record of a run."""
    topic, partition, first_offset, timestamp_ms, first_position = run
    return RecordMetadata(topic, partition, first_offset + index, timestamp_ms, first_position + index)
    yield


def metadata_of(topic: str, place: Location) -> RecordMetadata:
    """The metadata of a stored record."""
    return RecordMetadata(
        topic, place.partition, place.offset, place.timestamp_ms, place.log_position, place.version or None
    )


def deliveries(batch: DeliveredBatch, first: int, count: int) -> list[Delivery]:
    """The deliveries of consecutive records of a batch."""
    return list(
        map(EmbeddedDelivery, zip(repeat(batch), range(first * ROW_WIDTH, (first + count) * ROW_WIDTH, ROW_WIDTH)))
    )


def call_logged(callback: Callable[[Delivery], object], delivery: Delivery) -> None:
    """Call one callback; an error in it is logged, and keeps no other from being called."""
    try:
        callback(delivery)
    except unless_interrupted(Exception):
        from eventlog.notices import CALLBACK_FAILED, tell  # which the first producer has loaded

        tell(CALLBACK_FAILED, exc_info=True, callback=callback, delivery=delivery)
