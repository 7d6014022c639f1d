"""
What a log keeps of users and of access control lists: a state of its own, which no user's program sees or changes.

    key                               value
    ("user", name, mechanism)         [salt, iterations, stored key, server key]
    ("acl", digest of the rule)       [type, pattern type, name, principal, host, operation, permission]
    ("secret",)                       random bytes, from which the salts of users come that there are not
    ("version",)                      a number, one more with each change

A listener looks at the version before it decides, and reads the rest when it has changed; so a change holds at once for
the listeners of all processes. Any thread may use a `Security`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgpack

from eventlog.clients.state.view import StateView, open_named_state, stored_codecs
from eventlog.clients.transaction.attempts import transact
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.kafka.security.acls import Row
from eventlog.kafka.security.sasl.passwords import HASHES, Credential
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import KAFKA_PREFIX, MAX_TRANSACTION_BYTES

T = TypeVar("T")

STATE: Final = f"{KAFKA_PREFIX}security"
_VERSION: Final = ("version",)
_SECRET: Final = ("secret",)
_SECRET_BYTES: Final = 32
_ATTEMPTS: Final = 20


class _Transaction(EmbeddedTransaction):
    """A transaction that opens the state of this module."""

    def security(self) -> Any:
        """The state, made if it is missing."""
        known = self._states.get(STATE)
        if known is None:
            known = self._states[STATE] = self._new_state(*open_named_state(self._backend, STATE, tuple, "msgpack"))
        return known


class Changes:
    """One change of what is stored, in a transaction."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def put_credential(self, name: str, credential: Credential) -> None:
        """Store what is kept of a password."""
        self._rows["user", name, credential.mechanism] = list(credential[1:])
        if _SECRET not in self._rows:
            self._rows[_SECRET] = secrets.token_bytes(_SECRET_BYTES)

    def delete_credential(self, name: str, mechanism: str) -> bool:
        """Delete what is kept of a password; whether there was anything."""
        return self._delete(("user", name, mechanism))

    def put_acl(self, row: Row) -> None:
        """Store a rule."""
        self._rows["acl", _digest(row)] = list(row)

    def delete_acl(self, row: Row) -> bool:
        """Delete a rule; whether it was there."""
        return self._delete(("acl", _digest(row)))

    def acls(self) -> list[Row]:
        """All rules."""
        return _acls(self._rows)

    def _delete(self, key: tuple[Any, ...]) -> bool:
        is_there = key in self._rows
        if is_there:
            del self._rows[key]
        return is_there


class Security:
    """What a log keeps of users and of access control lists."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._view: StateView[Any, Any] | None = None
        self._version_key = b""

    def _rows(self) -> StateView[Any, Any] | None:
        """The state; None as long as nothing was ever stored."""
        self._log._check_open()
        if self._view is None:
            store = self._log._store
            row = store.state(STATE)
            if row is not None:
                key, value = stored_codecs(row, tuple, "msgpack")
                self._view = StateView(store, row, key, value, check=self._log._check_open)
                self._version_key = key.encode(_VERSION)
        return self._view

    # -- reading ---------------------------------------------------------------------------------------------

    def version(self) -> bytes | None:
        """The version as it is stored: other bytes after each change; None as long as nothing was ever stored."""
        rows = self._rows()
        return None if rows is None else self._log._store.read_state_row(rows._row, self._version_key)

    def secret(self) -> bytes | None:
        """Random bytes that stay the same from the first user on."""
        rows = self._rows()
        return None if rows is None else rows.get(_SECRET)

    def credential(self, name: str, mechanism: str) -> Credential | None:
        """What is kept of a user's password for a mechanism."""
        rows = self._rows()
        if rows is None or len(name.encode("utf-8", "surrogatepass")) > MOST_NAME_BYTES:
            return None
        found = rows.get(("user", name, mechanism))
        return None if found is None else Credential(mechanism, *found)

    def credentials(self) -> dict[str, list[Credential]]:
        """What is kept of all passwords, by the names of the users."""
        users: dict[str, list[Credential]] = {}
        rows = self._rows()
        if rows is not None:
            for (_, name, mechanism), found in rows.items(prefix=("user",)):
                if mechanism in HASHES:
                    users.setdefault(name, []).append(Credential(mechanism, *found))
        return users

    def acls(self) -> tuple[bytes | None, list[Row]]:
        """All rules, and the version that they are of."""
        rows = self._rows()
        if rows is None:
            return None, []
        while True:
            version = self.version()
            found = _acls(rows)
            if self.version() == version:  # a long scan reads several commits
                return version, found

    # -- changing --------------------------------------------------------------------------------------------

    def change(self, function: Callable[[Changes], T]) -> T:
        """
        Change what is stored, all or nothing; durable when it returns.

        Blocks for a commit. The function may be called several times.
        """
        log = self._log
        log._check_open()

        def begin() -> _Transaction:
            return _Transaction(log._store, log._known_topic, max_bytes=MAX_TRANSACTION_BYTES)

        def changed(tx: Any) -> T:
            rows = tx.security()
            outcome = function(Changes(rows))
            rows[_VERSION] = rows.get(_VERSION, 0) + 1
            return outcome

        return transact(begin, changed, _ATTEMPTS)


MOST_NAME_BYTES: Final = 249
"""The most bytes of a user's name."""


def _acls(rows: Any) -> list[Row]:
    return sorted(Row(*found) for found in rows.values(prefix=("acl",)))


def _digest(row: Iterable[Any]) -> bytes:
    """A short key of a rule: the rule itself may be longer than a key of a state."""
    return hashlib.blake2b(msgpack.packb(list(row)), digest_size=16).digest()
