"""
The fetcher of a consumer: it reads batches for the positions, and returns them in turn.

Nothing here waits; `subscribe` chooses the commits of which the consumer is notified.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from eventlog.backend import Backend
from eventlog.backend.reading import ReadMark
from eventlog.backend.waiting import Listener
from eventlog.clients.consumer.positions import Position, Positions
from eventlog.clients.reading.batch_reader import BatchReader, Taken
from eventlog.errors import EventLogError, OffsetOutOfRange
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.options import OnOutOfRange
from eventlog.records import RecordBatch

_FEW = 16
"""Up to this many positions are all checked after a commit: asking which of them have more is no faster."""
LOOK_SECONDS = 0.002
"""A consumer with something to hand out looks no more often than this whether more has come."""
_FORWARD_BYTES = 1 << 16
"""So much is handed out of turn at once."""


class Fetcher:
    """
    The way of batches from the log into a consumer's positions, and out of them.

    Belongs to the consumer's thread.
    """

    def __init__(
        self,
        backend: Backend,
        positions: Positions,
        listener: Listener,
        fetch_max_bytes: int,
        on_out_of_range: OnOutOfRange = "raise",
    ) -> None:
        self._backend = backend
        self._positions = positions
        self._fetch_max_bytes = fetch_max_bytes
        self._on_out_of_range = on_out_of_range
        self._reader = BatchReader(backend)
        self._listener = listener
        self._subscribed_version = -1
        """Of which positions we are notified: none yet."""
        self.seen_transaction = -1
        """The commit up to which every position has seen everything; -1 when the log must be looked at."""
        self._seen_version = -1
        self._mark: ReadMark | None = None
        """Up to where every position has seen everything, if it is known."""
        self._through_version = -1
        """Of which positions the last fetch has brought all that there was, after we had subscribed to them."""
        self._turn = 0
        self._look_at_s = 0.0
        """When to look next at the positions of which nothing is fetched, while there is something of others."""
        self._looked_transaction = -1
        self._looked: ReadMark | None = None
        """Up to where they were looked at."""

    def take(self, left: int, *, is_loop: bool) -> list[RecordBatch[Any, Any]]:
        """
        Hand out fetched batches; fetch first when there are none.

        A loop gets one batch at a time: what it has not seen must not look handed out.
        """
        if not self._positions.have_fetched:
            if not self._fetch():
                return []
        elif len(self._positions.order) > 1:
            self._look_at_waiting()
        return self._positions.take(left, is_loop=is_loop)

    def _look_at_waiting(self) -> None:
        """
        Bring forward what has come to partitions of which nothing is fetched; what is fetched of others is kept.

        Else a backlog in one partition would hold up the others by a whole fetch. What cannot be read is left to the
        next fetch, which raises that.
        """
        now_s = self._backend.clock.monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_SECONDS
        if not self._backend.changed_since(self._looked_transaction):
            return
        waiting = self._positions.waiting()
        if len(waiting) > _FEW:
            waiting = self._arrived(waiting)
        if not waiting:
            return
        cursors = [position.cursor for position in self._in_turn(waiting)]
        with suppress(EventLogError):
            taken = self._reader.fetch(cursors, min(_FORWARD_BYTES, self._fetch_max_bytes))
            self._looked_transaction = taken.transaction
            if taken.batches:
                self._positions.bring_forward(taken.batches)

    def _arrived(self, waiting: list[Position]) -> list[Position]:
        """Those of many waiting positions to which something was appended since they were looked at."""
        if self._looked is not None:
            ids, self._looked = self._backend.arrivals(self._looked, len(waiting))
            if ids is not None:
                allowed = set(waiting)
                return [position for position in self._positions.of_ids(ids) if position in allowed]
        return self._in_turn(waiting)[:_FEW]

    def _fetch(self) -> bool:
        version = self._positions.version
        if version != self._seen_version:
            self._mark = None
        elif not self._backend.changed_since(self.seen_transaction):
            return False
        if self._mark is not None:
            ids, now = self._backend.arrivals(self._mark, len(self._positions.order))
            if ids is not None:
                return self._fetch_at(self._in_turn(self._positions.of_ids(ids)), version, now)
            self._mark = None
        self._positions.rotate()
        return self._fetch_at(self._positions.order, version, None)

    def _in_turn(self, positions: list[Position]) -> list[Position]:
        """The same, each time with another first, so that one that cannot be read does not keep the others waiting."""
        self._turn += 1
        place = self._turn % (len(positions) or 1)
        return positions[place:] + positions[:place]

    def _fetch_at(self, positions: list[Position], version: int, known: ReadMark | None) -> bool:
        """
        Fetch for some positions; the others have seen everything before the mark `known`.

        When nothing is left, all have: up to that mark, or else up to the fetch, which marks where it is worth it.
        """
        active = [position for position in positions if not position.is_paused]
        if known is not None and not active:
            self._positions.fill(())
            self._note(version, known, known.transaction)
            return False
        is_marking = known is None and len(active) > _FEW
        cursors = [position.cursor for position in active]
        taken: Taken[Any, Any] | None = None
        self._through_version, subscribed_version = -1, self._subscribed_version
        while taken is None or not (taken.batches or taken.is_all):  # where nothing is left before a cursor, go on
            try:
                taken = self._reader.fetch(cursors, self._fetch_max_bytes, is_marking=is_marking)
            except unless_interrupted(OffsetOutOfRange) as error:
                if self._on_out_of_range == "raise":
                    raise
                self._go_on(error, error.first if self._on_out_of_range == "earliest" else error.end)
        batches, transaction, is_all, mark = taken
        self._looked_transaction, self._looked = transaction, mark or known
        if known is not None:
            mark, transaction = known, known.transaction
        self._positions.fill(batches)
        if not batches:
            self._positions.pass_by(active)
            self._note(version, mark, transaction)
        elif is_all:
            self._note(version, mark, self.seen_transaction)
        if is_all or not batches:
            self._through_version = subscribed_version
        return bool(batches)

    def _go_on(self, error: OffsetOutOfRange, offset: int) -> None:
        """Move the cursor that an error names, and tell Python's log."""
        from eventlog.notices import OUT_OF_RANGE, tell  # here, since it is rare

        assert error.topic is not None
        assert error.partition is not None
        tell(
            OUT_OF_RANGE,
            error=error.what,
            offset=offset,
            on_out_of_range=self._on_out_of_range,
            topic=error.topic,
            partition=error.partition,
        )
        self._positions.move((error.topic, error.partition), offset)

    def _note(self, version: int, known: ReadMark | None, transaction: int) -> None:
        self._mark, self._seen_version, self.seen_transaction = known, version, transaction

    def look_again(self) -> None:
        """Note that the positions changed: the next fetch reads the log, whatever was seen before."""
        self.seen_transaction = self._through_version = -1
        self._mark = None

    def is_through(self) -> bool:
        """Whether all that the last fetch has seen was handed out, and we are notified of what comes after it."""
        return self._through_version == self._positions.version and not self._positions.have_fetched

    def is_subscribed(self) -> bool:
        """Whether we are notified of the positions that there are now."""
        return self._subscribed_version == self._positions.version

    def subscribe(self, others: AbstractSet[int] | None) -> bool:
        """
        Be notified of the topics of the positions that there are now; whether these are others than before.

        Then look at the log once more before waiting: what was committed before does not notify us.

        Args:
            others: what to be notified of beside these topics; None is everything.
        """
        version, subjects = self._positions.version, None
        if others is not None:
            subjects = {position.cursor.route.row.id for position in self._positions.order} | others
        is_new = self._listener.subscribe(subjects)
        self._subscribed_version = version
        return is_new
