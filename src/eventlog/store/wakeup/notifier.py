"""
Notifying the waiting readers of all processes that something was committed.

Every waiting reader owns a FIFO in the log's `waiters/` directory (`store/wakeup/waiter.py` makes it). After a commit,
the writer puts one byte into each FIFO whose reader subscribed to what was committed. A notification may be lost, a
record never: a reader looks at the log once more before it sleeps, and again every `RECHECK_SECONDS`.

    reader                                   writer
    1  makes the FIFO, changes `changes`     a  commits
    2  looks at the log: nothing             b  looks at `changes`; if it has changed, for FIFOs
    3  sleeps on the FIFO                    c  writes into each

If (a) comes before (2), the reader sees the record. If it comes after, (b) comes after (1), and the byte is in the
FIFO when the reader goes to sleep. The subjects that a FIFO is subscribed to are in its name; a name without subjects
is subscribed to everything. A reader changes its subscription by renaming its FIFO, which is (1) once more.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections import deque
from collections.abc import Collection, Iterable
from typing import TypeAlias

from eventlog.store.wakeup.fifos import CHANGES_BYTES, FIFO_SUFFIX, map_changes, subjects_of

_MOST_TRUSTED_COUNT = 256
"""After this many calls the directory is listed even if `changes` is the same: somebody may have removed files."""


class _Fifo:
    """The writing end of one waiting reader's FIFO; -1 once it is closed."""

    __slots__ = ("descriptor", "name", "subjects")

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.subjects = subjects_of(name)
        self.descriptor = descriptor

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        with contextlib.suppress(OSError):
            if descriptor >= 0:
                os.close(descriptor)


_Subscribers: TypeAlias = "tuple[tuple[_Fifo, ...], dict[int, list[_Fifo]]]"
"""The FIFOs subscribed to everything, and the others by subject; never changed once it is published."""
_NOBODY: _Subscribers = ((), {})


class Notifier:
    """
    The writing side of all FIFOs of a log.

    `find_waiting()` belongs to the thread that has the committer's turn. `notify()` needs no turn and takes no lock:
    any number of threads call it at once. The FIFO of a reader that left is closed when no thread writes, by the last:

        a thread that notifies                   a thread that lists the FIFOs, or closes
        1  leaves a token                        a  publishes the new subscribers
        2  takes the published subscribers       b  no token: closes the FIFOs of readers that left
        3  writes; takes the token back          c  otherwise the notifying threads close them

    If (1) comes before (b), nothing is closed. If it comes after, (2) comes after (a), and no thread writes into a
    closed FIFO.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._changes: mmap.mmap | bytes = b""
        self._seen: bytes | None = None
        self._trusted_count = 0
        self._fifos: dict[str, _Fifo] = {}
        self._subscribers = _NOBODY
        self._notifying: dict[object, None] = {}
        self._gone: deque[_Fifo] = deque()
        self._is_closed = False

    def find_waiting(self) -> bool:
        """
        Find the readers that wait now; whether there are any.

        Called after a commit, before its `notify()`. Never fails: a lost notification costs 100 ms.
        """
        try:
            changes = self._changes[:CHANGES_BYTES]
        except ValueError:
            return False  # the log is being closed
        self._trusted_count -= 1
        if changes != self._seen or self._trusted_count < 0:
            self._list_fifos()
        return bool(self._fifos)

    def notify(self, subjects: Collection[int]) -> None:
        """
        Write one byte to every reader subscribed to one of these subjects, or to everything.

        Never blocks and never fails.
        """
        token = object()
        try:
            self._notifying[token] = None
            for fifo in _subscribed(self._subscribers, subjects):
                try:
                    os.write(fifo.descriptor, b"\0")
                except BrokenPipeError:  # its reader is dead
                    self._remove(fifo.name)
                    self._seen = None  # the next look takes it away
                except OSError:
                    continue  # full already, or closed by a fork in a signal handler
        finally:
            self._notifying.pop(token, None)
        if self._gone:
            self._close_gone()

    def close(self) -> None:
        """Close the FIFOs, those that a thread writes into as soon as it is done; nobody is notified any more."""
        self._is_closed = True
        fifos, self._fifos = self._fifos, {}
        self._subscribers = _NOBODY
        self._gone.extend(fifos.values())
        self._close_gone()
        self._close_changes()

    def forget(self) -> None:
        """Close a child's copies after a fork, whatever was being written; the next look opens the child's own."""
        fifos, self._fifos = [*self._fifos.values(), *self._gone], {}
        self._subscribers, self._notifying, self._gone = _NOBODY, {}, deque()
        for fifo in fifos:
            fifo.close()
        self._seen, self._is_closed = None, False
        self._close_changes()

    def _close_changes(self) -> None:
        if not isinstance(self._changes, bytes):
            self._changes.close()
        self._changes = b""

    def _list_fifos(self) -> None:
        """Open the FIFOs that are there now; one that comes after we read `changes` shows at the next look."""
        if self._is_closed:
            return
        try:
            self._changes = map_changes(self._directory)  # again: somebody may have removed the file
            changes = self._changes[:CHANGES_BYTES]
            names = {name for name in os.listdir(self._directory) if name.endswith(FIFO_SUFFIX)}
        except (OSError, ValueError):
            return
        fifos = self._fifos
        for name in names - fifos.keys():
            self._open(name)
        self._subscribers = _by_subject(fifo for name, fifo in fifos.items() if name in names)
        for name in fifos.keys() - names:
            self._gone.append(fifos.pop(name))
        self._close_gone()
        self._seen = changes
        self._trusted_count = _MOST_TRUSTED_COUNT
        if self._is_closed:  # meanwhile, by another thread
            self.close()

    def _open(self, name: str) -> None:
        path = os.path.join(self._directory, name)
        try:
            self._fifos[name] = _Fifo(name, os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.ENXIO:
                self._remove(name)  # its reader is dead: a living one opened it before it had this name

    def _close_gone(self) -> None:
        while self._gone and not self._notifying:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._gone.popleft().close()

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, name))


def _by_subject(fifos: Iterable[_Fifo]) -> _Subscribers:
    everything: list[_Fifo] = []
    by_subject: dict[int, list[_Fifo]] = {}
    for fifo in fifos:
        if fifo.subjects is None:
            everything.append(fifo)
        else:
            for subject in fifo.subjects:
                by_subject.setdefault(subject, []).append(fifo)
    return tuple(everything), by_subject


def _subscribed(subscribers: _Subscribers, subjects: Collection[int]) -> Iterable[_Fifo]:
    """The FIFOs subscribed to some subjects, each once."""
    everything, by_subject = subscribers
    if not by_subject:
        return everything
    if len(subjects) == 1:
        [subject] = subjects
        return (*everything, *by_subject.get(subject, ()))
    found = (fifo for subject in subjects for fifo in by_subject.get(subject, ()))
    return (*everything, *dict.fromkeys(found))
