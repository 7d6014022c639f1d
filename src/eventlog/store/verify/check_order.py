"""
The check of the log order: every row leads to a batch, and positions have no gaps except for deleted batches.

That every batch has its row is checked with the batches, in `verify.py`.
"""

from __future__ import annotations

from bisect import bisect_left

from eventlog.batches.format import decode
from eventlog.batches.header import NO_LOG_POSITION, PlacedRun, placed_runs, read_header, read_runs
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.records.log_order import END_POSITION_KEY, OLD_POSITIONS_KEY, position_of
from eventlog.store.rows.tables import split_batch_key
from eventlog.store.verify.walk import Problems, SnapshotReader, said


class OrderCheck:
    """
    Checks each row of the log order.

    Rows come by position. Below the stored end, positions may be missing, because their batches were deleted; above it
    none may be missing.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._end = 0
        self._part: SnapshotReader | None = None

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"table 'order', row {key.hex()}: it is not what was written ({said(error)}).")

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        last = position_of(key)
        is_first = self._part is not snapshot  # batches may have been merged since the last part of the walk
        self._part = snapshot
        name = f"the order at position {last}"
        split_batch_key(data)
        batch = snapshot.get(BATCHES, data)
        if batch is None:
            self._problems.add(f"{name}: it leads to a batch that does not exist.")
            self._end = last + 1
            return
        try:
            header = read_header(batch, name)
            offset = split_batch_key(data)[2]
            runs = placed_runs(read_runs(header, batch, name), offset - header.span + 1, offset + 1)
        except unless_interrupted(EventLogError):
            self._end = last + 1  # reported by the check of the batches
            return
        run = next((run for run in runs if run.end_position == last + 1), None)
        first = last - header.span + 1 if run is None else run.log_position
        if header.log_position != NO_LOG_POSITION and first not in {run.log_position for run in runs}:
            self._problems.add(
                f"{name}: it leads to a batch that begins at position {header.log_position}, not {first}."
            )
        elif header.log_position == NO_LOG_POSITION and _is_at_or_above(last, snapshot.log_position(OLD_POSITIONS_KEY)):
            self._problems.add(f"{name}: it leads to a batch without a position, where all batches have one.")
        elif (
            first < self._end and not is_first and (run is None or _first_record(batch, name, offset, run) < self._end)
        ):
            self._problems.add(
                f"{name}: its batch begins at position {first}, but the one before it ends at {self._end}."
            )
        elif first > self._end and _is_at_or_above(first - 1, snapshot.log_position(END_POSITION_KEY)):
            self._problems.add(f"{name}: no batch has the positions from {self._end} to {first}, exclusive.")
        self._end = last + 1


def _first_record(batch: bytes, name: str, last: int, run: PlacedRun) -> int:
    """The position of the first record of a run, which may stand behind offsets of records that are gone."""
    try:
        offsets = decode(batch, name).offsets(last)
    except unless_interrupted(EventLogError):
        return run.log_position  # reported by the check of the batches
    place = bisect_left(offsets, run.first)
    if place == len(offsets) or offsets[place] >= run.end:
        return run.end_position - 1  # a run without records ends where one was
    return run.log_position + offsets[place] - run.first


def _is_at_or_above(log_position: int, end: int | None) -> bool:
    """Whether a position is at or above a stored end; False if that is damaged."""
    return end is not None and log_position >= end
