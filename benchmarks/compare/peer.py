"""
What a peer is to the comparison: a way to open it, and a few verbs.

A peer says what it needs, how it is set up, and what it lacks; a store is one open peer. The verbs are those of a log:
append records, read them from the first to the last, wait for the next. Knows no peer and no workload.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs

Workload = Literal[
    "stock",
    "produce_single",
    "produce_batch",
    "durable_single",
    "durable_threads",
    "consume_objects",
    "consume_columns",
    "open",
    "latency_threads",
    "latency_processes",
    "latency_threads_memory",
    "latency_processes_memory",
]

TOPIC = "t"
POLL_S = 0.001
TIMEOUT_S = 20.0

Wait = Callable[[], Sequence[bytes]]


@attrs.frozen
class Place:
    """
    Where a store is.

    Args:
        directory: its own, with nothing else in it.
        is_durable: whether `append()` has to wait for the disk.
        address: of its server, if it has one; any process may connect.
        process_id: of its server.
    """

    directory: Path
    is_durable: bool
    address: str = ""
    process_id: int | None = None


@attrs.frozen
class Contents:
    """What a store holds, to see that work was done; `first` is None where the peer may have dropped it."""

    count: int
    first: bytes | None
    last: bytes | None


class Store(Protocol):
    """
    One open peer. What it lacks it may leave out, if its `Peer` says so.

    All of it belongs to one thread, but for `append()` and `tail()`.
    """

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """One call of the peer for each record, stored 1,000 records later or at `flush()`."""
        ...

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """One call, or the fewest, for all of them."""
        ...

    def flush(self) -> None:
        """Returns when all that was sent is stored, in the sense of the peer's `keeps_in`."""
        ...

    def append(self, value: bytes, key: bytes) -> None:
        """Stores one record, on disk in a durable store; any thread."""
        ...

    def objects(self) -> Iterator[Sequence[Any]]:
        """All records from the first one on, some at a time, as the peer hands them out."""
        ...

    def columns(self) -> Iterator[Sequence[bytes]]:
        """All values from the first one on, some at a time, with no object for a record."""
        ...

    def value_of(self, record: Any) -> bytes:
        """The value of one of the `objects()`."""
        ...

    def count(self) -> int:
        """How many records there are, found out as fast as the peer can."""
        ...

    def contents(self) -> Contents:
        """How many there are, the first and the last."""
        ...

    def tail(self) -> AbstractContextManager[Wait]:
        """A function that waits for records that were not given yet; it belongs to the thread that enters."""
        ...


Open = Callable[[Place], AbstractContextManager[Any]]
Serve = Callable[[Place], AbstractContextManager[Place]]


@contextmanager
def in_process(place: Place) -> Iterator[Place]:
    """The place of a peer without a server."""
    yield place


@attrs.frozen(eq=False)
class Peer:
    """
    One line of the tables.

    Args:
        name: how the command and the JSON call it.
        notes: how it is set up, in sentences for the page: what is durable, what is in memory, how large its batches
            are.
        keeps_in: where records are when `flush()` returns.
        open: makes a `Store` of a place.
        serve: starts its server, if any, and adds its address to the place.
        packages: names on PyPI, each with the module that it brings.
        programs: on the PATH, each with its package of Debian.
        batch_records: how many records of 100 bytes `send_batch` is given at once; fewer of larger ones.
        warm_up_count: durable appends before those that count.
        is_emptied_by_reading: whether `objects()` takes records away.
        is_in_memory: whether records are gone when it is closed.
        lacks: the workloads that it has no answer to, each with the reason.
    """

    name: str
    notes: str
    keeps_in: str
    open: Open
    serve: Serve = in_process
    packages: Mapping[str, str] = attrs.field(factory=dict)
    programs: Mapping[str, str] = attrs.field(factory=dict)
    batch_records: int = 1_000
    warm_up_count: int = 10
    is_emptied_by_reading: bool = False
    is_in_memory: bool = False
    lacks: Mapping[Workload, str] = attrs.field(factory=dict)

    def missing(self) -> str | None:
        """What has to be installed first; None when nothing is missing."""
        packages = [name for name, module in self.packages.items() if importlib.util.find_spec(module) is None]
        if packages:
            return f"not installed; run: pip install {' '.join(packages)}"
        debian = [package for program, package in self.programs.items() if not shutil.which(program)]
        return f"no server on the PATH; run: apt-get install {' '.join(debian)}" if debian else None


@contextmanager
def polling(look: Callable[[], Sequence[bytes]]) -> Iterator[Wait]:
    """What is left to do where a peer cannot be waited on: looking each millisecond."""

    def wait() -> Sequence[bytes]:
        end = time.monotonic() + TIMEOUT_S
        while not (values := look()) and time.monotonic() < end:
            time.sleep(POLL_S)
        return values

    yield wait


def disk_bytes(directory: Path) -> int:
    """What the files below it hold."""
    return sum(os.lstat(path).st_size for path in directory.rglob("*") if path.is_file())
