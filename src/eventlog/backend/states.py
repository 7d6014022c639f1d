"""
States: keyed tables that change in transactions, and what a transaction has to have checked when it commits.

A state is a sorted map of bytes. Its keys sort as bytes; what they and the values mean is the clients' business
(`codecs/ordered.py`). A transaction reads at any time before its commit, and describes in `StateChanges` what it read
and what it writes. The commit compares what was read with what is stored then, so that transactions have the effect of
one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import msgpack

from eventlog.errors import UnknownState
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from hashlib import blake2b

Row = tuple[bytes, bytes]
"""A key of a state and its value."""

_DIGEST_BYTES = 16
_PACK_BUFFER_BYTES = 4096
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class StoredState(NamedTuple):
    """
    A state as it was stored when somebody read it.

    `id` is never given to another state of the log, `uuid` to no other state of any log. `key` and `value` describe
    codecs.
    """

    name: str
    id: int
    uuid: UUID
    key: dict[str, object]
    value: dict[str, object]
    created_ms: int

    def __hash__(self) -> int:
        """States with equal ids are few; the descriptions of codecs have no hash."""
        return self.id


class RowDigest:
    """A digest of the rows of a scan, in their order."""

    __slots__ = ("_hash", "_pack")

    def __init__(self, state: blake2b | None = None) -> None:
        if state is None:
            from eventlog.digests import blake2b  # here, since most programs scan nothing, and hashlib loads OpenSSL

            state = blake2b(digest_size=_DIGEST_BYTES)
        self._hash = state
        self._pack = msgpack.Packer(buf_size=_PACK_BUFFER_BYTES).pack

    def copy(self) -> RowDigest:
        """Another digest of the same rows."""
        return RowDigest(self._hash.copy())

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; each is framed, so that no other rows have the same bytes."""
        self._hash.update(b"".join(map(self._pack, rows)))

    def digest(self) -> bytes:
        """The digest of all rows so far."""
        return self._hash.digest()


class Scan(NamedTuple):
    """A range that a transaction has read: the number of its rows, and their digest (`RowDigest`)."""

    first: bytes
    end: bytes | None
    """Exclusive; None: no end."""
    is_reversed: bool
    count: int  # type: ignore[assignment]
    digest: bytes


class StateChanges(NamedTuple):
    """
    What one transaction has read of a state and writes to it, by key.

    None in `reads` is a row that was not there, None in `writes` one to be removed.
    """

    state: StoredState
    reads: Mapping[bytes, bytes | None] = _NOTHING
    scans: Sequence[Scan] = ()
    writes: Mapping[bytes, bytes | None] = _NOTHING


def unknown_state(name: str) -> UnknownState:
    """The error for a state that the log does not have."""
    return UnknownState(
        f"the log has no state {name!r}.",
        stored="Nothing was changed.",
        advice=f"log.states() lists the states of the log; tx.state({name!r}) in a transaction makes one.",
        state=name,
    )


class StateRows(Protocol):
    """The states that a log has, and their rows."""

    def state(self, name: str) -> StoredState | None:
        """The state of that name."""
        ...

    def ensure_state(self, name: str, key: dict[str, object], value: dict[str, object]) -> StoredState:
        """
        The state of that name, created with these codecs if there is none.

        A new state is durable when this returns. Blocks for a commit.

        Raises:
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def check_state(self, state: StoredState) -> None:
        """
        Raise an error if a state was deleted since it was read.

        Raises:
            UnknownState: the state was deleted, whether or not another one has its name.
        """
        ...

    def read_state_row(self, state: StoredState, key: bytes) -> bytes | None:
        """The value of a key; None when there is no such row, or no such state (see `check_state`)."""
        ...

    def read_state_rows(self, state: StoredState, keys: Iterable[bytes]) -> list[bytes | None]:
        """The same for several keys, of one snapshot."""
        ...

    def scan_state(
        self,
        state: StoredState,
        first: bytes,
        end: bytes | None,
        *,
        is_reversed: bool = False,
        max_bytes: int,
        max_rows: int | None = None,
    ) -> tuple[list[Row], bool]:
        """
        The rows from key `first` up to `end` (exclusive; None: no end), and whether these are all of the range.

        All are of one snapshot. Reversed, the last row comes first.

        Args:
            max_bytes: bound of the keys and values together; the first row comes even if it is larger.
            max_rows: bound of their number.

        Raises:
            UnknownState: the state was deleted.
        """
        ...


class StateBackend(StateRows, Protocol):
    """The states of a log."""

    def states(self) -> list[StoredState]:
        """All states, by name; those of projections are among them."""
        ...

    def delete_state(self, name: str) -> None:
        """
        Delete a state with its rows.

        That is durable when this returns. Transactions that have used the state and commit later get `UnknownState`.
        Blocks for a commit.

        Raises:
            UnknownState: there is none of that name. Nothing was changed.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def check_state_changes(self, changes: Iterable[StateChanges]) -> None:
        """
        Compare what a transaction has read, and did not change, with one snapshot.

        For transactions that write nothing: it takes no lock and waits for no writer, and when it returns, the
        transaction has the effect of one at the moment of the snapshot.

        Raises:
            ConflictError: a row or a range differs.
            UnknownState: a state was deleted.
        """
        ...
