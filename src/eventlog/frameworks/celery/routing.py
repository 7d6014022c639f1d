"""
Exchanges, queues and bindings: the rows of one state, which all processes share.

A queue is *shared*, with a topic of its own from which workers take jobs; or it is *private* to one connection, as
those of remote control and of events are. A private queue has no topic: what goes to it is stored once, in the topic of
its exchange, and read there from the moment on that is noted with the queue. So broadcasts cost one record for any
number of workers, and a program that was killed leaves a row behind, and no messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kombu.transport.virtual.exchange import TopicExchange

from eventlog import EventLog, StateView, Transaction

STATE: Final = "kombu"
PRIVATE_SECONDS: Final = 600.0
"""How long a private queue that nobody reads is taken for one that somebody reads."""

Key = tuple[Any, ...]
Row = dict[str, Any]

_pattern = TopicExchange(None).key_to_pattern


class Routing:
    """The exchanges, queues and bindings of one log."""

    def __init__(self, log: EventLog, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms
        with log.transaction() as transaction:
            self._rows(transaction)
        self._view: StateView[Key, Row] = log.state(STATE, key=tuple, value="json")

    @staticmethod
    def _rows(transaction: Transaction) -> Any:
        return transaction.state(STATE, key=tuple, value="json")

    def _put(self, key: Key, row: Row) -> None:
        if self._view.get(key) != row:
            self._log.transact(lambda transaction: self._rows(transaction).put(key, row))

    # -- exchanges -----------------------------------------------------------------------------------------------

    def exchange_type(self, exchange: str) -> str | None:
        """The type of an exchange; None if nobody has declared it."""
        row = self._view.get(("exchange", exchange))
        return None if row is None else str(row["type"])

    def declare_exchange(self, exchange: str, kind: str) -> None:
        """Make an exchange known."""
        self._put(("exchange", exchange), {"type": kind})

    def delete_exchange(self, exchange: str) -> None:
        """Forget an exchange and its bindings."""

        def delete(transaction: Transaction) -> None:
            rows = self._rows(transaction)
            for key in [("exchange", exchange), *rows.keys(prefix=("binding", exchange))]:
                rows.delete(key)

        self._log.transact(delete)

    # -- queues --------------------------------------------------------------------------------------------------

    def queue(self, name: str) -> Row | None:
        """The row of a queue; None if nobody has declared it."""
        return self._view.get(("queue", name))

    def declare_shared(self, name: str, *, auto_delete: bool) -> None:
        """Make a shared queue known."""
        if self.queue(name) is None:
            self._put(("queue", name), {"priorities": [0], "auto_delete": auto_delete})

    def add_priority(self, name: str, priority: int) -> None:
        """Note that a queue has messages of a priority."""

        def add(transaction: Transaction) -> None:
            rows = self._rows(transaction)
            row: Row = rows.get(("queue", name)) or {"priorities": [0], "auto_delete": False}
            rows.put(("queue", name), {**row, "priorities": sorted({*row["priorities"], priority})})

        self._log.transact(add)

    def declare_private(self, name: str, owner: str, starts: Mapping[str, int]) -> Row:
        """
        Make a private queue known, which begins at some offsets of the topics of exchanges.

        One that the same owner has declared goes on where it began. What dead owners have left is forgotten.
        """
        until_ms = self._now_ms() + round(PRIVATE_SECONDS * 1000)

        def declare(transaction: Transaction) -> Row:
            rows = self._rows(transaction)
            for key, other in list(rows.items(prefix=("queue",))):
                if other.get("until_ms", until_ms) < self._now_ms():
                    _delete_queue(rows, key[1])
            known: Row | None = rows.get(("queue", name))
            if known is None or known.get("owner") != owner:
                _delete_queue(rows, name)
                known = {"starts": {}}
            row: Row = {"owner": owner, "starts": {**starts, **known["starts"]}, "until_ms": until_ms}
            rows.put(("queue", name), row)
            return row

        return self._log.transact(declare)

    def refresh(self, name: str) -> None:
        """Note that somebody reads a private queue."""

        def refresh(transaction: Transaction) -> None:
            rows = self._rows(transaction)
            if (row := rows.get(("queue", name))) is not None:
                rows.put(("queue", name), {**row, "until_ms": self._now_ms() + round(PRIVATE_SECONDS * 1000)})

        self._log.transact(refresh)

    def delete_queue(self, name: str) -> None:
        """Forget a queue and its bindings."""
        if self.queue(name) is not None:
            self._log.transact(lambda transaction: _delete_queue(self._rows(transaction), name))

    # -- bindings ------------------------------------------------------------------------------------------------

    def bind(self, exchange: str, queue: str, routing_key: str) -> None:
        """Bind a queue to an exchange."""
        self._put(("binding", exchange, queue, routing_key), {})

    def unbind(self, exchange: str, queue: str, routing_key: str) -> None:
        """End a binding."""
        key = ("binding", exchange, queue, routing_key)
        if key in self._view:
            self._log.transact(lambda transaction: self._rows(transaction).delete(key))

    def bindings(self, exchange: str | None = None) -> list[tuple[str, str, str]]:
        """Exchange, queue and routing key of each binding."""
        prefix = ("binding",) if exchange is None else ("binding", exchange)
        return [(key[1], key[2], key[3]) for key in self._view.keys(prefix=prefix)]

    def routes(self, exchange: str, routing_key: str) -> tuple[list[str], bool]:
        """The shared queues that get a message, and whether private ones do."""
        if not exchange:
            row = self.queue(routing_key)
            is_private = row is not None and "owner" in row
            return ([] if is_private else [routing_key]), is_private
        kind = self.exchange_type(exchange) or "direct"
        names = dict.fromkeys(queue for _, queue, bound in self.bindings(exchange) if matches(kind, bound, routing_key))
        shared, is_private = [], kind == "fanout"
        for name in names:
            row = self.queue(name)
            if row is None or "owner" not in row:
                shared.append(name)
            elif row["until_ms"] >= self._now_ms():
                is_private = True
        return shared, is_private


def matches(kind: str, bound: str, routing_key: str) -> bool:
    """Whether an exchange of some type sends a message to a queue that is bound by a routing key."""
    if kind == "fanout":
        return True
    if kind == "topic":
        return re.match(_pattern(bound), routing_key) is not None
    return bound == routing_key


def _delete_queue(rows: Any, name: str) -> None:
    if rows.delete(("queue", name)):
        for key in [key for key in rows.keys(prefix=("binding",)) if key[2] == name]:
            rows.delete(key)
