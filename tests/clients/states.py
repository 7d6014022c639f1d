"""What the tests of states share: as much of a transaction as a state knows, and what a state should give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventlog.backend.states import StateChanges
from eventlog.clients.projection.folded_state import FoldedState
from eventlog.clients.state.state import State, open_state, view
from eventlog.errors import TransactionEnded, TransactionTooLarge
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states.commands import ApplyStateChanges
from eventlog.store.store import Store


class Commit(CommitRequest):
    """The commit of a transaction's states."""

    def __init__(self, *changes: StateChanges) -> None:
        super().__init__()
        self.changes = changes

    def apply(self, writing: WriteTransaction) -> None:
        """Checks all, then writes all."""
        pieces = [ApplyStateChanges(change) for change in self.changes]
        for piece in pieces:
            piece.check(writing)
        for piece in pieces:
            piece.write(writing)


class Deal:
    """The part of a transaction that a state knows: its bound, its end, and one state."""

    def __init__(
        self,
        store: Store,
        name: str = "totals",
        *,
        key: Any = None,
        value: Any = None,
        room_bytes: int = 1 << 30,
        is_owned: bool = False,
    ) -> None:
        self.store = store
        self.room_bytes = room_bytes
        self.is_ended = False
        self.is_owned = is_owned
        self.state: State[Any, Any]
        opened = open_state(store, name, key, value)
        if is_owned:
            folded = FoldedState(store, *opened, charge=self.charge, check=self.check, is_empty=False)
            folded.begin()
            self.state = folded
        else:
            self.state = State(store, *opened, charge=self.charge, check=self.check)

    def charge(self, size_bytes: int) -> None:
        """Takes room for something."""
        assert size_bytes > 0
        if size_bytes > self.room_bytes:
            raise TransactionTooLarge("no room")
        self.room_bytes -= size_bytes

    def check(self) -> None:
        """Raises when the transaction has ended."""
        if self.is_ended:
            raise TransactionEnded("ended")

    def commit(self) -> None:
        """Stores everything or nothing; an owned state lives on."""
        self.is_ended = not self.is_owned
        try:
            self.store.run(Commit(self.state._changes()))
        except BaseException:
            self.state._rolled_back()
            raise
        self.state._committed()


Begin = Callable[..., Deal]


def stored(store: Store, name: str = "totals") -> dict[Any, Any]:
    """What everybody sees of a state."""
    return dict(view(store, name, None, None, check=lambda: None).items())


def fill(begin: Begin, rows: dict[Any, Any], **options: Any) -> None:
    """Commits some rows."""
    deal = begin(**options)
    for key, value in rows.items():
        deal.state[key] = value
    deal.commit()


def scanned(model: dict[Any, Any], chosen: dict[str, Any]) -> list[tuple[Any, Any]]:
    """What a scan of a dict gives."""
    first, end, prefix = chosen.get("first"), chosen.get("end"), chosen.get("prefix", "")
    rows = [
        (key, value)
        for key, value in sorted(model.items(), reverse=chosen["is_reversed"])
        if (first is None or first <= key) and (end is None or key < end) and key.startswith(prefix)
    ]
    return rows[: chosen.get("max_rows", len(rows))]
