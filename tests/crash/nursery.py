"""
Makes writing processes fast enough to kill hundreds of them: one process imports eventlog, the others are forks.

`Nursery` is the parent's side. The nursery has opened no log, so a fork of it is as good as a new process. It
gets one request a line and answers with the child's number; the pipe for the acknowledgements comes over a Unix
socket. Knows nothing of what the children do.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 30.0


class Victim:
    """One writing process: what it acknowledged so far, and its end."""

    def __init__(self, process_id: int, pipe: int) -> None:
        self._process_id = process_id
        self._pipe = pipe
        self._said = bytearray()
        self._is_ended = False

    @property
    def process_id(self) -> int:
        """The number that signals go to."""
        return self._process_id

    def watch(self, seconds: float, *, least_bytes: int = 0) -> None:
        """Reads acknowledgements for so long, and longer until there are `least_bytes`."""
        now_s = time.monotonic()
        deadline_s, longest_s = now_s + seconds, now_s + _LONGEST_SECONDS
        while not self._is_ended:
            is_waiting = len(self._said) < least_bytes
            left_s = (longest_s if is_waiting else deadline_s) - time.monotonic()
            if left_s <= 0:
                if is_waiting:
                    self._fail_as_stuck()
                return
            if select.select([self._pipe], [], [], left_s)[0]:
                self._read()

    def _fail_as_stuck(self) -> NoReturn:
        os.kill(self._process_id, signal.SIGUSR1)
        select.select([self._pipe], [], [], 1.0)  # it writes where it stands
        raise AssertionError(
            f"the writer acknowledged nothing in {_LONGEST_SECONDS} s; where it stands is in the captured output"
        )

    def kill(self) -> bytes:
        """Sends SIGKILL; all that was acknowledged. The process was alive until now."""
        assert not self._is_ended, "the writer ended by itself; its message stands in the captured output"
        os.kill(self._process_id, signal.SIGKILL)
        while not self._is_ended:
            self._read()
        self.close()
        return bytes(self._said)

    def stop(self) -> None:
        """Sends SIGSTOP."""
        os.kill(self._process_id, signal.SIGSTOP)

    def go_on(self) -> None:
        """Sends SIGCONT, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process_id, signal.SIGCONT)

    def ask_to_end(self) -> None:
        """Sends SIGTERM, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process_id, signal.SIGTERM)

    def end(self) -> bytes:
        """Waits until it has ended by itself; all that was acknowledged."""
        deadline_s = time.monotonic() + _LONGEST_SECONDS
        while not self._is_ended:
            if not select.select([self._pipe], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                self._fail_as_stuck()
            self._read()
        self.close()
        return bytes(self._said)

    def close(self) -> None:
        """Kills it, if that has not been done, and closes the pipe."""
        if not self._is_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process_id, signal.SIGKILL)
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _read(self) -> None:
        piece = os.read(self._pipe, 65_536)
        self._said += piece
        self._is_ended = not piece


class Nursery:
    """
    Starts writers. Closing it ends all of them.

    Args:
        environment: the variables of all of them; None for those of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_LONGEST_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.nursery", str(theirs.fileno())],
                cwd=_ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._victims: list[Victim] = []

    def start(self, way: str, path: Path, *, writer: int, seed: str) -> Victim:
        """A new process that writes in one of the ways of `writers.WRITERS` and others, or by `module:function`."""
        ours, theirs = os.pipe()
        request = json.dumps([way, str(path), writer, seed]).encode()
        socket.send_fds(self._socket, [request], [theirs])
        os.close(theirs)
        answer = self._socket.recv(100)
        assert answer, "the nursery died"
        victim = Victim(int(answer), ours)
        self._victims.append(victim)
        return victim

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for victim in self._victims:
            victim.close()
        self._socket.close()
        try:
            self._process.wait(_LONGEST_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()


def _serve(ours: socket.socket) -> None:
    from tests.crash import bank, kafka_producer, kafka_transactor, transactors, writers

    ways = {**writers.WRITERS, **bank.WAYS, "transact": transactors.transact}
    ways["produce"] = kafka_producer.produce_until_killed
    ways["kafka"] = kafka_transactor.transact_until_killed
    ways["kafka heir"] = kafka_transactor.take_over_until_killed
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    while True:
        request, pipes, _, _ = socket.recv_fds(ours, 65_536, 1)
        if not request:
            return
        way, path, writer, seed = json.loads(request)
        if way not in ways:
            module, _, function = way.partition(":")
            ways[way] = getattr(importlib.import_module(module), function)
        process_id = os.fork()
        if process_id == 0:
            try:
                ours.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                ways[way](Path(path), pipes[0], writer, seed)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(pipes[0])
        ours.send(b"%d" % process_id)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _serve(connection)
