"""
The one door to LMDB.

Begins and ends the transactions of a log, turns LMDB's errors into ours, and refuses writes after one that failed. What
else LMDB leaves to its user is settled in `store/lmdb/lifecycle.py`, while the environment is open, and in
`store/lmdb/opening.py`, when it is opened.

Knows nothing of topics or batches. It hands out `lmdb.Transaction` objects; none but these three modules imports
`lmdb`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import lmdb

from eventlog.clock import Clock
from eventlog.errors import EventLogError
from eventlog.store.lmdb.data_file import sync_file
from eventlog.store.lmdb.lifecycle import MENDED, LivingHandle, Table
from eventlog.store.lmdb.opening import DATA_FILE
from eventlog.uninterruptible import call_atomically

_READER_CHECK_SECONDS = 5.0

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
TABLES = (
    *(FORMAT, TOPICS, PARTITIONS, BATCHES, ORDER, OFFSETS, GROUPS, MEMBERS, INDEX, SNAPSHOTS),
    *(MESSAGES, MESSAGE_TIMES, STATES, STATE, PROJECTIONS, PRODUCERS, SEQUENCES),
)

EngineError = lmdb.Error
EngineMapFull = lmdb.MapFullError
Transaction: TypeAlias = "lmdb.Transaction[bytes]"
"""A transaction that writes: what it reads are bytes."""
Snapshot: TypeAlias = "lmdb.Transaction[memoryview]"
"""A transaction that reads: what it reads are memoryviews that die with it."""
Cursor: TypeAlias = "lmdb.Cursor[memoryview] | lmdb.Cursor[bytes]"
CopyingCursor: TypeAlias = "lmdb.Cursor[bytes]"
T = TypeVar("T")


class MapFull(Exception):
    """
    Says that the map has no room for the transaction.

    Never leaves `store`: the committer grows the map.
    """


class Environment(LivingHandle):
    """
    The LMDB environment of one log directory, open once in this process.

    Any thread may begin a transaction. A write transaction ends in the thread that began it. No transaction may
    stay open while user code runs: a fork and a growing map wait for all of them.
    """

    def __init__(
        self, path: str, *, durability: str, mode: int, map_bytes: int | None, is_memory: bool, clock: Clock
    ) -> None:
        self._clock = clock
        self.has_committed = False
        """Set in one step with each commit; whoever has taken note of the commit sets it back."""
        self._note_commit = partial(setattr, self, "has_committed", True)  # noqa: FBT003
        self._failure: EventLogError | None = None
        self._next_reader_check = 0.0
        super().__init__(
            path, durability=durability, mode=mode, map_bytes=map_bytes, is_memory=is_memory, table_names=TABLES
        )

    def _reset_gate(self) -> None:
        super()._reset_gate()
        self._writing_token: object | None = None
        self._writing: Transaction | None = None

    def forget_after_fork(self) -> object | None:
        """Drop what is the parent's, the write that failed in it too: see `LivingHandle`."""
        self._failure = None
        return super().forget_after_fork()

    # -- transactions ----------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """
        A snapshot, for as long as the block runs.

        Values are memoryviews that die with it; copy them.
        """
        token = object()
        try:
            transaction = self._begin_reading(token)
            try:
                yield transaction
            except lmdb.Error as error:
                raise self._opening.translated(error, "read") from error
            finally:
                transaction.abort()
        finally:
            self.leave(token, None)

    def read(self, look: Callable[[Transaction], T]) -> T:
        """
        What a function finds in a snapshot, which hands it copies.

        At half the cost of a `with reading()`, which takes as long as a look at a few rows.
        """
        token = object()
        try:
            transaction = self.begin_copying(token)
            try:
                return look(transaction)
            except lmdb.Error as error:
                raise self._opening.translated(error, "read") from error
            finally:
                transaction.abort()
        finally:
            self.leave(token, None)

    def begin_copying(self, token: object) -> Transaction:
        """
        A snapshot that hands out copies, for what is read most often; who begins it ends it, as `read` does.

        Even the call of a function costs something there. Written out it is as safe:

            token = object()
            try:
                transaction = environment.begin_copying(token)
                try:
                    ...
                except EngineError as error:
                    raise environment.unreadable(error) from error
                finally:
                    transaction.abort()
            finally:
                environment.leave(token, None)

        A class with an `__exit__` of Python would not be: it can be interrupted before its first line.
        """
        while True:
            try:
                self._gate.enter(token)
                return (self._handle or self._living_handle()).begin()
            except MENDED as error:
                self.leave(token, None)
                self._mend(error)
            except lmdb.Error as error:
                raise self.unreadable(error) from error

    def begin_writing(self) -> Transaction:
        """
        A write transaction; waits for the other writers of all processes.

        End it with `commit` or `abort`.
        """
        if self._failure is not None:
            self.check_writable()
        now = self._clock.monotonic()
        if now >= self._next_reader_check:
            self._check_readers(now)
        token = object()
        try:
            self._gate.enter(token)
            handle = self._handle or self._living_handle()
            if self._write_lock is not None:
                self._write_lock.acquire()
            transaction = handle.begin(write=True)
        except BaseException as error:
            self.leave(token, None)
            if self._write_lock is not None:
                self._write_lock.release()
            if isinstance(error, lmdb.MapResizedError):
                self._resize(0)
                return self.begin_writing()
            if isinstance(error, lmdb.Error):
                raise self._opening.translated(error, "write") from error
            if isinstance(error, OSError):  # no lock to be had: nothing was begun, and the next may succeed
                raise self.refused(error, "write") from error
            raise
        self._writing_token = token
        self._writing = transaction
        return transaction

    def check_writable(self) -> None:
        """Raise `StorageError` when an earlier write failed: `DiskFull` if it was for want of room, and so on."""
        if self._failure is not None:
            kind = type(self._failure)  # a `with` block that ends may raise this in place of the first
            raise kind(
                f"the log at {self.path} refuses writes since an earlier one failed: {self._failure} "
                "Nothing of this call was stored. Close the log and open it again."
            ) from self._failure

    def commit(self, transaction: Transaction) -> None:
        """
        Make a write transaction visible, and durable as the log was opened for.

        Sets `has_committed` in one step with it (`uninterruptible.py`).

        Raises:
            StorageError: if the disk failed. The log refuses writes from now on.
            MapFull: if the map is too small. Nothing was stored; `abort()`, `grow()` and try again.

        Whatever it raises, `abort()` must follow.
        """
        try:
            call_atomically(transaction.commit, self._note_commit)
        except lmdb.MapFullError as error:
            raise MapFull from error
        except lmdb.Error as error:
            raise self.fail(error) from error
        self._end_writing()

    def abort(self, transaction: Transaction | None = None) -> bool:
        """
        Take a write transaction back; when none is given, the one that runs.

        False when there was nothing left to take back.
        """
        transaction = transaction or self._writing
        try:
            if transaction is None:
                return False
            transaction.abort()
        except lmdb.Error:
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

    def fail(self, error: lmdb.Error) -> EventLogError:
        """Our error for a failed write; from now on the log refuses to write."""
        failure = self._opening.translated(error, "write")
        self._failure = failure
        return failure

    @property
    def has_failed(self) -> bool:
        """Whether a write failed, after which this log refuses to write."""
        return self._failure is not None

    def stored_tables(self) -> set[bytes]:
        """The names of the tables in the file."""
        with self.reading() as transaction, transaction.cursor() as cursor:
            return {bytes(name) for name in cursor.iternext(values=False)}

    def create_tables(self, transaction: Transaction) -> None:
        """Open all tables, and creates those that are missing, as part of a write transaction."""
        self.tables = {name: self._open_table(name, transaction) for name in TABLES}

    def copy(self, destination: str) -> int:
        """
        Write a compacted copy into an empty directory; the size of its file.

        The copy is on the disk when this returns: the log may be deleted then. A crash leaves the log as it is.
        """
        with self.reading():
            pass  # an engine that has failed for good copies nothing until it was opened anew
        token = object()
        try:
            handle = self._enter(token)
            handle.copy(destination, compact=True)
            data = os.path.join(destination, DATA_FILE)
            os.chmod(data, self._opening.mode)
            sync_file(data)
            return sum(file.stat().st_size for file in os.scandir(destination))
        except lmdb.Error as error:
            raise self._opening.translated(error, "copy") from error
        except OSError as error:
            raise self.refused(error, "copy") from error
        finally:
            self.leave(token, None)

    def sync(self) -> None:
        """Force to the disk what was committed; of use when the log is open with less than `commit`."""
        self.check_writable()  # after a sync that failed the next one may succeed, and the data be lost
        token = object()
        try:
            handle = self._enter(token)
            handle.sync(force=True)
        except lmdb.Error as error:
            raise self.fail(error) from error
        finally:
            self.leave(token, None)

    def _open_table(self, name: bytes, transaction: Transaction) -> Table:
        handle = self._living_handle()
        try:
            return handle.open_db(name, txn=transaction)
        except lmdb.MapFullError as error:
            raise MapFull from error
        except lmdb.Error as error:
            raise self.fail(error) from error

    def _begin_reading(self, token: object) -> Snapshot:
        """Enter and begins a transaction; whatever it raises, the token is the caller's to take back."""
        while True:
            try:
                return self._enter(token).begin(buffers=True)
            except MENDED as error:
                self.leave(token, None)
                self._mend(error)
            except lmdb.Error as error:
                raise self._opening.translated(error, "read") from error

    def _check_readers(self, now: float) -> None:
        self._next_reader_check = now + _READER_CHECK_SECONDS
        self._free_slots()
