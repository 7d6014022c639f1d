"""
Results of tasks, kept in a state of the log until they expire.

A second state has the times at which they expire, in order, so pruning looks at nothing else. Both are written in the
transaction that stores a result, of a log as of one for asyncio.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs

EXPIRES = "expires_ms"
"""The field of a row that has the time from which on it may be pruned; None keeps it."""


class HasStates(Protocol):
    """A transaction, or that of asyncio."""

    def state(self, name: str, *, key: Any = None, value: Any = None) -> Any:
        """Open a state."""
        ...


@attrs.frozen
class ResultTable:
    """The results of one kind of tasks: a state of rows by id, each a `dict`, in the codec `value`."""

    name: str
    value: str

    def rows(self, transaction: HasStates) -> Any:
        """The state of the rows, in a transaction."""
        return transaction.state(self.name, key=str, value=self.value)

    def put(self, transaction: HasStates, key: str, row: dict[str, Any], *, expires_ms: int | None = None) -> None:
        """Store a row, to be pruned after a time, in milliseconds since 1970."""
        self.rows(transaction)[key] = {**row, EXPIRES: expires_ms}
        if expires_ms is not None:
            self._times(transaction)[(expires_ms, key)] = True

    def prune(self, transaction: HasStates, now_ms: int, most: int = 1000) -> int:
        """Delete rows that have expired, `most` of them at most, and return how many times were looked at."""
        rows, times = self.rows(transaction), self._times(transaction)
        expired = list(times.keys(end=(now_ms + 1,), max_rows=most))
        for time_and_key in expired:
            row = rows.get(time_and_key[1])
            if row is not None and row[EXPIRES] is not None and row[EXPIRES] <= now_ms:  # else stored again since
                rows.delete(time_and_key[1])
            times.delete(time_and_key)
        return len(expired)

    def _times(self, transaction: HasStates) -> Any:
        return transaction.state(f"{self.name}.expiry")
