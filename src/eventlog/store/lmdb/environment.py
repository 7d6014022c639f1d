"""
The LMDB environment of a log: its transactions.

It begins and ends transactions, translates LMDB's errors into ours, and refuses writes after one that failed.
`lifecycle.py` keeps the environment usable while it is open, `opening.py` opens it; no module outside of this package
imports `lmdb`.

Knows nothing of topics or batches. It hands out `lmdb.Transaction` objects.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import lmdb

from eventlog.clock import Clock
from eventlog.errors import DiskFull, EventLogError, LogInUse, StorageError
from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.store.lmdb.errors import damaged_row, read_only
from eventlog.store.lmdb.file_lock import locked
from eventlog.store.lmdb.file_pair import FilePair
from eventlog.store.lmdb.lifecycle import RECOVERABLE, Table
from eventlog.store.lmdb.reader_table import COPIES, VIEWS, begin_reading
from eventlog.store.lmdb.room import Bound
from eventlog.store.lmdb.space import Space
from eventlog.uninterruptible import call_atomically

_READER_CHECK_SECONDS = 5.0
_COMMIT_LOOK_SECONDS = 0.001

FORMAT = b"format"
TOPICS = b"topics"
PARTITIONS = b"partitions"
BATCHES = b"batches"
OFFSETS = b"offsets"
GROUPS = b"groups"
MEMBERS = b"members"
ORDER = b"order"
INDEX = b"index"
SNAPSHOTS = b"snapshots"
MESSAGES = b"messages"
MESSAGE_TIMES = b"message times"
STATES = b"states"
STATE = b"state"
PROJECTIONS = b"projections"
PRODUCERS = b"producers"
SEQUENCES = b"sequences"
QUEUES = b"queues"
SCHEDULE = b"schedule"
OWN_CHECKSUMS = frozenset({BATCHES, INDEX})
"""The tables whose rows have checksums of their own, in every format."""
TABLES = (
    *(FORMAT, TOPICS, PARTITIONS, BATCHES, ORDER, OFFSETS, GROUPS, MEMBERS, INDEX, SNAPSHOTS),
    *(MESSAGES, MESSAGE_TIMES, STATES, STATE, PROJECTIONS, PRODUCERS, SEQUENCES),
)
"""The tables that every log has."""
LATER_TABLES = (QUEUES, SCHEDULE)
"""The tables that a log has once it needs them."""
ALL_TABLES = (*TABLES, *LATER_TABLES)


def lost_tables(names: set[bytes]) -> list[str]:
    """
    The tables of ours that a damaged list of tables has under a name which is nobody's.

    A log of an earlier eventlog may have fewer tables, and one of a later may have more; neither has both.
    """
    unknown = names - set(ALL_TABLES)
    lengths = set(map(len, unknown))
    missing = [name for name in ALL_TABLES if name not in names and (name in TABLES or len(name) in lengths)]
    return [name.decode() for name in missing] if unknown else []


EngineError = lmdb.Error
EngineMapFull = lmdb.MapFullError
Transaction: TypeAlias = "lmdb.Transaction[bytes]"
"""A write transaction, or a read transaction that copies; reading gives bytes."""
Snapshot: TypeAlias = "lmdb.Transaction[memoryview]"
"""A read transaction; reading gives memoryviews that are valid until it ends."""
Cursor: TypeAlias = "lmdb.Cursor[memoryview] | lmdb.Cursor[bytes]"
CopyingCursor: TypeAlias = "lmdb.Cursor[bytes]"
T = TypeVar("T")
SLOW_SECONDS = 1.0
"""A commit that takes as long is told."""


def engine_failure(error: BaseException) -> lmdb.Error | None:
    """
    Return the error of LMDB that a call of py-lmdb raised, if it is one.

    `Cursor.delete` of py-lmdb may fail after it has deleted the row, when it moves on. Then it returns a result and an
    error, which Python makes a `SystemError`.
    """
    cause = error.__cause__ if isinstance(error, SystemError) else error
    return cause if isinstance(cause, lmdb.Error) else None


class MapFull(Exception):
    """
    Raised when the map has no room for the transaction.

    It never leaves `store`: the committer grows the map and tries again.
    """


class Environment(Space):
    """
    The LMDB environment of one log directory, open once in this process.

    Any thread may begin a transaction. A write transaction must end in the thread that began it. No transaction may
    stay open while user code runs, because a fork and a growing map wait for all of them.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        mode: int,
        map_bytes: int | None,
        is_memory: bool,
        clock: Clock,
        is_read_only: bool = False,
        before_commit: Callable[[], None] | None = None,
        bound: Bound | None = None,
    ) -> None:
        self._clock = clock
        self._before_commit = before_commit
        self.has_committed = False
        """Set in one step with each commit; whoever has taken note of the commit sets it back."""
        self._note_commit = partial(setattr, self, "has_committed", True)  # noqa: FBT003
        self._failure: EventLogError | None = None
        self.untold: deque[tuple[str, dict[str, Any]]] = deque()
        """Lines for Python's log, by the names of their notices, to be written when the turn is given up."""
        self.commit_count = 0
        self.commit_s = self.longest_commit_s = 0.0
        """How many commits were made here, the seconds that they took in all, and the longest one."""
        self.identity: tuple[bytes, bytes, bytes] | None = None
        """A table, a key in it, and bytes in its row that no other log has; set when the log is open."""
        self.seal: Callable[[bytes, bytes], bytes] | None = None
        """Puts the checksum behind the value of a row, by its key; None in a log of format 3, whose rows have none."""
        self.unseal: Callable[[bytes | memoryview, bytes | memoryview], bytes | None] | None = None
        """Takes it off again, and gives None if it is wrong."""
        self.is_reserve_short = False  # read by each commit, and found fast in the object alone
        self.writing_number = -1
        """The number of the write transaction that runs, or ran last."""
        self._next_reader_check = 0.0
        self._next_commit_look_s = 0.0
        super().__init__(
            path,
            durability=durability,
            mode=mode,
            map_bytes=map_bytes,
            bound=bound,
            is_memory=is_memory,
            is_read_only=is_read_only,
            table_names=TABLES,
            later_names=LATER_TABLES,
            monotonic=clock.monotonic,
        )

    def _reset_gate(self) -> None:
        super()._reset_gate()
        self._writing_token: object | None = None
        self._writing: Transaction | None = None

    def reset_after_fork(self) -> object | None:
        """Drop the parent's environment, its failed write and its figures; see `Lifecycle`."""
        self._failure = None
        self.commit_count = 0
        self.commit_s = self.longest_commit_s = 0.0
        return super().reset_after_fork()

    # -- rows ------------------------------------------------------------------------------------------------

    def row(self, transaction: Transaction | Snapshot, table: bytes, key: bytes) -> bytes | None:
        """
        Return the value of a row, checked; None if there is none.

        Raises:
            CorruptBatch: its checksum is wrong.
        """
        data = transaction.get(key, db=self.tables[table])
        if data is None or (unseal := self.unseal) is None or table in OWN_CHECKSUMS:
            return data  # type: ignore[return-value]  # in a snapshot of format 3 it is a view, as it always was
        value = unseal(key, data)
        if value is None:
            raise damaged_row(table, key)
        return value

    def value(self, table: bytes, key: bytes | memoryview, data: bytes | memoryview) -> bytes:
        """Return the value in the bytes of a row that a cursor found, checked in the same way."""
        if (unseal := self.unseal) is None or table in OWN_CHECKSUMS:
            return data  # type: ignore[return-value]
        value = unseal(key, data)
        if value is None:
            raise damaged_row(table, key)
        return value

    # -- transactions ----------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """
        Open a read transaction for a `with` block.

        Values are memoryviews that are valid inside the block; copy them.
        """
        token = object()
        try:
            transaction = self._begin_reading(token)
            try:
                yield transaction
            except unless_interrupted(lmdb.Error) as error:
                raise self._opener.translate(error, "read") from error
            finally:
                transaction.abort()
        finally:
            self.leave(token, None)

    def read(self, function: Callable[[Transaction], T]) -> T:
        """
        Call a function with a read transaction that copies, and return its result.

        Costs half of a `with reading()`, which takes as long as reading a few rows.
        """
        token = object()
        try:
            transaction = self.begin_copying(token)
            try:
                return function(transaction)
            except unless_interrupted(lmdb.Error) as error:
                raise self._opener.translate(error, "read") from error
            finally:
                transaction.abort()
        finally:
            self.leave(token, None)

    def begin_copying(self, token: object) -> Transaction:
        """
        Begin a read transaction that copies, for the most frequent reads; the caller must end it as `read` does.

        It saves the call of a function. Written out like this it is as safe:

            token = object()
            try:
                transaction = environment.begin_copying(token)
                try:
                    ...
                except unless_interrupted(EngineError) as error:
                    raise environment.read_error(error) from error
                finally:
                    transaction.abort()
            finally:
                environment.leave(token, None)

        A class with an `__exit__` in Python would not be safe: it can be interrupted before its first line.
        """
        while True:
            try:
                self._gate.enter(token)
                handle = self._handle or self._usable_handle()
                if self._files is not None and self._monotonic() >= self._next_look_s:
                    self.check_files()
                begun: Transaction = begin_reading(handle, self._slots, COPIES) or self._readers.begin(handle)
                return begun
            except unless_interrupted(*RECOVERABLE) as error:
                self.leave(token, None)
                self._recover(error)
            except unless_interrupted(lmdb.Error) as error:
                raise self.read_error(error) from error

    def begin_writing(self) -> Transaction:
        """
        Begin a write transaction; waits for the writers of all processes.

        End it with `commit` or `abort`.
        """
        if self._failure is not None or self.is_read_only:
            self.check_writable()
        now = self._clock.monotonic()
        if now >= self._next_reader_check:
            self._check_readers(now)
        token = object()
        try:
            self._gate.enter(token)
            handle = self._handle or self._usable_handle()
            transaction = self._begin_writing(handle, now)
        except BaseException as error:
            self.leave(token, None)
            if self._write_lock is not None:
                self._write_lock.release()
            if isinstance(error, lmdb.MapResizedError):
                self.adopt_map(slack_bytes=0)
                return self.begin_writing()
            if isinstance(error, lmdb.Error):
                raise self._opener.translate(error, "write") from error
            # No lock to be had: nothing was begun, and the next attempt may succeed.
            if isinstance(error, OSError) and not is_interruption(error):
                raise self.os_error(error, "write") from error
            raise
        self._writing_token = token
        self._writing = transaction
        return transaction

    def _begin_writing(self, handle: lmdb.Environment, now_s: float) -> Transaction:
        """
        Take the lock, look at the files, and begin.

        The names are looked at each time, and what takes longer not more often than it takes a disk to sync.
        """
        files, lock = self._files, self._write_lock
        if files is not None and lock is not None:
            lock.acquire()
            if now_s >= self._next_commit_look_s or not files.has_same_names():
                return self._begin_after_look(handle, files, now_s)
        transaction = self._readers.begin_writing(handle)
        try:
            self.writing_number = transaction.id()
        except BaseException:  # Ctrl-C: the traceback would keep the transaction, and with it LMDB's write lock
            transaction.abort()
            raise
        return transaction

    def _begin_after_look(self, handle: lmdb.Environment, files: FilePair, now_s: float) -> Transaction:
        self._next_commit_look_s = self._next_look_s = 0.0  # if this finds something, so do the next ones
        files.check()
        transaction = self._readers.begin_writing(handle)
        try:
            self.writing_number = number = transaction.id()
            files.check_commit(number - 1, self.stored_number)
            if self.identity is not None:
                table, key, mark = self.identity
                if mark not in (transaction.get(key, db=self.tables[table]) or b""):
                    raise files.content_error("this log")
        except BaseException:
            transaction.abort()
            raise
        self._next_commit_look_s = now_s + _COMMIT_LOOK_SECONDS
        return transaction

    def check_identity(self) -> None:
        """Raise `FilesChanged` if the data file has become that of another log, or has left its place."""
        self.check_files()
        files, identity = self._files, self.identity
        if files is not None and identity is not None:
            table, key, mark = identity
            row, number = self.read(lambda begun: (begun.get(key, db=self.table(table)), begun.id()))
            files.check_last_commit(number)
            if mark not in (row or b""):
                raise files.content_error("this log")

    def check_writable(self) -> None:
        """Raise an error of the same class as the earlier write that failed, if one did, or `ReadOnlyLog`."""
        if self.is_read_only:
            raise read_only(self.path)
        if self._failure is not None:
            kind = type(self._failure)  # the end of a `with` block may raise this instead of the first error
            raise kind(
                f"the log at {self.path} refuses writes since an earlier one failed: {self._failure}",
                stored="Nothing of this call was stored.",
                advice="Close the log and open it again.",
            ) from self._failure

    def commit(self, transaction: Transaction) -> None:
        """
        Commit a write transaction with the durability of the log.

        Sets `has_committed` together with the commit, without an interruption between the two (`uninterruptible.py`).
        After any error, `abort()` must follow.

        Raises:
            DiskFull: there is no room. Nothing was stored, and later commits may succeed.
            StorageError: the disk failed. The log refuses writes from now on.
            MapFull: the map is too small. Nothing was stored; `abort()`, `grow()` and try again.
        """
        began_s = monotonic()
        try:
            if self._before_commit is not None:
                self._before_commit()
            call_atomically(transaction.commit, self._note_commit)
            took_s = monotonic() - began_s
            self.commit_count += 1
            self.commit_s += took_s
            if took_s > self.longest_commit_s:
                self.longest_commit_s = took_s
            if took_s >= SLOW_SECONDS:
                self.untold.append(("SLOW_COMMIT", {"path": self.path, "seconds": took_s}))
        except unless_interrupted(lmdb.MapFullError) as error:
            raise MapFull from error
        except unless_interrupted(lmdb.Error) as error:
            raise self.fail(error) from error
        except unless_interrupted(OSError) as error:  # of `before_commit`
            raise self.fail(error) from error
        self._end_writing()

    def abort(self, transaction: Transaction | None = None) -> bool:
        """Abort a write transaction, by default the running one; return whether there was one to abort."""
        transaction = transaction or self._writing
        try:
            if transaction is None:
                return False
            transaction.abort()
        except unless_interrupted(lmdb.Error):
            return False
        finally:
            self._end_writing()
        return True

    def _end_writing(self) -> None:
        lock = self._write_lock
        token, self._writing_token = self._writing_token, None
        self._writing = None
        if token is None:
            return
        try:
            if lock is not None:
                lock.release()
        finally:
            self.leave(token, None)

    def fail(self, error: lmdb.Error | OSError) -> EventLogError:
        """
        Return our error for a failed commit; the log refuses writes from now on.

        Not for want of room, as long as LMDB did not begin to write the root: what it wrote before is in no tree, and
        is written again before it is (docs/decisions/0030-full-volume.md).
        """
        failure = self._opener.translate(error, "write")
        if not isinstance(failure, DiskFull) or self._has_panicked():
            self._failure = failure
        else:
            self.look_at_bound()
        name = "DISK_FULL" if self._failure is None else "DISK_ERROR"
        self.untold.append((name, {"path": self.path, "error": f"{failure.what} {failure.stored}"}))
        return failure

    def tell(self) -> None:
        """Write the lines of the last commits; call it without the turn."""
        try:
            from eventlog import notices
        except unless_interrupted(StorageError):
            return  # no more files can be opened: they are written after another commit

        with suppress(IndexError):  # another thread was faster
            while True:
                name, fields = self.untold.popleft()
                notices.tell(getattr(notices, name), **fields)

    def _has_panicked(self) -> bool:
        """Whether LMDB failed to write a root."""
        try:
            self._readers.begin(self._usable_handle()).abort()
        except unless_interrupted(lmdb.PanicError):
            return True
        except unless_interrupted(lmdb.Error):
            return False
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """
        Keep other processes from opening the log for a `with` block.

        Raises:
            LogInUse: one of them has it open.
        """
        with locked(self.path):
            if self._files is not None and self._files.has_company():
                raise LogInUse(
                    f"cannot upgrade the log at {self.path}: another program has it open.",
                    stored="Nothing was changed.",
                    advice="Close the log in all programs, and try again.",
                )
            yield

    def spend_reserve(self, share: float) -> bool:
        """
        Turn a piece of the reserve into room for the next transaction; return whether there was one.

        Args:
            share: the part of the whole reserve that may be spent.
        """
        transaction = self.begin_writing()  # for the lock
        try:
            reserve, lock = self._reserve, self._write_lock
            if reserve is None or lock is None:
                return False
            info = self._usable_handle().info()
            end_bytes = (info["last_pgno"] + 1) * transaction.stat(self.table(FORMAT))["psize"]
            is_spent = reserve.spend(lock.descriptor, end_bytes, share)
            self.look_at_reserve()
            return is_spent
        finally:
            self.abort(transaction)

    @property
    def has_failed(self) -> bool:
        """Whether a write failed, so that this log refuses further writes."""
        return self._failure is not None

    def stored_tables(self) -> tuple[set[bytes], int]:
        """Return the names of the tables in the file, and the number of the last commit: 0 in a new file."""
        with self.reading() as transaction, transaction.cursor() as cursor:
            return {bytes(name) for name in cursor.iternext(values=False)}, transaction.id()

    def create_tables(self, transaction: Transaction) -> None:
        """Open all tables, and creates those that are missing, as part of a write transaction."""
        self.tables = {name: self._open_table(name, transaction) for name in TABLES}

    def make_table(self, name: bytes, transaction: Transaction) -> Table:
        """Make one of the tables that come later, if it is not there; its handle is good once that is committed."""
        return self._open_table(name, transaction)

    def copy(self, destination: str) -> int:
        """
        Write a compacted copy into an empty directory, and return the size of its file.

        The copy is durable when this returns: the log may be deleted then. An error or a crash leaves no data file
        there, and the log unchanged.

        Raises:
            DestinationInUse: another copy, or a log, came into the directory.
        """
        from eventlog.store.lmdb.copying import new_data_file  # few programs copy: `import eventlog` is fast
        from eventlog.store.lmdb.scrubbing import scrub

        with self.reading():
            pass  # a panicked environment must be opened again before it can copy
        token = object()
        try:
            handle = self._enter(token)
            with new_data_file(destination, self._opener.mode) as descriptor, self._readers.begin(handle) as snapshot:
                handle.copyfd(descriptor, compact=True, txn=snapshot)  # one of its own would take the mutex
                scrub(descriptor, handle.stat()["psize"])
                return os.fstat(descriptor).st_size
        except unless_interrupted(lmdb.Error) as error:
            raise self._opener.copy_error(error, destination) from error
        except unless_interrupted(OSError) as error:
            raise self._opener.copy_error(error, destination) from error
        finally:
            self.leave(token, None)

    def sync(self) -> None:
        """Sync all commits to the disk; useful for a log that was opened with less than `commit`."""
        self.check_writable()  # after a failed sync the next one may succeed although data is lost
        token = object()
        try:
            handle = self._enter(token)
            self.check_identity()
            handle.sync(force=True)
        except unless_interrupted(lmdb.Error) as error:
            self._failure = self.fail(error)  # also for want of room: what it was to flush is in use
            raise self._failure from error
        finally:
            self.leave(token, None)

    def _open_table(self, name: bytes, transaction: Transaction) -> Table:
        handle = self._usable_handle()
        try:
            return handle.open_db(name, txn=transaction)
        except unless_interrupted(lmdb.MapFullError) as error:
            raise MapFull from error
        except unless_interrupted(lmdb.Error) as error:
            raise self.fail(error) from error

    def _begin_reading(self, token: object) -> Snapshot:
        """Enter the gate and begin a transaction; the caller takes the token back, also after an error."""
        while True:
            try:
                handle = self._enter(token)
                if self._files is not None and self._monotonic() >= self._next_look_s:
                    self.check_files()
                begun: Snapshot = begin_reading(handle, self._slots, VIEWS) or self._readers.begin(handle, VIEWS)
                return begun
            except unless_interrupted(*RECOVERABLE) as error:
                self.leave(token, None)
                self._recover(error)
            except unless_interrupted(lmdb.Error) as error:
                raise self._opener.translate(error, "read") from error

    def _check_readers(self, now: float) -> None:
        self._next_reader_check = now + _READER_CHECK_SECONDS
        self.look_at_bound()
        self._free_slots()
