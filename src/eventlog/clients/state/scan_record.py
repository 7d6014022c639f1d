"""What a transaction remembers of a scan while it runs."""

from __future__ import annotations

import sys

from eventlog.backend.states import Row, RowDigest, Scan


class ScanRecord:
    """
    The rows that a scan has handed out.

    Rows that were read ahead and never handed out do not count: `scan()` is of the range up to `last`, the key that
    was handed out last, whether its row is stored or the transaction's own.
    """

    __slots__ = ("_count", "_digest", "_end", "_final", "_first", "_is_reversed", "_rows", "is_whole", "last")

    def __init__(self, first: bytes, end: bytes | None, *, is_reversed: bool) -> None:
        self._first = first
        self._end = end
        self._is_reversed = is_reversed
        self._digest: RowDigest | None = None
        self._count = 0
        self._rows: list[Row] = []
        self._final: Scan | None = None
        self.last: bytes | None = None
        self.is_whole = False

    def take(self, rows: list[Row]) -> None:
        """Add the rows that were read next; all rows that were read before have been handed out."""
        if self._rows:
            self._digest = self._digest_with(self._rows)
            self._count += len(self._rows)
        self._rows = rows

    def end_here(self) -> None:
        """End the scan, and free the rows that were read ahead."""
        if sys.is_finalizing():
            return  # a scan that nobody closed: nothing can be imported any more, and nothing will be committed
        self._final = self.scan()
        self._rows = []
        self._digest = None

    def scan(self) -> Scan | None:
        """What the commit has to check; None when nothing was handed out."""
        if self._final is not None:
            return self._final
        first, end, rows = self._first, self._end, self._rows
        if not self.is_whole:
            last = self.last
            if last is None:
                return None
            if self._is_reversed:
                first, rows = last, [row for row in rows if row[0] >= last]
            else:
                end, rows = last + b"\0", [row for row in rows if row[0] <= last]
        return Scan(first, end, self._is_reversed, self._count + len(rows), self._digest_with(rows).digest())

    def _digest_with(self, rows: list[Row]) -> RowDigest:
        digest = RowDigest() if self._digest is None else self._digest.copy()
        digest.add(rows)
        return digest
