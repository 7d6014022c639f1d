"""The transactions of a log, and the states that they write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, overload

from eventlog.clients.consumer.consumer import Consumer
from eventlog.clients.state.view import StateView, view
from eventlog.clients.topic.topic import Topic
from eventlog.clients.transaction.processor import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    Function,
    LentTransaction,
    OnFailure,
    Processor,
)
from eventlog.clients.transaction.transaction import MAX_TRANSACTION_BYTES, Transaction, transact
from eventlog.groups.assignors import Assignor
from eventlog.log.part import LogPart
from eventlog.options import PROJECTION_PREFIX, Start, check_group_name, check_int, check_state_name

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")


class LogTransactions(LogPart):
    """Is what a log does all or nothing."""

    def consumer(self, *topics: Any, **options: Any) -> Consumer[Any, Any]:
        """A consumer of some topics."""
        raise NotImplementedError

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
        Calls a function with a transaction and commits it; again with another one, if others were faster.

        That is so after a `ConflictError`, when something that it read was changed, and after a `WrongVersion`, when
        a key has got records that it did not know of. Waits between two attempts, longer each time, and nobody just as
        long as others.

        Args:
            function: is given the transaction. It may be called several times, so it should change nothing but the
                transaction, and look anew at what it decides by.
            attempts: the most calls (default 10).
            max_bytes: as for `transaction()`.

        Returns:
            What the function returned in the attempt that was stored.

        Raises:
            ConflictError, WrongVersion: if the last attempt was refused too. Nothing was stored.
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

    def processor(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        function: Function,
        group: str,
        start: Start = "earliest",
        max_records: int = DEFAULT_MAX_RECORDS,
        attempts: int = DEFAULT_ATTEMPTS,
        on_failure: OnFailure | None = None,
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> Processor:
        """
        A processor: calls a function for each record of some topics, exactly once in effect.

        What it promises is described at `Processor`. Make several, in threads or processes, to share the work.

        Args:
            topics: names, `Topic`s, or patterns, as for `consumer()`; at least one.
            function: is given a transaction and a record. It sends and writes with the transaction, and does not end
                it. It may be called again for the same record, so it should change nothing else.
            group: keeps the positions under this name, and shares the partitions with its other members.
            start: where to begin when the group has no committed offset, as for `consumer()` (default "earliest").
            max_records: the most records in one transaction (default 100). More of them cost fewer syncs; a failure
                repeats more, and `max_poll_interval` has to be enough for all.
            attempts: how often a record is tried before it is given up (default 5).
            on_failure: is given another transaction, the record and its last exception when it is given up, and the
                processor goes on behind it: to send it to a topic of dead letters, say. Without it (default) the
                exception is raised.
            max_bytes: as for `transaction()`.
            assignor, instance_id, session_timeout, max_poll_interval: as for `consumer()`.

        Raises:
            UnknownTopic, InstanceInUse, GroupMismatch, OffsetOutOfRange: as `consumer()`. Nothing was made.
            ValueError, TypeError: for an option out of its bounds. Nothing was made.
        """
        self._check_open()
        check_group_name(group)
        check_int("max_bytes", max_bytes, least=1)
        check_int("max_records", max_records, least=1)
        check_int("attempts", attempts, least=1)
        if not topics:
            raise ValueError("a processor reads at least one topic, and none is named. Nothing was made. Name it.")
        for called in (function,) if on_failure is None else (function, on_failure):
            if not callable(called):
                raise TypeError(f"function and on_failure are functions, not {called!r}. Nothing was made.")
        consumer = self.consumer(
            *topics,
            group=group,
            start=start,
            auto_commit=False,
            assignor=assignor,
            instance_id=instance_id,
            session_timeout=session_timeout,
            max_poll_interval=max_poll_interval,
        )
        return Processor(
            consumer,
            lambda: LentTransaction(self._store, self._known_topic, max_bytes=max_bytes),
            self._store.clock,
            function,
            max_records=max_records,
            attempts=attempts,
            on_failure=on_failure,
        )

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT]) -> StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object = None) -> StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT]) -> StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object = None) -> StateView[Any, Any]: ...
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
        names = [row.name for row in self._store.states()]
        return [name for name in names if not name.startswith(PROJECTION_PREFIX)]

    def delete_state(self, name: str) -> None:
        """
        Deletes a state with all its rows.

        Transactions that use it and are not committed yet get `UnknownState`.

        Raises:
            UnknownState: if there is none. Nothing was deleted.
        """
        self._check_open()
        self._store.delete_state(check_state_name(name))
