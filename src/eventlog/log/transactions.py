"""The transactions of a log, and the states that they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from eventlog.clients.state_view import StateView, view
from eventlog.clients.transaction import MAX_TRANSACTION_BYTES, Transaction, transact
from eventlog.log.part import LogPart
from eventlog.options import check_int, check_state_name
from eventlog.store.states import DeleteState, state_rows

T = TypeVar("T")


class LogTransactions(LogPart):
    """Is what a log does all or nothing."""

    def transaction(self, *, max_bytes: int = MAX_TRANSACTION_BYTES) -> Transaction:
        """
        A transaction: records, offsets and state, stored in one commit or not at all.

        What it promises is described at `Transaction`.

        Args:
            max_bytes: bound of what it holds in memory until the commit (default 64 MiB): records, rows of state,
                and what it read of them. Beyond it, `TransactionTooLarge`.

        Raises:
            ValueError, TypeError: for an option out of its bounds.
        """
        self._check_open()
        check_int("max_bytes", max_bytes, least=1)
        return Transaction(self._store, self._known_topic, max_bytes=max_bytes)

    def transact(
        self, function: Callable[[Transaction], T], *, attempts: int = 10, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> T:
        """
        Calls a function with a transaction and commits it; again with another one, after a `ConflictError`.

        Waits between two attempts, longer each time, by chance more or less.

        Args:
            function: is given the transaction. It may be called several times, so it should change nothing but the
                transaction.
            attempts: the most calls (default 10).
            max_bytes: as for `transaction()`.

        Returns:
            What the function returned in the attempt that was stored.

        Raises:
            ConflictError: if the last attempt was refused too. Nothing was stored.
            Exception: what the function raises, or a commit for another reason. Nothing was stored.

        Example:
            >>> def deposit(tx: eventlog.Transaction) -> int:
            ...     balances = tx.state("balances")
            ...     balances["alice"] = balance = balances.get("alice", 0) + 5
            ...     return balance
            >>> with eventlog.open(":memory:") as log:
            ...     log.transact(deposit), log.transact(deposit)
            (5, 10)
        """
        check_int("attempts", attempts, least=1)
        return transact(lambda: self.transaction(max_bytes=max_bytes), function, attempts)

    def state(self, name: str, *, key: Any = None, value: Any = None) -> StateView[Any, Any]:
        """
        Reads a state that transactions have written: the newest commit at each call.

        Args:
            name: the state's name.
            key: the type of its keys, as for `Transaction.state`; None takes what is stored.
            value: the codec of its values, likewise.

        Raises:
            UnknownState: if the log has none of that name.
            StateMismatch: if it is stored with other codecs.
        """
        self._check_open()
        return view(self._store, name, key, value, check=self._check_open)

    def states(self) -> list[str]:
        """The names of all states, sorted."""
        self._check_open()
        return [row.name for row in state_rows(self._store.environment)]

    def delete_state(self, name: str) -> None:
        """
        Deletes a state with all its rows.

        Transactions that use it and are not committed yet get `UnknownState`.

        Raises:
            UnknownState: if there is none. Nothing was deleted.
        """
        self._check_open()
        self._store.run(DeleteState(check_state_name(name)))
