"""
How a reader that has nothing to read learns that somebody appended.

Every waiting reader owns a FIFO in the log's `waiters/` directory; who commits writes one byte into each that hears
of it, in this process or in another. A bell may be lost, never a record: a reader looks at the log once more before
it sleeps, and again every `FALLBACK_SECONDS`.

    reader                                   writer
    1  makes the FIFO, changes `changes`     a  commits
    2  looks at the log: nothing             b  looks at `changes`; if they are others, for FIFOs
    3  sleeps on the FIFO                    c  writes into each

If (a) comes before (2), the reader sees the record. If it comes after, (b) comes after (1), and the byte is in
the FIFO when the reader goes to sleep. What a FIFO hears of is in its name: the subjects, or all when there are none.
A reader that wants to hear of others renames it, which is (1) once more. Knows nothing of what a subject is, but that
it is a number.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from eventlog.store.lmdb.data_file import make_directory

FALLBACK_SECONDS = 0.1
_SUFFIX = ".fifo"
_CHANGES_NAME = "changes"
_CHANGES_BYTES = 8
"""Random ones, written anew by each reader that has made its FIFO: who rings sees them in memory, without a call."""
_MOST_TRUSTED_COUNT = 256
"""So many looks later the directory is looked at all the same: somebody may have removed what is in it."""
_MOST_SUBJECTS_LENGTH = 180
"""A name has room for no more; who wants to hear of so much hears of everything."""
_numbers = itertools.count()


class _Bell:
    """The writing end of one waiting reader's FIFO; -1 once it is closed."""

    __slots__ = ("descriptor", "name", "subjects")

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.subjects = _subjects_of(name)
        self.descriptor = descriptor

    def close(self) -> None:
        """Does nothing the second time."""
        descriptor, self.descriptor = self.descriptor, -1
        _close(descriptor)


_Heard: TypeAlias = "tuple[tuple[_Bell, ...], dict[int, list[_Bell]]]"
"""The bells that hear of everything, and the others by subject; never changed once it is published."""
_NOBODY: _Heard = ((), {})


class Notifier:
    """
    Wakes the waiting readers of all processes.

    `look()` belongs to whoever has the committer's turn. `ring()` needs no turn and takes no lock: any number of
    threads ring at once, and what a look takes away is closed when none of them is at it, by the last:

        who rings                                who looks, or closes
        1  leaves a token                        a  publishes what is heard from now on
        2  takes what is published               b  no token: closes what is gone
        3  writes; takes the token back          c  else leaves that to those who ring

    If (1) comes before (b), nothing is closed. If it comes after, (2) comes after (a), and nobody writes into what
    is gone.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._changes: mmap.mmap | bytes = b""
        self._seen: bytes | None = None
        self._trusted_count = 0
        self._bells: dict[str, _Bell] = {}
        self._heard = _NOBODY
        self._ringing: dict[object, None] = {}
        self._gone: deque[_Bell] = deque()
        self._is_closed = False

    def look(self) -> bool:
        """
        Finds who waits since the last look; whether anybody does.

        After a commit, and before its `ring()`. Never fails: a lost bell costs 100 ms.
        """
        try:
            changes = self._changes[:_CHANGES_BYTES]
        except ValueError:
            return False  # the log is being closed
        self._trusted_count -= 1
        if changes != self._seen or self._trusted_count < 0:
            self._look_again()
        return bool(self._bells)

    def ring(self, subjects: Collection[int]) -> None:
        """
        Writes one byte to every reader that hears of one of these subjects, or of everything.

        Never blocks and never fails.
        """
        token = object()
        try:
            self._ringing[token] = None
            for bell in _hearing(self._heard, subjects):
                try:
                    os.write(bell.descriptor, b"\0")
                except BrokenPipeError:  # its reader is dead
                    self._remove(bell.name)
                    self._seen = None  # the next look takes it away
                except OSError:
                    continue  # full of bells already, or closed by a fork in a signal handler
        finally:
            self._ringing.pop(token, None)
        if self._gone:
            self._close_gone()

    def close(self) -> None:
        """Closes the pipes, those that a thread writes into as soon as it is done; nobody is rung any more."""
        self._is_closed = True
        bells, self._bells = self._bells, {}
        self._heard = _NOBODY
        self._gone.extend(bells.values())
        self._close_gone()
        self._close_changes()

    def forget(self) -> None:
        """Closes a child's copies after a fork, whoever was ringing; the next look opens its own."""
        bells, self._bells = [*self._bells.values(), *self._gone], {}
        self._heard, self._ringing, self._gone = _NOBODY, {}, deque()
        for bell in bells:
            bell.close()
        self._seen, self._is_closed = None, False
        self._close_changes()

    def _close_changes(self) -> None:
        if not isinstance(self._changes, bytes):
            self._changes.close()
        self._changes = b""

    def _look_again(self) -> None:
        """Opens the FIFOs that are there now; what came after our look at the bytes shows at the next look."""
        if self._is_closed:
            return
        try:
            self._changes = _map_changes(self._directory)  # anew: somebody may have removed the file
            changes = self._changes[:_CHANGES_BYTES]
            names = {name for name in os.listdir(self._directory) if name.endswith(_SUFFIX)}
        except (OSError, ValueError):
            return
        bells = self._bells
        for name in names - bells.keys():
            self._open(name)
        self._heard = _by_subject(bell for name, bell in bells.items() if name in names)
        for name in bells.keys() - names:
            self._gone.append(bells.pop(name))
        self._close_gone()
        self._seen = changes
        self._trusted_count = _MOST_TRUSTED_COUNT
        if self._is_closed:  # meanwhile, by another thread
            self.close()

    def _open(self, name: str) -> None:
        path = os.path.join(self._directory, name)
        try:
            self._bells[name] = _Bell(name, os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.ENXIO:
                self._remove(name)  # its reader is dead: a living one opened it before it had this name

    def _close_gone(self) -> None:
        while self._gone and not self._ringing:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._gone.popleft().close()

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, name))


def _by_subject(bells: Iterable[_Bell]) -> _Heard:
    everything: list[_Bell] = []
    by_subject: dict[int, list[_Bell]] = {}
    for bell in bells:
        if bell.subjects is None:
            everything.append(bell)
        else:
            for subject in bell.subjects:
                by_subject.setdefault(subject, []).append(bell)
    return tuple(everything), by_subject


def _hearing(heard: _Heard, subjects: Collection[int]) -> Iterable[_Bell]:
    """The bells that hear of some subjects, each once."""
    everything, by_subject = heard
    if not by_subject:
        return everything
    if len(subjects) == 1:
        [subject] = subjects
        return (*everything, *by_subject.get(subject, ()))
    found = (bell for subject in subjects for bell in by_subject.get(subject, ()))
    return (*everything, *dict.fromkeys(found))


def _named(base: str, subjects: AbstractSet[int] | None) -> str:
    """The name of a FIFO that hears of some subjects; of everything when they are None, or too many."""
    if subjects is not None:
        text = "".join(f".{subject:x}" for subject in sorted(subjects)) or "."
        if len(text) <= _MOST_SUBJECTS_LENGTH:
            return f"{base}{text}{_SUFFIX}"
    return f"{base}{_SUFFIX}"


def _subjects_of(name: str) -> frozenset[int] | None:
    """What a FIFO hears of; everything, where the name does not tell us."""
    _, dot, text = name.removesuffix(_SUFFIX).partition(".")
    try:
        return frozenset(int(subject, 16) for subject in text.split(".") if subject) if dot else None
    except ValueError:
        return None


def _open_changes(directory: str | os.PathLike[str]) -> int:
    """A descriptor of the file of changes, made when it is missing; who may write to the directory may write to it."""
    mode = os.stat(directory).st_mode & 0o666
    return os.open(os.path.join(directory, _CHANGES_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)


def _map_changes(directory: str) -> mmap.mmap:
    descriptor = _open_changes(directory)
    try:
        if os.fstat(descriptor).st_size < _CHANGES_BYTES:
            _reserve(descriptor)  # it never shrinks: a mapped byte that is gone kills the process
        return mmap.mmap(descriptor, _CHANGES_BYTES, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int) -> None:
    """Gives the file its size; not by a hole, where looking at it could kill the process on a full memory disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _CHANGES_BYTES)
    else:
        os.ftruncate(descriptor, _CHANGES_BYTES)


def _tell_of_change(directory: str) -> None:
    """Changes the bytes; to count would be to lose one of two changes of the same moment."""
    descriptor = _open_changes(directory)
    try:
        os.pwrite(descriptor, os.urandom(_CHANGES_BYTES), 0)
    finally:
        os.close(descriptor)


class Waiter:
    """
    One reader's place to sleep.

    `wait` belongs to one thread; `wake` may come from any. Where the system has no FIFOs it polls.
    """

    def __init__(self, directory: str, *, mode: int = 0o600) -> None:
        self._directory = directory
        self._mode = mode
        self._base = ""
        self._paths: tuple[str, ...] = ()
        """Our FIFO's, if it has one; two while it gets another, and after Ctrl-C in between."""
        self._read_end = -1
        self._write_end = -1
        self._poll: select.poll | None = None
        self._finalizer: weakref.finalize[..., Waiter] | None = None
        self._others: frozenset[int] = frozenset()
        self._fallback = threading.Lock()  # no event: Ctrl-C could leave its lock taken, and `wake` would hang
        self._fallback.acquire()
        self._ends = threading.RLock()

    def arm(self, subjects: AbstractSet[int] | None = None) -> None:
        """
        Makes the FIFO; look at the log once more before the first `wait()`.

        Args:
            subjects: what to hear of; None is everything that anybody is rung for.
        """
        if self._poll is not None or not hasattr(os, "mkfifo"):
            return
        base = self._base = f"{os.getpid()}-{next(_numbers)}-{time.monotonic_ns()}"
        hidden = os.path.join(self._directory, f".{base}")
        path = os.path.join(self._directory, _named(base, subjects))
        try:
            make_directory(self._directory, self._mode)
            os.mkfifo(hidden, self._mode)
            self._read_end = os.open(hidden, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._write_end = os.open(hidden, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.rename(hidden, path)
            _tell_of_change(self._directory)
        except OSError:
            self.close()  # no FIFOs here; wait() polls
            return
        self._paths = (path,)
        # A dropped reader leaves its file; who rings next finds nobody at the other end, and removes it.
        self._finalizer = weakref.finalize(self, _close, self._read_end, self._write_end)
        self._finalizer.atexit = False
        self._poll = self._polling(self._others)

    def hear(self, subjects: AbstractSet[int] | None) -> None:
        """Hears of these from now on, as `arm` says; look at the log once more before the next `wait()`."""
        if not self._paths:
            return
        path = os.path.join(self._directory, _named(self._base, subjects))
        self._paths = (path, *(known for known in self._paths if known != path))
        for known in self._paths[1:]:
            with contextlib.suppress(OSError):  # it is not that one, or somebody removed it
                os.rename(known, path)
        self._paths = (path,)
        with contextlib.suppress(OSError):
            _tell_of_change(self._directory)

    def watch(self, descriptors: AbstractSet[int]) -> None:
        """Has `wait` end also when the other side of one of these pipes is gone."""
        if descriptors == self._others:
            return
        others = frozenset(descriptors)
        poll = None if self._poll is None else self._polling(others)
        self._poll, self._others = poll, others  # both or none: what stays in is ready for ever once it is closed

    def _polling(self, others: frozenset[int]) -> select.poll:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        for descriptor in others:
            poll.register(descriptor, 0)
        return poll

    def wait(self, seconds: float) -> bool:
        """
        Sleeps until a bell, `wake()`, or the time is over; at most `FALLBACK_SECONDS`.

        False when nothing but time passed. Ctrl-C works.
        """
        seconds = min(seconds, FALLBACK_SECONDS)
        if self._poll is None:
            return self._fallback.acquire(timeout=max(min(seconds, FALLBACK_SECONDS / 20), 0.0))
        if not self._poll.poll(seconds * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_end, 65536)
        return True

    def wake(self) -> None:
        """Ends a `wait()` that runs now, or else the next one."""
        with contextlib.suppress(RuntimeError):  # it was woken before, and has not noticed yet
            self._fallback.release()
        with self._ends:  # else close() may give the number of our end to another file
            if self._write_end >= 0:
                with contextlib.suppress(OSError):
                    os.write(self._write_end, b"\0")

    def close(self) -> None:
        """Removes the FIFO."""
        self._poll = None
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._paths = ()
        self._close_ends()

    def forget(self) -> None:
        """Closes a child's copies of our ends after a fork, and leaves the file, which is the parent's."""
        self._ends = threading.RLock()  # a thread that did not come along may have held the other
        self._close_ends()

    def _close_ends(self) -> None:
        with self._ends:
            ends, self._read_end, self._write_end = (self._read_end, self._write_end), -1, -1
            self._poll = None
            if self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
            _close(*ends)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
