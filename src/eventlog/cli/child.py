"""
Another process of this command: one of those that the demo starts and kills.

Knows nothing of what it does.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final

import attrs

_PIPE_BYTES: Final = 65_536


@attrs.frozen(eq=False)
class Child:
    """Holds the process, and our ends of its stdin and stdout; neither has a buffer here."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]

    def read(self) -> bytes:
        """What it has written, without waiting once `ready` has named it; nothing when its end of the pipe is gone."""
        return os.read(self.stdout.fileno(), _PIPE_BYTES)


def ready(children: Iterable[Child], timeout_s: float) -> list[Child]:
    """Waits until at least one of them has written something or is gone; empty when the time is over."""
    by_pipe = {child.stdout: child for child in children}
    return [by_pipe[pipe] for pipe in select.select(list(by_pipe), [], [], max(timeout_s, 0.0))[0]]


@contextmanager
def started(*arguments: object) -> Iterator[Child]:
    """
    Starts `eventlog` with some arguments; the process is dead when the block ends.

    Belongs to the main thread. Ctrl-C waits while the process is made. Otherwise: it runs, `Popen()` is interrupted
    before it returns, we remove the directory, and a process that nobody can kill makes files in it. Masking the
    signal would not do: a mask is of one thread, and an open log may have others that take it.
    """
    # -P: a file of the current directory must not pass for a module of ours.
    command = [sys.executable, "-P", "-m", "eventlog.cli", *map(str, arguments)]
    interrupts: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    try:
        # A session of its own: Ctrl-C on the terminal is ours to handle.
        process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        try:
            signal.signal(signal.SIGINT, usual)
            if interrupts:
                raise KeyboardInterrupt
            assert process.stdin is not None
            assert process.stdout is not None
            yield Child(process, process.stdin, process.stdout)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    finally:
        signal.signal(signal.SIGINT, usual)
