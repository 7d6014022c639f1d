"""
The two files of an open log, which must stay what LMDB takes them for.

LMDB finds `data.mdb` and `lock.mdb` by their names once, and never looks again. It believes that all who use the one
use the other, that nobody exchanges or cuts them, and that its locks on `lock.mdb` last. Users break all of this: they
remove a log, put a backup in its place, clean up "stale" lock files, copy the directory from inside the program. So

* each process shows, by a lock on each file, with which other file it uses it: whoever finds a file in use with
  another partner does not open it;
* LMDB's locks are held a second time, in a way that lasts;
* before each transaction we look whether the files are in their place.

docs/decisions/0027-files-in-their-place.md has the reasons, and what the looks cost.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import lmdb

from eventlog.accelerators import accelerated
from eventlog.errors import FilesChanged
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.lmdb.data_file import DATA_FILE, check_length, data_status, prepare
from eventlog.store.lmdb.file_lock import FileLock
from eventlog.store.lmdb.lasting_locks import HAS_LASTING_LOCKS, first_locked, lock_alone, lock_shared
from eventlog.store.lmdb.lock_file import LOCK_FILE, open_locks
from eventlog.store.lmdb.reader_ids import ReaderId, give_reader_id
from eventlog.store.lmdb.reader_table import ReaderTable
from eventlog.store.lmdb.sharing import Surroundings, check_others, has_others, is_shared, show
from eventlog.uninterruptible import opening

try:
    import fcntl
except ImportError:  # no such system call
    fcntl = None  # type: ignore[assignment]

_PARTNERS = 1 << 62
_PARTNER_MASK = (1 << 61) - 1
"""Locks at these places and above show the inode of the other file; no byte of a file is there."""

_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How files are opened that somebody may have exchanged for something else."""
_HEAD_BYTES = 4
"""How long the beginning of `lock.mdb` is that says what the file is."""
_SETTLED_NS = 25_000_000
"""A directory that changed less than this ago may change once more without a new time: kernels have ticks of 10 ms."""
_MAP_PLACE, _COMMIT_PLACE = 32, 144
"""Where a meta page has the size of its writer's map, and the number of its commit."""


class FilePair:
    """
    `data.mdb` and `lock.mdb` as this process has them open, beside LMDB.

    Any thread may call anything but `close`. A child must call `close` after a fork: the locks live as long as any copy
    of our descriptors.
    """

    # Here, and not in `__init__`, which an interruption may end before its first line: `__del__` needs them.
    _place = -1
    _owns_place = False
    _lock = -1
    write_lock: FileLock | None = None
    """The lock of the data file; None for a process that only reads."""
    _data_file: FileLock | None = None
    is_new = False
    """Whether nothing was committed yet when it was opened."""

    def __init__(
        self, directory: str, lock: FileLock, *, max_readers: int, mode: int, is_read_only: bool = False
    ) -> None:
        """
        Open both files, and make those that are missing.

        Args:
            lock: that of the directory, which is held; `keep` takes over its descriptor.
            is_read_only: makes nothing, and does without what this user may not open.
        """
        self._directory = directory
        self._is_read_only = is_read_only
        self.has_slots = True
        """Whether LMDB's table of readers is ours to write to; else each read holds writers up (`turns.py`)."""
        self._settled_ns = -1
        self.has_same_names: Callable[[], bool] = bool
        """
        Whether nothing can have happened to the names of our files since `check`, which says what it was otherwise.

        A directory has a new time when a name in it comes, goes, or leads elsewhere, or when it is renamed itself.
        """
        """The time of the directory's last change when our files were in it; -1 while that is too young."""
        self._size = 0
        self._lock_size = 0
        self._lock_head = b""
        """The first bytes of `lock.mdb`, which never change while anybody has it open."""
        self._known: tuple[Any, ...] = ()
        """What `_in_place` compares the files with."""
        self._page_bytes = 0
        self._last_commit = 0
        self._ours = Surroundings.ours()
        self._reader_id: ReaderId | None = None
        self._place = place = lock.descriptor
        try:
            found = data_status(directory, place)
            if found is not None:
                self._open_data(0, mode)
            self._open_lock(max_readers, mode)
            if self._lock >= 0 and has_others(self._lock):
                check_others(self._lock, directory, self._ours)
                self._check_partner(self._lock, found, DATA_FILE)
            if found is None:
                self._open_data(0 if is_read_only else os.O_CREAT, mode)
            self._statuses = {"": os.fstat(place), DATA_FILE: os.fstat(self._data)}
            if self._lock >= 0:
                self._statuses[LOCK_FILE] = os.fstat(self._lock)
                self._check_partner(self._data, self._statuses[LOCK_FILE], LOCK_FILE)
            self.readers = ReaderTable(self._lock if HAS_LASTING_LOCKS and self.has_slots else -1)
            """How reads get their place."""
        except BaseException:
            self.close()
            raise

    def _open_lock(self, max_readers: int, mode: int) -> None:
        """Open `lock.mdb`; for reading alone where no more is to be had, and not at all where it is missing."""
        if not self._is_read_only:
            self._lock = open_locks(self._place, max_readers=max_readers, mode=mode)
            return
        try:
            [self._lock] = opening(LOCK_FILE, os.O_RDWR | _CAREFUL, place=self._place)
            self.has_slots = os.fstat(self._lock).st_size > 0
        except unless_interrupted(OSError):
            self.has_slots = False
            with suppress(FileNotFoundError, PermissionError):
                [self._lock] = opening(LOCK_FILE, os.O_RDONLY | _CAREFUL, place=self._place)

    def _open_data(self, flags: int, mode: int) -> None:
        file = self._data_file = FileLock(partial(self._opened_data, flags, mode))
        self._data = file.descriptor
        if not self._is_read_only:
            self.write_lock = file
            self.is_new = prepare(self._data, self._directory)
        if not self.is_new:
            check_length(self._data, self._path(DATA_FILE))

    def _opened_data(self, flags: int, mode: int) -> int:
        flags |= os.O_RDONLY if self._is_read_only else os.O_RDWR
        [descriptor] = opening(DATA_FILE, flags | _CAREFUL, mode, self._place)
        return descriptor

    def keep(self, lock: FileLock) -> None:
        """Take over the descriptor of the directory, whose lock is given up; else `lock` closes it."""
        lock.descriptor, self._owns_place = -1, True

    def __del__(self) -> None:
        self.close()  # Ctrl-C may have prevented it, and our locks would keep this process from opening the log again

    @property
    def reader_number(self) -> int:
        """The number of our readers in LMDB's table, whose byte of `lock.mdb` is locked."""
        return os.getpid() if self._reader_id is None else self._reader_id.number

    def prepare_to_close(self) -> None:
        """Have LMDB close without a look at our pid, if our readers have an id of their own."""
        if self.has_slots and self._is_lock_cut():
            # LMDB looks at its readers once more, and would be killed. No process takes it for whole again.
            os.pwrite(self._lock, bytes(_HEAD_BYTES), 0)
            os.ftruncate(self._lock, self._lock_size)
        if self._reader_id is not None:
            self._reader_id.prepare_to_close()

    def close(self) -> None:
        """Let go of the locks and of the files."""
        if self._owns_place:
            place, self._owns_place = self._place, False
            os.close(place)
        lock, self._lock = self._lock, -1  # not in one step with the other: an interruption would lose it
        if lock >= 0:
            os.close(lock)
        if self._data_file is not None:
            self._data_file.close()

    # -- opening: partners, and locks that last ----------------------------------------------------------------

    def hold(self, handle: lmdb.Environment) -> None:
        """
        Hold LMDB's locks, once it has opened the files.

        A POSIX lock ends when its process closes any descriptor of the file, as `shutil.copytree` does. Another process
        would then begin `lock.mdb` again, or take our readers for dead and write over what they read. A lock of an
        open file description ends with our descriptor. One of LMDB's is shared, so ours stands beside it; the other is
        exclusive, so ours takes its place, while LMDB has no reader that depends on it: on the byte of our readers' id
        if they have one, or else of our pid.

        Raises:
            UnsupportedSharing: a process of another pid namespace has the log open, and there is no id.
        """
        self._page_bytes = handle.stat()["psize"]
        first = self.readers.begin(handle)  # LMDB takes its lock for readers with it
        first.abort()  # and keeps its place under our pid until we let go of it
        if HAS_LASTING_LOCKS and self.has_slots:
            self._hold_slots(handle)
        if self._reader_id is None and self.has_slots:
            self._ours = self._ours._replace(has_pids=1)
            check_others(self._lock, self._directory, self._ours)
        if self._lock >= 0:
            place, data, lock = (self._statuses[name] for name in ("", DATA_FILE, LOCK_FILE))
            lock_shared(self._lock, _partner_place(data))
            lock_shared(self._data, _partner_place(lock))
            show(self._lock, self._ours)
            self._lock_size = os.fstat(self._lock).st_size
            self._lock_head = os.pread(self._lock, _HEAD_BYTES, 0)
            self._known = (
                *(os.fsencode(self._directory), self._place, place.st_dev, place.st_ino),
                *(os.fsencode(DATA_FILE), self._data, data.st_dev, data.st_ino),
                *(os.fsencode(LOCK_FILE), self._lock, lock.st_dev, lock.st_ino),
                *(self._lock_size, self._lock_head),
            )
        if self._reader_id is None:
            self.check()  # else LMDB was seen to have our files; the first transaction looks at their names

    def _hold_slots(self, handle: lmdb.Environment) -> None:
        assert fcntl is not None
        self._reader_id = give_reader_id(
            *(handle, self._statuses[DATA_FILE], self._statuses[LOCK_FILE], self._lock),
            partial(self.readers.begin, handle),
        )
        if self._reader_id is not None:
            self.readers = ReaderTable(self._lock, self._reader_id.writers_mutex)
        fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, os.getpid())
        if self._reader_id is None and not lock_alone(self._lock, os.getpid()):
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, os.getpid())
        lock_shared(self._lock, 0)

    def has_company(self) -> bool:
        """Whether another process has the log open, where the system can tell."""
        return is_shared(self._lock)

    def _check_partner(self, descriptor: int, partner: os.stat_result | None, name: str) -> None:
        """Refuse a file that another process has open, with another partner than the one of this name."""
        if first_locked(descriptor, _PARTNERS) is None:
            return
        place = _PARTNERS if partner is None else _partner_place(partner)
        behind = place if partner is None else place + 1
        if first_locked(descriptor, _PARTNERS, place - _PARTNERS) or first_locked(descriptor, behind):
            raise FilesChanged(
                f"cannot open {self._directory}: it is open, most likely in another process, with another {name}. That "
                "file was removed or replaced since, or this one is a hard link.",
                stored="Nothing was changed.",
                advice="Close the log in that process, and open it again.",
            )

    # -- open: whether the files are in their place ------------------------------------------------------------

    def glance(self, newest_commit: int = -1) -> Callable[[], bool]:
        """
        Return a function that tells whether names and size of our files are as `check` found them, and no commit came.

        Without a number it does not look for commits. The content may have been exchanged all the same. It reads no
        mapped page, which could kill the process, and touches little memory: it is for those who wait and find nothing.
        """
        first, second = _COMMIT_PLACE, self._page_bytes + _COMMIT_PLACE
        return partial(_untouched, self._place, self._settled_ns, self._data, self._size, first, second, newest_commit)

    def check(self) -> None:
        """Raise `FilesChanged` unless both names still lead to our files, and the data file is as long as it was."""
        found = _in_place(self._known, self._settled_ns, self._size) if self._known else None
        changed_ns, self._size = self._searched() if found is None else found
        self._settled_ns = changed_ns if time.time_ns() - changed_ns > _SETTLED_NS else -1
        self.has_same_names = partial(_same_names, self._known, self._settled_ns)

    def _searched(self) -> tuple[int, int]:
        """Find what is unusual, and raise the error for it; if nothing is, return what `_in_place` does."""
        known_size = self._size
        changed_ns = os.fstat(self._place).st_ctime_ns  # before the names: a later change shows next time
        names = ("",) if changed_ns == self._settled_ns else self._statuses
        try:
            for name in names:
                if not os.path.samestat(self._found(name), self._statuses[name]):
                    raise self._error(f"{name or self._directory} was replaced")
        except unless_interrupted(FileNotFoundError, NotADirectoryError) as error:
            raise self._error(f"{self._path(error.filename)} was removed or renamed") from error
        except unless_interrupted(OSError):
            changed_ns = 0  # this user may no longer look: then we conclude nothing
        if self._is_lock_cut():
            raise self._error(f"{LOCK_FILE} was cut short or written over")
        size = os.fstat(self._data).st_size
        if size < known_size:
            raise self._error(f"{DATA_FILE} was cut from {known_size} bytes to {size}")
        return changed_ns, size

    def _found(self, name: str) -> os.stat_result:
        """Describe what one of our names leads to now: a file of the directory, or without a name that itself."""
        if not name:
            return os.stat(self._directory)
        return os.stat(name, dir_fd=self._place, follow_symlinks=False)

    def _is_lock_cut(self) -> bool:
        """Whether somebody cut the lock file: LMDB maps it, and the kernel would kill the process at its next look."""
        return self._lock >= 0 and (
            os.fstat(self._lock).st_size < self._lock_size
            or os.pread(self._lock, len(self._lock_head), 0) != self._lock_head
        )

    def check_commit(self, number: int, known: int) -> None:
        """
        Raise `FilesChanged` unless the data file holds the commit of this number, which `lock.mdb` says is the newest.

        Call it in a write transaction. Otherwise the bytes were exchanged (by `cp`, which keeps the file), or another
        process has committed with another lock file: the transaction would write over its pages. The same if it is
        older than `known`, or than a commit that was found before.
        """
        numbers = self._in_both_pages(_COMMIT_PLACE)
        if numbers[number & 1] != number:
            raise self.content_error(f"commit {number}, which is the newest")
        self._check_newest(max(numbers), max(self._last_commit, known))

    def check_last_commit(self, known: int = 0) -> None:
        """Raise `FilesChanged` if the newest commit in the data file is older than one that it had before."""
        known = max(self._last_commit, known)  # before the look: another thread may see a later commit meanwhile
        numbers = self._in_both_pages(_COMMIT_PLACE)
        if abs(numbers[0] - numbers[1]) == 1:  # else one was being written
            self._check_newest(max(numbers), known)

    def _check_newest(self, newest: int, known: int) -> None:
        if newest < known:
            raise self.content_error(f"commit {known}")
        self._last_commit = newest

    def stored_map_bytes(self) -> int:
        """Return the size of the map of the process that committed last."""
        return max(self._in_both_pages(_MAP_PLACE))

    def _in_both_pages(self, place: int) -> tuple[int, int]:
        """Return a number of eight bytes of each meta page."""
        return _two_numbers(self._data, place, place + self._page_bytes)

    def content_error(self, missing: str) -> FilesChanged:
        """Return the error for a data file without something that was in it."""
        return self._error(f"{DATA_FILE} does not hold {missing}: its content was replaced")

    def _error(self, what: str) -> FilesChanged:
        return FilesChanged(
            f"the files of the log at {self._directory} were changed while it was open: {what}.",
            stored="This call has changed nothing; what was stored before is in the files that were there.",
            advice="Put them back, or close the log in every process and open what is there now.",
        )

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


@accelerated("same_names")
def _same_names(known: tuple[Any, ...], settled_ns: int) -> bool:
    """Return whether the directory was last changed at a time; in C also, else, whether its names lead to the files."""
    return os.fstat(known[1]).st_ctime_ns == settled_ns


@accelerated("in_place")
def _in_place(known: tuple[Any, ...], settled_ns: int, least_bytes: int) -> tuple[int, int] | None:  # noqa: ARG001
    """
    Return when the directory was last changed and how long the data file is, if both files are in their place.

    None if something is unusual, or if nobody looked: `_searched` does, and says what it is.
    """
    return None


@accelerated("two_numbers")
def _two_numbers(descriptor: int, first_place: int, second_place: int) -> tuple[int, int]:
    """Return the numbers of eight bytes at two places of a file; 0 where it is too short."""
    first, second = (os.pread(descriptor, 8, place) for place in (first_place, second_place))
    return (
        int.from_bytes(first if len(first) == 8 else b"", sys.byteorder),
        int.from_bytes(second if len(second) == 8 else b"", sys.byteorder),
    )


@accelerated("untouched")
def _untouched(
    directory: int, changed_ns: int, file: int, least_bytes: int, first_place: int, second_place: int, newest: int
) -> bool:
    """
    Return whether a directory was last changed at a time, a file is that long, and the larger of two numbers is that.

    False also for files that are not open.
    """
    try:
        if os.fstat(directory).st_ctime_ns != changed_ns or os.fstat(file).st_size < least_bytes:
            return False
        if newest < 0:
            return True
        numbers = [os.pread(file, 8, place) for place in (first_place, second_place)]
    except unless_interrupted(OSError):
        return False
    return len(numbers[1]) == 8 and max(int.from_bytes(number, sys.byteorder) for number in numbers) == newest


def _partner_place(status: os.stat_result) -> int:
    return _PARTNERS + (status.st_ino & _PARTNER_MASK)
