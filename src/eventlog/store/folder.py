"""
The files that a log has beside LMDB's: in `waiters/`, `members/` and `projections/`.

A log can be shared with other users, and comes from them at times. Whoever may write into its directories can put
anything there under any name: a link to a file of ours, a device, a name with a way out of the log. So nothing here
follows a symbolic link, a descriptor is handed out only if it is what was asked for, and a name never leaves its
directory.

Files have the permissions that the log was made with, whatever the umask. If these let a group in, it is that of the
directory, where the user may give it. So what one user makes, another user of the log can use.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.uninterruptible import opening

T = TypeVar("T")

_CAREFUL = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_DIRECTORY = os.O_RDONLY | _CAREFUL | getattr(os, "O_DIRECTORY", 0)
_HAS_PLACES = os.open in os.supports_dir_fd
_HAS_USERS = hasattr(os, "geteuid")


class Folder:
    """
    A directory of a log for files that come and go.

    Each call finds the directory by its path, and the file inside of what was found: a directory that somebody removes
    and makes again goes on working, and one that became a link is an `OSError`.

    Args:
        mode: permissions of the files, 0o600 for example; the directory gets the matching right to search.
    """

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._mode = mode & 0o666

    def make(self) -> None:
        """Make the directory unless it is there."""
        make_directory(self.path, self._mode)

    def names(self) -> list[str]:
        """List what is there."""
        return self._in_place(lambda place: os.listdir(self.path if place is None else place))

    def create(self, name: str) -> int:
        """Open a plain file for reading and writing, and make it if it is missing."""

        def create(place: int | None) -> int:
            flags, settle = os.O_RDWR | os.O_CREAT, partial(_give, mode=self._mode, folder=place)
            return _open(self._at(name), flags, _is_only_file, place, self._mode, settle)

        return self._opened(create)

    def make_fifo(self, name: str, flags: int) -> int:
        """Make a FIFO that is not there yet, and open it."""

        def make(place: int | None) -> int:
            os.mkfifo(self._at(name), self._mode, dir_fd=place)
            try:
                settle = partial(_give, mode=self._mode, folder=place)
                return _open(self._at(name), flags, _is_fifo, place, settle=settle)
            except BaseException:
                os.unlink(self._at(name), dir_fd=place)
                raise

        return self._opened(make)

    def open_fifo(self, name: str, flags: int) -> int:
        """Open a FIFO; never waits for its other end."""
        return self._opened(lambda place: _open(self._at(name), flags, _is_fifo, place))

    def open_to_look(self, name: str) -> int:
        """Open a FIFO or a plain file for reading; never waits for its other end."""
        return self._opened(lambda place: _open(self._at(name), os.O_RDONLY, _is_fifo_or_file, place))

    def _opened(self, open_in: Callable[[int | None], int]) -> int:
        """What a function opens in the directory; closed again if an interruption comes before we hand it out."""
        if not _HAS_PLACES:
            return open_in(None)
        place = descriptor = -1
        try:
            try:
                [place] = opening(self.path, _DIRECTORY)
                descriptor = open_in(place)
            finally:
                if place >= 0:
                    os.close(place)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        return descriptor

    def status(self, name: str) -> os.stat_result:
        """Describe a file, or the link in its place."""
        return self._in_place(lambda place: os.stat(self._at(name), dir_fd=place, follow_symlinks=False))

    def rename(self, name: str, new_name: str) -> None:
        """Give a file another name."""
        self._in_place(lambda place: os.rename(self._at(name), self._at(new_name), src_dir_fd=place, dst_dir_fd=place))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._in_place(lambda place: os.unlink(self._at(name), dir_fd=place))

    def _at(self, name: str) -> str:
        """Return what finds a file from the directory; refuse a name that leads out of it."""
        if "/" in name or name in ("", ".", ".."):
            raise FileNotFoundError(errno.ENOENT, "no file of a log has this name", name)
        return name if _HAS_PLACES else os.path.join(self.path, name)

    def _in_place(self, act: Callable[[int | None], T]) -> T:
        """Call a function with a descriptor of the directory."""
        if not _HAS_PLACES:
            return act(None)
        place = -1
        try:
            [place] = opening(self.path, _DIRECTORY)
            return act(place)
        finally:
            if place >= 0:
                os.close(place)


def make_directory(path: str, mode: int) -> None:
    """Make a directory unless it exists; users who may read or write files of this mode may search it."""
    if is_directory(path):
        return
    mode |= (mode & 0o444) >> 2
    try:
        os.mkdir(path, mode)
    except unless_interrupted(OSError):
        if not is_directory(path):  # else another process was faster
            raise
        return
    if not _HAS_USERS:
        return
    descriptor = -1
    try:
        [descriptor] = opening(path, _DIRECTORY)
        _give(descriptor, mode, os.path.dirname(path))
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def stored_mode(path: str) -> int:
    """Return the permissions of a file: what those of its log are, whoever opens it."""
    return stat.S_IMODE(os.stat(path).st_mode) & 0o666


def create_file(path: str, mode: int, place: int | None = None) -> int:
    """
    Open a plain file of the log's own directory for reading and writing, and make it if it is missing.

    Args:
        place: a descriptor of the directory, if the path is the name in it.
    """

    def settle(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == 0:
            _give(descriptor, mode, os.path.dirname(path) if place is None else place)

    return _open(path, os.O_RDWR | os.O_CREAT, _is_file, place, mode, settle)


def give(path: str, mode: int) -> None:
    """Give a plain file that this user has made its permissions, and the group of its directory."""
    descriptor = _open(path, os.O_RDONLY, _is_file)
    try:
        _give(descriptor, mode, os.path.dirname(path))
    finally:
        os.close(descriptor)


def _open(
    path: str,
    flags: int,
    is_right: Callable[[os.stat_result], bool],
    place: int | None = None,
    mode: int = 0o600,
    settle: Callable[[int], object] | None = None,
) -> int:
    """
    Open a file, which is closed again unless it is what it has to be.

    Args:
        settle: called with the descriptor before it is handed out.
    """
    descriptor = -1
    try:
        [descriptor] = opening(path, flags | _CAREFUL, mode, place)
        _check(os.fstat(descriptor), is_right, path)
        if settle is not None:
            settle(descriptor)
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        elif isinstance(error, OSError) and error.errno == errno.ELOOP and not is_interruption(error):
            raise _link(path) from error
        raise
    return descriptor


def _check(status: os.stat_result, is_right: Callable[[os.stat_result], bool], path: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _link(path)
    if not is_right(status):
        found = f"{stat.filemode(status.st_mode)} with {status.st_nlink} names"
        raise OSError(errno.EPERM, f"it is no file of a log: {found}", path)


def _link(path: str) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link, and a log has none", path)


def is_directory(path: str) -> bool:
    """Whether there is a directory; `os.path.isdir` would swallow what a signal handler raises."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except unless_interrupted(OSError):
        return False


def check_outside(path: str, folder: str, *, verb: str) -> None:
    """Refuse a directory that is to be made inside of one of ours: what is there belongs to the log or the backup."""
    above = os.path.join(os.path.realpath(folder), "")
    if os.path.realpath(path).startswith(above):
        raise ValueError(
            f"cannot {verb} into {path}: it is inside of {folder}. Nothing was made. Choose a directory outside of it."
        )


def has_name(path: str) -> bool:
    """Whether there is something of that name, a link to nothing, too."""
    try:
        os.lstat(path)
    except unless_interrupted(OSError):
        return False
    return True


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _is_only_file(status: os.stat_result) -> bool:
    return _is_file(status) and status.st_nlink <= 1


def _is_fifo(status: os.stat_result) -> bool:
    return stat.S_ISFIFO(status.st_mode)


def _is_fifo_or_file(status: os.stat_result) -> bool:
    return _is_fifo(status) or _is_file(status)


def _give(descriptor: int, mode: int, folder: int | str | None) -> None:
    """Give a file or directory of this user its permissions, and the group of a directory if this user may."""
    status = os.fstat(descriptor)
    if not _HAS_USERS or status.st_uid != os.geteuid():
        return
    if mode & 0o060 and folder is not None and (group := os.stat(folder).st_gid) != status.st_gid:
        with suppress(OSError):  # this user is not in that group
            os.fchown(descriptor, -1, group)
    if stat.S_IMODE(status.st_mode) & 0o777 != mode:
        os.fchmod(descriptor, mode | (status.st_mode & stat.S_ISGID if stat.S_ISDIR(status.st_mode) else 0))
