"""
The batches of a producer that are queued and not known to be stored, and those that failed.

Only the thread that holds the accumulator's lock may use it, except for `hand_over`, which may block.
"""

from __future__ import annotations

from collections import deque

from eventlog.backend import Backend
from eventlog.backend.records import PendingAppend
from eventlog.clients.producer.batch import ProducerBatch
from eventlog.clients.producer.handoff import Handoff
from eventlog.errors import DeliveryError

COMMIT_BYTES = 1 << 20
"""As soon as this much is queued, the thread that queued it has it committed."""
_BUSY_SECONDS = 0.015
"""A thread that goes on filling batches has them committed after this long, or sooner for their size."""


class Backlog:
    """Queued batches, oldest first, and how much of them nobody was asked to commit yet."""

    def __init__(self, backend: Backend, handoff: Handoff) -> None:
        self._backend = backend
        self._handoff = handoff
        self._clock = backend.clock
        self._failed: dict[ProducerBatch, None] = {}
        self._batches: deque[ProducerBatch] = deque()
        self.size_bytes = 0
        """What is not known to be stored, in encoded bytes."""
        self._unhanded_bytes = 0
        """What was queued since somebody was last asked to commit."""
        self._unhanded_since_s = 0.0

    def queue(self, batch: ProducerBatch, pending: PendingAppend) -> None:
        """Queue a batch that was just sealed for the next commit."""
        batch.pending = pending
        self.size_bytes += batch.size_bytes
        if not self._unhanded_bytes:
            self._unhanded_since_s = batch.sealed_s
        self._unhanded_bytes += batch.size_bytes
        self._batches.append(batch)
        self._backend.submit(pending)

    def queue_again(self, batch: ProducerBatch) -> None:
        """Queue a batch for sure, after an interruption; nothing is queued or stored twice."""
        pending = batch.pending
        if pending is not None:
            if batch not in self._batches:
                self._batches.append(batch)
                self.size_bytes = sum(one.size_bytes for one in self._batches)  # it may have been counted before
            self._backend.submit(pending)

    def has(self, batch: ProducerBatch) -> bool:
        """Whether a batch was taken and is not known to be done."""
        return batch in self._batches

    def oldest_done(self) -> ProducerBatch | None:
        """The oldest batch if it is done; `remove` takes it off."""
        batch = self._batches[0] if self._batches else None  # in one step: a signal handler may remove it
        return batch if batch is not None and (batch.is_done or batch.take_outcome()) else None

    def remove(self, batch: ProducerBatch) -> None:
        """Take the oldest batch off, now that it is done, unless a signal handler has."""
        if batch.error is not None or batch.stored.others:
            self._failed[batch] = None
        batches = self._batches
        if batches and batches[0] is batch:  # from here on no handler comes between: nothing is called
            del batches[0]
            self.size_bytes -= batch.size_bytes

    # -- failures --------------------------------------------------------------------------------------------

    def fail(self, batch: ProducerBatch, error: Exception) -> None:
        """Give up a batch that could not be queued."""
        if not self.has(batch):
            batch.error, batch.is_done = error, True
            self._failed[batch] = None

    def take_failure(self) -> DeliveryError | None:
        """The error for the failed deliveries that nobody looked at, once."""
        failed, self._failed = self._failed, {}
        unseen = [(batch, indexes) for batch in failed if (indexes := batch.unseen())]
        if not unseen:
            return None
        first, indexes = unseen[0]
        count = sum(len(some) for _, some in unseen)
        cause = first.error_of(indexes[0])
        error = DeliveryError(
            f"{count} sent records were not stored, the first of them for {first.place}: {cause}",
            stored="What was stored before is unaffected.",
            advice=first.advice,
            count=count,
            topic=first.buffer.topic.name,
            partition=first.buffer.partition,
        )
        error.__cause__ = cause
        return error

    # -- when to commit --------------------------------------------------------------------------------------

    @property
    def oldest(self) -> ProducerBatch | None:
        """The batch that was queued first."""
        return self._batches[0] if self._batches else None

    @property
    def newest(self) -> ProducerBatch | None:
        """The batch that was queued last."""
        return self._batches[-1] if self._batches else None

    def deadline_s(self, linger: float) -> float | None:
        """The time when the oldest batch is to be committed, if the threads that send do not see to it."""
        if not self._batches:
            return None
        # A thread that goes on filling batches has them committed itself, in larger rounds.
        oldest_s, newest_s = self._batches[0].sealed_s, self._batches[-1].sealed_s
        return min(newest_s + linger, oldest_s + linger + _BUSY_SECONDS)

    def is_commit_due(self) -> bool:
        """Whether so much was queued since somebody was asked to commit, or so long ago, that it is time to ask."""
        if not self._unhanded_bytes:
            return False
        return self._unhanded_bytes >= COMMIT_BYTES or self._clock.monotonic() - self._unhanded_since_s > _BUSY_SECONDS

    def note_handed(self) -> None:
        """Note that somebody was asked to commit all that is queued."""
        self._unhanded_bytes = 0

    def hand_over(self) -> bool:
        """
        Have what is queued committed, soon and by the sender thread if there is one.

        False when a commit runs already: what is queued now is not in it, and room is left to go on.
        """
        handoff = self._handoff
        if not handoff.has_other_thread:
            if handoff.is_loops:
                handoff.ask()
                return True
            return self._backend.commit_queued(0.0)
        is_committing = self._backend.is_committing
        if not handoff.is_filling:
            handoff.ask()
            if is_committing:
                return False
        handoff.stand_aside()
        return True
