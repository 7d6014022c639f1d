"""
persist-queue's `SQLiteQueue`, with pickle, its default: each `put()` is an INSERT and its commit.

It leaves `synchronous` at SQLite's default, FULL, so every record is durable; it has neither batches nor a mode without
the sync. Keys are left out, in its favour. `multithreading=True`, its lock makes threads take turns. Reading takes
records away: `get()` commits a DELETE for each, so `auto_commit=False` and one `task_done()` for each 1,000, its
fastest way. Threads wait on its condition; more than one process is not supported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.peer import TIMEOUT_S, Contents, Peer, Place, Wait
from benchmarks.compare.peers.raw_sqlite import COMMITS_TO_FIRST_CHECKPOINT

_READ_RECORDS = 1_000
_ONE_PROCESS = "several processes are not supported"


@attrs.define
class _Store:
    module: Any
    directory: str
    queue: Any

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys
        for value in values:
            self.queue.put(value)

    def flush(self) -> None:
        """Nothing is left to do."""

    def append(self, value: bytes, key: bytes) -> None:
        del key
        self.queue.put(value)

    def objects(self) -> Iterator[Sequence[Any]]:
        reader = self.module.SQLiteQueue(self.directory, auto_commit=False, multithreading=True)
        with closing(reader):
            left = reader.qsize()
            while left:
                part = [reader.get_nowait() for _ in range(min(left, _READ_RECORDS))]
                reader.task_done()
                yield part
                left -= len(part)

    def value_of(self, record: Any) -> bytes:
        value: bytes = record
        return value

    def count(self) -> int:
        return int(self.queue.qsize())

    def contents(self) -> Contents:
        rows = self.queue.queue()
        return Contents(len(rows), rows[0]["data"] if rows else None, rows[-1]["data"] if rows else None)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        def wait() -> Sequence[bytes]:
            try:
                return [self.queue.get(timeout=TIMEOUT_S)]
            except self.module.exceptions.Empty:
                return []

        yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import persistqueue

    directory = str(place.directory / "queue")
    with closing(persistqueue.SQLiteQueue(directory, multithreading=True)) as queue:
        yield _Store(persistqueue, directory, queue)


PEER = Peer(
    name="persist-queue",
    notes=__doc__,
    keeps_in="disk",
    open=_open,
    packages={"persist-queue": "persistqueue"},
    warm_up_count=COMMITS_TO_FIRST_CHECKPOINT,
    is_emptied_by_reading=True,
    lacks={
        "produce_batch": "has no batches",
        "consume_columns": "has no batches",
        "latency_processes": _ONE_PROCESS,
        "latency_processes_memory": _ONE_PROCESS,
    },
)
