"""The processes that the demo starts and kills: a module of this package, run with pipes for stdin and stdout."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import attrs

_PIPE_BYTES: Final = 65_536
_ROOT: Final = Path(__file__).resolve().parents[2]
"""The directory that holds the package `examples`."""


@attrs.frozen(eq=False)
class Child:
    """A process, and our ends of its stdin and stdout; neither has a buffer here."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]

    def show_stacks(self, timeout_s: float = 2.0) -> None:
        """End it, and have it write the stacks of its threads to stderr first, unless it is stopped or gone."""
        self.process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)

    def read(self) -> bytes:
        """Its output, without waiting if `ready()` has named this child; empty once its end of the pipe is closed."""
        return os.read(self.stdout.fileno(), _PIPE_BYTES)


def ready(children: Iterable[Child], timeout_s: float) -> list[Child]:
    """Wait until at least one of them has written something or is gone; empty when the time is over."""
    by_pipe = {child.stdout: child for child in children}
    return [by_pipe[pipe] for pipe in select.select(list(by_pipe), [], [], max(timeout_s, 0.0))[0]]


@contextmanager
def started(module: str, *arguments: object) -> Iterator[Child]:
    """
    Start a module with some arguments; the process is dead when the block ends.

    Belongs to the main thread. Ctrl-C waits while the process is made. Otherwise: it runs, `Popen()` is interrupted
    before it returns, we remove the directory, and a process that nobody can kill makes files in it. Masking the
    signal would not do: a mask is of one thread, and an open log may have others that take it.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", module, *map(str, arguments)]
    interrupts: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    try:
        # A session of its own: Ctrl-C on the terminal is ours to handle.
        process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT, start_new_session=True
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
