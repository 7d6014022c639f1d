"""
Starts workers on one log, kills, stops, continues and ends them at random, and reads the log when all are gone.

Workers are forks of one process that has opened no log, so that a new one is there in milliseconds. A pipe that each
inherits tells when it and all forks of it are dead. Knows nothing of what a worker does, or of what is right.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

import eventlog
from eventlog.options import Durability
from tests.history.deeds import ACCOUNTS, LISTS, element_of, history_read, open_topics, row_read, runs_of
from tests.history.operations import (
    OK,
    ORDER,
    WRONG,
    Obituary,
    Operation,
    Read,
    Recorder,
    key_place,
    offset_place,
    partition_place,
    read_operations,
)
from tests.history.workers import Plan, work

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_S = 60.0


@attrs.frozen
class Harm:
    """Says how often and what: `weights` of kill, kill with all forks, short stop, long stop, end, start."""

    mean_pause_s: float = 0.25
    weights: tuple[int, int, int, int, int, int] = (4, 2, 5, 1, 2, 2)
    fewest: int = 2
    most: int = 4


class Process:
    """One worker."""

    def __init__(self, process_id: int, pipe: int, slot: int) -> None:
        self.id = process_id
        self.pipe = pipe
        self.slot = slot
        self.is_stopped = False

    @property
    def is_gone(self) -> bool:
        """Whether the process is dead; forks of it may live."""
        try:
            os.kill(self.id, 0)
        except ProcessLookupError:
            return True
        return False

    def send(self, number: signal.Signals, *, to_forks: bool = False) -> None:
        """Sends a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, number)
        if to_forks:
            with contextlib.suppress(ProcessLookupError):  # a new one is not yet the first of its group
                os.killpg(self.id, number)

    def wait(self, seconds: float) -> bool:
        """Waits until it and all forks of it are dead; False when the time is over."""
        deadline_s = time.monotonic() + seconds
        while select.select([self.pipe], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            if not os.read(self.pipe, 1024):
                return True
        return False


class Nemesis:
    """The parent of all workers of one run. Leaving its `with` ends all of them."""

    def __init__(
        self, directory: Path, seed: str, *, flaw: str | None = None, durability: Durability = "commit"
    ) -> None:
        self.path, self.folder = directory / "log", directory / "history"
        self.folder.mkdir(parents=True)
        self.counts: Counter[str] = Counter()
        self._seed, self._flaw, self._durability = seed, flaw, durability
        self._chance = random.Random(seed)
        self._pause = threading.Event()
        self._obituary = Obituary(self.folder)
        self._running: list[Process] = []
        self._all: list[Process] = []
        self._due: list[tuple[float, Process]] = []
        with eventlog.open(self.path) as log, log.transaction() as tx:
            open_topics(log)
            tx.state(LISTS, key=str)
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_LONGEST_S)
        with theirs:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    # -- processes -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts a worker in the first slot that is free."""
        taken = {process.slot for process in self._all if not process.is_gone}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        ours, theirs = os.pipe()
        number = len(self._all)
        plan = Plan(str(self.path), str(self.folder), self._seed, slot, number, self._durability, self._flaw)
        socket.send_fds(self._socket, [json.dumps(attrs.asdict(plan)).encode()], [theirs])
        os.close(theirs)
        answer = self._socket.recv(100)
        assert answer, "the nursery died"
        process = Process(int(answer), ours, slot)
        self._running.append(process)
        self._all.append(process)
        self.counts["workers"] += 1

    def disturb(self, seconds: float, harm: Harm) -> None:
        """Does harm for so long; nobody is stopped afterwards."""
        while len(self._running) < harm.fewest:
            self.start()
        end_s = time.monotonic() + seconds
        next_s = time.monotonic() + self._chance.expovariate(1 / harm.mean_pause_s)
        while (now_s := time.monotonic()) < end_s:
            for due_s, process in list(self._due):
                if due_s <= now_s:
                    self._go_on(process)
            if next_s <= now_s:
                self._harm(harm)
                next_s = time.monotonic() + self._chance.expovariate(1 / harm.mean_pause_s)
            nearest_s = min([end_s, next_s, *(due_s for due_s, _ in self._due)])
            self._pause.wait(max(0.0, nearest_s - time.monotonic()))
        for _, process in list(self._due):
            self._go_on(process)

    def _harm(self, harm: Harm) -> None:
        victim = self._chance.choice(self._running)
        match self._chance.choices(["kill", "all", "short", "long", "end", "start"], harm.weights)[0]:
            case "kill":
                self.kill(victim)
            case "all":
                self.kill(victim, to_forks=True)
            case "short" if not victim.is_stopped:
                self._stop(victim, self._chance.uniform(0.01, 0.2))
            case "long" if not victim.is_stopped:
                self._stop(victim, self._chance.uniform(0.5, 1.5))
            case "end" if not victim.is_stopped:
                self._running.remove(victim)
                victim.send(signal.SIGTERM)
                self.counts["ends"] += 1
            case _ if len(self._running) < harm.most:
                self.start()
            case _:
                pass
        while len(self._running) < harm.fewest:
            self.start()

    def kill(self, process: Process, *, to_forks: bool = False) -> None:
        """Sends SIGKILL, also to a stopped process, and notes when it is dead."""
        process.send(signal.SIGKILL, to_forks=to_forks)
        self._running.remove(process)
        self._due = [(due_s, one) for due_s, one in self._due if one is not process]
        deadline_s = time.monotonic() + _LONGEST_S
        while not process.is_gone:
            assert time.monotonic() < deadline_s, "a killed process does not die"
            self._pause.wait(0.0005)
        self._obituary.note(process.id)
        self.counts["kills"] += 1

    def _stop(self, process: Process, seconds: float) -> None:
        process.send(signal.SIGSTOP)
        process.is_stopped = True
        self._due.append((time.monotonic() + seconds, process))
        self.counts["pauses"] += 1

    def _go_on(self, process: Process) -> None:
        self._due = [(due_s, one) for due_s, one in self._due if one is not process]
        process.is_stopped = False
        process.send(signal.SIGCONT)

    # -- the end -----------------------------------------------------------------------------------------------

    def history(self) -> list[Operation]:
        """Ends all workers, reads the whole log, and gives all operations."""
        crashed = [process.id for process in self._running if process.is_gone]
        for process in self._running:
            process.send(signal.SIGTERM)
        for process in self._all:
            if process not in self._running:
                self._bury(process)
        for process in self._running:
            self._bury(process)
        with Recorder(self.folder, "end") as recorder:
            if crashed:
                recorder.end(recorder.begin("crash"), WRONG, note=f"the workers {crashed} died by themselves")
            read_everything(self.path, recorder)
        return read_operations(self.folder)

    def _bury(self, process: Process) -> None:
        if process.wait(_LONGEST_S):
            return
        process.send(signal.SIGUSR1, to_forks=True)
        self._pause.wait(1.0)
        raise AssertionError(f"a worker did not end in {_LONGEST_S} s; where it stands is in the captured output")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._all:
            process.send(signal.SIGKILL, to_forks=True)
        for process in self._all:
            process.wait(_LONGEST_S)
            os.close(process.pipe)
        self._socket.close()
        try:
            self._nursery.wait(_LONGEST_S)
        finally:
            self._nursery.kill()
            self._nursery.wait()


def read_everything(path: Path, recorder: Recorder) -> None:
    """Writes down all that the log holds, and what its own check finds."""
    with eventlog.open(path) as log:
        topics = open_topics(log)
        for name, topic in topics.items():
            for number in range(topic.partitions):
                place = partition_place(name, number)
                _note(recorder, lambda topic=topic, number=number, place=place: _whole(place, topic.read(number)))
        _note(recorder, lambda: [Read(ORDER, 0, tuple(element_of(one.value) for _, one in log.read_all()), True)])
        accounts = topics[ACCOUNTS]
        for key in list(accounts.keys()):
            place = key_place(ACCOUNTS, key)
            _note(recorder, lambda key=key, place=place: [history_read(place, list(accounts.history(key)))])
        for key, row in log.state(LISTS).items():
            _note(recorder, lambda key=key, row=row: [row_read(key, row)])
        for group in log.groups.list():
            _note(
                recorder,
                lambda group=group: [
                    Read(offset_place(group, one.topic, one.partition), one.committed or 0, (), True)
                    for one in log.groups.describe(group).offsets
                ],
            )
        problems = log.verify().problems
        if problems:
            recorder.end(recorder.begin("verify"), WRONG, note=f"{len(problems)} problems: {problems[:5]}")


def _whole(place: str, records: Any) -> list[Read]:
    runs = runs_of(records)
    return [Read(place, 0, (), True)] if not runs else [*runs[:-1], runs[-1]._replace(is_end=True)]


def _note(recorder: Recorder, look: Any) -> None:
    name = recorder.begin("end")
    recorder.end(name, OK, look())


# --- the nursery ----------------------------------------------------------------------------------------------------


def _import_everything() -> None:
    """
    Imports all of the library, before there are threads.

    A fork that begins while another thread imports a module waits for that module for ever: so CPython has it.
    """
    modules = [module.name for module in pkgutil.walk_packages(eventlog.__path__, "eventlog.")]
    for name in ("hashlib", "random", *modules):
        if not name.startswith("eventlog.cli"):
            importlib.import_module(name)
    with eventlog.open(":memory:") as log, log.transaction() as tx:  # and what is imported at the first use
        open_topics(log)
        tx.state(LISTS, key=str)["one"] = []


def _serve(ours: socket.socket) -> None:
    """Forks a worker for each request, and answers with its number."""
    _import_everything()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
    children: list[int] = []
    while True:
        request, pipes, _, _ = socket.recv_fds(ours, 65_536, 1)
        if not request:
            _end(children)
            return
        process_id = os.fork()
        if process_id == 0:
            status = 1
            try:
                ours.close()
                os.setsid()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                work(Plan(**json.loads(request)))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(pipes[0])
        children.append(process_id)
        ours.send(b"%d" % process_id)


def _end(children: list[int]) -> None:
    """Kills what is left, with all forks: whoever asked for it is gone, maybe by a kill of its own."""
    for process_id in children:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):  # most are dead, and not ours any more
            if os.waitpid(process_id, os.WNOHANG) == (0, 0):
                os.killpg(process_id, signal.SIGKILL)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        _serve(connection)
