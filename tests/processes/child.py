"""
Runs a function of these tests in a process of its own, and talks to it line by line.

`Child` is the parent's side; the function calls `say` and `hear`. Nothing waits without a bound, and no child
outlives its `with`. Knows nothing of logs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 30.0


def say(*words: object) -> None:
    """In the child: writes one line to the parent."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def hear() -> str:
    """In the child: the parent's next line; ends the child when the parent is gone."""
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return line.rstrip("\n")


class Child:
    """
    Another process that runs `function(*arguments)`; the arguments go as JSON.

    Leaving the `with` kills it, if it still runs.

    Args:
        prefix: a command that runs the child's command, in a namespace of its own for example.
    """

    def __init__(self, function: Callable[..., object], *arguments: Any, prefix: Sequence[str] = ()) -> None:
        self._name = function.__name__
        command = [*prefix, sys.executable, "-m", __name__, function.__module__, self._name, json.dumps(arguments)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - a full pipe that nobody reads would stop the child
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._rest = b""

    @property
    def process_id(self) -> int:
        """The number that signals go to."""
        return self._process.pid

    def say(self, line: str = "go") -> None:
        """Writes one line to the child."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, expected: str | None = None, *, seconds: float = LONGEST_SECONDS) -> str:
        """The child's next line, which may have to be a certain one."""
        line = self._next_line(seconds)
        if expected is not None:
            assert line == expected, self._story(f"said {line!r}, not {expected!r}")
        return line

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        assert self._process.stdout is not None
        return not self._lines and not select.select([self._process.stdout], [], [], seconds)[0]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends the child by SIGKILL, and waits until it is gone."""
        self._process.kill()
        self._process.wait(LONGEST_SECONDS)

    def end(self, *, seconds: float = LONGEST_SECONDS) -> int:
        """Waits for the child's own end; its exit code."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._story(f"did not end in {seconds} s")) from None
        return self._process.returncode

    def errors(self) -> str:
        """What the child wrote to stderr so far."""
        errors = self._errors.fileno()
        return os.pread(errors, os.fstat(errors).st_size, 0).decode()  # the child shares the file's offset

    def _next_line(self, seconds: float) -> str:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline_s = time.monotonic() + seconds
        while not self._lines:
            if not select.select([pipe], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                raise AssertionError(self._story(f"said nothing for {seconds} s"))
            piece = os.read(pipe, 65_536)
            if not piece:
                raise AssertionError(self._story("ended without a word"))
            *whole, self._rest = (self._rest + piece).split(b"\n")
            self._lines += [line.decode() for line in whole]
        return self._lines.pop(0)

    def _story(self, complaint: str) -> str:
        """The complaint, and where each thread of the child stands."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGUSR1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._process.kill()
        return f"{self._name} {complaint}\n{self.errors()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait(LONGEST_SECONDS)


def _run() -> None:
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    module, name, arguments = sys.argv[1:]
    # `Child` was imported under its own name by the function's module, not under `__main__`.
    getattr(importlib.import_module(module), name)(*json.loads(arguments))


if __name__ == "__main__":
    _run()
