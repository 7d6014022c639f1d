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

import errno
import mmap
import os
from collections import deque
from collections.abc import Collection, Iterable
from typing import TypeAlias

from eventlog.backend.waiting import is_quiet
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.wakeup.fifos import CHANGES_BYTES, FIFO_SUFFIX, map_changes, subjects_of

_MOST_TRUSTED_COUNT = 256
"""After this many calls the directory is listed even if `changes` is the same: somebody may have removed files."""
_MOST_KEPT_COUNT = 128
_KEPT_SHARE = 8
"""At most this many FIFOs stay open, and an eighth of the files that this process may have open."""
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


class _Fifo:
    """One waiting reader's FIFO, with its writing end; -1 if that is not open, or no longer."""

    descriptor = -1

    def __init__(self, name: str, *, is_kept: bool) -> None:
        self.name = name
        self.subjects = subjects_of(name)
        self.is_kept = is_kept
        """Whether the writing end stays open between two notifications."""
        self.is_dead = False
        """Whether its reader is known to be gone."""

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        with suppress(OSError):
            descriptor, self.descriptor = self.descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()  # an interruption may have come before anybody had us


_ALL_CHANGES = slice(CHANGES_BYTES)

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

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
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
            changes = self._changes[_ALL_CHANGES]
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
                    if fifo.is_kept:
                        os.write(fifo.descriptor, b"\0")
                    else:
                        self._write_once(fifo.name)
                except unless_interrupted(BrokenPipeError):
                    self._bury(fifo)
                except unless_interrupted(OSError):
                    continue  # full already, closed by a fork in a signal handler, or no file may be opened now
        finally:
            self._notifying.pop(token, None)
        if self._gone:
            self._close_gone()

    def close(self) -> None:
        """Close the FIFOs, those that a thread writes into as soon as it is done; nobody is notified any more."""
        self._is_closed = True
        self._subscribers = _NOBODY
        self._gone.extend(self._fifos.values())
        self._fifos = {}
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
            self._changes = map_changes(self._folder)  # again: somebody may have removed the file
            changes: bytes | None = self._changes[:CHANGES_BYTES]
            names = {name for name in self._folder.names() if name.endswith(FIFO_SUFFIX)}
        except unless_interrupted(
            OSError, ValueError
        ):  # no file may be opened now: then give back what is of no use any more
            names, changes = {name for name, fifo in self._fifos.items() if not fifo.is_dead}, None
        fifos = self._fifos
        room = _most_kept_count() - sum(fifo.is_kept for name, fifo in fifos.items() if name in names)
        for name in names:
            known = fifos.get(name)
            if known is None or (room > 0 and not known.is_kept):
                room -= self._open(name, is_kept=room > 0)
        self._subscribers = _by_subject(fifo for name, fifo in fifos.items() if name in names)
        for name in fifos.keys() - names:
            self._gone.append(fifos.pop(name))
        self._close_gone()
        self._seen = changes
        self._trusted_count = _MOST_TRUSTED_COUNT
        if self._is_closed:  # meanwhile, by another thread
            self.close()

    def _open(self, name: str, *, is_kept: bool) -> bool:
        """
        Open a FIFO, and close it again unless it is to be kept; return whether it stays open.

        A thousand waiting readers would otherwise take every file that this process may have open.
        """
        fifo = _Fifo(name, is_kept=is_kept)
        try:
            fifo.descriptor = self._folder.open_fifo(name, os.O_WRONLY)
        except unless_interrupted(OSError) as error:
            if error.errno == errno.ENXIO:
                self._remove(name)  # its reader is dead: a living one opened it before it had this name
            if error.errno not in _TOO_MANY_FILES:
                return False
            is_kept = fifo.is_kept = False  # a notification may come at a better moment
        if not is_kept:
            fifo.close()
        self._fifos[name] = fifo
        return is_kept

    def _write_once(self, name: str) -> None:
        try:
            descriptor = self._folder.open_fifo(name, os.O_WRONLY)
        except unless_interrupted(OSError) as error:
            if error.errno in {errno.ENXIO, errno.ENOENT}:
                raise BrokenPipeError from error
            raise
        try:
            os.write(descriptor, b"\0")
        finally:
            os.close(descriptor)

    def _bury(self, fifo: _Fifo) -> None:
        """Remove the FIFO of a dead reader; the next look takes it away."""
        fifo.is_dead = True
        self._remove(fifo.name)
        self._seen = None

    def _close_gone(self) -> None:
        while self._gone and not self._notifying:
            with suppress(IndexError):  # another thread was faster
                self._gone.popleft().close()

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            self._folder.remove(name)


def _most_kept_count() -> int:
    try:
        most = os.sysconf("SC_OPEN_MAX")
    except unless_interrupted(AttributeError, ValueError, OSError):
        return _MOST_KEPT_COUNT
    return min(_MOST_KEPT_COUNT, most // _KEPT_SHARE) if most > 0 else _MOST_KEPT_COUNT


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
    if subjects and all(map(is_quiet, subjects)):
        everything = ()
    if not by_subject:
        return everything
    if len(subjects) == 1:
        [subject] = subjects
        return (*everything, *by_subject.get(subject, ()))
    found = (fifo for subject in subjects for fifo in by_subject.get(subject, ()))
    return (*everything, *dict.fromkeys(found))
