"""
litequeue, persist-queue and huey, each on SQLite, with `synchronous=FULL`.

litequeue sets NORMAL itself, and gets FULL after it has opened: `pop()` and `done()`, a transaction each. persist-queue
is `SQLiteAckQueue`: `get()` and `ack()`, a transaction each; more than one process is not supported. huey is
`SqliteHuey(fsync=True)` without results: a consumer's step, `dequeue()` and `execute()`; it deletes a task before it
runs, so that a crash loses it. All of them take jobs one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.peer import Place
from benchmarks.queues.peer import Begin, QueuePeer, job_of, parts

_ONE_BY_ONE = "takes jobs one by one"
_FILLED = (4_000, 4_000)


@attrs.define
class _LiteQueue:
    queue: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        if at_once == 1:
            for number in numbers:
                self.queue.put(job_of(number).decode())
            return
        for part in parts(numbers, at_once):
            with self.queue.transaction():
                for number in part:
                    self.queue.put(job_of(number).decode())

    def work(self, begin: Begin, at_once: int) -> list[int]:
        del at_once
        done: list[int] = []
        until_s = begin()
        while time.monotonic() < until_s and (message := self.queue.pop()) is not None:
            done.append(int(message.data))
            self.queue.done(message.message_id)
        return done


@contextmanager
def _open_litequeue(place: Place) -> Iterator[_LiteQueue]:
    from litequeue import LiteQueue

    with closing(LiteQueue(str(place.directory / "jobs.db"), timeout=30.0)) as queue:
        queue.conn.execute(f"PRAGMA synchronous = {'FULL' if place.is_durable else 'OFF'}")
        yield _LiteQueue(queue)


@attrs.define
class _PersistQueue:
    queue: Any

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        del at_once
        for number in numbers:
            self.queue.put(job_of(number))

    def work(self, begin: Begin, at_once: int) -> list[int]:
        del at_once
        from persistqueue import Empty

        done: list[int] = []
        until_s = begin()
        while time.monotonic() < until_s:
            try:
                item = self.queue.get(block=False, raw=True)
            except Empty:
                break
            done.append(int(item["data"]))
            self.queue.ack(id=item["pqid"])
        return done


@contextmanager
def _open_persist_queue(place: Place) -> Iterator[_PersistQueue]:
    from persistqueue import SQLiteAckQueue

    with closing(SQLiteAckQueue(str(place.directory / "queue"), multithreading=True)) as queue:
        queue._putter.execute(f"PRAGMA synchronous = {'FULL' if place.is_durable else 'OFF'}")
        yield _PersistQueue(queue)


@attrs.define
class _Huey:
    huey: Any
    task: Any
    done: list[int]

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        del at_once
        for number in numbers:
            self.task(job_of(number))

    def work(self, begin: Begin, at_once: int) -> list[int]:
        del at_once
        until_s = begin()
        while time.monotonic() < until_s and (task := self.huey.dequeue()) is not None:
            self.huey.execute(task)
        return self.done


@contextmanager
def _open_huey(place: Place) -> Iterator[_Huey]:
    import logging

    from huey import SqliteHuey

    logging.getLogger("huey").setLevel(logging.ERROR)
    huey = SqliteHuey(
        "jobs", filename=str(place.directory / "jobs.db"), fsync=place.is_durable, results=False, timeout=30
    )
    done: list[int] = []

    @huey.task()  # type: ignore[untyped-decorator, unused-ignore]
    def work(value: bytes) -> None:
        done.append(int(value))

    try:
        yield _Huey(huey, work, done)
    finally:
        huey.storage.close()


LITEQUEUE = QueuePeer(
    name="litequeue",
    notes=__doc__,
    kind="embedded",
    is_durable=True,
    open=_open_litequeue,
    packages={"litequeue": "litequeue"},
    filled=_FILLED,
    lacks={"100 at a time": _ONE_BY_ONE, "threads": "as processes"},
)
PERSIST_QUEUE = QueuePeer(
    name="persist-queue",
    notes=__doc__,
    kind="embedded",
    is_durable=True,
    open=_open_persist_queue,
    packages={"persist-queue": "persistqueue"},
    filled=_FILLED,
    lacks={"100 at a time": _ONE_BY_ONE, "8 workers": "several processes are not supported", "threads": "not measured"},
)
HUEY = QueuePeer(
    name="huey on SQLite",
    notes=__doc__,
    kind="embedded",
    is_durable=True,
    open=_open_huey,
    packages={"huey": "huey"},
    filled=_FILLED,
    lacks={"100 at a time": _ONE_BY_ONE, "threads": "as processes"},
)
