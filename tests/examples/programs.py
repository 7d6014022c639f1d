"""
The examples as their users run them: real processes, which the tests watch by what they print, and end by signals.

Nothing waits without a bound, and no process outlives its `with`. Knows nothing of logs.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 30.0


class Program:
    """
    A process of its own, with all that it starts.

    Args:
        arguments: of Python: `-m`, a module, and so on.
        environment: is added to ours.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path = ROOT) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._text = ""
        self._seen_count = 0
        self._has_more = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._has_more:
                self._text += line.decode("utf-8", "replace")
                self._has_more.notify_all()

    @property
    def process_id(self) -> int:
        """The number of the process that was started."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed."""
        return self._text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits for something new in the output; what comes before it is passed over."""
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            found.extend(re.compile(pattern).finditer(self._text, self._seen_count))
            return bool(found) or not self._thread.is_alive()

        with self._has_more:
            self._has_more.wait_for(is_there, LONGEST_SECONDS)
            assert found, f"{pattern!r} is not in what it printed:\n{self._text}"
            self._seen_count = found[0].end()
            return found[0]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process that was started."""
        self._process.send_signal(number)

    def end(self, number: signal.Signals | None = None, *, seconds: float = LONGEST_SECONDS) -> int:
        """Sends a signal, waits for the end of the process and of all that it started; its exit code."""
        if number is not None:
            self._process.send_signal(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in {seconds} s:\n{self._text}") from None
        self._thread.join(LONGEST_SECONDS)
        assert not self._thread.is_alive(), f"has left processes behind:\n{self._text}"
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(LONGEST_SECONDS)
        self._thread.join(LONGEST_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Stream:
    """
    A reader of server-sent events, in a thread of its own.

    Args:
        last: the id of the last event that it has, sent as `Last-Event-ID`.
    """

    def __init__(self, port: int, path: str, last: int | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)
        self._connection.request("GET", path, headers={} if last is None else {"Last-Event-ID": str(last)})
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.events: list[tuple[int, str]] = []
        """The events so far, each with its id."""
        self.error: Exception | None = None
        self._has_more = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        number = -1
        try:
            while line := self._response.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "data":
                    with self._has_more:
                        self.events.append((number, value))
                        self._has_more.notify_all()
        except Exception as error:
            self.error = error
        finally:
            self._connection.close()

    def wait_for(self, number: int) -> None:
        """Waits for the event that has an id."""
        with self._has_more:
            is_there = self._has_more.wait_for(lambda: number in (n for n, _ in self.events), LONGEST_SECONDS)
        assert is_there, f"no event {number}: {self.events} {self.error}"

    def end(self) -> list[int]:
        """Waits for the end that the server makes; the ids."""
        self._thread.join(LONGEST_SECONDS)
        assert not self._thread.is_alive(), f"still open: {self.events}"
        assert self.error is None, self.error
        return [number for number, _ in self.events]


def request(port: int, method: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
