"""
Programs in a system that has too little of something: room, open files, address space, slots of readers.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import eventlog
from eventlog.store.lmdb.opening import MAX_READERS
from tests.faults import judge
from tests.faults.judge import FULL, Scarcity
from tests.processes.child import hear, say
from tests.processes.fork_scenes import in_a_fork
from tests.processes.writers import store_of

_SHORT_OF_FILES = ("StorageError", "DeliveryError")
_MEGABYTE = 1 << 20


def _try_all(directory: Path, make_fault: Callable[[int], Scarcity], amounts: list[int]) -> None:
    """Runs the whole story with each amount of what is scarce, and says how often that was too little."""
    pictures = judge.clean_run(directory / "clean", 0)
    failed_count = 0
    problems: list[str] = []
    for amount in amounts:
        verdict = judge.trial_of(make_fault(amount), pictures, directory / str(amount), 0)
        failed_count += verdict.failed_count
        problems += [f"{amount}, at {verdict.step or 'no step'}: {problem}" for problem in verdict.problems]
    say(failed_count)
    for problem in problems:
        say(problem.replace("\n", " "))
    say("done")


def run_on_a_full_disk(directory: str, rooms: list[int]) -> None:
    """Runs with so many bytes of room on a small disk, makes room, and goes on."""
    ballast = Path(directory) / "ballast"

    def fault(room: int) -> Scarcity:
        return Scarcity(lambda: _fill(ballast, room), lambda: ballast.unlink(missing_ok=True), FULL)

    _try_all(Path(directory), fault, rooms)


def _fill(ballast: Path, room: int) -> None:
    """Takes all but so many bytes of a disk."""
    with ballast.open("wb", buffering=0) as file:
        for piece in (_MEGABYTE, 65_536, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(piece))
        os.ftruncate(file.fileno(), max(0, file.tell() - room))


def run_with_small_files(directory: str, sizes: list[int]) -> None:
    """Runs with files that may not be larger than so many bytes, raises the limit, and goes on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fault(size: int) -> Scarcity:
        return Scarcity(
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, most)),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
            (*FULL, "StorageError"),  # a write that is cut short has no errno, and the disk is not full
        )

    _try_all(Path(directory), fault, sizes)


def run_with_few_files(directory: str, counts: list[int]) -> None:
    """Runs with so many files to open, raises the limit, and goes on."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def fault(count: int) -> Scarcity:
        return Scarcity(
            lambda: leave_files(count),
            lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before),
            _SHORT_OF_FILES,
        )

    _try_all(Path(directory), fault, counts)


def leave_files(count: int) -> None:
    """Lets this process open so many files more."""
    descriptors: list[int] = []
    with contextlib.suppress(OSError):
        while len(descriptors) < 200:
            descriptors.append(os.open("/dev/null", os.O_RDONLY))
    lowest = sorted(descriptors)[min(count, len(descriptors) - 1)]
    for descriptor in descriptors:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _refusal(call: Callable[[], object]) -> str:
    """The message of the error that a call has to raise."""
    try:
        call()
    except eventlog.StorageError as error:
        return str(error)
    raise AssertionError("nothing was refused")


def wait_without_files(path: str) -> None:
    """Waits for a record with no file left for a bell; another thread appends it."""
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        topic = log.topic("orders")
        assert consumer.poll(timeout=0.0) == []
        leave_files(0)
        late = threading.Timer(0.2, lambda: topic.append(b"tea"))
        late.start()
        assert [record.value for record in consumer.poll(timeout=20.0)] == [b"tea"]
        late.join()
    say("done")


def fork_without_files(path: str) -> None:
    """Forks with no file left: the child's first use says so, and is well once there are some."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"tea")

        def use() -> None:
            leave_files(0)
            for _ in range(2):
                assert "ulimit" in _refusal(lambda: topic.append(b"refused"))
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert [record.value for record in topic.read()] == [b"tea"]
            assert topic.append(b"milk").offset == 1

        in_a_fork(use)
        assert [record.value for record in topic.read()] == [b"tea", b"milk"]
        assert log.verify().is_sound
    say("done")


def grow_without_room(path: str) -> None:
    """Appends until the map has to grow where the address space has no room; then it has."""
    log = eventlog.open(path, map_size=_MEGABYTE)
    topic = log.topic("orders")
    topic.append(b"tea")
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + 48 * _MEGABYTE, resource.RLIM_INFINITY))
    count = 1
    message = ""
    while not message:
        try:
            topic.append_many([b"x" * 50_000] * 10)
            count += 10
        except eventlog.StorageError as error:
            message = str(error)
    assert "address space" in message, message
    assert sum(1 for _ in topic.read()) == count
    assert sum(1 for _ in topic.read()) == count, "the second read after a refusal"
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert topic.append(b"after").offset == count
    log.close()
    with eventlog.open(path) as log:
        assert log.topic("orders").bounds()[0][1] == count + 1
        assert log.verify().is_sound
    say("done")


def every_slot(path: str) -> None:
    """Takes all slots of readers that are free, as no program should, and keeps them until it is killed."""
    with eventlog.open(path) as log:
        environment, held = store_of(log).environment, []
        try:
            while True:
                held.append(environment.begin_copying(object()))
        except eventlog.StorageError as error:
            words = str(error)
        assert f"{MAX_READERS} readers" in words
        say(len(held))
        hear()


def read_beside_full_slots(path: str) -> None:
    """Reads and writes while all slots are taken, and after their holder was killed."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"tea")
        held = store_of(log).environment.begin_copying(object())  # takes the place that each process keeps
        say("ready")
        hear()
        for read in (lambda: list(topic.read()), lambda: log.topics(), lambda: log.consumer("orders").poll()):
            assert f"{MAX_READERS} readers" in _refusal(read)
        say(topic.append(b"milk").offset)
        hear()
        assert [record.value for record in topic.read()] == [b"tea", b"milk"]
        held.abort()
        say("done")


def read_when_told(path: str) -> None:
    """Says how many records there are, for each line that it hears; writes nothing."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say("ready")
        while hear() != "end":
            with store_of(log).environment.reading():  # takes the place that each process keeps
                say(sum(1 for _ in topic.read()))


def read_on_a_full_disk(directory: str) -> None:
    """Opens a log, fills the disk, and has many readers at once."""
    log = eventlog.open(Path(directory) / "log")
    log.topic("orders").append(b"tea")
    _fill(Path(directory) / "ballast", 0)
    environment = store_of(log).environment
    held = [environment.begin_copying(object()) for _ in range(300)]
    for transaction in held:
        transaction.abort()
    try:
        eventlog.open(Path(directory) / "another")
    except eventlog.StorageError as error:
        say(type(error).__name__)
    say("done")
