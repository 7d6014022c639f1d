"""
What a log keeps of the configs of groups: a state of its own, which no user's program sees or changes.

    key               value
    name of a group   {config: value}

Any thread may use `GroupConfigs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eventlog.clients.state.view import StateView, open_named_state, stored_codecs
from eventlog.clients.transaction.attempts import transact
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import KAFKA_PREFIX, MAX_TRANSACTION_BYTES

STATE: Final = f"{KAFKA_PREFIX}groups"
_ATTEMPTS: Final = 20


class _Transaction(EmbeddedTransaction):
    """A transaction that opens the state of this module."""

    def groups(self) -> Any:
        """The state, made if it is missing."""
        known = self._states.get(STATE)
        if known is None:
            known = self._states[STATE] = self._new_state(*open_named_state(self._backend, STATE, str, "msgpack"))
        return known


class GroupConfigs:
    """The configs of groups that a log keeps."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._view: StateView[Any, Any] | None = None

    def _rows(self) -> StateView[Any, Any] | None:
        """The state; None as long as nothing was ever stored."""
        self._log._check_open()
        if self._view is None:
            store = self._log._store
            row = store.state(STATE)
            if row is not None:
                self._view = StateView(store, row, *stored_codecs(row, str, "msgpack"), check=self._log._check_open)
        return self._view

    def of(self, group: str) -> dict[str, str]:
        """What is set of a group."""
        rows = self._rows()
        found: dict[str, str] = {} if rows is None else rows.get(group) or {}
        return found

    def names(self) -> list[str]:
        """The groups of which something is set."""
        rows = self._rows()
        return [] if rows is None else [group for group, configs in rows.items() if configs]

    def change(self, group: str, function: Callable[[dict[str, str]], dict[str, str]]) -> dict[str, str]:
        """
        Change what is set of a group; durable when it returns.

        Blocks for a commit. The function may be called several times.
        """
        log = self._log
        log._check_open()

        def begin() -> _Transaction:
            return _Transaction(log._store, log._known_topic, max_bytes=MAX_TRANSACTION_BYTES)

        def changed(tx: Any) -> dict[str, str]:
            rows = tx.groups()
            configs = function(dict(rows.get(group) or {}))
            rows[group] = configs
            return configs

        return transact(begin, changed, _ATTEMPTS)
