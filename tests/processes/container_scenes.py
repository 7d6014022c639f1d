"""
Programs that share a log from containers of their own, and as users of their own.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from functools import partial, reduce
from operator import call

import eventlog
from eventlog.store.lmdb import reader_ids
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.lmdb.reader_table import WRITERS_MUTEX_AT, ReaderTable
from tests.processes.child import hear, say

_READERS_MUTEX_AT = 8


def append_and_read(path: str, value: int) -> None:
    """Opens a log, says its pid, appends, and says what is there; again with every line that comes."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        say(os.getpid())
        while True:
            hear()
            topic.append(value)
            say(*(record.value for record in topic.read()))


def append_without_ids(path: str, value: int) -> None:
    """The same on a system that lets nobody write to the memory of a process."""
    reader_ids._MEMORY = "/nothing/there"
    append_and_read(path, value)


def open_and_say(path: str) -> None:
    """Opens a log, and says what came of it."""
    try:
        with eventlog.open(path) as log:
            log.topic("orders", value=int).append(0)
    except eventlog.EventLogError as error:
        say(type(error).__name__, error.what, error.advice)
    else:
        say("opened")


def open_without_ids_and_say(path: str) -> None:
    """The same on a system that lets nobody write to the memory of a process."""
    reader_ids._MEMORY = "/nothing/there"
    open_and_say(path)


def read_slowly(path: str) -> None:
    """Says the checksum of all rows of one moment, and with every line that comes that of the same moment again."""
    with eventlog.open(path) as log:
        environment = log._store.environment  # type: ignore[attr-defined]
        say(os.getpid())
        with environment.reading() as transaction:
            while True:
                with transaction.cursor(db=environment.table(BATCHES)) as cursor:
                    say(reduce(lambda crc, row: zlib.crc32(row[1], crc), cursor, 0))
                hear()


def write_over(path: str) -> None:
    """Deletes and appends until every free page is written over, and says how many slots of dead readers it freed."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say(os.getpid())
        while True:
            hear()
            for _ in range(30):
                first, end = topic.bounds()[0]
                topic.delete_records({0: min(end, first + 300)})
                topic.append_many([bytes(3000)] * 300)
            say(log._store.environment._free_slots())  # type: ignore[attr-defined]


def make_shared(path: str) -> None:
    """Makes a log for a group of users, under a umask that would let nobody in."""
    os.umask(0o077)
    with eventlog.open(path, mode=0o660) as log:
        log.topic("orders", partitions=4)
    say("made")


def append_what_comes(path: str) -> None:
    """Appends every line that comes."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        while True:
            topic.append(hear())


def hold_the_table(path: str, alone: bool = True) -> None:
    """
    Takes the mutex of LMDB's table of readers as a read does, says so, and keeps it until a line comes.

    Args:
        alone: with the lock that comes first; without it the mutex can be waited for.
    """
    with eventlog.open(path) as log:
        environment = log._store.environment  # type: ignore[attr-defined]
        table = environment._readers
        mutex = table._writers_mutex - WRITERS_MUTEX_AT + _READERS_MUTEX_AT
        system = ctypes.CDLL(None)
        steps = [
            partial(system.pthread_mutex_lock, ctypes.c_void_p(mutex)),
            partial(os.write, 1, b"held\n"),
            partial(os.read, 0, 1),
            partial(system.pthread_mutex_unlock, ctypes.c_void_p(mutex)),
        ]
        holding = partial(list, map(call, steps))
        if alone:
            table.alone(holding)
        else:
            holding()
        say("freed")


def enter_the_table(path: str, alone: bool = True) -> None:
    """
    Says its pid, and with every line that comes reads in the midst of a read, which needs a place in the table.

    Args:
        alone: with the lock that comes first; without it the mutex can be waited for.
    """
    with eventlog.open(path) as log:
        environment = log._store.environment  # type: ignore[attr-defined]
        if not alone:
            environment._readers = ReaderTable()
            environment._slots = environment._readers.slots
        say(os.getpid())
        while True:
            hear()
            with environment.reading(), environment.reading():
                say("read")


def enter_the_table_again_and_again(path: str) -> None:
    """The same, without a pause."""
    with eventlog.open(path) as log:
        environment = log._store.environment  # type: ignore[attr-defined]
        say(os.getpid())
        while True:
            with environment.reading(), environment.reading():
                pass
