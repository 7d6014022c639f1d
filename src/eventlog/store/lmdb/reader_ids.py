"""
A number for this process in LMDB's table of readers that no other process has, in whatever container it runs.

LMDB knows a reader by its pid, and takes it for dead when nobody holds the lock of byte `pid` of `lock.mdb`. A pid
means something in one pid namespace only: two containers that share a log are both pid 1, and the second could not lock
its byte. LMDB has no function that sets another number, so we write one into its environment, through /proc/self/mem:
a random number that is too large for a pid. From then on the lock of that byte shows that we live
(docs/decisions/0029-ids-of-readers.md).

    another process                          we, with the lock of the directory
    waits for the directory                  1  lmdb.open() locks byte `pid`
                                             2  lock byte `number`
                                             3  write `number` into the environment
    opens, and locks byte `pid`,             4  release byte `pid`, and the directory
    which is the same one, maybe

Nothing is written where the environment is not found exactly as we know it; then LMDB goes on by pids.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from typing import Any

import lmdb

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.lasting_locks import lock_alone
from eventlog.store.lmdb.reader_table import WRITERS_MUTEX_AT
from eventlog.uninterruptible import opening

_MEMORY = "/proc/self/mem"
_LEAST = 1 << 22
"""Linux gives no larger pid."""
_END = 1 << 31
_TRIES = 16
_LEAST_ADDRESS, _ADDRESSES_END = 1 << 16, 1 << 62
_CLOSE_READERS_AT, _PID_AT, _LOCK_MAP_AT = 28, 40, 64
_MAGIC = struct.Struct("=I").pack(0xBEEFC0DE)
"""How `lock.mdb` begins."""


class _Head(NamedTuple):
    """How LMDB's environment begins (`struct MDB_env` of 0.9), in words of 4 bytes."""

    data_file: int
    lock_file: int
    meta_file: int
    flags: int
    page_bytes: int
    system_page_bytes: int
    reader_count: int
    slots_to_close: int
    table_count: int
    table_limit: int
    process_id: int


_HEAD = struct.Struct("=3i4Ii2Ii")
_NUMBER = struct.Struct("=i")
_WORDS = struct.Struct("16P")
"""The beginning of the Python object; what it points to is among these."""
_FOUND_AT: list[int] = []
"""Which of them it was the last time: a guess that saves a search."""
_WORD = struct.Struct("P")
_WORD_BYTES = _WORD.size


class ReaderId:
    """The number of one open environment of this process."""

    def __init__(self, address: int, number: int, writers_mutex: int) -> None:
        self._address = address
        self.number = number
        self.writers_mutex = writers_mutex
        """The address of LMDB's mutex of writers; 0 if it is not known."""

    def prepare_to_close(self) -> None:
        """
        Have `close()` leave the table of readers alone.

        It would free the slots with our pid, and they can only belong to another process that opens the log just now.
        Ours are free already: no transaction runs.
        """
        with suppress(OSError):  # no file may be opened: another would have to open the log this very moment
            [memory] = opening(_MEMORY, os.O_RDWR)
            try:
                os.pwrite(memory, _NUMBER.pack(0), self._address + _CLOSE_READERS_AT)
            finally:
                os.close(memory)


def give_reader_id(
    handle: Any, data: os.stat_result, lock: os.stat_result, lock_file: int, begin: Callable[[], Any]
) -> ReaderId | None:
    """
    Give a newly opened environment a number of its own; None where this system or this LMDB has no way to.

    Belongs under the lock of the directory, and before any other thread has the environment. LMDB has locked byte `pid`
    and does not need it any more.

    Args:
        data, lock: what the system says of the two files.
        lock_file: a descriptor of `lock.mdb`, which holds the lock of the byte.
        begin: begins a read transaction; none is kept that began before.
    """
    if sys.implementation.name != "cpython":
        return None
    try:
        [memory] = opening(_MEMORY, os.O_RDWR)
    except unless_interrupted(OSError):
        return None
    try:
        found = _find(memory, handle, data, lock)
        number = None if found is None else _locked_number(lock_file)
        return None if found is None or number is None else _give(memory, handle, found, number, begin)
    except unless_interrupted(OSError, struct.error):  # the object is smaller than the one we know
        return None
    finally:
        os.close(memory)


def _find(memory: int, handle: Any, data: os.stat_result, lock: os.stat_result) -> tuple[int, int] | None:
    """The addresses of LMDB's environment, which the Python object points to, and of its map of `lock.mdb`."""
    process_id = os.getpid()
    words = _WORDS.unpack(os.pread(memory, type(handle).__basicsize__, id(handle))[: _WORDS.size])
    for place in (*_FOUND_AT, *range(len(words))):
        address = words[place]
        if address % _WORD_BYTES or not _LEAST_ADDRESS <= address < _ADDRESSES_END:
            continue
        try:
            found = os.pread(memory, _LOCK_MAP_AT + _WORD_BYTES, address)
        except unless_interrupted(OSError):  # nothing is there
            continue
        if len(found) < _LOCK_MAP_AT + _WORD_BYTES or _NUMBER.unpack_from(found, _PID_AT)[0] != process_id:
            continue
        head = _Head(*_HEAD.unpack_from(found))
        if (
            head.system_page_bytes == os.sysconf("SC_PAGE_SIZE")
            and head.reader_count == handle.info()["max_readers"]
            and _is_same(head.data_file, data)
            and _is_same(head.lock_file, lock)
        ):
            _FOUND_AT[:] = [place]
            return int(address), int(_WORD.unpack_from(found, _LOCK_MAP_AT)[0])
    return None


def _is_same(found: int, expected: os.stat_result) -> bool:
    try:
        return found >= 0 and os.path.samestat(os.fstat(found), expected)
    except unless_interrupted(OSError):
        return False


def _locked_number(lock_file: int) -> int | None:
    """A number whose byte nobody had locked, and now we have."""
    for _ in range(_TRIES):
        number = _LEAST + int.from_bytes(os.urandom(4), sys.byteorder) % (_END - _LEAST)
        if lock_alone(lock_file, number):
            return number
    return None


def _give(
    memory: int, handle: Any, addresses: tuple[int, int], number: int, begin: Callable[[], Any]
) -> ReaderId | None:
    address, lock_map = addresses
    os.pwrite(memory, _NUMBER.pack(number), address + _PID_AT)
    if _is_used(handle, number, begin):
        return ReaderId(address, number, _writers_mutex(memory, lock_map))
    os.pwrite(memory, _NUMBER.pack(os.getpid()), address + _PID_AT)
    with suppress(lmdb.BadRslotError):  # LMDB gives up the place in its table that it keeps under the number
        begin().abort()
    return None


def _is_used(handle: Any, number: int, begin: Callable[[], Any]) -> bool:
    """Whether LMDB enters a reader of ours under this number."""
    with begin():
        return f"{number} " in handle.readers()


def _writers_mutex(memory: int, lock_map: int) -> int:
    """Where the mutex of writers is, if LMDB has its map of `lock.mdb` there; else 0."""
    try:
        return lock_map + WRITERS_MUTEX_AT if os.pread(memory, len(_MAGIC), lock_map) == _MAGIC else 0
    except unless_interrupted(OSError, OverflowError):
        return 0
