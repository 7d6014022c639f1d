"""
A view of a projection: each call reads the newest commit of the active build.

A rebuild replaces the state below a view, and removes the old rows. So a view reads which build is active before it
reads a row, and again when it found none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from eventlog.backend import Backend
from eventlog.backend.projections import unknown_projection
from eventlog.backend.states import Row, StoredState
from eventlog.clients.state.view import FIRST_CHUNK_BYTES, StateView, stored_codecs
from eventlog.errors import UnknownState
from eventlog.interruptions import unless_interrupted
from eventlog.records import K, V


class ProjectionView(StateView[K, V]):
    """
    A view of a projection's state.

    Args:
        key: what the caller declared of the keys, or None.
        value: likewise.
        check: is called first by each call on the view; raises when the log is closed.

    Raises:
        UnknownProjection: if the projection was deleted.
        StateMismatch: if it is stored with other codecs.
    """

    def __init__(self, store: Backend, name: str, key: Any, value: Any, *, check: Callable[[], None]) -> None:
        self._log = store
        self._projection = name
        self._declared = (key, value)
        self._seen = store.last_transaction()
        row = self._active()
        super().__init__(store, row, *stored_codecs(row, key, value), check=check)

    @property
    def name(self) -> str:
        """The projection's name."""
        return self._projection

    def __repr__(self) -> str:
        return f"<StateView of projection {self._projection!r}>"

    def _active(self) -> StoredState:
        found = self._log.projection_and_state(self._projection)
        if found is None:
            raise unknown_projection(self._projection)
        return found[1]

    def _current(self) -> StoredState:
        """The state of the active build."""
        number = self._log.last_transaction()
        if number != self._seen:
            row = self._active()
            if row != self._row:
                key, value = stored_codecs(row, *self._declared)
                self._key_codec, self._value_codec, self._encode_key = key, value, key.encode
                self._row = row
            self._seen = number
        return self._row

    def _read(self, key: Any) -> tuple[bytes, bytes | None]:
        """The encoded key and value of a row; None only if the build that has no such row is the active one."""
        self._check()
        row = self._current()
        while True:
            encoded = self._encode_key(key)
            data = self._store.read_state_row(row, encoded)
            if data is not None:
                return encoded, data
            read, row = row, self._current()
            if row == read:
                return encoded, None

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key; `default` when there is none."""
        encoded, data = self._read(key)
        return default if data is None else self._decoded_value(encoded, data)

    def __contains__(self, key: K) -> bool:
        return self._read(key)[1] is not None

    def _range(self, first: Any, end: Any, prefix: Any, *, is_reversed: bool, max_rows: int | None) -> Iterator[Row]:
        self._check()
        self._current()
        return super()._range(first, end, prefix, is_reversed=is_reversed, max_rows=max_rows)

    def _chunks(
        self, first: bytes, end: bytes | None, *, is_reversed: bool, max_rows: int | None
    ) -> Iterator[tuple[list[Row], bool]]:
        """The rows a part at a time, each part of the build that is active then, and whether it is the last part."""
        max_bytes, is_whole = FIRST_CHUNK_BYTES, False
        while not is_whole:
            row = self._current()
            try:
                rows, is_whole = self._store.scan_state(
                    row, first, end, is_reversed=is_reversed, max_bytes=max_bytes, max_rows=max_rows
                )
            except unless_interrupted(UnknownState):
                self._seen = -1
                continue
            if self._current() != row:
                is_whole = False
                continue  # its rows may have been on their way out
            yield rows, is_whole
            if is_reversed and rows:
                end = rows[-1][0]
            elif rows:
                first = rows[-1][0] + b"\0"
            max_bytes, max_rows = min(8 * max_bytes, self._chunk_bytes), None
