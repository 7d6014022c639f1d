"""
honker, queues and streams on SQLite: `claim_batch()` and `ack_batch()`, each one transaction.

It opens SQLite with `synchronous=NORMAL`: a power cut takes what was acknowledged last. That is measured as it comes,
and once more with `synchronous=FULL`, which it has no option for: the pragma is given to its writer between two
transactions. Streams have one reader, which saves its offset itself after each batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs

from benchmarks.compare.peer import Place
from benchmarks.queues.peer import HOUR_S, Begin, QueuePeer, job_of, parts

_NAME = "jobs"
_ONE_READER = "a stream has one reader"


@attrs.define
class _Queue:
    base: Any
    queue: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        for part in parts(numbers, at_once):
            with self.base.transaction() as transaction:
                for number in part:
                    self.queue.enqueue(job_of(number).decode(), tx=transaction)

    def work(self, begin: Begin, at_once: int) -> list[int]:
        done: list[int] = []
        worker, until_s = f"w{time.monotonic_ns()}", begin()
        while time.monotonic() < until_s and (jobs := self.queue.claim_batch(worker, at_once)):
            done += [int(job.payload) for job in jobs]
            if at_once == 1:
                jobs[0].ack()
            else:
                self.queue.ack_batch([job.id for job in jobs], worker)
        return done

    def delay(self, numbers: Sequence[int]) -> None:
        for part in parts(numbers, 10_000):
            with self.base.transaction() as transaction:
                for number in part:
                    self.queue.enqueue(job_of(number).decode(), tx=transaction, delay=HOUR_S)


@attrs.define
class _Stream:
    base: Any
    stream: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        for part in parts(numbers, at_once):
            with self.base.transaction() as transaction:
                for number in part:
                    self.stream.publish(job_of(number).decode(), tx=transaction)

    def work(self, begin: Begin, at_once: int) -> list[int]:
        done: list[int] = []
        offset, until_s = self.stream.get_offset(_NAME), begin()
        while time.monotonic() < until_s and (events := self.stream._read_since(offset, at_once)):
            done += [int(event["payload"].strip('"')) for event in events]
            offset = events[-1]["offset"]
            self.stream.save_offset(_NAME, offset)
        return done


@contextmanager
def _open(place: Place, *, is_stream: bool, is_synced: bool) -> Iterator[_Queue | _Stream]:
    import honker

    base = honker.open(str(place.directory / "jobs.db"))
    try:
        opened = _Stream(base, base.stream(_NAME)) if is_stream else _Queue(base, base.queue(_NAME))
        with base.transaction() as transaction:
            transaction.bootstrap_honker_schema()
            transaction.execute("COMMIT")
            level = "OFF" if not place.is_durable else "FULL" if is_synced else "NORMAL"
            transaction.query(f"PRAGMA synchronous = {level}", [])
            transaction.execute("BEGIN IMMEDIATE")
        yield opened
    finally:
        base.close()


_PACKAGES = {"honker": "honker"}

PEER = QueuePeer(
    name="honker, as it comes",
    notes=__doc__,
    kind="embedded",
    is_durable=False,
    open=partial(_open, is_stream=False, is_synced=False),
    packages=_PACKAGES,
    filled=(8_000, 60_000),
    lacks={"threads": "as processes"},
)
SYNCED = attrs.evolve(
    PEER,
    name="honker, with sync",
    is_durable=True,
    open=partial(_open, is_stream=False, is_synced=True),
)
STREAM = attrs.evolve(
    PEER,
    name="honker streams, with sync",
    is_durable=True,
    open=partial(_open, is_stream=True, is_synced=True),
    filled=(8_000, 250_000),
    lacks={"8 workers": _ONE_READER, "8 threads": _ONE_READER},
)
