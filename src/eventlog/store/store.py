"""
A log directory, open: its topics, its batches, its committed offsets.

One `Store` serves a whole process: opening a directory twice gives the same one, counted. Knows nothing of codecs,
partitioners, producers or consumers.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from uuid import UUID, uuid4

from eventlog.backend.topics import StoredTopic, deleted_topic, unknown_topic
from eventlog.clock import Clock
from eventlog.errors import EventLogError, NotALog, ReadOnlyLog
from eventlog.store.committer import Committer
from eventlog.store.groups.backend import StoreGroups
from eventlog.store.groups.heartbeat import HeartbeatThread
from eventlog.store.groups.liveness import Members
from eventlog.store.lmdb.data_file import make_directory
from eventlog.store.lmdb.environment import FORMAT, TABLES, TOPICS, EngineError, EngineMapFull, Environment
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.records.history import StoreHistory
from eventlog.store.records.log_order import put_into_order
from eventlog.store.records.reading import StoreReading
from eventlog.store.records.write_transaction import CommitRequest
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    FORMAT_VERSION,
    TOPICS_VERSION_KEY,
    FormatRow,
    unpack_topic,
    unpack_topics_version,
)
from eventlog.store.states.backend import StoreStates
from eventlog.store.verify.backend import StoreMaintenance
from eventlog.store.wakeup.notifier import Notifier
from eventlog.store.wakeup.waiter import Waiter

MEMORY = ":memory:"
DATA_FILE = "data.mdb"
_OUR_FILES = {DATA_FILE, "lock.mdb", "waiters", "members", "projections"}


class Store(StoreReading, StoreGroups, StoreHistory, StoreStates, StoreMaintenance):
    """
    One open log directory.

    Any thread may call anything. After a fork the child's first use opens the directory again; whoever registered
    with `on_fork` is told in the child.
    """

    def __init__(self, path: str, *, durability: str, mode: int, map_bytes: int | None, clock: Clock) -> None:
        self.path = path
        self.durability = durability
        self.clock = clock
        self.is_memory = durability == "memory"
        self._mode = mode
        self._owner = os.getpid()
        self.environment = Environment(
            path, durability=durability, mode=mode, map_bytes=map_bytes, is_memory=self.is_memory, clock=clock
        )
        self._waiters = os.path.join(path, "waiters")
        self._fork_listeners: weakref.WeakSet[object] = weakref.WeakSet()
        try:
            self.format = self._read_or_write_format()
            make_directory(self._waiters, mode)
        except BaseException as error:
            self.environment.close()
            if isinstance(error, OSError):
                raise self.environment.os_error(error, "open") from error
            raise
        self._notifier = Notifier(self._waiters)
        self.committer = Committer(self.environment, self._notifier)
        self.members = Members(os.path.join(path, "members"), clock, mode=mode)
        self.heart = HeartbeatThread()

    @property
    def uuid(self) -> UUID:
        """The id of this log, which no other has."""
        return self.format.uuid

    @property
    def is_closed(self) -> bool:
        """Whether the last user closed it."""
        return self.environment.is_closed

    def close(self) -> None:
        """Stores what is still queued, and ends the environment; a log in memory is gone."""
        self.heart.stop()
        if not self.environment.has_failed:
            self.committer.commit_queued()
        self.environment.close()
        self._notifier.close()
        if self.is_memory and os.getpid() == self._owner:
            import shutil  # which `tempfile` has loaded

            shutil.rmtree(self.path, ignore_errors=True)

    # -- topics ----------------------------------------------------------------------------------------------

    def topic(self, name: str) -> StoredTopic | None:
        """The stored topic of that name."""
        key, environment = name.encode(), self.environment
        data = environment.read(lambda transaction: transaction.get(key, db=environment.tables[TOPICS]))
        return None if data is None else unpack_topic(key, data)

    def require_topic(self, name: str) -> StoredTopic:
        """The stored topic of that name; `UnknownTopic` when there is none."""
        topic = self.topic(name)
        if topic is None:
            raise unknown_topic(name)
        return topic

    def check_topic(self, topic: StoredTopic) -> StoredTopic:
        """The topic as it is stored now; `UnknownTopic` when it was deleted, whether or not another has its name."""
        stored = self.topic(topic.name)
        if stored is None or stored.id != topic.id:
            raise deleted_topic(topic.name, "read")
        return stored

    def topics(self) -> list[StoredTopic]:
        """All topics, by name."""
        environment = self.environment
        with environment.reading() as transaction, transaction.cursor(db=environment.table(TOPICS)) as cursor:
            return [unpack_topic(name, data) for name, data in cursor.iternext()]

    def topics_version(self) -> int:
        """A number that rises whenever topics or partitions come or go, in any process."""
        environment = self.environment
        return unpack_topics_version(
            environment.read(lambda transaction: transaction.get(TOPICS_VERSION_KEY, db=environment.tables[FORMAT]))
        )

    # -- records ---------------------------------------------------------------------------------------------

    def run(self, work: CommitRequest) -> None:
        """Stores one piece of work, or raises its error."""
        self.committer.run(work)

    # -- waiting ---------------------------------------------------------------------------------------------

    def waiter(self) -> Waiter:
        """A place to wait until somebody commits."""
        return Waiter(
            self._waiters,
            mode=self._mode & 0o666,
            last_transaction=self.environment.last_transaction,
            monotonic=self.clock.monotonic,
        )

    # -- forks -----------------------------------------------------------------------------------------------

    def on_fork(self, listener: object) -> None:
        """Has `listener._after_fork()` called in a child, for as long as the listener lives."""
        self._fork_listeners.add(listener)

    def after_fork(self) -> object | None:
        """
        Makes this store usable in the child: nothing queued, no locks held, no shared handles.

        Returns what has to be kept for as long as the child lives, if anything.
        """
        kept = self.environment.reset_after_fork()
        self._notifier.forget()
        self.committer.reset()
        self.heart.after_fork()
        self.members.after_fork()
        for listener in list(self._fork_listeners):
            listener._after_fork()  # type: ignore[attr-defined]
        return kept

    # -- opening ---------------------------------------------------------------------------------------------

    def _read_or_write_format(self) -> FormatRow:
        stored = self.environment.stored_tables()
        if stored and FORMAT not in stored:
            raise NotALog(
                f"cannot open {self.path}: data.mdb is an LMDB file of something else. It was left as it was. "
                "Choose another directory."
            )
        if FORMAT in stored:
            self.environment.open_tables([FORMAT])
            self._stored_format()  # judges the version before anything else is touched
        if not stored >= set(TABLES):
            self._create_tables()
        else:
            self.environment.open_tables(TABLES)
        return self._stored_format()

    def _create_tables(self) -> None:
        while True:
            try:
                self._write_tables()
            except EngineMapFull:
                self.environment.grow()
                continue
            except EngineError as error:
                raise self.environment.fail(error) from error
            return

    def _write_tables(self) -> None:
        transaction = self.environment.begin_writing()
        try:
            self.environment.create_tables(transaction)
            table = self.environment.table(FORMAT)
            stored = transaction.get(FORMAT_KEY, db=table)  # another process may be first, or an older eventlog
            row = FormatRow(uuid4(), self.clock.now_ms()) if stored is None else FormatRow.unpack(stored, self.path)
            if row.version < 3:
                put_into_order(self.environment, transaction)
            transaction.put(FORMAT_KEY, row._replace(version=FORMAT_VERSION).pack(), db=table)
            self.environment.commit(transaction)
        except BaseException:
            self.environment.abort(transaction)
            raise

    def _stored_format(self) -> FormatRow:
        with self.environment.reading() as transaction:
            data = transaction.get(FORMAT_KEY, db=self.environment.table(FORMAT))
            return FormatRow.unpack(data, self.path)


_IMPORTED_BY_ROUNDS = ("hashlib", "eventlog.groups.rules")
"""What is imported inside write transactions, and not before, so that programs that do without it start sooner."""


class _Registry:
    """
    Counts who uses which open store of this process.

    LMDB refuses to open a file twice in one process, and rightly: closing one would drop the locks of the other.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stores: dict[tuple[int, int], tuple[Store, int]] = {}
        self._forgotten: deque[Store] = deque()
        self._kept: list[object] = []
        """What a child must not let go of: environments of its parent, see `Environment.reset_after_fork`."""

    def open(self, path: str, make: Callable[[], Store], check: Callable[[Store], None]) -> Store:
        """The store of a directory, made when this process has not opened it yet."""
        self.close_forgotten()
        with self._lock:
            identity = _identity(path)
            if identity in self._stores:
                store, users = self._stores[identity]
                check(store)
            else:
                store, users = make(), 0
                identity = _identity(path)
            self._stores[identity] = (store, users + 1)
            return store

    def hold(self, store: Store) -> None:
        """Counts one more user of an open store."""
        with self._lock:
            for identity, (candidate, users) in self._stores.items():
                if candidate is store:
                    self._stores[identity] = (store, users + 1)

    def close(self, store: Store) -> None:
        """Says that one user is done; the last one closes the store."""
        with self._lock:
            for identity, (candidate, users) in self._stores.items():
                if candidate is store:
                    if users > 1:
                        self._stores[identity] = (store, users - 1)
                    else:
                        del self._stores[identity]
                        store.close()
                    return

    def forget(self, store: Store) -> None:
        """
        Says that one user is gone without a word.

        The garbage collector calls this from whatever a thread is doing, maybe inside a transaction, while another
        thread forks and waits for that transaction. So it does not wait for the lock.
        """
        self._forgotten.append(store)
        if self._lock.acquire(blocking=False):
            try:
                self.close_forgotten()
            finally:
                self._lock.release()

    def close_forgotten(self) -> None:
        """Does what `forget` could not do at once."""
        while self._forgotten:
            with contextlib.suppress(IndexError):  # another thread did it
                self.close(self._forgotten.popleft())

    def before_fork(self) -> None:
        """
        Waits until no transaction runs in any store.

        A child that imports what another thread was importing at the fork waits for that thread for ever, and if it
        does so inside a round, it has the write lock of all processes. So what rounds import is imported now.
        """
        if self._stores and threading.active_count() > 1:
            for name in _IMPORTED_BY_ROUNDS:
                import_module(name)
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
        self._lock = threading.RLock()
        for store in self._open_stores():
            kept = store.after_fork()
            if kept is not None:
                self._kept.append(kept)

    def _open_stores(self) -> Iterator[Store]:
        return (store for store, _ in list(self._stores.values()))


_REGISTRY = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_REGISTRY.before_fork,
        after_in_parent=_REGISTRY.after_fork_in_parent,
        after_in_child=_REGISTRY.after_fork_in_child,
    )


def open_store(
    path: str | os.PathLike[str],
    *,
    durability: str,
    mode: int,
    create: bool,
    map_bytes: int | None,
    clock: Clock,
) -> Store:
    """
    The store of a directory, shared with other users in this process; `":memory:"` makes one of its own.

    End it with `close_store`.
    """
    if path == MEMORY:
        import tempfile  # takes as long as all of LMDB, and most logs are in a directory

        directory = tempfile.mkdtemp(prefix="eventlog-")
        durability, create = "memory", True
    else:
        directory = os.path.abspath(path)
        _check_directory(directory, create=create, mode=mode)

    def make() -> Store:
        return Store(directory, durability=durability, mode=mode, map_bytes=map_bytes, clock=clock)

    def check(store: Store) -> None:
        if store.durability != durability:
            raise ValueError(
                f"cannot open {directory} with durability {durability!r}: this process has it open with "
                f"{store.durability!r}. Nothing was changed. Open it with {store.durability!r}, or close it first."
            )

    return _REGISTRY.open(directory, make, check)


def hold_store(store: Store) -> None:
    """Says that an open store has one more user, who ends with `close_store`."""
    _REGISTRY.hold(store)


def forget_store(store: Store) -> None:
    """Says that one user of a store was forgotten; for finalizers, which may wait for nothing."""
    _REGISTRY.forget(store)


def close_store(store: Store) -> None:
    """Says that one user of a store is done with it."""
    _REGISTRY.close(store)


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (-1, -1)
    return (found.st_dev, found.st_ino)


def _check_directory(path: str, *, create: bool, mode: int) -> None:
    """Makes the directory when that is asked for; refuses what holds something else, untouched."""
    try:
        if _is_there(path) and not os.path.isdir(path):
            raise NotALog(
                f"cannot open {path}: it is a file, and a log is a directory. It was left as it was. "
                "Choose another path."
            )
        if _is_there(os.path.join(path, DATA_FILE)):
            _check_access(path)
            return
        if not create:
            raise NotALog(
                f"cannot open {path}: there is no log. Nothing was made. Check the path, or pass create=True to make "
                "one."
            )
        if os.path.isdir(path) and (names := set(os.listdir(path)) - _OUR_FILES):
            raise NotALog(
                f"cannot make a log in {path}: it holds other files ({', '.join(sorted(names)[:3])}). They were "
                "left as they were. Choose an empty or a new directory."
            )
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make_directory(path, mode)
        _check_access(path)
    except EventLogError:
        raise
    except PermissionError as error:
        raise _read_only(path) from error
    except OSError as error:
        words = f"cannot make a log at {path}: {error}. Nothing was made. Choose another path."
        raise kind_of(error)(words) from error


def _is_there(path: str) -> bool:
    """Whether there is something; an `OSError` when nobody lets us look."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_access(path: str) -> None:
    files = [path, *filter(os.path.exists, [os.path.join(path, name) for name in (DATA_FILE, "lock.mdb")])]
    if not all(os.access(file, os.R_OK | os.W_OK) for file in files):
        raise _read_only(path)


def _read_only(path: str) -> ReadOnlyLog:
    return ReadOnlyLog(
        f"cannot open the log at {path}: this user cannot write there, and readers too must write to lock.mdb. "
        "Nothing was changed. Let this user write to the directory and its files."
    )
