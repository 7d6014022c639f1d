"""
Keeps an open LMDB environment usable across forks, map growth, engine panics and stale reader slots.

The size of the map is in `space.py`, transactions and failed writes are in `environment.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial

import lmdb

from eventlog.backend.waiting import GLANCE_SECONDS
from eventlog.errors import EventLogError, FilesChanged, LogClosed, NestedCall, UsedAfterFork
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.file_lock import FileLock
from eventlog.store.lmdb.file_pair import FilePair
from eventlog.store.lmdb.gate import Gate
from eventlog.store.lmdb.opening import Opener, keep_freed_memory, parent_environments_hidden
from eventlog.store.lmdb.reader_table import ReaderTable, forget_spare
from eventlog.store.lmdb.room import Bound, Reserve
from eventlog.uninterruptible import NestingLock

_LOOK_SECONDS = 0.001
"""How often readers look whether the files are in their place."""
RECOVERABLE = (lmdb.MapResizedError, lmdb.PanicError, lmdb.ReadersFullError)
"""LMDB errors after which a read can be retried; see `_recover`."""
Table = lmdb._Database


def _never() -> bool:
    return False


class Lifecycle:
    """
    The environment of one log directory from opening to closing; `Environment` adds the transactions.

    The gate makes sure that it is not closed, dropped or reopened while a transaction of this process runs.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        mode: int,
        map_bytes: int | None,
        bound: Bound | None,
        is_memory: bool,
        is_read_only: bool,
        table_names: Iterable[bytes],
        later_names: Iterable[bytes] = (),
        monotonic: Callable[[], float],
    ) -> None:
        self.path = path
        self._monotonic = monotonic
        self.is_memory = is_memory
        self.is_read_only = is_read_only
        self._opener = Opener(path, durability, mode, map_bytes, bound, is_memory=is_memory, is_read_only=is_read_only)
        self._turns_file: str | None = None
        """The file whose lock each read shares (`turns.py`); None for those who have places in the table of readers."""
        self._table_names = table_names
        self._later_names = frozenset(later_names)
        self._is_forked = False
        self._is_unusable = False
        self.stored_number = 0
        """The number of the last commit of this process that has put something: the data file is no older."""
        self.tables: dict[bytes, Table] = {}
        """The handles of all tables, for use inside a transaction; `table` opens them if they are missing."""
        self._reset_gate()
        keep_freed_memory()
        self._files: FilePair | None = None
        self._next_look_s = self._glances_end_s = 0.0
        self._write_lock: FileLock | None = None
        self._reserve: Reserve | None = None
        self._handle: lmdb.Environment | None = self._open_handle()

    def _look_at_map(self, handle: lmdb.Environment) -> None:
        """Take note of the size of the map and of the file, whenever there is another map (`space.py`)."""

    # -- life cycle------------------------------------------------------------------------------------------

    def _reset_gate(self) -> None:
        self._gate = self._turn_gate() if self.is_read_only else Gate()
        self._set_turns(self._turns_file)
        self.leave = self._gate.leave
        self._reopening = NestingLock(lambda: self._gate.is_interrupted)

    def _turn_gate(self) -> Gate:
        from eventlog.store.lmdb.turns import TurnGate  # few logs are opened for reading alone

        return TurnGate(self._turn_error)

    def _set_turns(self, data_file: str | None) -> None:
        self._turns_file = self._gate.turns_file = data_file

    def _turn_error(self, error: OSError) -> EventLogError:
        if not isinstance(error, FileNotFoundError):
            return self._opener.os_error(error, "read")
        return FilesChanged(
            f"the files of the log at {self.path} were changed while it was open: {self.data_file} was removed.",
            stored="This call has changed nothing.",
            advice="Put it back, or close the log and open what is there now.",
        )

    def _open_handle(self) -> lmdb.Environment:
        handle, self._files = self._opener.open()
        try:
            self._write_lock = None if self._files is None else self._files.write_lock
            self._readers = ReaderTable() if self._files is None else self._files.readers
            self._slots = self._readers.slots
            if self.is_read_only and self._files is not None:
                self._set_turns(None if self._files.has_slots else self.data_file)
            elif not self.is_memory:
                self._reserve = Reserve(self.path, self._opener.mode)
            self._look_at_map(handle)
        except BaseException:  # an interruption
            self._close_files(handle)
            raise
        return handle

    def close(self) -> None:
        """
        Close the environment after the running transactions.

        Later calls raise `LogClosed`.
        """
        self._gate.alone(self._close_handle)

    def _close_handle(self) -> None:
        handle, self._handle = self._handle, None
        self.tables = {}
        self._is_forked = self._is_unusable = False
        try:
            self._close_files(handle)
        finally:
            if handle is not None:
                handle.close()  # again, in case of an interruption: LMDB refuses to open a file twice

    def _close_files(self, handle: lmdb.Environment | None) -> None:
        """Close LMDB's environment, and then our own descriptors of the files, which protect its readers."""
        try:
            if handle is not None and self._files is not None:
                self._files.prepare_to_close()
        finally:
            try:
                if handle is not None:
                    handle.close()
            finally:
                self._write_lock = None
                if self._files is not None:
                    self._files.close()
                    self._files = None
                self._reserve = None

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._handle is None and not self._is_forked and not self._is_unusable

    @property
    def data_file(self) -> str:
        """The path of the file that holds the log."""
        return self._opener.data

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread is in a transaction, or keeps others from beginning one."""
        return self._gate.is_interrupted

    def hold_for_fork(self) -> None:
        """Wait until no transaction runs and let none begin, so that the child inherits none."""
        self._gate.shut()

    def release_after_fork(self) -> None:
        """Let transactions begin again, in the parent."""
        self._gate.open()

    def reset_after_fork(self) -> object | None:
        """
        Drop the parent's environment in the child, without closing it; the next use opens another.

        `close()` would free the parent's reader slots, and the parent would then read pages that a writer has reused:
        wrong data, silently.

        Returns the parent's environment if something still refers to it, for example the error of a failed commit,
        whose frames hold a transaction. Dropping the last reference closes its files. Once the child has opened them
        too, that would release the child's locks on them, other processes would take its readers for dead, and the
        child would read reused pages. So the caller must keep it for as long as the child lives.
        """
        parents = None if self._handle is None else weakref.ref(self._handle)
        if self._handle is not None:
            forget_spare(self._handle)
        self._handle = None
        self._close_files(None)
        self.tables = {}
        self._is_forked = True
        self._reset_gate()
        return None if parents is None else parents()

    # -- the gate (gate.py), and the environment behind it -----------------------------------------------------

    def _enter(self, token: object) -> lmdb.Environment:
        self._gate.enter(token)
        return self._handle or self._usable_handle()

    def _usable_handle(self) -> lmdb.Environment:
        handle = self._handle
        if handle is not None:
            return handle
        if self.is_closed:
            raise self._closed()
        if self.is_memory and self._is_forked:
            raise UsedAfterFork(
                f"the log at {self.path} was opened before a fork and is private to the parent.",
                stored="Nothing was changed.",
                advice="Open another log in the child.",
            )
        return self._reopen()

    def _reopen(self) -> lmdb.Environment:
        if self._reopening.is_ours:
            raise NestedCall(
                f"cannot open the log at {self.path} after a fork while the same thread opens it: a signal handler or "
                "a finalizer called us.",
                stored="Nothing was stored.",
                advice="Call it outside.",
            )
        with self._reopening:
            if self._handle is None:
                with parent_environments_hidden():
                    handle = self._open_handle()
                try:
                    self.tables = self._opened_tables(handle, self._table_names)
                    self.tables |= self._opened_later(handle)
                except BaseException:
                    self._close_files(handle)
                    raise
                self._handle = handle
                self._is_forked = self._is_unusable = False
            return self._handle

    def _closed(self) -> LogClosed:
        return LogClosed(
            f"the log at {self.path} is closed.",
            stored="Nothing was changed.",
            advice="Call eventlog.open() again.",
        )

    # -- the files ------------------------------------------------------------------------------------------

    def check_files(self) -> None:
        """Raise `FilesChanged` if the files of the log are not in their place, or are older than they were."""
        self._next_look_s = self._glances_end_s = 0.0  # until they are, each read looks
        token = object()
        try:
            self._enter(token)
            if self._files is not None:
                self._files.check()
                self._files.check_last_commit(self.stored_number)
            now_s = self._monotonic()
            self._next_look_s, self._glances_end_s = now_s + _LOOK_SECONDS, now_s + GLANCE_SECONDS
        finally:
            self.leave(token, None)

    # -- contents ------------------------------------------------------------------------------------------

    def last_transaction(self) -> int:
        """
        Return the number of the newest commit of any process.

        Whoever asks that reads the meta pages only, so a glance at the files is enough, for a second.
        """
        handle = self._handle
        if handle is None:
            handle = self._usable_handle()
        files = self._files
        if files is not None:
            now_s = self._monotonic()
            if now_s >= self._next_look_s and (now_s >= self._glances_end_s or not files.glance()()):
                self.check_files()
        try:
            number: int = handle.info()["last_txnid"]
        except unless_interrupted(lmdb.Error) as error:
            if self._handle is not handle:  # it was closed or reopened in the meantime
                return self.last_transaction()
            raise self._opener.translate(error, "read") from error
        return number

    def glance(self, transaction: int) -> Callable[[], bool]:
        """
        Return a function that tells whether nothing has happened since a commit, for those who wait.

        Some microseconds, also when the processor has forgotten everything. It does not see that the content of the
        files was exchanged; `last_transaction` does, so ask that now and then.
        """
        files = self._files
        return _never if files is None else files.glance(transaction)

    def table(self, name: bytes) -> Table:
        """Return the handle of a table, for LMDB's `db` arguments; call it inside a transaction."""
        table = self.tables.get(name)
        if table is None:
            self._usable_handle()  # opens them after a fork; raises if the log is closed
            table = self.tables[name]
        return table

    def open_stored_tables(
        self, first: bytes, is_usable: Callable[[lmdb.Transaction[bytes]], bool]
    ) -> tuple[set[bytes], int]:
        """
        Open the tables in the file, if all are there; waits for the current writer, writes nothing.

        Returns their names, and the number of the last commit: 0 in a new file.

        Args:
            first: the table that is opened first.
            is_usable: says then whether the others are to be opened.
        """
        handle, names = self._usable_handle(), self._table_names
        try:
            with self._begin_alone(handle) as transaction:
                with transaction.cursor() as cursor:
                    stored = set(cursor.iternext(values=False))
                if first in stored:
                    self.tables[first] = handle.open_db(first, txn=transaction, create=False)
                    if is_usable(transaction) and stored.issuperset(names):
                        opened = (*names, *(self._later_names & stored))
                        self.tables = {name: handle.open_db(name, txn=transaction, create=False) for name in opened}
                return stored, transaction.id() - 1
        except unless_interrupted(lmdb.Error) as error:
            raise self._opener.translate(error, "open") from error
        except unless_interrupted(OSError) as error:
            raise self.os_error(error, "open") from error
        finally:
            if self._write_lock is not None:
                self._write_lock.release()

    def open_tables(self, names: Iterable[bytes]) -> None:
        """Open tables that exist in the file; waits for the current writer, writes nothing."""
        token = object()
        try:
            self.tables |= self._opened_tables(self._enter(token), names)
        finally:
            self.leave(token, None)

    def has_later(self, name: bytes) -> bool:
        """Whether the log has a table that it gets when it needs it; opens it if another process has made it."""
        if name not in self.tables:
            self.check_files()
            token = object()
            try:
                self.tables |= self._opened_later(self._enter(token))
            finally:
                self.leave(token, None)
        return name in self.tables

    def _opened_later(self, handle: lmdb.Environment) -> dict[bytes, Table]:
        """Open those of the tables that come later that are in the file."""
        try:
            with self._readers.begin(handle) as transaction, transaction.cursor() as cursor:
                names = [name for name in self._later_names if cursor.set_key(name)]
        except unless_interrupted(lmdb.Error) as error:
            raise self._opener.translate(error, "open") from error
        return self._opened_tables(handle, names) if names else {}

    def _opened_tables(self, handle: lmdb.Environment, names: Iterable[bytes]) -> dict[bytes, Table]:
        try:
            if self.is_read_only:  # each in a transaction of LMDB's own, whose end keeps the handle
                return {name: self._readers.alone(partial(handle.open_db, name, create=False)) for name in names}
            with self._begin_alone(handle) as transaction:  # a read transaction of py-lmdb would not keep the handles
                return {name: handle.open_db(name, txn=transaction, create=False) for name in names}
        except unless_interrupted(lmdb.Error) as error:
            raise self._opener.translate(error, "open") from error
        except unless_interrupted(OSError) as error:
            raise self.os_error(error, "open") from error
        finally:
            if self._write_lock is not None:
                self._write_lock.release()

    def _begin_alone(self, handle: lmdb.Environment) -> lmdb.Transaction[bytes]:
        if self._write_lock is not None:
            self._write_lock.acquire()
        return self._readers.begin_writing(handle)

    # -- recovery ------------------------------------------------------------------------------------------

    def _replace_panicked(self) -> None:
        handle = self._usable_handle()
        try:
            self._readers.begin(handle).abort()
        except unless_interrupted(lmdb.PanicError):  # otherwise another thread was faster
            self._close_unusable(handle)
            self._usable_handle()

    def _close_unusable(self, handle: lmdb.Environment) -> None:
        """Close an unusable environment; the next use opens another."""
        self._is_unusable = True  # first: a log without a handle and without this flag counts as closed
        self._handle = None
        self._close_files(handle)

    def _free_slots(self) -> int:
        """Free the slots of dead readers; return their number."""
        token = object()
        try:
            return self._readers.alone(self._enter(token).reader_check)
        except unless_interrupted(lmdb.Error) as error:
            raise self._opener.translate(error, "write") from error
        finally:
            self.leave(token, None)

    # -- errors --------------------------------------------------------------------------------------------

    def read_error(self, error: lmdb.Error) -> EventLogError:
        """Return our error for a read that failed."""
        return self._opener.translate(error, "read")

    def os_error(self, error: OSError, verb: str) -> EventLogError:
        """Return our error for a system call that failed outside of LMDB."""
        return self._opener.os_error(error, verb)
