"""
States that a transaction has used before they are made: a program with an event loop may not wait for their commit.

Such a state has no rows. It is made when the transaction commits; if somebody else has made it meanwhile, the commit
compares what was read, nothing, with the rows that are there then.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from eventlog.backend.states import Row, StateRows, StoredState

_UNMADE_ID = -1
"""No state of a log has an id below zero."""
_NO_UUID = UUID(int=0)


class UnmadeStates:
    """
    The states of a log, and those that one transaction is to make.

    It stands for the backend where a state is opened, and where the rows of an unmade one are read.
    """

    def __init__(self, backend: StateRows) -> None:
        self._backend = backend
        self._rows: dict[str, StoredState] = {}

    def state(self, name: str) -> StoredState | None:
        """The state of that name, made or not."""
        return self._rows.get(name) or self._backend.state(name)

    def ensure_state(self, name: str, key: dict[str, object], value: dict[str, object]) -> StoredState:
        """Note that a state is to be made with these codecs."""
        row = self._rows[name] = StoredState(name, _UNMADE_ID, _NO_UUID, key, value, 0)
        return row

    def read_state_row(self, state: StoredState, key: bytes) -> None:
        """Return None: there is no row."""

    def read_state_rows(self, state: StoredState, keys: Iterable[bytes]) -> list[bytes | None]:  # noqa: ARG002
        """The same for several keys."""
        return [None for _ in keys]

    def scan_state(self, *_: object, **__: object) -> tuple[list[Row], bool]:
        """No rows, and these are all of them."""
        return [], True

    def check_state(self, state: StoredState) -> None:
        """Raise nothing: it is not deleted."""
