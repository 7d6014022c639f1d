"""
Directories for logs that end with their process, such as those in memory.

The process holds the lock of the directory itself, which the kernel releases when the process ends, for any reason. So
what a killed process leaves behind is known, and the next process that makes such a directory removes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.uninterruptible import opening

try:
    import fcntl
except ImportError:  # no such system call: what a killed process leaves behind stays there
    fcntl = None  # type: ignore[assignment]

_PREFIX = "eventlog-temporary-"
_HIDDEN = ".eventlog-new-"


class TemporaryDirectory:
    """
    A new directory that is this process's, and goes with it.

    The log is in a directory inside of the locked one, since opening a log takes the lock of its directory for a
    moment. It is locked under a hidden name, so nobody takes it for a leftover before that.
    """

    _descriptor = -1

    def __init__(self) -> None:
        hidden = tempfile.mkdtemp(prefix=_HIDDEN)
        self._owner = os.getpid()
        try:
            if fcntl is not None:
                [self._descriptor] = opening(hidden, os.O_RDONLY)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            above, name = os.path.split(hidden)
            self._locked = os.path.join(above, _PREFIX + name.removeprefix(_HIDDEN))
            self.path = os.path.join(self._locked, "log")
            os.mkdir(os.path.join(hidden, "log"), 0o700)
            os.rename(hidden, self._locked)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            self._unlock()
            raise

    def remove(self) -> None:
        """Remove it with all that it holds; in a forked child it stays the parent's."""
        try:
            if os.getpid() == self._owner:
                shutil.rmtree(self._locked, ignore_errors=True)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def remove_leftovers() -> list[str]:
    """Remove the directories of processes that were killed; return their paths."""
    removed: list[str] = []
    if fcntl is None:
        return removed
    above = tempfile.gettempdir()
    with suppress(OSError):
        for entry in os.scandir(above):
            if entry.name.startswith(_PREFIX) and _is_leftover(entry):
                shutil.rmtree(entry.path, ignore_errors=True)
                removed.append(entry.path)
    return removed


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory of ours that nobody has locked."""
    try:
        if entry.is_symlink() or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            return False
        [descriptor] = opening(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except unless_interrupted(OSError):
        return False
    try:
        assert fcntl is not None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except unless_interrupted(OSError):
        return False
    finally:
        os.close(descriptor)
    return True
