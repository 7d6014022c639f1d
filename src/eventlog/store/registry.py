"""
The open stores of this process, one per directory with its users, and their handling in a fork.

It opens a directory, or refuses it and leaves it as it was.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eventlog.clock import Clock
from eventlog.errors import EventLogError, LogInUse, NestedCall, NotALog, ReadOnlyLog
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.folder import has_name, is_directory, make_directory
from eventlog.store.lmdb.data_file import DATA_FILE, WAITERS, check_kinds, has_commit
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.lock_file import LOCK_FILE
from eventlog.store.lmdb.sharing import Surroundings
from eventlog.store.rows.tables import FORMAT_VERSION
from eventlog.store.store import Store
from eventlog.uninterruptible import NestingLock

if TYPE_CHECKING:  # most logs are in a directory of their own: `eventlog.open()` is fast
    from eventlog.store.temporary import TemporaryDirectory

MEMORY = ":memory:"
_FIRST_WRITE_BYTES = 2 * os.sysconf("SC_PAGE_SIZE")
_OUR_FILES = {DATA_FILE, LOCK_FILE, "reserve", WAITERS, "members", "projections", "cleaning"}

_IMPORTED_BEFORE_FORK = ("hashlib", "eventlog.groups.rules", "eventlog.notices", "logging")
"""
The modules that write transactions and new producers import when they need them, so that other programs start sooner.

A child that needs one while another thread of the parent was importing it would wait without end.
"""


class Registry:
    """
    The open stores of this process, and the users of each of them.

    LMDB refuses to open a file twice in one process, and rightly: closing one would drop the locks of the other.

    A signal handler may raise at any place. A user is in a set and no number, so it can be released again after an
    interruption; a store without users is one whose closing was interrupted, and whoever comes next finishes it.
    """

    def __init__(self) -> None:
        self._lock = NestingLock(self._is_in_a_store)
        self._stores: dict[tuple[int, int], tuple[Store, set[object]]] = {}
        self._abandoned: deque[object] = deque()
        self._kept: list[object] = []
        """What a child must not let go of: environments of its parent, see `Environment.reset_after_fork`."""
        self._has_cleaned = False
        self._is_closing = False

    def temporary_directory(self) -> TemporaryDirectory:
        """A directory for a log that ends with the process; the first removes what killed processes left behind."""
        from eventlog.store.temporary import TemporaryDirectory, remove_leftovers

        if not self._has_cleaned:
            self._has_cleaned = True
            for path in remove_leftovers():
                _tell("LEFTOVER_REMOVED", path=path)
        return TemporaryDirectory()

    def open(self, path: str, make: Callable[[], Store], check: Callable[[Store], None], user: object) -> Store:
        """The store of a directory, made when this process has not opened it yet, held for a user."""
        if self.is_interrupted:  # half open, or half closed
            raise NestedCall(
                f"cannot open {path} while the same thread opens or closes a log: a signal handler or a finalizer "
                "called us.",
                stored="Nothing was opened.",
                advice="Open it outside.",
            )
        self.close_abandoned()
        with self._lock:
            self._close_unused()
            identity = _identity(path)
            store, users = self._stores.get(identity, (None, set()))
            if store is not None and store.is_in_place:
                check(store)
                users.add(user)
                return store
            made = make()
            try:
                identity = _identity(path)
                if store is not None:  # its directory was removed, and the new one has the same number
                    self._stores[-1, id(store)] = (store, users)
                self._stores[identity] = (made, {user})
            except BaseException:
                made.close()
                raise
            return made

    def hold(self, store: Store, user: object) -> None:
        """Keep an open store open until this user is released."""
        with self._lock:
            for candidate, users in self._stores.values():
                if candidate is store:
                    users.add(user)

    def release(self, user: object) -> None:
        """Forget a user, and close its store without the last one; called again, do what is left."""
        with self._lock:
            for _, users in self._stores.values():
                users.discard(user)
            self._close_unused()

    def _close_unused(self) -> None:
        if self._is_closing:  # a finalizer calls us
            return
        self._is_closing = True
        try:
            while unused := [(identity, store) for identity, (store, users) in self._stores.items() if not users]:
                for identity, store in unused:
                    try:
                        store.close()
                    finally:
                        if store.has_ended:  # after an error, too, but not after an interruption
                            self._stores.pop(identity, None)
        finally:
            self._is_closing = False

    def crash(self, store: Store) -> None:
        """End a store for all of its users, as the death of the process would."""
        with self._lock:
            for identity, (candidate, _) in list(self._stores.items()):
                if candidate is store:
                    del self._stores[identity]
                    store.end()

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread opens or closes a store: then a signal handler or a finalizer asks."""
        return self._lock.is_ours

    def _is_in_a_store(self) -> bool:
        """Whether this very thread is in the middle of a commit or a read: who has our lock may wait for it."""
        return any(store.committer.is_interrupted for store in self._open_stores())

    def abandon(self, user: object) -> None:
        """
        Forget a user, now or later.

        The garbage collector calls this from whatever a thread is doing, maybe inside a transaction, while another
        thread forks and waits for that transaction. So it does not wait for the lock.
        """
        self._abandoned.append(user)
        if self._lock.acquire(blocking=False):
            try:
                self.close_abandoned()
            finally:
                self._lock.release()

    def close_abandoned(self) -> None:
        """Do what `abandon` could not do at once."""
        while self._abandoned:
            with suppress(IndexError):  # another thread did it
                self.release(self._abandoned.popleft())

    def before_fork(self) -> None:
        """
        Waits until no transaction runs in any store.

        A child that imports what another thread was importing at the fork waits for that thread forever, and if it
        does so inside a round, it has the write lock of all processes. So what rounds import is imported now.
        """
        if self._stores and threading.active_count() > 1:
            is_logging_new = "logging" not in sys.modules
            for name in _IMPORTED_BEFORE_FORK:
                import_module(name)
            if is_logging_new:  # this fork does not call its hook before, but it does call the one that releases this
                getattr(sys.modules["logging"], "_lock").acquire()  # noqa: B009
        self._lock.acquire()
        for store in self._open_stores():
            store.environment.hold_for_fork()

    def after_fork_in_parent(self) -> None:
        """Lets the parent go on."""
        for store in self._open_stores():
            store.environment.release_after_fork()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Gives the child stores of its own."""
        self._lock = NestingLock(self._is_in_a_store)
        self._is_closing = False
        Surroundings.ours.cache_clear()
        for store in self._open_stores():
            kept = store.after_fork()
            if kept is not None:
                self._kept.append(kept)

    def _open_stores(self) -> Iterator[Store]:
        return (store for store, _ in list(self._stores.values()))


class Seam(NamedTuple):
    """
    Where a test takes hold of a store (`eventlog.testing`).

    `before_commit` is called by the thread that commits, and an `OSError` that it raises fails the commit as one of the
    disk does. `memory` is the directory of a log in memory that has crashed, to be opened again.
    """

    before_commit: Callable[[], None]
    memory: TemporaryDirectory | None = None


REGISTRY = Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=REGISTRY.before_fork,
        after_in_parent=REGISTRY.after_fork_in_parent,
        after_in_child=REGISTRY.after_fork_in_child,
    )


def open_store(
    path: str | os.PathLike[str],
    *,
    durability: str,
    mode: int,
    create: bool,
    map_bytes: int | None,
    clock: Clock,
    user: object,
    seam: Seam | None = None,
    upgrade: bool = False,
    keep_copy: str | None = None,
    is_read_only: bool = False,
    max_bytes: int | None = None,
) -> Store:
    """
    The store of a directory, shared with other users in this process; `":memory:"` makes one of its own.

    It is held for the user until `Store.release`.

    Args:
        upgrade: makes a log of an earlier format one of today's.
        keep_copy: a new directory for a copy of the log as it was before.
        is_read_only: changes nothing there. A store that this process has open for writing will do.
        max_bytes: the bound of the data file; None takes the one that this process has the log open with.
    """
    temporary = None if seam is None else seam.memory
    if path == MEMORY:
        temporary = temporary or REGISTRY.temporary_directory()
        directory, durability, create = temporary.path, "memory", True
    else:
        directory = os.path.abspath(path)
        if is_read_only:
            _check_log(directory)
        else:
            _check_directory(directory, create=create, mode=mode)

    made: list[Store] = []

    def make() -> Store:
        store = Store(
            directory,
            durability=durability,
            mode=mode,
            map_bytes=map_bytes,
            clock=clock,
            users=REGISTRY,
            temporary=temporary,
            before_commit=None if seam is None else seam.before_commit,
            upgrade=upgrade,
            keep_copy=keep_copy,
            is_read_only=is_read_only,
            max_bytes=max_bytes,
        )
        made[:] = [store]  # no call: an interruption in between would lose the store
        return store

    try:
        store = REGISTRY.open(
            directory,
            make,
            lambda store: (
                None
                if is_read_only
                else _check_same(store, clock if seam else None, durability, max_bytes, upgrade=upgrade)
            ),
            user,
        )
    except BaseException:
        if path == MEMORY and (seam is None or seam.memory is None):
            assert temporary is not None
            temporary.remove()  # nobody else knows it
        raise
    for one in made:
        stored = {"path": directory, "format": one.format.version}
        if one.old_format is not None:
            _tell("UPGRADED", old_format=one.old_format, **stored)
        _tell("OPENED", durability=durability, **stored)
    return store


def _check_same(store: Store, clock: Clock | None, durability: str, max_bytes: int | None, *, upgrade: bool) -> None:
    """Refuse a store that this process has open, and that cannot be what is asked for; a clock is that of a test."""
    if clock is not None and store.clock is not clock:
        raise ValueError(
            f"cannot open {store.path} with a clock and faults of its own: this process has it open without. "
            "Nothing was changed. Open it first with eventlog.testing, or close it before."
        )
    if store.is_read_only:
        raise ValueError(
            f"cannot open {store.path} for writing: this process has it open with read_only=True. Nothing was changed. "
            "Close it first, or open it for reading, too."
        )
    if upgrade and store.format.version < FORMAT_VERSION:
        raise LogInUse(
            f"cannot upgrade the log at {store.path}: this process has it open.",
            stored="Nothing was changed.",
            advice="Close it first.",
        )
    if store.durability != durability:
        raise ValueError(
            f"cannot open {store.path} with durability {durability!r}: this process has it open with "
            f"{store.durability!r}. Nothing was changed. Open it with {store.durability!r}, or close it first."
        )
    if max_bytes is not None and store.max_bytes != max_bytes:
        now = "without one" if store.max_bytes is None else f"with {store.max_bytes}"
        raise ValueError(
            f"cannot open {store.path} with max_bytes={max_bytes}: this process has it open {now}. Nothing was "
            "changed. Leave it out, or close the log first."
        )


def abandon(user: object) -> None:
    """Forget a user whose opening has failed."""
    REGISTRY.abandon(user)


def _tell(name: str, **fields: Any) -> None:
    """Write a line of the level INFO; while nobody can see it, not even the module of the lines is imported."""
    if "logging" in sys.modules and sys.modules["logging"].getLogger("eventlog.log").isEnabledFor(20):
        from eventlog import notices

        notices.tell(getattr(notices, name), **fields)


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except unless_interrupted(OSError):
        return (-1, -1)
    return (found.st_dev, found.st_ino)


def _check_directory(path: str, *, create: bool, mode: int) -> None:
    """Makes the directory when that is asked for; refuses what holds something else, untouched."""
    try:
        files = check_kinds(path)
        if DATA_FILE in files:
            _check_access(path, files)
            if create or not _is_empty(path):
                return  # `Opener` finds out what is wrong with it, if something is
        else:
            _check_kind(path)
        if not create:
            raise _no_log(path, "Check the path, or pass create=True to make one.")
        if is_directory(path) and (names := set(os.listdir(path)) - _OUR_FILES):
            raise NotALog(
                f"cannot make a log in {path}: it holds other files ({', '.join(sorted(names)[:3])}).",
                stored="They were left as they were.",
                advice="Choose an empty or a new directory.",
            )
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make_directory(path, mode)
        _check_access(path, files)
    except unless_interrupted(EventLogError):
        raise
    except unless_interrupted(PermissionError) as error:
        raise _read_only(path) from error
    except unless_interrupted(OSError) as error:
        raise kind_of(error)(
            f"cannot make a log at {path}: {error}.",
            stored="Nothing was made.",
            advice="Choose another path.",
        ) from error


def _check_log(path: str) -> None:
    """Refuse what is no log that this user may read; make nothing."""
    data = os.path.join(path, DATA_FILE)
    try:
        _check_kind(path)
        check_kinds(path)
        if not (_is_there(data) and has_commit(data)):
            raise _no_log(path, "Check the path; with read_only=True no log is made.")
    except unless_interrupted(OSError) as error:
        kind = ReadOnlyLog if isinstance(error, PermissionError) else kind_of(error)
        raise kind(
            f"cannot open the log at {path} for reading: {error}.",
            stored="Nothing was changed.",
            advice="Let this user read the directory and data.mdb.",
        ) from error


def _no_log(path: str, advice: str) -> NotALog:
    from eventlog.store.backup.manifest import looks_like_backup  # few paths are wrong

    if looks_like_backup(path):
        return NotALog(
            f"cannot open {path}: it holds a backup, and no log.",
            stored="It was left as it was.",
            advice="Make a log of it by `eventlog restore` or eventlog.restore().",
        )
    return NotALog(f"cannot open {path}: there is no log.", stored="Nothing was made.", advice=advice)


def _is_empty(path: str) -> bool:
    """Whether the data file in a directory was made, and never used."""
    data = os.path.join(path, DATA_FILE)
    if is_directory(os.path.join(path, WAITERS)) or has_commit(data):
        return False
    return os.stat(data).st_size <= _FIRST_WRITE_BYTES


def _check_kind(path: str) -> None:
    """Refuse what is no directory and cannot become one."""
    if _is_there(path):
        if is_directory(path):
            return
        what, advice = "it is a file, and a log is a directory", "Choose another path."
    elif has_name(path):
        try:
            target = os.readlink(path)
        except unless_interrupted(OSError):
            if is_directory(path):
                return  # another process made it since we looked
            raise
        what, advice = (
            f"it is a symbolic link to {target}, which is not there",
            "Make it, or remove the link.",
        )
    else:
        above = os.path.dirname(path)
        if above != path:
            _check_kind(above)
        return
    raise NotALog(f"cannot open {path}: {what}.", stored="It was left as it was.", advice=advice)


def _is_there(path: str) -> bool:
    """Whether there is something; an `OSError` when nobody lets us look."""
    try:
        os.stat(path)
    except unless_interrupted(FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_access(path: str, files: Iterable[str]) -> None:
    for file in (path, *[f"{path}/{name}" for name in files]):
        if not os.access(file, os.R_OK | os.W_OK):
            raise _read_only(path)


def _read_only(path: str) -> ReadOnlyLog:
    return ReadOnlyLog(
        f"cannot open the log at {path}: this user cannot write there.",
        stored="Nothing was changed.",
        advice="Let this user write to the directory and its files, or open the log with read_only=True.",
    )
