"""
The open environment of LMDB, kept of use.

What becomes of it that its user has to mend is mended here: forks, a map that another process made larger, an engine
that has failed for good, slots of readers that died. Knows nothing of what a transaction does, nor of a failed write.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

import lmdb

from eventlog.errors import EventLogError, LogClosed, UsedAfterFork
from eventlog.store.lmdb.file_lock import FileLock
from eventlog.store.lmdb.gate import Gate
from eventlog.store.lmdb.malloc import keep_freed_memory
from eventlog.store.lmdb.opening import MAP_BYTES, MEMORY_MAP_BYTES, Opening, parents_files_forgotten

MENDED = (lmdb.MapResizedError, lmdb.PanicError, lmdb.ReadersFullError)
"""Why a read may not begin although it can be helped: see `_mend`."""
Table = lmdb._Database


class LivingHandle:
    """
    The environment of one log directory while it is open; `Environment` adds the transactions.

    Nobody closes it, forgets it or opens it anew while a transaction of this process runs: that is what the gate
    is for.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        mode: int,
        map_bytes: int | None,
        is_memory: bool,
        table_names: Iterable[bytes],
    ) -> None:
        self.path = path
        self.is_memory = is_memory
        size_bytes = map_bytes or (MEMORY_MAP_BYTES if is_memory else MAP_BYTES)
        self._opening = Opening(path, durability, mode, size_bytes, is_memory)
        self._table_names = table_names
        self._is_forked = False
        self._is_lost = False
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
        End the environment; waits for running transactions.

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
        """Wait until no transaction runs and lets none begin, so that the child inherits none."""
        self._gate.shut()

    def release_after_fork(self) -> None:
        """Let transactions begin again, in the parent."""
        self._gate.open()

    def forget_after_fork(self) -> object | None:
        """
        Drop the parent's environment in the child, without closing it; the next use opens another.

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
        self._is_forked = True
        self._reset_gate()
        return None if parents is None else parents()

    # -- the gate (store/lmdb/gate.py), and what is behind it ---------------------------------------------------

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
                    self.tables = self._opened_tables(handle, self._table_names)
                except BaseException:
                    self._close_write_lock()
                    handle.close()
                    raise
                self._handle = handle
                self._is_forked = self._is_lost = False
            return self._handle

    def _closed_message(self) -> str:
        return f"the log at {self.path} is closed. Nothing was stored. Call eventlog.open() again."

    # -- what is in it -------------------------------------------------------------------------------------

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

    def open_tables(self, names: Iterable[bytes]) -> None:
        """Open tables that are in the file; waits for the writer of the moment, and writes nothing."""
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

    def _begin_alone(self, handle: lmdb.Environment) -> lmdb.Transaction[bytes]:
        if self._write_lock is not None:
            self._write_lock.acquire()
        return handle.begin(write=True)

    # -- mending -------------------------------------------------------------------------------------------

    def _mend(self, error: lmdb.Error) -> None:
        """
        Remove why a read could not begin, or raises.

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
        """Close an engine that is of no use any more; the next use opens another."""
        self._is_lost = True  # first: without a handle a log that is not lost is closed
        self._handle = None
        self._close_write_lock()
        handle.close()

    def _free_slots(self) -> int:
        """Free the slots of readers that died, and counts them."""
        token = object()
        try:
            return self._enter(token).reader_check()
        except lmdb.Error as error:
            raise self._opening.translated(error, "write") from error
        finally:
            self.leave(token, None)

    def grow(self) -> None:
        """Double the map after `MapFull`."""
        self._resize(2 * self.map_bytes())

    def map_bytes(self) -> int:
        """The size of the map: the bound of the log's size."""
        size: int = self._living_handle().info()["map_size"]
        return size

    def _resize(self, size_bytes: int) -> None:
        """Change the map's size; 0 takes over the size that another process chose."""
        self._gate.alone(lambda: self._remap(self._living_handle(), size_bytes))

    def _remap(self, handle: lmdb.Environment, size_bytes: int) -> None:
        try:
            handle.set_mapsize(size_bytes)
        except lmdb.Error as error:
            self._lose(handle)  # it has no map any more
            raise self._opening.translated(error, "grow the map of") from error

    # -- errors --------------------------------------------------------------------------------------------

    def unreadable(self, error: lmdb.Error) -> EventLogError:
        """Our error for a read that failed."""
        return self._opening.translated(error, "read")

    def refused(self, error: OSError, verb: str) -> EventLogError:
        """Our error for a file or a lock that the system did not give us."""
        return self._opening.refused(error, verb)
