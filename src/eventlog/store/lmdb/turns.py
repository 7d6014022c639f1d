"""
Reading without a place in LMDB's table of readers: each read keeps the writers of all processes waiting.

Who may not write to `lock.mdb`, on a read-only mount say, cannot tell writers which pages it reads; they would write
over them, and LMDB ends a process that reads such a page. But a writer of ours holds the lock of `data.mdb` while it
writes (`file_lock.py`), and a lock to be shared needs no more than the right to read. So a read takes that one.

    reader                                   writer
    1  waits for the lock, and shares it     a  waits for the lock, and has it alone
    2  reads one snapshot                    b  writes, commits
    3  gives it back                         c  gives it back

A snapshot that is read between (1) and (3) is the newest one for as long as it is read. A read takes a millisecond at
most, but it waits for a commit that is under way, and the next commit for it (docs/decisions/0052-read-only.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.gate import Gate
from eventlog.uninterruptible import opening

try:
    import fcntl
except ImportError:  # no such system call
    fcntl = None  # type: ignore[assignment]


class Turn(int):
    """
    The lock of the data file, shared, for the time of one read; let go of when it is dropped.

    The number is that of the thread, which the gate keeps for each transaction. A descriptor of its own is a lock of
    its own, so that threads need not know of each other, and an interruption at any place gives the lock back.
    """

    descriptor = -1

    def take(self, data_file: str) -> None:
        """Wait until nobody writes, and let nobody begin."""
        [self.descriptor] = opening(data_file, os.O_RDONLY)
        if fcntl is not None:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Let writers go on."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


class TurnGate(Gate):
    """
    A gate behind which nobody writes, if `turns_file` is set.

    `leave` is a C function here, too: it drops the turn.
    """

    def __init__(self, translate: Callable[[OSError], Exception]) -> None:
        super().__init__()
        self._translate = translate

    def enter(self, token: object) -> None:
        """Enter, after waiting while the gate is shut or somebody writes."""
        super().enter(token)
        if self.turns_file is None:
            return
        turn = Turn(self._running[token])
        try:
            turn.take(self.turns_file)
        except unless_interrupted(OSError) as error:
            raise self._translate(error) from error
        self._running[token] = turn
