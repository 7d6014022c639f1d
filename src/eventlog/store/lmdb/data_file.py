"""LMDB's data file from outside, as far as opening needs it: whether it is LMDB's, and whether it was ever finished."""

from __future__ import annotations

import errno
import os
import sys

_MAGIC = slice(16, 20), 0xBEEFC0DE.to_bytes(4, sys.byteorder)
_COMMITS = slice(144, 152), bytes(8)
"""Where a meta page has its magic number and its transaction number, and their first values."""
_META_END = 152
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}
"""Errors of a directory that cannot be synced at all, or not by this user, who may be unable to read it."""


def is_lmdb_file(data: str) -> bool:
    """Whether the file begins like one of LMDB's."""
    place, magic = _MAGIC
    try:
        with open(data, "rb") as file:
            return file.read(_META_END)[place] == magic
    except FileNotFoundError:
        return False


def prepare(data: str) -> bool:
    """
    Whether nothing was committed to the file yet; empties it if its very first write was cut short.

    That write consists of two meta pages. A kill may leave one of them, and a power cut any part of them with zeros for
    the rest; LMDB would refuse such a file forever. The file is emptied only if it holds nothing else.
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
    """Whether a page is a meta page without a commit, or zeros."""
    (magic_place, magic), (commits_place, no_commits) = _MAGIC, _COMMITS
    if page[_META_END:].strip(b"\0"):
        return False
    if not page[:_META_END].strip(b"\0"):
        return True
    return page[magic_place] == magic and page[commits_place] == no_commits


def make_directory(path: str, mode: int) -> None:
    """Make a directory unless it exists; users who may read or write files of this mode may search it."""
    try:
        os.mkdir(path, mode | (mode & 0o444) >> 2)
    except OSError:
        if not os.path.isdir(path):
            raise


def sync_file(data: str) -> None:
    """Sync a file and its name to the disk."""
    _sync(data)
    sync_entries(os.path.dirname(data))


def sync_entries(directory: str) -> None:
    """
    Sync the entries of a new directory, and the entry of the directory itself.

    A file system that cannot sync directories must keep their entries by itself. Any other failure is an `OSError`:
    without it, later commits would be acknowledged and then lost with the name.
    """
    for folder in (directory, os.path.dirname(directory)):
        try:
            _sync(folder)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
