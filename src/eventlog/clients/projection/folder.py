"""
Folding: records of the log, one after the other, into the state of a build, some of them in each transaction.

A folder holds the lock of its projection, and nobody else writes the state, so what was read stays known from one
transaction to the next. Knows nothing of locks, of waiting, or of when to fold.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any, cast

import attrs

from eventlog.backend import Backend
from eventlog.backend.projections import Build, FoldCheckpoint, StoredProjection
from eventlog.backend.reading import Deletion
from eventlog.backend.states import StoredState
from eventlog.clients.projection.folded_state import FoldedState
from eventlog.clients.reading.log_reader import LogReader
from eventlog.clients.state.row_cache import MOST_CACHED_BYTES
from eventlog.clients.state.state import State
from eventlog.clients.topic_handle import TopicHandle
from eventlog.codecs import Codec
from eventlog.codecs.ordered import OrderedCodec
from eventlog.errors import (
    ConflictError,
    CorruptBatch,
    DecodeError,
    EventLogError,
    OffsetOutOfRange,
    TransactionEnded,
    TransactionTooLarge,
)
from eventlog.interruptions import is_interruption, unless_interrupted
from eventlog.notices import RECORDS_GONE, tell
from eventlog.options import check_function
from eventlog.records import Record, RecordBatch

Fold = Callable[[State[Any, Any], Record[Any, Any]], object]

_ADVICE = (
    "A projection passes no record by: open the topic with the codec that wrote it, with its class or an upcaster; or "
    'remove the record with delete_records(), with on_out_of_range="earliest"; or restore a backup.'
)
_LONGEST_SECONDS = 1.0
"""The longest transaction: what a slow function has done becomes visible, and no crash loses it."""
_SLOW_SECONDS = 0.01
"""A function that takes longer for the records between two looks at the clock is slow."""
_MOST_AT_ONCE = 64


@attrs.frozen
class FoldOptions:
    """What a user said of a projection."""

    fold: Fold
    topics: tuple[str, ...] | None
    max_records: int
    max_bytes: int
    on_out_of_range: str


class _Room:
    """The memory that the rows of one transaction take."""

    __slots__ = ("is_full", "max_bytes", "size_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.is_full = False

    def clear(self) -> None:
        """Begin another transaction."""
        self.size_bytes = 0
        self.is_full = False

    def charge(self, size_bytes: int) -> None:
        """
        Take room for rows; a record for which `max_bytes` are enough always finds it.

        A transaction is full once it has these, but ends between two records.
        """
        if self.size_bytes + size_bytes > 2 * self.max_bytes:
            raise TransactionTooLarge(
                f"one record changes more than max_bytes={self.max_bytes} of the projection's state.",
                stored="Nothing of its transaction was stored.",
                advice="Make the projection with a larger max_bytes=, or change less for a record.",
            )
        self.size_bytes += size_bytes
        if self.size_bytes >= self.max_bytes:
            self.is_full = True


class Folder:
    """
    A fold of records into one build.

    Belongs to the thread that holds the lock. After an error it is of no further use: nobody knows what it has.
    """

    def __init__(
        self,
        store: Backend,
        topics_by_id: Callable[[], Mapping[int, TopicHandle]],
        options: FoldOptions,
        row: StoredProjection,
        state: StoredState,
        codecs: tuple[OrderedCodec[Any], Codec[Any]],
        *,
        is_rebuild: bool = False,
    ) -> None:
        build = row.rebuilding if is_rebuild else row.active
        assert build is not None
        self._store = store
        self._options = options
        self._row = row
        self._is_rebuild = is_rebuild
        self.build: Build = build
        """The build as it is stored, as far as we know."""
        self.is_switched = False
        """Whether a rebuild has replaced the active build."""
        self.is_overtaken = False
        """Whether a commit was refused, because somebody else has moved the checkpoint, or replaced the build."""
        self._room = _Room(options.max_bytes)
        self._is_folding = False
        self._until_s = 0.0
        """When the transaction ends; zero ends it at the next look."""
        self._at_once = 1
        """The records between two looks at the clock: one while the function is slow."""
        self._state: FoldedState[Any, Any] = FoldedState(
            store, state, *codecs, charge=self._room.charge, check=self._check, is_empty=build.log_position == 0
        )
        topics: Collection[str] | None = build.topics
        self._reader = LogReader(store, topics_by_id, topics, build.log_position)
        self._batches: deque[tuple[int, RecordBatch[Any, Any]]] = deque()
        self._deletions = build.deletions
        """The number of the last deletion of records that we pass by."""

    @property
    def row(self) -> StoredProjection:
        """The projection as it was when folding began."""
        return self._row

    @property
    def seen_transaction(self) -> int:
        """The number of the newest commit that was looked at."""
        return self._reader.transaction

    def step(
        self,
        end: int,
        may_go_on: Callable[[], bool],
        check_lock: Callable[[], None],
        *,
        until_s: float = math.inf,
        switches: bool = False,
        most: int | None = None,
    ) -> int:
        """
        Fold the records of one transaction and commit it; the number of records.

        The checkpoint stays only if there are no more records before `end`.

        Args:
            end: the log position to stop before.
            may_go_on: is called between two batches; False ends the transaction.
            until_s: the time at which the transaction ends at the latest.
            check_lock: is called before the commit; raises when the lock is not ours any more.
            switches: replaces the active build in the same commit, if this one is not behind it then.
            most: the most records, where that is less than the projection's `max_records`.

        Raises:
            Exception: what the function raised, with a note that names the record. Nothing was stored.
            ConflictError: if somebody else has moved the checkpoint. Nothing was stored.
            CorruptBatch, DecodeError: if a record cannot be read; the records before it were stored before.
            OffsetOutOfRange: if records were deleted before they were folded, and they may not be passed by.
        """
        count, log_position = 0, self.build.log_position
        max_records = self._options.max_records if most is None else min(most, self._options.max_records)
        self._room.clear()
        self._is_folding = True
        self._state.begin()
        try:
            now_s = self._store.clock.monotonic
            self._until_s = min(now_s() + _LONGEST_SECONDS, until_s)
            while log_position < end and count < max_records and self._has_batch(is_first=not count):
                first, batch = self._batches.popleft()
                if first >= end:
                    self._batches.appendleft((first, batch))
                    break
                room = min(bisect_left(batch.offsets, end - first + batch.offsets[0]), max_records - count)
                folded = self._fold(first, batch, room)
                count += folded
                if folded < len(batch):
                    shift = first - batch.offsets[0]
                    rest = batch.slice(folded, len(batch))
                    self._batches.appendleft((rest.offsets[0] + shift, rest))
                is_full = self._room.is_full or self._state.cached_bytes > MOST_CACHED_BYTES
                if is_full or now_s() >= self._until_s or not may_go_on():
                    break
        finally:
            self._is_folding = False
            self._state.end()
        log_position = self._batches[0][0] if self._batches else self._reader.log_position
        check_lock()
        if log_position != self.build.log_position or switches:
            self._commit(log_position, switches=switches and log_position >= end)
        return count

    def _has_batch(self, *, is_first: bool) -> bool:
        """Read more when there is none; an error waits until the records before it are stored."""
        if not self._batches:
            log_position = self._reader.log_position
            try:
                self._batches.extend(self._reader.read())
            except unless_interrupted(EventLogError) as error:
                if is_first and self._reader.log_position == self.build.log_position:
                    if isinstance(error, (DecodeError, CorruptBatch)):
                        error._reword(advice=_ADVICE)
                    error.add_note(
                        f"raised in projection {self._row.name!r}, whose checkpoint is {self.build.log_position}: it "
                        "cannot go on before it can read this record."
                    )
                    raise
            if (lost := self._reader.lost(self._deletions)) is not None:
                self._pass_by(*lost, log_position, is_first=is_first)
        return bool(self._batches)

    def _pass_by(self, topic: str, deletion: Deletion, log_position: int, *, is_first: bool) -> None:
        """Go on without deleted records, or go back to where they were, and raise once the others are stored."""
        first, end = self._store.bounds_of([(deletion.topic_id, deletion.partition)])[0]
        error = OffsetOutOfRange(
            f"projection {self._row.name!r} is at position {log_position}, and records of "
            f"{topic}[{deletion.partition}] from there to {deletion.log_position} were deleted before it folded them: "
            f"offsets {first} to {end} ({end} exclusive) are left.",
            stored="Nothing was folded, and the checkpoint is unchanged.",
            advice='Make the projection with on_out_of_range="earliest" to go on without them; or call rebuild(), '
            "which folds what is still there into a new state.",
            first=first,
            end=end,
            topic=topic,
            partition=deletion.partition,
            projection=self._row.name,
        )
        if self._options.on_out_of_range == "earliest":
            tell(
                RECORDS_GONE,
                error=error.what,
                projection=self._row.name,
                topic=topic,
                partition=deletion.partition,
                on_out_of_range=self._options.on_out_of_range,
            )
            self._deletions = max(one.number for one in self._reader.deletions)
            return
        self._batches.clear()
        self._reader.log_position = log_position
        if is_first and log_position == self.build.log_position:
            raise error

    def _fold(self, first: int, batch: RecordBatch[Any, Any], most: int) -> int:
        """Give up to `most` records to the function, fewer when it is full or its time is over; their number."""
        part = batch.slice(0, most)
        fold, state, room = self._options.fold, self._state, self._room
        now_s = self._store.clock.monotonic
        record, records, left, looked_s = None, iter(part.records()), len(part), now_s()
        try:
            while left > 0 and not room.is_full and looked_s < self._until_s:
                for record in islice(records, self._at_once):
                    fold(state, record)
                    if room.is_full:
                        break
                left -= self._at_once
                before_s, looked_s = looked_s, now_s()
                if looked_s - before_s > _SLOW_SECONDS:
                    self._at_once = 1
                elif self._at_once < _MOST_AT_ONCE:
                    self._at_once *= 2
        except unless_interrupted(Exception) as error:
            assert record is not None
            log_position = first - batch.offsets[0] + record.offset
            error.add_note(
                f"raised in projection {self._row.name!r}, at the record of position {log_position}: offset "
                f"{record.offset} of {record.topic}[{record.partition}]. Nothing of its transaction was stored; the "
                f"checkpoint is {self.build.log_position}."
            )
            raise
        return 0 if record is None else bisect_right(part.offsets, record.offset)

    def _commit(self, log_position: int, *, switches: bool) -> None:
        checkpoint = FoldCheckpoint(
            self._row,
            self.build,
            log_position,
            is_rebuild=self._is_rebuild,
            switches=switches,
            deletions=self._deletions,
        )
        changes = self._state._changes()
        try:
            self.is_switched = self._store.commit_fold(checkpoint, changes if changes.writes else None)
        except BaseException as error:
            self.is_overtaken = isinstance(error, ConflictError) and not is_interruption(error)
            raise
        self.build = self.build._replace(log_position=log_position, deletions=self._deletions)
        self._state._committed()

    def free(self) -> None:
        """
        Let go of the state, which calls us: only the garbage collector would find that circle, and visit every row.

        The folder is of no further use.
        """
        del self._state

    def _check(self) -> None:
        if not self._is_folding:
            raise TransactionEnded(
                f"the state of projection {self._row.name!r} was used outside of its function.",
                stored="This call has changed nothing.",
                advice="Read it by projection.state.",
                projection=self._row.name,
            )


def fold_of(function: object) -> Fold:
    """
    The function to call for each record, of a function, an object or a class with `apply(state, record)`.

    Raises:
        TypeError: if it is none of these.
    """
    if isinstance(function, type):
        function = function()
    apply = getattr(function, "apply", None)
    fold = function if apply is None else apply
    if not callable(fold):
        raise TypeError(
            f"a projection folds by a function(state, record), or by an object or class with apply(state, record), "
            f"not by {function!r}. Nothing was stored."
        )
    check_function("function", fold, "Nothing was stored.")
    return cast("Fold", fold)
