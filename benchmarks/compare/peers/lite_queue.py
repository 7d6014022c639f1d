"""
litequeue: a queue in a table of SQLite, WAL, `synchronous=NORMAL` by its own choice.

For durable appends its connection is set to `synchronous=FULL`, counted from the first checkpoint on. Keys are left
out, in its favour. `put()` for each record, 1,000 in one of its transactions; in bulk the same. `pop()` looks through
all records that are ready, so its rate falls with the backlog; what was popped stays in the table. There is nothing to
wait on: readers look each millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling
from benchmarks.compare.peers.raw_sqlite import COMMITS_TO_FIRST_CHECKPOINT

_TRANSACTION_RECORDS = 1_000


@attrs.define
class _Store:
    module: Any
    path: str
    queue: Any
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys
        for first in range(0, len(values), _TRANSACTION_RECORDS):
            with self.queue.transaction():
                for value in values[first : first + _TRANSACTION_RECORDS]:
                    self.queue.put(value)

    def flush(self) -> None:
        """Nothing is left to do."""

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.send(values, keys)

    def append(self, value: bytes, key: bytes) -> None:
        del key
        with self.lock:
            self.queue.put(value)

    def objects(self) -> Iterator[Sequence[Any]]:
        while (message := self.queue.pop()) is not None:
            yield [message]

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.data
        return value

    def count(self) -> int:
        return int(self.queue.qsize())

    def contents(self) -> Contents:
        select = f"SELECT data FROM {self.queue.table} ORDER BY rowid"
        first = self.queue.conn.execute(f"{select} LIMIT 1").fetchone()
        last = self.queue.conn.execute(f"{select} DESC LIMIT 1").fetchone()
        count = self.queue.conn.execute(f"SELECT count(*) FROM {self.queue.table}").fetchone()[0]
        return Contents(count, first[0] if first else None, last[0] if last else None)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        queue = self.module.LiteQueue(self.path)
        with closing(queue.conn):

            def look() -> Sequence[bytes]:
                message = queue.pop()
                return [] if message is None else [message.data]

            with polling(look) as wait:
                yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import litequeue

    path = str(place.directory / "queue.sqlite")
    queue = litequeue.LiteQueue(path)
    with closing(queue.conn):
        if place.is_durable:
            queue.conn.execute("PRAGMA synchronous=FULL")
        yield _Store(litequeue, path, queue)


PEER = Peer(
    name="litequeue",
    notes=__doc__,
    keeps_in="page cache",
    open=_open,
    packages={"litequeue": "litequeue"},
    warm_up_count=COMMITS_TO_FIRST_CHECKPOINT,
    is_emptied_by_reading=True,
    lacks={"consume_columns": "has no batches"},
)
