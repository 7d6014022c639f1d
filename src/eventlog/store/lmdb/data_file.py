"""
LMDB's file seen from outside, as far as opening needs it: is it LMDB's, and was it ever finished.

Knows nothing of what we keep in it.
"""

from __future__ import annotations

import errno
import os
import sys

_MAGIC = slice(16, 20), 0xBEEFC0DE.to_bytes(4, sys.byteorder)
_COMMITS = slice(144, 152), bytes(8)
"""Where a root page has its magic and the number of its commit, and what they are at first."""
_ROOT_END = 152
_CAN_NOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}
"""A directory that cannot be synced at all, or not by this user: the log may be in one that we cannot read."""


def is_engines(data: str) -> bool:
    """Whether the file is LMDB's, as far as its first bytes tell."""
    place, magic = _MAGIC
    try:
        with open(data, "rb") as file:
            return file.read(_ROOT_END)[place] == magic
    except FileNotFoundError:
        return False


def prepare(data: str) -> bool:
    """
    Whether nothing was committed to the file yet; empties it if its very first write was cut short.

    That write is of two root pages. A kill may leave one of them, and a power cut any part of them and zeros for the
    rest; LMDB would refuse such a file for ever. It is emptied only if there is nothing else in it.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    try:
        if os.stat(data).st_size > 2 * page_bytes:
            return False
        with open(data, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return True
    pages = [content[:page_bytes].ljust(page_bytes, b"\0"), content[page_bytes:].ljust(page_bytes, b"\0")]
    if not all(map(_is_uncommitted, pages)):
        return False
    place, magic = _MAGIC
    if not all(page[place] == magic for page in pages):
        os.truncate(data, 0)
    return True


def _is_uncommitted(page: bytes) -> bool:
    """Whether a page is a root without a commit, or zeros."""
    (magic_place, magic), (commits_place, no_commits) = _MAGIC, _COMMITS
    if page[_ROOT_END:].strip(b"\0"):
        return False
    if not page[:_ROOT_END].strip(b"\0"):
        return True
    return page[magic_place] == magic and page[commits_place] == no_commits


def make_directory(path: str, mode: int) -> None:
    """Make a directory, unless it is there; who may read or write files of this mode may search it."""
    try:
        os.mkdir(path, mode | (mode & 0o444) >> 2)
    except OSError:
        if not os.path.isdir(path):
            raise


def sync_file(data: str) -> None:
    """Force a file to the disk, with its name."""
    _sync(data)
    sync_entries(os.path.dirname(data))


def sync_entries(directory: str) -> None:
    """
    Force to the disk that the files of a new directory are there, and that it is there itself.

    Where a file system syncs no directories, it has to keep their entries by itself. One that fails to is an
    `OSError`: what follows would be acknowledged, and gone with the name.
    """
    for folder in (directory, os.path.dirname(directory)):
        try:
            _sync(folder)
        except OSError as error:
            if error.errno not in _CAN_NOT_SYNC:
                raise


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
