"""
LMDB's data file from outside, as far as opening needs it: whether it is LMDB's, was ever finished, and is whole.

LMDB maps the file. To read a page that the file lacks is SIGBUS, the end of the process, and opening reads the root.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Iterator

from eventlog.errors import NotALog, StorageError
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.folder import is_directory
from eventlog.store.lmdb.lock_file import LOCK_FILE
from eventlog.uninterruptible import opening

DATA_FILE = "data.mdb"
WAITERS = "waiters"
"""The folder of the waiting readers. It is made after the first commit, so it shows that there was one."""

_MAGIC_NUMBER = 0xBEEFC0DE
_MAGIC = slice(16, 20), _MAGIC_NUMBER.to_bytes(4, sys.byteorder)
_COMMITS = slice(144, 152), bytes(8)
"""Where a meta page has its magic number and its transaction number, and their first values."""
_META_END = 152
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM}
"""Errors of a directory that cannot be synced at all, or not by this user, who may be unable to read it."""

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}

_META = struct.Struct("=16xII16xI36xQ48xQQ")
"""A meta page: magic, version, page size, the root of the free list, the last page, the number of its commit."""
_NO_ROOT = 2**64 - 1
_PAGE = struct.Struct("=10xHH2x")
"""The header of a page: its flags, and where the places of its nodes end."""
_NODE = struct.Struct("=HHHH")
_NUMBER = struct.Struct("=Q")
_BRANCH, _IS_ELSEWHERE = 1, 1
_MOST_MISSING = 1 << 17
"""The pages of one transaction: more than it can leave unwritten at the end."""


def check_kinds(directory: str) -> list[str]:
    """
    Return which of the two files are there; refuse what stands in the place of one and is none.

    Opening that may wait without end, or lead elsewhere.
    """
    found = []
    for name in (DATA_FILE, LOCK_FILE):
        try:
            mode = os.lstat(f"{directory}/{name}").st_mode
        except unless_interrupted(FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(mode):
            raise _not_a_file(directory, name, mode)
        found.append(name)
    return found


def _not_a_file(directory: str, name: str, mode: int) -> NotALog:
    return NotALog(
        f"cannot open {directory}: {name} is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}, and a log keeps it as "
        "a plain file.",
        stored="It was left as it was.",
        advice="Choose another directory; to keep a log elsewhere, link its directory.",
    )


def data_status(directory: str, place: int) -> os.stat_result | None:
    """
    Describe the data file of a directory, by whose descriptor it is found; None if there is none, and never was.

    Raises:
        NotALog: something else is in its place.
        StorageError: it is gone, although the log was opened before.
    """
    try:
        status = os.stat(DATA_FILE, dir_fd=place, follow_symlinks=False)
    except unless_interrupted(FileNotFoundError):
        _refuse_if_used(directory, "there is no data.mdb")
        return None
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(directory, DATA_FILE, status.st_mode)
    return status


def has_commit(data: str) -> bool:
    """Whether the file is there and some meta page of it, if it is LMDB's, holds a commit."""
    try:
        with open(data, "rb", buffering=0) as file:
            return any(meta.commit > 0 for meta in _metas(file.fileno()))
    except unless_interrupted(FileNotFoundError):
        return False


def check_length(descriptor: int, data: str) -> None:
    """
    Refuse a file that lacks pages of its newest commit.

    LMDB does not write a page that was freed by the commit that made it, so the last ones may be missing if the free
    list has them. Another process may be writing: what looks short is looked at again after a newer commit.
    """
    if _is_long_enough(descriptor):  # as a rule
        return
    looked_at = None
    while True:
        meta = max(_metas(descriptor), key=lambda one: one.commit, default=None)
        size = os.fstat(descriptor).st_size
        if meta is None or meta.end <= size or _is_unwritten(descriptor, meta, size):
            return
        if meta == looked_at:
            break
        looked_at = meta
    raise StorageError(
        f"cannot open {data}: it has {size} bytes, and its newest commit needs {meta.end}. It was cut short.",
        stored="It was left as it was.",
        advice="Put a copy made by compact() in its place.",
    )


def is_lmdb_file(data: str) -> bool:
    """Whether the file begins like one of LMDB's."""
    place, magic = _MAGIC
    try:
        with open(data, "rb") as file:
            return file.read(_META_END)[place] == magic
    except unless_interrupted(FileNotFoundError):
        return False


def prepare(descriptor: int, directory: str) -> bool:
    """
    Whether nothing was committed to the file yet; empties it if its very first write was cut short.

    That write consists of two meta pages. A kill may leave one of them, and a power cut any part of them with zeros for
    the rest; LMDB would refuse such a file forever. The file is emptied only if it holds nothing else.

    Raises:
        StorageError: the file of a log that was opened before was emptied: it had both, and `waiters/` beside them.
    """
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    if os.fstat(descriptor).st_size > 2 * page_bytes:
        return False
    content = os.pread(descriptor, 2 * page_bytes, 0)
    pages = [content[:page_bytes].ljust(page_bytes, b"\0"), content[page_bytes:].ljust(page_bytes, b"\0")]
    if not all(map(_is_uncommitted, pages)):
        return False
    place, magic = _MAGIC
    if not all(page[place] == magic for page in pages):
        _refuse_if_used(directory, f"its data.mdb has {len(content)} bytes and no commit")
        os.ftruncate(descriptor, 0)
    return True


def _refuse_if_used(directory: str, what: str) -> None:
    if is_directory(os.path.join(directory, WAITERS)):
        raise StorageError(
            f"cannot open {directory}: {what}, although the log was opened before: the file was lost or emptied.",
            stored="Nothing was made, and nothing was changed.",
            advice="Put a copy of data.mdb there, or remove the directory to begin a new log.",
        )


def _is_uncommitted(page: bytes) -> bool:
    """Whether a page is a meta page without a commit, or zeros."""
    (magic_place, magic), (commits_place, no_commits) = _MAGIC, _COMMITS
    if page[_META_END:].strip(b"\0"):
        return False
    if not page[:_META_END].strip(b"\0"):
        return True
    return page[magic_place] == magic and page[commits_place] == no_commits


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
        except unless_interrupted(OSError) as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def _sync(path: str) -> None:
    [descriptor] = opening(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Meta(NamedTuple):
    page_bytes: int
    free_root: int
    last_page: int
    commit: int

    @property
    def end(self) -> int:
        """How long a file with all of its pages is."""
        return (self.last_page + 1) * self.page_bytes


def _is_long_enough(descriptor: int) -> bool:
    """Whether the file has all pages of its newest commit, if its meta pages are found where they are here."""
    size, page_bytes = os.fstat(descriptor).st_size, os.sysconf("SC_PAGE_SIZE")
    head = os.pread(descriptor, page_bytes + _META.size, 0)
    if len(head) < page_bytes + _META.size:
        return False
    one, other = _META.unpack_from(head), _META.unpack_from(head, page_bytes)
    if not one[0] == other[0] == _MAGIC_NUMBER or not one[2] == other[2] == page_bytes:
        return False
    newest = one if one[-1] > other[-1] else other
    return (int(newest[-2]) + 1) * page_bytes <= size


def _metas(descriptor: int) -> Iterator[_Meta]:
    """The meta pages that can be read."""
    place = 0
    for _ in range(2):
        data = os.pread(descriptor, _META.size, place)
        if len(data) == _META.size:
            magic, _, page_bytes, free_root, last_page, commit = _META.unpack(data)
            if magic == _MAGIC_NUMBER and page_bytes:
                yield _Meta(page_bytes, free_root, last_page, commit)
                place = page_bytes
                continue
        place = os.sysconf("SC_PAGE_SIZE")


def _is_unwritten(descriptor: int, meta: _Meta, size: int) -> bool:
    """Whether the free list has all pages behind the end of the file."""
    missing = set(range(size // meta.page_bytes, min(meta.last_page + 1, size // meta.page_bytes + _MOST_MISSING + 1)))
    if len(missing) > _MOST_MISSING or meta.free_root == _NO_ROOT:
        return False

    try:
        for pages in _free_lists(descriptor, meta, size):
            missing.difference_update(pages)
    except unless_interrupted(struct.error, OSError, OverflowError, MemoryError):
        return False  # the list itself is damaged or cut off
    return not missing


def _free_lists(descriptor: int, meta: _Meta, size: int) -> Iterator[tuple[int, ...]]:
    """The lists of free pages: the rows of LMDB's table of them."""
    unread, left_count = [meta.free_root], size // meta.page_bytes
    while unread and left_count > 0:  # a damaged tree may lead in circles
        left_count -= 1
        page = os.pread(descriptor, meta.page_bytes, unread.pop() * meta.page_bytes)
        flags, lower = _PAGE.unpack_from(page)
        for place in struct.unpack_from(f"={(lower - _PAGE.size) // 2}H", page, _PAGE.size):
            low, high, node_flags, key_bytes = _NODE.unpack_from(page, place)
            if flags & _BRANCH:
                unread.append(low | high << 16 | node_flags << 32)
                continue
            row = page[place + _NODE.size + key_bytes :]
            if node_flags & _IS_ELSEWHERE:
                first = _NUMBER.unpack_from(row)[0] * meta.page_bytes
                row = os.pread(descriptor, low | high << 16, first + _PAGE.size)
            yield struct.unpack_from(f"={_NUMBER.unpack_from(row)[0]}Q", row, _NUMBER.size)
