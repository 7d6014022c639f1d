"""The part of a log for asyncio that reads across topics: states, projections, and the order of the whole log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from eventlog.aio.apart import Apart
from eventlog.aio.follower import Follower
from eventlog.aio.log_part import LogPart
from eventlog.aio.projection import Projection
from eventlog.aio.state import StateView
from eventlog.aio.streams import Stream
from eventlog.aio.topic import Topic, inner_of, inners_of
from eventlog.aio.topic_copy import TopicCopy
from eventlog.options import DEFAULT_COPIED_RECORDS, MAX_FOLDED_BYTES, MAX_FOLDED_RECORDS, check_seconds
from eventlog.records import Record, RecordBatch

if TYPE_CHECKING:
    from types import UnionType

    from typing_extensions import TypeForm

    from eventlog.api.log_reading import Fold
    from eventlog.codecs.base import ValueCodec

K = TypeVar("K")
V = TypeVar("V")
KT = TypeVar("KT")
VT = TypeVar("VT")


class LogReading(LogPart):
    """The methods of a log for asyncio that need a log order or states."""

    # -- projections -----------------------------------------------------------------------------------------

    @overload
    async def projection(
        self,
        name: str,
        function: Fold[KT, VT, K, V],
        *,
        topics: Iterable[Topic[K, V]],
        key: type[KT],
        value: type[VT] | ValueCodec[VT],
        max_records: int = ...,
        max_bytes: int = ...,
        on_out_of_range: Literal["raise", "earliest"] = ...,
    ) -> Projection[KT, VT]: ...
    @overload
    async def projection(
        self,
        name: str,
        function: Fold[KT, VT, K, V] | None = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: type[KT],
        value: type[VT] | ValueCodec[VT],
        max_records: int = ...,
        max_bytes: int = ...,
        on_out_of_range: Literal["raise", "earliest"] = ...,
    ) -> Projection[KT, VT]: ...
    @overload
    async def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: type[KT],
        value: str | None = None,
        max_records: int = ...,
        max_bytes: int = ...,
        on_out_of_range: Literal["raise", "earliest"] = ...,
    ) -> Projection[KT, Any]: ...
    @overload
    async def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: None = None,
        value: type[VT] | ValueCodec[VT],
        max_records: int = ...,
        max_bytes: int = ...,
        on_out_of_range: Literal["raise", "earliest"] = ...,
    ) -> Projection[Any, VT]: ...
    @overload
    async def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: None = None,
        value: str | None = None,
        max_records: int = ...,
        max_bytes: int = ...,
        on_out_of_range: Literal["raise", "earliest"] = ...,
    ) -> Projection[Any, Any]: ...
    async def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: Any = None,
        value: Any = None,
        max_records: int = MAX_FOLDED_RECORDS,
        max_bytes: int = MAX_FOLDED_BYTES,
        on_out_of_range: Literal["raise", "earliest"] = "raise",
    ) -> Projection[Any, Any]:
        """
        Open a projection, and make it if there is none of that name: see `eventlog.EventLog.projection`.

        The function is a plain one, and is called in a thread of the projection.
        """
        find = partial(
            self._inner.projection,
            name,
            function,
            topics=inners_of(topics),
            key=key,
            value=value,
            max_records=max_records,
            max_bytes=max_bytes,
            on_out_of_range=on_out_of_range,
        )
        projection: Projection[Any, Any] = Projection(
            self._home, self._waker, await self._home.call(find, "opening the projection")
        )
        self._runners.add(projection)
        return projection

    async def projections(self) -> list[str]:
        """Return the names of all projections, sorted."""
        return await self._home.read(self._inner.projections, "the list of projections")

    async def delete_projection(self, name: str) -> None:
        """Delete a projection with its state: see `eventlog.EventLog.delete_projection`."""
        await self._home.call(partial(self._inner.delete_projection, name), "the deletion")

    # -- states ----------------------------------------------------------------------------------------------

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT] | ValueCodec[VT]) -> StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: str | None = None) -> StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: TypeForm[VT]) -> StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object) -> StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT] | ValueCodec[VT]) -> StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: str | None = None) -> StateView[Any, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: TypeForm[VT]) -> StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object) -> StateView[Any, Any]: ...
    def state(self, name: str, *, key: Any = None, value: Any = None) -> StateView[Any, Any]:
        """
        A view of a stored state: see `eventlog.EventLog.state`.

        Its rows are read in the loop.
        """
        self._home.check()
        return StateView(self._home, self._inner.state(name, key=key, value=value))

    async def states(self) -> list[str]:
        """Return the names of all states, sorted."""
        return await self._home.read(self._inner.states, "the list of states")

    async def delete_state(self, name: str) -> None:
        """Delete a state with its rows: see `eventlog.EventLog.delete_state`."""
        await self._home.call(partial(self._inner.delete_state, name), "the deletion")

    @overload
    async def copy_topic(
        self,
        source: str | Topic[K, Any],
        *,
        to: str,
        key: type[KT] | ValueCodec[KT],
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[KT, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: Topic[K, Any],
        *,
        to: str,
        key: None = None,
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[K, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: Topic[KT, VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[KT, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: str,
        *,
        to: str,
        key: None = None,
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[Any, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: str | Topic[K, Any],
        *,
        to: str,
        key: type[KT] | ValueCodec[KT],
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[KT, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: Topic[K, Any],
        *,
        to: str,
        key: None = None,
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[K, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: str,
        *,
        to: str,
        key: None = None,
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[Any, VT]: ...
    @overload
    async def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: str,
        key: object = None,
        value: str | UnionType | tuple[type[Any], ...] | list[type[Any]] | None = None,
        convert: Callable[[Any], Any] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> TopicCopy[Any, Any]: ...
    async def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: str | Topic[Any, Any],
        key: Any = None,
        value: Any = None,
        convert: Callable[[Any], Any] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = DEFAULT_COPIED_RECORDS,
    ) -> TopicCopy[Any, Any]:
        """
        Copy the records of a topic into another one, in a thread of its own: see `eventlog.EventLog.copy_topic`.

        `convert` and `progress` are plain functions, and are called in that thread. If the task is cancelled, the copy
        ends with the transaction in hand: what was copied is stored, and the next call goes on there. Closing the log
        ends it likewise, and it raises `LogClosed`.
        """
        copying: Apart[Any] = self._apart("the copy", "What was copied before is stored; the next call goes on there.")
        copy = partial(
            self._inner.copy_topic,
            inner_of(source),
            to=inner_of(to),
            key=key,
            value=value,
            convert=copying.interrupting(convert),
            progress=copying.ticking(progress),
            max_records=max_records,
        )
        return TopicCopy(self._home, await copying.run(copy))

    # -- the order of the whole log --------------------------------------------------------------------------

    async def end_log_position(self) -> int:
        """Return the log position that the next record gets."""
        self._home.check()
        return self._inner.end_log_position()

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[tuple[int, Record[Any, Any]]]:
        """The records of all topics in the order of the log, for `async for`: see `eventlog.EventLog.read_all`."""
        self._home.check()
        return Stream(
            self._home, self._inner.read_all(start, end=end, topics=inners_of(topics), max_records=max_records)
        )

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[tuple[int, RecordBatch[Any, Any]]]:
        """The same in columns: see `eventlog.EventLog.read_all_batches`."""
        self._home.check()
        batches = self._inner.read_all_batches(start, end=end, topics=inners_of(topics), max_records=max_records)
        return Stream(self._home, batches)

    def follow(
        self,
        start: int | datetime | Literal["latest"] = 0,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        timeout: float | None = None,
    ) -> Follower:
        """
        Follow the log: the records of all topics, and each new one as it is committed, for `async for`.

        See `eventlog.EventLog.follow`. Leave the loop, call `stop()`, or cancel its task, to end it.
        """
        self._home.check()
        limit = None if timeout is None else check_seconds("timeout", timeout)
        return Follower(self._home, self._waker.ear(), self._inner._follow_from(start, inners_of(topics)), limit)
