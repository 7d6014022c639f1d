"""
The other processes of a benchmark: started in milliseconds, spoken to, killed in the end.

They are forked from a server that has imported eventlog and opened nothing, so what they measure is not their own
start. A function of theirs gets a connection first; whatever it raises is raised again where its words are awaited.
Nothing here waits without a bound. Knows nothing of logs or peers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import attrs

TIMEOUT_S = 30.0
_JOIN_S = 5.0

Task = Callable[..., object]


@attrs.frozen
class _Failed:
    """What a process says last when its function raised."""

    story: str


@attrs.define(eq=False)
class Worker:
    """A running process; `say` and `hear` are the parent's ends of its connection."""

    name: str
    _process: Any = attrs.field(repr=False)
    _connection: Connection = attrs.field(repr=False)

    @property
    def process_id(self) -> int:
        """What the system calls it."""
        process_id: int = self._process.pid
        return process_id

    @property
    def ear(self) -> Connection:
        """What is ready when the process said something, or is gone."""
        return self._connection

    def say(self, message: object) -> None:
        """Gives the process a message."""
        self._connection.send(message)

    def hear(self, *, seconds: float = TIMEOUT_S) -> Any:
        """The next message of the process; raises when it failed, is gone, or says nothing for too long."""
        if not self._connection.poll(seconds):
            raise RuntimeError(f"process {self.name} said nothing for {seconds:g} s; the figure of this round is void")
        try:
            message = self._connection.recv()
        except EOFError:
            raise RuntimeError(f"process {self.name} ended without a word; the figure of this round is void") from None
        if isinstance(message, _Failed):
            raise RuntimeError(f"process {self.name} failed; the figure of this round is void\n{message.story}")  # noqa: TRY004
        return message

    def kill(self) -> int:
        """Sends SIGKILL; the moment just before, in ns of the monotonic clock."""
        moment_ns = time.monotonic_ns()
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)
        return moment_ns

    def end(self, *, seconds: float = _JOIN_S) -> None:
        """Waits until the process is gone, which is killed when that takes too long."""
        self._process.join(seconds)
        if self._process.is_alive():
            self.kill()
            self._process.join(_JOIN_S)
        self._connection.close()


class Crew:
    """Starts processes, and has killed them all when its `crew()` ends."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.rows"])
        self._workers: list[Worker] = []

    def start(self, task: Task, *arguments: object) -> Worker:
        """A new process that runs `task(connection, *arguments)`."""
        here, there = self._context.Pipe()
        process = self._context.Process(target=_run, args=(task, there, arguments), daemon=True)
        process.start()
        there.close()
        worker = Worker(f"{getattr(task, '__name__', task)}-{len(self._workers)}", process, here)
        self._workers.append(worker)
        return worker

    def start_many(self, count: int, task: Task, *arguments: object) -> list[Worker]:
        """`count` processes that do the same."""
        return [self.start(task, *arguments) for _ in range(count)]

    def close(self) -> None:
        """Kills those that still run."""
        for worker in self._workers:
            if not worker.ear.closed:
                worker.kill()
        for worker in self._workers:
            if not worker.ear.closed:
                worker.end()


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew for a block; no process outlives it."""
    members = Crew()
    try:
        yield members
    finally:
        members.close()


def hear_all(workers: Iterable[Worker], *, seconds: float = TIMEOUT_S) -> list[Any]:
    """One message of each."""
    deadline_s = time.monotonic() + seconds
    return [worker.hear(seconds=max(0.0, deadline_s - time.monotonic())) for worker in workers]


def hear_any(workers: Iterable[Worker], *, seconds: float) -> Iterator[tuple[Worker, Any]]:
    """What some of them say, as soon as one says something; nothing when none does for so long."""
    by_ear = {worker.ear: worker for worker in workers}
    for ear in wait(list(by_ear), seconds):
        worker = by_ear[ear]  # type: ignore[index]
        while True:
            yield worker, worker.hear()
            if not worker.ear.poll():
                break


def _run(task: Task, parent: Connection, arguments: tuple[object, ...]) -> None:
    """Is what a new process does: the task, and on an error its story."""
    try:
        task(parent, *arguments)
    except (EOFError, BrokenPipeError):
        pass  # the parent is gone
    except Exception:  # noqa: BLE001 - whatever it is, the parent raises it
        with suppress(OSError):
            parent.send(_Failed(traceback.format_exc()))
