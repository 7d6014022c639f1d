"""
The opening of LMDB's files.

Two problems are repaired here: files left half-made by a process that died while it opened them first, and a map too
large for this machine. Forks, growth and failures of an open environment are handled in `lifecycle.py`.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import lmdb

from eventlog.errors import EventLogError
from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.store.folder import give
from eventlog.store.lmdb.data_file import DATA_FILE, is_lmdb_file, sync_entries
from eventlog.store.lmdb.errors import EngineFailure, translate
from eventlog.store.lmdb.file_lock import directory_lock
from eventlog.store.lmdb.file_pair import FilePair
from eventlog.store.lmdb.lock_file import open_locks
from eventlog.store.lmdb.reader_table import spare_count
from eventlog.store.lmdb.room import Bound

try:
    import resource
except ImportError:  # no limits to ask for
    resource = None  # type: ignore[assignment]
try:
    from lmdb import _envid  # private to py-lmdb 3; only parent_environments_hidden needs it
except ImportError:
    _envid = None  # type: ignore[assignment]

MAP_BYTES = 1 << 40
"""1 TiB of address space, not disk. Every process passes the same size, so the map rarely has to grow."""
MEMORY_MAP_BYTES = 1 << 34
LEAST_MAP_BYTES = 1 << 20
ROOM_BYTES = 1 << 26
"""Address space that a map leaves to the program when it grows, or when the user chose its size."""
_LEAST_ROOM_BYTES = 1 << 25
"""Address space without which no log is opened: LMDB takes four mebibytes, and the program needs some."""
_MAPS_AT_LEAST = 64
"""How many maps of its size must have room when a log is opened."""
_UNUSED_MAP = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0) | getattr(mmap, "MAP_NORESERVE", 0)
MAX_READERS = 2048
_LITTLE_ROOM_BYTES = 1 << 20
_MAX_TABLES = 64
_DYING_OPENER_SECONDS = 1.0
_FREED_BLOCK_BYTES = 16 << 20
_ENGINE = 0
"""LMDB 0.9. Files of engine 1.0 are not readable by 0.9 (docs/decisions/0001-lmdb-engine.md)."""


class Opener:
    """
    Opens a log's LMDB files, at first and again after a fork.

    `chosen_map_bytes` is the size that the user chose, if any, and `bound` that of the file. `map_bytes` is that of the
    last map: less than chosen, or than usual, if the process has no room for such a map beside everything else.
    """

    __slots__ = ("bound", "chosen_map_bytes", "durability", "is_memory", "is_read_only", "map_bytes", "mode", "path")

    def __init__(
        self,
        path: str,
        durability: str,
        mode: int,
        chosen_map_bytes: int | None,
        bound: Bound | None,
        *,
        is_memory: bool,
        is_read_only: bool = False,
    ) -> None:
        self.path = path
        self.durability = durability
        self.mode = mode
        self.chosen_map_bytes = chosen_map_bytes
        self.bound = bound
        self.is_memory = is_memory
        self.is_read_only = is_read_only
        self.map_bytes = 0

    @property
    def data(self) -> str:
        """The file that holds the log."""
        return os.path.join(self.path, DATA_FILE)

    def open(self) -> tuple[lmdb.Environment, FilePair | None]:
        """
        Open the environment, and its files once more beside LMDB; processes take turns.

        LMDB's first opener prepares the lock file while the others wait; if it is killed meanwhile, they find the file
        half prepared. So we try again, now as the first opener, until the killed process is gone.

        A new file and its name are synced to the disk before the first commit: a power cut then leaves a file that can
        be opened, or one that `prepare` recognises as unfinished.
        """
        deadline_s = time.monotonic() + _DYING_OPENER_SECONDS
        files = handle = None
        turn = None
        try:
            lock = directory_lock(self.path)
            try:  # no `with`: a signal handler may raise between its end and the block
                lock.acquire()
                if self.is_memory:
                    os.close(open_locks(lock.descriptor, max_readers=MAX_READERS, mode=self.mode))
                else:
                    files = FilePair(
                        self.path, lock, max_readers=MAX_READERS, mode=self.mode, is_read_only=self.is_read_only
                    )
                    if not files.has_slots:
                        from eventlog.store.lmdb.turns import Turn  # few logs are opened without the right to write

                        turn = Turn()
                        turn.take(self.data)
                handle = self._open_with(files, deadline_s)
                if files is not None:
                    files.keep(lock)
            finally:
                if turn is not None:
                    turn.close()
                lock.release()  # a C function, which is called in any case: others wait for the lock
                lock.close()
        except BaseException as error:
            if handle is not None:
                handle.close()
            if files is not None:
                files.close()
            if isinstance(error, OSError) and not is_interruption(error):
                raise self.os_error(error, "open") from error
            raise
        assert handle is not None  # else an error was raised
        return handle, files

    def _open_with(self, files: FilePair | None, deadline_s: float) -> lmdb.Environment:
        is_new = files is None or files.is_new
        while True:
            try:
                handle = self._open_engine(has_slots=files is None or files.has_slots)
                break
            except unless_interrupted(lmdb.InvalidError) as error:
                if not (is_new or is_lmdb_file(self.data)) or time.monotonic() > deadline_s:
                    raise self.translate(error, "open") from error
                time.sleep(0.001)
        try:
            if files is not None:
                if not files.readers.keeps_spares(handle):
                    handle.close()
                    handle = self._open_engine(has_slots=files.has_slots)
                files.hold(handle)
                if is_new:
                    give(self.data, self.mode)
                    handle.sync(force=True)
                    sync_entries(self.path)
        except unless_interrupted(lmdb.Error) as error:
            handle.close()
            raise self.translate(error, "open") from error
        except BaseException:
            handle.close()
            raise
        return handle

    def current_bound(self) -> Bound | None:
        """Return the bound of the file: the user's, or the limit of this process for its files, whatever is less."""
        limit_bytes = None if self.is_read_only else _file_limit_bytes()
        if limit_bytes is None:
            return self.bound
        return Bound(limit_bytes if self.bound is None else min(limit_bytes, self.bound.max_bytes))

    def _size_map(self) -> int:
        """
        Choose the size of the map.

        It takes a small part of the address space that is left, so that a program can open a thousand logs, and has
        memory for itself; one that the user chose leaves some room.
        """
        size = self.chosen_map_bytes or (MEMORY_MAP_BYTES if self.is_memory else MAP_BYTES)
        bound = self.current_bound()
        if bound is not None:
            size = min(size, bound.limit(0.0))
        while size > LEAST_MAP_BYTES and not has_room(
            size + ROOM_BYTES if self.chosen_map_bytes else size * _MAPS_AT_LEAST
        ):
            size = max(size >> 1, LEAST_MAP_BYTES)
        return size

    def _open_engine(self, *, has_slots: bool) -> lmdb.Environment:
        self.map_bytes = self._size_map()
        if self.map_bytes == LEAST_MAP_BYTES and not has_room(self.map_bytes + _LEAST_ROOM_BYTES):
            raise self._translate("open", "MemoryError", os.strerror(errno.ENOMEM))
        while True:
            try:
                return lmdb.open(
                    self.path,
                    map_size=self.map_bytes,
                    metasync=self.durability == "commit",
                    sync=not self.is_memory,
                    mode=self.mode,
                    max_readers=MAX_READERS,
                    max_dbs=_MAX_TABLES,
                    max_spare_txns=0 if self.is_memory else spare_count(),
                    readahead=True,
                    create=not self.is_read_only,
                    readonly=self.is_read_only,
                    lock=has_slots,
                    lib_version=_ENGINE,
                )
            except unless_interrupted(lmdb.InvalidError):
                raise
            except unless_interrupted(lmdb.Error) as error:
                if os.strerror(errno.ENOMEM) in str(error) and self.map_bytes > LEAST_MAP_BYTES:
                    self.map_bytes = max(self.map_bytes >> 1, LEAST_MAP_BYTES)
                    continue
                raise self.translate(error, "open") from error

    def os_error(self, error: OSError, verb: str) -> EventLogError:
        """Return our error for a system call that failed outside of LMDB."""
        return self._translate(verb, "OSError", str(error))

    def translate(self, error: lmdb.Error | OSError, verb: str) -> EventLogError:
        """Return our error for one of LMDB's, or for that of a system call."""
        return self._translate(verb, type(error).__name__, str(error))

    def copy_error(self, error: lmdb.Error | OSError, destination: str) -> EventLogError:
        """Return our error for a copy that could not be written to a directory, maybe of another disk."""
        return self._translate("copy", type(error).__name__, str(error), destination)

    def _translate(self, verb: str, kind: str, text: str, destination: str | None = None) -> EventLogError:
        is_disk_full = is_nearly_full(destination or self.path)
        failure = EngineFailure(
            verb, kind, text, self.path, self.map_bytes, MAX_READERS, is_disk_full=is_disk_full, destination=destination
        )
        return translate(failure)


@cache
def keep_freed_memory() -> None:
    """
    Make glibc's malloc keep freed memory instead of returning it to the system after every commit.

    LMDB allocates 64 KB blocks in a write transaction and frees them at the commit. glibc would return the pages to
    the system and fault them in again, which doubles the cost of a large append. Freeing one block of this size raises
    its thresholds (mallopt(3), M_MMAP_THRESHOLD). Other allocators ignore it. Once per process: a second block of this
    size would come from the heap and cost time to zero (docs/decisions/0008-kept-memory.md).
    """
    bytes(_FREED_BLOCK_BYTES)


def has_room(size_bytes: int) -> bool:
    """Whether the address space of this process has room for so much more in one piece."""
    try:
        mmap.mmap(-1, size_bytes, flags=_UNUSED_MAP, prot=0).close()
    except unless_interrupted(OSError, ValueError, OverflowError, AttributeError):
        return False
    return True


def _file_limit_bytes() -> int | None:
    """The limit of this process for the size of a file; None if there is none."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit


def is_nearly_full(directory: str) -> bool:
    """Return whether the log of a directory can hardly grow, for want of room or by the limit of this process."""
    with suppress(OSError, AttributeError):
        limit_bytes = _file_limit_bytes()
        if limit_bytes is not None:
            data = os.path.join(directory, DATA_FILE)
            if limit_bytes - os.stat(data).st_size < _LITTLE_ROOM_BYTES:
                return True
        volume = os.statvfs(directory)
        return volume.f_bavail * volume.f_frsize < _LITTLE_ROOM_BYTES
    return False


@contextmanager
def parent_environments_hidden() -> Iterator[None]:
    """
    Let a child process open the files that its parent has open.

    py-lmdb refuses to open a file twice in one process, and counts the parent's environment as ours while anything
    refers to it. The frames of the parent's other threads, which do not exist in the child, may refer to it forever.
    """
    if _envid is None:
        yield
        return
    keys = _envid.env_keys
    _envid.env_keys = lambda _path, _subdir: ()
    try:
        yield
    finally:
        _envid.env_keys = keys
