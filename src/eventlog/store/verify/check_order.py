"""
Checking the order of the log: every row leads to a batch, and positions are dense but for what was deleted.

That every batch has its row is checked where the batches are (`store/verify/verify.py`).
"""

from __future__ import annotations

from eventlog.batches.format import NO_LOG_POSITION, read_header
from eventlog.errors import EventLogError
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.records.log_order import END_POSITION_KEY, OLD_POSITIONS_KEY, position_of
from eventlog.store.rows.tables import split_batch_key
from eventlog.store.verify.walk import Problems, SnapshotReader


class OrderCheck:
    """
    Checks each row of the order.

    Rows come by position. Below the stored end, positions may be missing: their batches were deleted. Above it none
    may be.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._end = 0

    def unsound(self, key: bytes, error: BaseException) -> None:
        """Note a row that is none."""
        self._problems.add(f"table 'order', row {key.hex()}: it is not what was written ({error}).")

    def row(self, look: SnapshotReader, key: bytes, data: bytes) -> None:
        """Look at one row."""
        last = position_of(key)
        name = f"the order at position {last}"
        split_batch_key(data)
        batch = look.get(BATCHES, data)
        if batch is None:
            self._problems.add(f"{name}: it leads to a batch that is not there.")
            self._end = last + 1
            return
        try:
            header = read_header(batch, name)
        except EventLogError:
            self._end = last + 1  # found where the batches are checked
            return
        first = last - header.span + 1
        if header.log_position not in {first, NO_LOG_POSITION}:
            self._problems.add(
                f"{name}: it leads to a batch that begins at position {header.log_position}, not {first}."
            )
        elif header.log_position == NO_LOG_POSITION and _is_behind(last, look.log_position(OLD_POSITIONS_KEY)):
            self._problems.add(f"{name}: it leads to a batch that knows no position, where all know theirs.")
        elif first < self._end:
            self._problems.add(
                f"{name}: its batch begins at position {first}, and the one before it ends at {self._end}."
            )
        elif first > self._end and _is_behind(first - 1, look.log_position(END_POSITION_KEY)):
            self._problems.add(f"{name}: no batch has the positions from {self._end} to {first}, exclusive.")
        self._end = last + 1


def _is_behind(log_position: int, end: int | None) -> bool:
    """Whether a position lies behind a stored end; nothing does when that is damaged."""
    return end is not None and log_position >= end
