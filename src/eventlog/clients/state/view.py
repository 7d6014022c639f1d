"""
A state opened for reading: each call reads the newest commit.

This module also opens and creates states. The state inside a transaction, in `clients/state/state.py`, builds on this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from eventlog import api
from eventlog.api.features import Handle
from eventlog.backend.states import Row, StateRows, StoredState, unknown_state
from eventlog.codecs import Codec, Kind, codec_for, codec_from_stored
from eventlog.errors import DecodeError
from eventlog.interruptions import unless_interrupted
from eventlog.options import PROJECTION_PREFIX, check_bool, check_int, check_state_name
from eventlog.records import K, V

if TYPE_CHECKING:  # keys that sort are imported by the first state: `import eventlog` is fast
    from eventlog.codecs.ordered import OrderedCodec

T = TypeVar("T")

FIRST_CHUNK_BYTES = 1 << 10
CHUNK_BYTES = 1 << 20
_SHOWN_KEY_BYTES = 40
_KNOWN_CODECS_COUNT = 128


class Missing:
    """The type of `MISSING`, which stands for an absent value."""


MISSING: Final = Missing()


class StateView(Handle, Generic[K, V]):
    """
    A state opened for reading; each call reads the newest commit.

    Get one from `EventLog.state()`. Any thread may use it; it needs no closing. Two calls may see two commits; to read
    several rows of one moment, use a transaction. The values belong to the caller: changing them does not change the
    state.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     with log.transaction() as tx:
        ...         tx.state("totals", key=str, value=int)["alice"] = 7
        ...     totals = log.state("totals")
        ...     totals["alice"], totals.get("bob", 0), list(totals.items())
        (7, 0, [('alice', 7)])
    """

    _chunk_bytes = CHUNK_BYTES
    """The most bytes that a scan reads at once."""

    def __init__(
        self,
        store: StateRows,
        row: StoredState,
        key: api.OrderedCodec[K],
        value: Codec[V],
        *,
        check: Callable[[], None],
    ) -> None:
        self._store = store
        self._row = row
        self._key_codec = key
        self._value_codec = value
        self._encode_key = key.encode
        self._check = check

    @property
    def name(self) -> str:
        """The state's name."""
        return self._row.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._row.name!r}>"

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    @overload
    def get(self, key: K, default: T) -> V | T: ...

    def get(self, key: K, default: Any = None) -> Any:
        """
        Return the value of a key, or `default`.

        Raises:
            TypeError, ValueError: it cannot be a key of this state.
            DecodeError: the codec cannot read the stored value.
            UnknownState: the state was deleted.
        """
        self._check()
        encoded = self._encode_key(key)
        data = self._store.read_state_row(self._row, encoded)
        if data is None:
            self._store.check_state(self._row)
            return default
        return self._decoded_value(encoded, data)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """
        Return the values of several keys at one moment; keys without a row are left out.

        It reads the log once, which for a hundred rows takes a fifth of the time of a hundred `get()`.

        Raises:
            TypeError, ValueError, DecodeError, UnknownState: as for `get()`.
        """
        self._check()
        encoded_keys = {key: self._encode_key(key) for key in keys}
        found = self._store.read_state_rows(self._row, encoded_keys.values())
        if None in found:
            self._store.check_state(self._row)
        return {
            key: self._decoded_value(encoded, data)
            for (key, encoded), data in zip(encoded_keys.items(), found, strict=True)
            if data is not None
        }

    def __getitem__(self, key: K) -> V:
        value = self.get(key, MISSING)
        if isinstance(value, Missing):
            raise KeyError(key)
        return value

    def __contains__(self, key: K) -> bool:
        self._check()
        if self._store.read_state_row(self._row, self._encode_key(key)) is not None:
            return True
        self._store.check_state(self._row)
        return False

    def __iter__(self) -> Iterator[K]:
        return self.keys()

    def items(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Iterator[tuple[K, V]]:
        """
        Iterate over the keys and values of a range, in the order of the keys: text by code points, tuples item by item.

        It reads up to 1 MiB at a time. Outside of a transaction each part is of the newest commit, so a row that others
        change meanwhile may appear in its old or its new form. In a transaction the range includes the rows it wrote,
        and it may write during the scan: values are current, rows deleted meanwhile do not appear, and keys added since
        the scan began may not.

        Args:
            first: the key at which to begin; None for the first of all.
            end: the key before which to stop; None for no end.
            prefix: only keys that begin with it: text or bytes, or the first items of a tuple. Excludes the other two.
            is_reversed: begin at the end, with the last key before `end`.
            max_rows: the most rows to read; None for all.

        Raises:
            TypeError, ValueError: at the call, for a wrong argument.
            DecodeError: at the row that the codecs cannot read.
            UnknownState: if the state was deleted.
        """
        rows = self._range(first, end, prefix, is_reversed=is_reversed, max_rows=max_rows)
        return ((self._decoded_key(key), self._decoded_value(key, data)) for key, data in rows)

    def keys(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Iterator[K]:
        """Iterate over the keys of a range; the arguments are those of `items()`."""
        rows = self._range(first, end, prefix, is_reversed=is_reversed, max_rows=max_rows)
        return (self._decoded_key(key) for key, _ in rows)

    def values(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Iterator[V]:
        """The values of a range, in the order of the keys; the arguments are those of `items()`."""
        rows = self._range(first, end, prefix, is_reversed=is_reversed, max_rows=max_rows)
        return (self._decoded_value(key, data) for key, data in rows)

    def _range(self, first: Any, end: Any, prefix: Any, *, is_reversed: bool, max_rows: int | None) -> Iterator[Row]:
        """The encoded rows of a range; the arguments are checked before the first is asked for."""
        self._check()
        check_bool("is_reversed", is_reversed)
        if max_rows is not None:
            check_int("max_rows", max_rows, least=0)
        if prefix is not None:
            if first is not None or end is not None:
                raise ValueError(
                    f"cannot scan state {self.name!r} with prefix= and a range. Nothing was read. Give one of them."
                )
            low, high = self._key_codec.prefix_range(prefix)
            return self._scan(low, high, is_reversed=is_reversed, max_rows=max_rows)
        low = b"" if first is None else self._encode_key(first)
        return self._scan(
            low, None if end is None else self._encode_key(end), is_reversed=is_reversed, max_rows=max_rows
        )

    def _scan(self, first: bytes, end: bytes | None, *, is_reversed: bool, max_rows: int | None) -> Iterator[Row]:
        chunks = self._chunks(first, end, is_reversed=is_reversed, max_rows=max_rows)
        return islice((row for rows, _ in chunks for row in rows), max_rows)

    def _chunks(
        self, first: bytes, end: bytes | None, *, is_reversed: bool, max_rows: int | None
    ) -> Iterator[tuple[list[Row], bool]]:
        """The stored rows a part at a time, and whether it is the last; the first part is small, and of `max_rows`."""
        max_bytes, is_whole = FIRST_CHUNK_BYTES, False
        while not is_whole:
            rows, is_whole = self._store.scan_state(
                self._row, first, end, is_reversed=is_reversed, max_bytes=max_bytes, max_rows=max_rows
            )
            yield rows, is_whole
            if is_reversed and rows:
                end = rows[-1][0]
            elif rows:
                first = rows[-1][0] + b"\0"
            max_bytes, max_rows = min(8 * max_bytes, self._chunk_bytes), None

    def _decoded_key(self, key: bytes) -> K:
        try:
            return self._key_codec.decode(key)
        except unless_interrupted(ValueError) as error:
            raise self._unreadable(key, error) from error

    def _decoded_value(self, key: bytes, data: bytes) -> Any:
        try:
            return self._value_codec.decode(data)
        except unless_interrupted(ValueError) as error:
            raise self._unreadable(key, error) from error

    def _unreadable(self, key: bytes, error: ValueError) -> DecodeError:
        return DecodeError(
            f"cannot read the row of state {self.name!r} with the encoded key {key[:_SHOWN_KEY_BYTES]!r}: {error}.",
            stored="The row is as it was.",
            advice="Open the state with the codecs that wrote it, or put or delete the row.",
            state=self.name,
        )


def open_state(
    store: StateRows, name: object, key: Any, value: Any
) -> tuple[StoredState, OrderedCodec[Any], Codec[Any]]:
    """
    The state of that name with the codecs of its keys and values; made now, in a commit of its own, if it is missing.

    Args:
        store: the log.
        name: 1 to 249 bytes of printable characters.
        key: `str`, `bytes`, `int` or `tuple`; None takes what is stored, and for a new state keys of all these types.
        value: as for a topic; None takes what is stored, and "msgpack" for a new state.

    Raises:
        StateMismatch: if the state is stored with other codecs. It is unchanged.
        TypeError, ValueError, ImportError: if an argument is none of these. Nothing was stored.
    """
    return open_named_state(store, check_state_name(name), key, value)


def open_named_state(
    store: StateRows, checked: str, key: Any, value: Any
) -> tuple[StoredState, OrderedCodec[Any], Codec[Any]]:
    """The same for a name that was checked, or that is one of ours."""
    row = store.state(checked)
    if row is None:
        from eventlog.codecs.ordered import OrderedCodec

        key_codec: OrderedCodec[Any] = OrderedCodec(key, topic=checked)
        declared = "msgpack" if value is None else value
        value_codec = codec_for(declared, topic=checked, role="value", kind="state")
        row = store.ensure_state(checked, key_codec.to_stored(), value_codec.to_stored())
    return row, *stored_codecs(row, key, value)


def view(store: StateRows, name: object, key: Any, value: Any, *, check: Callable[[], None]) -> StateView[Any, Any]:
    """
    A view of a state that is there; a view makes none.

    Args:
        store: the log.
        name: the state's name.
        key: what the caller declared, or None.
        value: likewise.
        check: is called first by each call on the view; raises when the log is closed.

    Raises:
        UnknownState: if there is no such state.
        StateMismatch: if it is stored with other codecs.
        TypeError, ValueError, ImportError: if an argument is none of these.
    """
    checked = check_state_name(name)
    row = store.state(checked)
    if row is None:
        raise unknown_state(checked)
    return StateView(store, row, *stored_codecs(row, key, value), check=check)


def stored_codecs(row: StoredState, key: Any, value: Any) -> tuple[OrderedCodec[Any], Codec[Any]]:
    """The codecs of a stored state, which those that a caller declared must be, unless they are None."""
    try:
        return _known_codecs(row, key, value)
    except unless_interrupted(TypeError):  # a list of classes has no hash; what else is wrong is said again
        return _made_codecs(row, key, value)


def _made_codecs(row: StoredState, key: Any, value: Any) -> tuple[OrderedCodec[Any], Codec[Any]]:
    from eventlog.codecs.ordered import ordered_codec_from_stored

    kind: Kind = "state"
    name = row.name
    if name.startswith(PROJECTION_PREFIX):  # the state of one build; the user knows the projection
        kind, name = "projection", name.removeprefix(PROJECTION_PREFIX).rpartition(":")[0]
    return (
        ordered_codec_from_stored(row.key, key, topic=name, kind=kind),
        codec_from_stored(row.value, value, topic=name, role="value", kind=kind),
    )


_known_codecs = lru_cache(maxsize=_KNOWN_CODECS_COUNT)(_made_codecs)
"""Every transaction asks for the codecs of its states, and a row with its codecs is stored once."""

StateView.__module__ = "eventlog"
