"""
The one door to LMDB.

Begins and ends the transactions of a log, and turns LMDB's errors into ours. Five things that LMDB leaves to its
user are settled here and nowhere else: growth of the map by another process, forks, readers left behind by killed
processes, processes killed while they wait or open (`store/engine.py`), and what follows a failed write.

Knows nothing of topics or batches. It hands out `lmdb.Transaction` objects; none but these two modules imports `lmdb`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import lmdb

from eventlog.clock import Clock
from eventlog.errors import EventLogError, LogClosed, UsedAfterFork
from eventlog.store.datafile import sync_file
from eventlog.store.engine import DATA_FILE, MAP_BYTES, MEMORY_MAP_BYTES, Opening, parents_files_forgotten
from eventlog.store.filelock import FileLock
from eventlog.store.gate import Gate
from eventlog.store.memory import keep_freed_memory
from eventlog.store.steps import together

if TYPE_CHECKING:
    from pathlib import Path

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

_MENDED = (lmdb.MapResizedError, lmdb.PanicError, lmdb.ReadersFullError)
EngineError = lmdb.Error
EngineMapFull = lmdb.MapFullError
Transaction: TypeAlias = "lmdb.Transaction[bytes]"
"""A transaction that writes: what it reads are bytes."""
Snapshot: TypeAlias = "lmdb.Transaction[memoryview]"
"""A transaction that reads: what it reads are memoryviews that die with it."""
Cursor: TypeAlias = "lmdb.Cursor[memoryview] | lmdb.Cursor[bytes]"
CopyingCursor: TypeAlias = "lmdb.Cursor[bytes]"
Table = lmdb._Database
T = TypeVar("T")


class MapFull(Exception):
    """
    Says that the map has no room for the transaction.

    Never leaves `store`: the committer grows the map.
    """


class Environment:
    """
    Is the LMDB environment of one log directory, open once in this process.

    Any thread may begin a transaction. A write transaction ends in the thread that began it. No transaction may
    stay open while user code runs: a fork and a growing map wait for all of them.
    """

    def __init__(
        self, path: Path, *, durability: str, mode: int, map_bytes: int | None, is_memory: bool, clock: Clock
    ) -> None:
        self.path = path
        self.is_memory = is_memory
        size_bytes = map_bytes or (MEMORY_MAP_BYTES if is_memory else MAP_BYTES)
        self._opening = Opening(path, durability, mode, size_bytes, is_memory)
        self._clock = clock
        self.on_commit: Callable[[], object] = bool
        self._is_forked = False
        self._is_lost = False
        self._failure: EventLogError | None = None
        self._next_reader_check = 0.0
        self.tables: dict[bytes, Table] = {}
        """The handles of all tables, for whoever is inside a transaction; `table` opens them when they are not."""
        self._reset_gate()
        keep_freed_memory()
        self._write_lock: FileLock | None = None
        self._handle: lmdb.Environment | None = self._open_handle()

    # -- life ------------------------------------------------------------------------------------------------

    def _reset_gate(self) -> None:
        self._gate = Gate()
        self.leave = self._gate.leave
        self._revival = threading.Lock()
        self._writing_token: object | None = None
        self._writing: Transaction | None = None

    def _open_handle(self) -> lmdb.Environment:
        handle = self._opening.open()
        if not self.is_memory:
            try:
                self._write_lock = FileLock(self._opening.data)
            except OSError as error:
                handle.close()
                raise self.refused(error, "open") from error
        return handle

    def close(self) -> None:
        """
        Ends the environment; waits for running transactions.

        Later calls raise `LogClosed`.
        """
        self._gate.alone(self._close_handle)

    def _close_handle(self) -> None:
        handle, self._handle = self._handle, None
        self.tables = {}
        self._is_forked = self._is_lost = False
        self._close_write_lock()
        if handle is not None:
            handle.close()

    def _close_write_lock(self) -> None:
        lock, self._write_lock = self._write_lock, None
        if lock is not None:
            lock.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._handle is None and not self._is_forked and not self._is_lost

    def hold_for_fork(self) -> None:
        """Waits until no transaction runs and lets none begin, so that the child inherits none."""
        self._gate.shut()

    def release_after_fork(self) -> None:
        """Lets transactions begin again, in the parent."""
        self._gate.open()

    def forget_after_fork(self) -> object | None:
        """
        Drops the parent's environment in the child, without closing it; the next use opens another.

        `close()` would free the parent's reader slots, and the parent would then read pages that a writer has
        taken again: wrong data, silently.

        Returns the parent's environment if something refers to it still: the error of a refused commit, say, whose
        frames had a transaction. Whoever lets go of it last closes its files. Once the child has opened them too, that
        drops the child's locks on them, others take its readers for dead, and the child reads pages that a writer has
        taken again. So the caller keeps it for as long as the child lives.
        """
        parents = None if self._handle is None else weakref.ref(self._handle)
        self._handle = None
        self._close_write_lock()
        self.tables = {}
        self._failure = None
        self._is_forked = True
        self._reset_gate()
        return None if parents is None else parents()

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
            except _MENDED as error:
                self.leave(token, None)
                self._mend(error)
            except lmdb.Error as error:
                raise self.unreadable(error) from error

    def unreadable(self, error: lmdb.Error) -> EventLogError:
        """Our error for a read that failed."""
        return self._opening.translated(error, "read")

    def refused(self, error: OSError, verb: str) -> EventLogError:
        """Our error for a file or a lock that the system did not give us."""
        return self._opening.refused(error, verb)

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

    def _begin_alone(self, handle: lmdb.Environment) -> Transaction:
        if self._write_lock is not None:
            self._write_lock.acquire()
        return handle.begin(write=True)

    def check_writable(self) -> None:
        """Raises `StorageError` when an earlier write failed: `DiskFull` if it was for want of room, and so on."""
        if self._failure is not None:
            kind = type(self._failure)  # a `with` block that ends may raise this in place of the first
            raise kind(
                f"the log at {self.path} refuses writes since an earlier one failed: {self._failure} "
                "Nothing of this call was stored. Close the log and open it again."
            ) from self._failure

    def commit(self, transaction: Transaction) -> None:
        """
        Makes a write transaction visible, and durable as the log was opened for.

        Calls `on_commit` in one step with it (`store/steps.py`).

        Raises:
            StorageError: if the disk failed. The log refuses writes from now on.
            MapFull: if the map is too small. Nothing was stored; `abort()`, `grow()` and try again.

        Whatever it raises, `abort()` must follow.
        """
        try:
            together(transaction.commit, self.on_commit)
        except lmdb.MapFullError as error:
            raise MapFull from error
        except lmdb.Error as error:
            raise self.fail(error) from error
        self._end_writing()

    def abort(self, transaction: Transaction | None = None) -> bool:
        """
        Takes a write transaction back; when none is given, the one that runs.

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

    def last_transaction(self) -> int:
        """
        The number of the newest commit of any process.

        Costs less than a microsecond.
        """
        handle = self._handle
        if handle is None:
            handle = self._living_handle()
        try:
            number: int = handle.info()["last_txnid"]
        except lmdb.Error as error:
            if self._handle is not handle:  # it was closed, or opened anew, since we looked
                return self.last_transaction()
            raise self._opening.translated(error, "read") from error
        return number

    def table(self, name: bytes) -> Table:
        """The handle of a table, for the `db` arguments of LMDB; ask inside a transaction."""
        table = self.tables.get(name)
        if table is None:
            self._living_handle()  # after a fork it opens them; else it says that the log is closed
            table = self.tables[name]
        return table

    def stored_tables(self) -> set[bytes]:
        """The names of the tables in the file."""
        with self.reading() as transaction, transaction.cursor() as cursor:
            return {bytes(name) for name in cursor.iternext(values=False)}

    def open_tables(self, names: Iterable[bytes]) -> None:
        """Opens tables that are in the file; waits for the writer of the moment, and writes nothing."""
        self.tables |= self._opened_tables(self._living_handle(), names)

    def _opened_tables(self, handle: lmdb.Environment, names: Iterable[bytes]) -> dict[bytes, Table]:
        try:
            with self._begin_alone(handle) as transaction:  # a read transaction would not keep the table's handles
                return {name: handle.open_db(name, txn=transaction, create=False) for name in names}
        except lmdb.Error as error:
            raise self._opening.translated(error, "open") from error
        except OSError as error:
            raise self.refused(error, "open") from error
        finally:
            if self._write_lock is not None:
                self._write_lock.release()

    def create_tables(self, transaction: Transaction) -> None:
        """Opens all tables, and creates those that are missing, as part of a write transaction."""
        self.tables = {name: self._open_table(name, transaction) for name in TABLES}

    def copy(self, destination: Path) -> int:
        """
        Writes a compacted copy into an empty directory; the size of its file.

        The copy is on the disk when this returns: the log may be deleted then. A crash leaves the log as it is.
        """
        with self.reading():
            pass  # an engine that has failed for good copies nothing until it was opened anew
        token = object()
        try:
            handle = self._enter(token)
            handle.copy(os.fspath(destination), compact=True)
            os.chmod(destination / DATA_FILE, self._opening.mode)
            sync_file(destination / DATA_FILE)
            return sum(file.stat().st_size for file in destination.iterdir())
        except lmdb.Error as error:
            raise self._opening.translated(error, "copy") from error
        except OSError as error:
            raise self.refused(error, "copy") from error
        finally:
            self.leave(token, None)

    def sync(self) -> None:
        """Forces to the disk what was committed; of use when the log is open with less than `commit`."""
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
        """Enters and begins a transaction; whatever it raises, the token is the caller's to take back."""
        while True:
            try:
                return self._enter(token).begin(buffers=True)
            except _MENDED as error:
                self.leave(token, None)
                self._mend(error)
            except lmdb.Error as error:
                raise self._opening.translated(error, "read") from error

    def _mend(self, error: lmdb.Error) -> None:
        """
        Removes why a read could not begin, or raises.

        Another process made the map larger: we take that over. The engine has failed for good, as it does when the
        very last write of a commit fails: it is opened anew. All slots of readers are taken: those of the dead are
        freed, which else is done with a write.
        """
        if isinstance(error, lmdb.MapResizedError):
            self._resize(0)
        elif isinstance(error, lmdb.PanicError):
            self._gate.alone(self._renew)
        elif not self._free_slots():
            raise self.unreadable(error) from error

    def _renew(self) -> None:
        handle = self._living_handle()
        try:
            handle.begin().abort()
        except lmdb.PanicError:  # else another thread was faster
            self._lose(handle)
            self._living_handle()

    def _lose(self, handle: lmdb.Environment) -> None:
        """Closes an engine that is of no use any more; the next use opens another."""
        self._is_lost = True  # first: without a handle a log that is not lost is closed
        self._handle = None
        self._close_write_lock()
        handle.close()

    def _check_readers(self, now: float) -> None:
        self._next_reader_check = now + _READER_CHECK_SECONDS
        self._free_slots()

    def _free_slots(self) -> int:
        """Frees the slots of readers that died, and counts them."""
        token = object()
        try:
            return self._enter(token).reader_check()
        except lmdb.Error as error:
            raise self._opening.translated(error, "write") from error
        finally:
            self.leave(token, None)

    # -- the gate (store/gate.py), and what is behind it ------------------------------------------------------

    def _enter(self, token: object) -> lmdb.Environment:
        self._gate.enter(token)
        return self._handle or self._living_handle()

    def _living_handle(self) -> lmdb.Environment:
        handle = self._handle
        if handle is not None:
            return handle
        if self.is_closed:
            raise LogClosed(self._closed_message())
        if self.is_memory and self._is_forked:
            raise UsedAfterFork(
                f"the log at {self.path} was opened before a fork and is private to the parent. Nothing was "
                "stored. Open a log of its own in the child."
            )
        return self._revive()

    def _revive(self) -> lmdb.Environment:
        with self._revival:
            if self._handle is None:
                with parents_files_forgotten():
                    handle = self._open_handle()
                try:
                    self.tables = self._opened_tables(handle, TABLES)
                except BaseException:
                    self._close_write_lock()
                    handle.close()
                    raise
                self._handle = handle
                self._is_forked = self._is_lost = False
            return self._handle

    def _closed_message(self) -> str:
        return f"the log at {self.path} is closed. Nothing was stored. Call eventlog.open() again."

    def grow(self) -> None:
        """Doubles the map after `MapFull`."""
        self._resize(2 * self.map_bytes())

    def map_bytes(self) -> int:
        """The size of the map: the bound of the log's size."""
        size: int = self._living_handle().info()["map_size"]
        return size

    def _resize(self, size_bytes: int) -> None:
        """Changes the map's size; 0 takes over the size that another process chose."""
        self._gate.alone(lambda: self._remap(self._living_handle(), size_bytes))

    def _remap(self, handle: lmdb.Environment, size_bytes: int) -> None:
        try:
            handle.set_mapsize(size_bytes)
        except lmdb.Error as error:
            self._lose(handle)  # it has no map any more
            raise self._opening.translated(error, "grow the map of") from error
