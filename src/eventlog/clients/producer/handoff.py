"""
How a thread that sends without pause lets another one commit.

A commit is two things: filling a transaction, many short calls that each need the interpreter's lock in between, and
flushing it, one long call that does not. Beside a busy thread each of the short calls would wait for
`sys.getswitchinterval()`; so the sending thread stands aside while the sender thread fills, and goes on while the
disk flushes (docs/decisions/0004-send-path.md). Knows nothing of batches or of storage.
"""

from __future__ import annotations

import threading
from collections import deque

_ASIDE_SECONDS = 0.05
"""Whoever stands aside goes on after this, whatever happens: a slow disk must not stop a producer with room left."""


class Handoff:
    """The place where sending threads wait for the sender thread to begin its flush."""

    def __init__(self) -> None:
        # No condition: Ctrl-C could leave its lock taken, and the sender thread would wait for ever.
        self._aside: deque[threading.Lock] = deque()
        self.is_wanted = False
        """Whether somebody asked for a commit that has not begun."""
        self.is_filling = False
        """Whether the sender thread fills a transaction now."""

    def ask(self) -> None:
        """Asks for a commit as soon as the sender thread is free; ring its bell after."""
        self.is_wanted = True

    def stand_aside(self) -> None:
        """Waits until the sender thread begins to flush, or has nothing to commit."""
        bell = threading.Lock()
        bell.acquire()
        self._aside.append(bell)
        bell.acquire(timeout=_ASIDE_SECONDS)

    def begin(self) -> None:
        """Says that the sender thread fills a transaction."""
        self.is_wanted = False
        self.is_filling = True

    def let_go(self) -> None:
        """Says that it flushes now, or is done; who stood aside goes on."""
        self.is_filling = False
        while self._aside:
            self._aside.popleft().release()
