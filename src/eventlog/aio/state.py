"""
States for asyncio: rows are read in the loop, since that is a look at mapped memory, and long ranges in short steps.

A row that is in memory takes 3 us, and a hop to a thread twenty times as much. Longer reads do not hold up the loop:
`load` reads many rows in a thread, `async for` a range in short steps. Nothing here waits for a commit: a new state is
made by the commit of its transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, overload

from eventlog.aio.home import Home
from eventlog.aio.streams import Stream, Walk
from eventlog.clients.state.state import State as InnerState
from eventlog.clients.state.view import StateView as InnerView
from eventlog.records import K, V

T = TypeVar("T")

_CHUNK_BYTES = 64 << 10
"""What a scan reads at once: half a millisecond of a loop's time, where 1 MiB is eight."""


class Rows(Generic[T]):
    """
    The rows of a range: for `for`, which goes through in one go, and for `async for`, which lets other tasks come.

    It can be gone through once.
    """

    def __init__(self, rows: Iterator[T], steps: Callable[[Iterator[T]], AsyncIterator[T]]) -> None:
        self._rows = rows
        self._steps = steps

    def __iter__(self) -> Iterator[T]:
        return self._rows

    def __next__(self) -> T:
        return next(self._rows)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._steps(self._rows)


class StateView(Generic[K, V]):
    """
    A state opened for reading, for asyncio: see `eventlog.StateView` for what it does.

    Get one from `EventLog.state()` or `Projection.state`.
    """

    def __init__(self, home: Home, inner: InnerView[K, V]) -> None:
        self._home = home
        self._inner = inner
        inner._chunk_bytes = _CHUNK_BYTES

    @property
    def name(self) -> str:
        """The state's name."""
        return self._inner.name

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    @overload
    def get(self, key: K, default: T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of a key, or `default`; it is read in the loop: see `eventlog.StateView.get`."""
        return self._inner.get(key, default)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """
        Return the values of several keys at one moment: see `eventlog.StateView.get_many`.

        They are read in the loop; a thousand take some milliseconds. Use `load` for more.
        """
        return self._inner.get_many(keys)

    async def load(self, keys: Iterable[K]) -> dict[K, V]:
        """
        The same, read in the thread for long reads: for many rows, or rows on a slow disk.

        A transaction remembers them, so reading them again takes no look at the log. A cancelled task is cancelled when
        it is done; nothing was changed.
        """
        return await self._home.read(partial(self._inner.get_many, list(keys)), "the read")

    def items(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Rows[tuple[K, V]]:
        """The keys and values of a range, for `async for` or `for`: see `eventlog.StateView.items`."""
        return self._range(
            self._inner.items(first, end, prefix=prefix, is_reversed=is_reversed, max_rows=max_rows),
        )

    def keys(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Rows[K]:
        """The keys of a range, likewise; the arguments are those of `items()`."""
        return self._range(
            self._inner.keys(first, end, prefix=prefix, is_reversed=is_reversed, max_rows=max_rows),
        )

    def values(
        self,
        first: K | None = None,
        end: K | None = None,
        *,
        prefix: Any = None,
        is_reversed: bool = False,
        max_rows: int | None = None,
    ) -> Rows[V]:
        """The values of a range, likewise; the arguments are those of `items()`."""
        return self._range(
            self._inner.values(first, end, prefix=prefix, is_reversed=is_reversed, max_rows=max_rows),
        )

    def _range(self, rows: Iterator[T]) -> Rows[T]:
        return Rows(rows, partial(Stream, self._home))

    def __getitem__(self, key: K) -> V:
        return self._inner[key]

    def __contains__(self, key: K) -> bool:
        return key in self._inner

    def __iter__(self) -> Iterator[K]:
        return self.keys().__iter__()

    def __aiter__(self) -> AsyncIterator[K]:
        return self.keys().__aiter__()

    def __repr__(self) -> str:
        return repr(self._inner)


class State(StateView[K, V]):
    """
    A state inside a transaction, for asyncio: see `eventlog.State` for what it does.

    Get one from `Transaction.state()`. It belongs to the task of its transaction. A state that is new is made by the
    commit, and not when it is opened.
    """

    _inner: InnerState[K, V]

    def put(self, key: K, value: V) -> None:
        """Set the value of a key; also `state[key] = value`: see `eventlog.State.put`."""
        self._inner.put(key, value)

    def delete(self, key: K) -> bool:
        """Remove the row of a key, and return whether there was one: see `eventlog.State.delete`."""
        return self._inner.delete(key)

    def _range(self, rows: Iterator[T]) -> Rows[T]:
        """The rows one by one: what the transaction writes meanwhile is seen, and what was not handed out not read."""
        return Rows(rows, partial(Walk, self._home))

    def __setitem__(self, key: K, value: V) -> None:
        self._inner.put(key, value)

    def __delitem__(self, key: K) -> None:
        del self._inner[key]
