"""The part of a log that reads across topics: states, projections, the order of the whole log, and its figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

from eventlog import api
from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.codecs.base import ValueCodec
from eventlog.options import DEFAULT_COPIED_RECORDS, MAX_FOLDED_BYTES, MAX_FOLDED_RECORDS
from eventlog.records import Record, RecordBatch

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # type checkers have it, whatever is installed

K = TypeVar("K")
V = TypeVar("V")
KT = TypeVar("KT")
VT = TypeVar("VT")


class _Applies(Protocol[KT, VT, K, V]):
    """An object that folds records into a state."""

    def apply(self, state: api.State[KT, VT], record: Record[K, V], /) -> object:
        """Fold one record."""


_Function: TypeAlias = "Callable[[api.State[KT, VT], Record[K, V]], object]"
Fold: TypeAlias = "_Function[KT, VT, K, V] | _Applies[KT, VT, K, V] | Callable[[], _Applies[KT, VT, K, V]]"


class LogReading(FrontDoor):
    """The methods of `EventLog` that need a log order, states or files, which a backend may lack."""

    __slots__ = ()

    # -- states and projections ------------------------------------------------------------------------------

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT] | ValueCodec[VT]) -> api.StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: str | None = None) -> api.StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: TypeForm[VT]) -> api.StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object) -> api.StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT] | ValueCodec[VT]) -> api.StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: str | None = None) -> api.StateView[Any, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: TypeForm[VT]) -> api.StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object) -> api.StateView[Any, Any]: ...
    def state(self, name: str, *, key: Any = None, value: Any = None) -> api.StateView[Any, Any]:
        """
        Open a state for reading; each call of the result reads the newest commit.

        Args:
            name: the state's name.
            key: the type of its keys, as for `Transaction.state`; None takes the stored one.
            value: the codec of its values, likewise.

        Raises:
            UnknownState: the log has no state of that name.
            StateMismatch: it is stored with other codecs.
        """
        raise self._lacks("state()", "states")

    def states(self) -> list[str]:
        """The names of all states, sorted."""
        raise self._lacks("states()", "states")

    def delete_state(self, name: str) -> None:
        """
        Delete a state with all its rows.

        Transactions that use it and have not committed yet get `UnknownState`.

        Raises:
            UnknownState: there is no such state. Nothing was deleted.
        """
        raise self._lacks("delete_state()", "states")

    @overload
    def projection(
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
    ) -> api.Projection[KT, VT]: ...
    @overload
    def projection(
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
    ) -> api.Projection[KT, VT]: ...
    @overload
    def projection(
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
    ) -> api.Projection[KT, Any]: ...
    @overload
    def projection(
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
    ) -> api.Projection[Any, VT]: ...
    @overload
    def projection(
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
    ) -> api.Projection[Any, Any]: ...
    def projection(
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
    ) -> api.Projection[Any, Any]:
        """
        Open a projection: a state that a function computes from the records of the log.

        It is created at once if the log has none of that name. Its promises are described at `Projection`.

        Args:
            name: 1 to 249 bytes of printable characters. A state may have the same name.
            function: called as `function(state, record)` for each record in the log order; or an object with
                `apply(state, record)`, or a class of such objects, which is instantiated now. None (default) opens an
                existing projection, to read it and to wait for it.
            topics: the topics whose records are used; they need not exist yet. None (default) uses all.
            key: the type of the state's keys, as for `Transaction.state`.
            value: the codec of its values, likewise.
            max_records: the most records of one transaction (default 1,000,000). A transaction also ends after a
                second, and at the end of the log.
            max_bytes: a transaction ends when the rows that it changes take this much memory (default 32 MiB).
            on_out_of_range: what becomes of records that `delete_records()` took before they were folded: "raise"
                (default) has `run()` and `catch_up()` raise `OffsetOutOfRange`, with the checkpoint unchanged;
                "earliest" goes on without them, with a warning in Python's log. What was deleted before the projection
                was made, or before its rebuild began, is not missed.

        Raises:
            UnknownProjection: there is none of that name, and no function was given. Nothing was stored.
            ValueError, TypeError, InvalidTopicName: an argument is wrong. Nothing was stored.
        """
        raise self._lacks("projection()", "projections")

    def projections(self) -> list[str]:
        """The names of all projections, sorted."""
        raise self._lacks("projections()", "projections")

    def delete_projection(self, name: str) -> None:
        """
        Delete a projection with its state.

        Programs that run it, read it or wait for it get `UnknownProjection`.

        Raises:
            UnknownProjection: there is no such projection. Nothing was deleted.
        """
        raise self._lacks("delete_projection()", "projections")

    @overload
    def copy_topic(
        self,
        source: str | Topic[K, Any],
        *,
        to: str,
        key: type[KT] | ValueCodec[KT],
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[KT, VT]: ...
    @overload
    def copy_topic(
        self,
        source: Topic[K, Any],
        *,
        to: str,
        key: None = None,
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[K, VT]: ...
    @overload
    def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: Topic[KT, VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[KT, VT]: ...
    @overload
    def copy_topic(
        self,
        source: str,
        *,
        to: str,
        key: None = None,
        value: type[VT] | ValueCodec[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[Any, VT]: ...
    @overload
    def copy_topic(
        self,
        source: str | Topic[K, Any],
        *,
        to: str,
        key: type[KT] | ValueCodec[KT],
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[KT, VT]: ...
    @overload
    def copy_topic(
        self,
        source: Topic[K, Any],
        *,
        to: str,
        key: None = None,
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[K, VT]: ...
    @overload
    def copy_topic(
        self,
        source: str,
        *,
        to: str,
        key: None = None,
        value: TypeForm[VT],
        convert: Callable[[Any], VT | None] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[Any, VT]: ...
    @overload
    def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: str,
        key: object = None,
        value: str | UnionType | tuple[type[Any], ...] | list[type[Any]] | None = None,
        convert: Callable[[Any], Any] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = ...,
    ) -> api.TopicCopy[Any, Any]: ...
    def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: str | Topic[Any, Any],
        key: Any = None,
        value: Any = None,
        convert: Callable[[Any], Any] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = DEFAULT_COPIED_RECORDS,
    ) -> api.TopicCopy[Any, Any]:
        """
        Copy the records of a topic into another one, whose values or keys may have other types.

        Each record keeps its partition, its order, its key, its headers and its time. Copies what the topic has at the
        call; called again, it goes on there. After a crash at any moment it goes on as well: no record is missing, and
        none is there twice. Until the copy is complete nobody else may write to the new topic.

        The progress is the state `copy:<source>:<to>` of the log, which also knows the new offset of every old one.
        Blocks until all is copied. Any number of processes may call it at once; only one of them gets on.

        Args:
            source: the old topic, or its name; `convert` gets its values as they were declared in this log.
            to: the new topic, or its name. If there is none of that name, it is created with the partitions,
                partitioner, bounds and index of the old one.
            key: the codec of the new keys; that of the old ones if left out.
            value: the codec of the new values, likewise.
            convert: returns the new value of an old one; it is not called for tombstones. Without it (default) the
                values stay.
            progress: called after each transaction with the number of records that this call has copied, and the number
                that it found at its beginning.
            max_records: the most records in one transaction (default 1,000).

        Returns:
            The copy: it tells new offsets, and carries groups over.

        Raises:
            UnknownTopic: there is no old topic. Nothing was stored.
            TopicMismatch: somebody else has written to the new topic, or it has other codecs. What was copied before is
                stored.
            ValueError, TypeError: an argument is wrong, or the records could not keep their partitions. Nothing was
                stored.
            Exception: `convert` raised, or its value does not fit; a note names the record. What was copied before is
                stored, and the next call begins with this record.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     ranges = log.topic("texts", value=str).append_many(["1", "2"])
            ...     copy = log.copy_topic("texts", to="numbers", value=int, convert=int)
            ...     [record.value for record in copy.topic.read()]
            [1, 2]
        """
        raise self._lacks("copy_topic()", "states")

    # -- the order of the whole log --------------------------------------------------------------------------

    def end_log_position(self) -> int:
        """
        Return the log position of the next record, which is the number of records ever stored in all topics.

        It counts durable records only: to wait for it is to wait for every record acknowledged before the call.
        """
        raise self._lacks("end_log_position()", "log_order")

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, Record[Any, Any]]]:
        """
        Read the log in the order of the commits, over all topics and partitions, up to its end.

        Positions have no gaps and never change, so a reader that goes on after the last one it saw misses nothing and
        sees nothing twice. Deleted records are skipped. Nothing is kept open between records.

        Args:
            start: the first log position, the end of the log at most.
            end: the log position before which to stop, the end of the log at most; or a time: before the first record,
                of those that are read, that has this timestamp or a later one. None is the end of the log at the call.
            topics: the topics whose records to read; None for all.
            max_records: the most records to read, None for all.

        Returns:
            Pairs of a log position and its record.

        Raises:
            ValueError, TypeError, InvalidTopicName, OffsetOutOfRange: an argument is wrong; raised at the call.
            CorruptBatch, DecodeError: a record cannot be read; raised at that record.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     for name in ("orders", "payments", "orders"):
            ...         meta = log.topic(name).append(b"new")
            ...     [(log_position, record.topic) for log_position, record in log.read_all(start=1)]
            [(1, 'payments'), (2, 'orders')]
        """
        raise self._lacks("read_all()", "log_order")

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
        """Read as `read_all` does, in columns: batches, each with the log position of its first record."""
        raise self._lacks("read_all_batches()", "log_order")

    def follow(
        self,
        start: int | datetime | Literal["latest"] = 0,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        timeout: float | None = None,
    ) -> api.Follower:
        """
        Read the log in the order of the commits, as `read_all` does, and then each record as it is committed.

        For a view of everything that happens, and to feed another system: keep the position that comes with a record,
        and go on there. No group and no partitions are involved, so several followers see the same.

        Args:
            start: the first log position, the end of the log at most; "latest" is the end at the call; or a time: the
                first record, of those that are read, that has this timestamp or a later one, or else the end at the
                call. What comes behind it is read whatever its timestamp is.
            topics: the topics whose records to read, those that come later too; None for all.
            timeout: seconds without a record after which the loop ends; None waits forever.

        Returns:
            An iterator of pairs of a log position and its record; `stop()` ends it.

        Raises:
            ValueError, TypeError, InvalidTopicName, OffsetOutOfRange: an argument is wrong; raised at the call.
            CorruptBatch, DecodeError: a record cannot be read; raised at that record.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     for name in ("orders", "payments"):
            ...         meta = log.topic(name).append(b"new")
            ...     [(log_position, record.topic) for log_position, record in log.follow(timeout=0.0)]
            [(0, 'orders'), (1, 'payments')]
        """
        raise self._lacks("follow()", "log_order")

    # -- figures ---------------------------------------------------------------------------------------------

    def stats(self) -> api.LogStats:
        """
        Count what is stored: records and bytes of each topic, free space, the reads that go on, commits.

        Reads the sizes of all batches and no record: half a second for a million batches. Others may go on.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     meta = log.topic("orders").append(b"tea")
            ...     stats = log.stats()
            >>> [(topic.topic, topic.record_count) for topic in stats.topics], stats.commit_count > 0
            ([('orders', 1)], True)
        """
        raise self._lacks("stats()", "files")

    # -- backups ---------------------------------------------------------------------------------------------

    def backup(
        self,
        target: str | os.PathLike[str],
        *,
        incremental: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> api.BackupReport:
        """
        Write a backup into a directory, or add what came since to one that is there; `eventlog.restore()` reads it.

        Others may go on meanwhile. The small tables (offsets, states and the like) are of one moment, and the file
        cannot use freed space again while they are copied; batches are copied a part at a time. What was written is on
        the disk when this returns; a backup that is interrupted has added nothing.

        Args:
            target: a directory that does not exist or is empty; with `incremental=True` also one with backups.
            incremental: True adds to the backups of this log that are there, from the log position on at which the last
                one ended; False, the default, refuses a directory that holds any.
            progress: called from time to time with the log positions done, and all that there are to do.

        Raises:
            ValueError: the directory holds something else, or a backup without `incremental=True`. It was left as it
                was.
            BackupMismatch: it holds backups of another log, or of this one before it was restored or repaired.
            CorruptBackup: files are missing there. Nothing was added.
            CorruptBatch: something that is stored is damaged. Nothing was added.
            LogInUse: another backup is being written there.
            StorageError: the backup cannot be written. Nothing was added; call it again.

        Example:
            >>> import tempfile, pathlib
            >>> folder = pathlib.Path(tempfile.mkdtemp())
            >>> with eventlog.open(folder / "shop") as log:
            ...     orders = log.topic("orders")
            ...     meta = orders.append(b"tea")
            ...     first = log.backup(folder / "backup", incremental=True)
            ...     meta = orders.append(b"milk")
            ...     second = log.backup(folder / "backup", incremental=True)
            >>> first.batch_count, second.since, second.end
            (1, 1, 2)
        """
        raise self._lacks("backup()", "files")
