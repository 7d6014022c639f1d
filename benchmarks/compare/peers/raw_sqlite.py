"""
Python's sqlite3 on a table of id, timestamp, key and value; WAL.

`synchronous=NORMAL`, where a commit is in the page cache; for durable appends `synchronous=FULL`, one commit each,
counted from the first checkpoint on, since SQLite overwrites its WAL file in place from there. One `execute` per
record, 1,000 a transaction; in bulk `executemany` of 10,000. Threads share one connection and a lock, which is faster
than a connection for each. Objects are rows of `fetchmany`. Readers have a connection of their own and look each
millisecond.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling

COMMITS_TO_FIRST_CHECKPOINT = 1_200

_INSERT = "INSERT INTO log (timestamp_ms, key, value) VALUES (?, ?, ?)"
_TRANSACTION_RECORDS = 1_000
_READ_RECORDS = 1_000


@attrs.define
class _Store:
    path: Path
    connection: sqlite3.Connection
    open_count: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        execute = self.connection.execute
        clock = time.time_ns
        for value, key in zip(values, keys, strict=True):
            if not self.open_count:
                execute("BEGIN IMMEDIATE")
            execute(_INSERT, (clock() // 1_000_000, key, value))
            self.open_count += 1
            if self.open_count == _TRANSACTION_RECORDS:
                self.flush()

    def flush(self) -> None:
        if self.open_count:
            self.connection.execute("COMMIT")
            self.open_count = 0

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            f"INSERT INTO log (timestamp_ms, key, value) VALUES ({now_ms}, ?, ?)", zip(keys, values, strict=True)
        )
        self.connection.execute("COMMIT")

    def append(self, value: bytes, key: bytes) -> None:
        with self.lock:
            self.connection.execute(_INSERT, (time.time_ns() // 1_000_000, key, value))

    def objects(self) -> Iterator[Sequence[Any]]:
        cursor = self.connection.execute("SELECT id, timestamp_ms, key, value FROM log ORDER BY id")
        while rows := cursor.fetchmany(_READ_RECORDS):
            yield rows

    def value_of(self, record: Any) -> bytes:
        value: bytes = record[3]
        return value

    def count(self) -> int:
        return int(self.connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()[0])

    def contents(self) -> Contents:
        execute = self.connection.execute
        first = execute("SELECT value FROM log ORDER BY id LIMIT 1").fetchone()
        last = execute("SELECT value FROM log ORDER BY id DESC LIMIT 1").fetchone()
        count = execute("SELECT count(*) FROM log").fetchone()[0]
        return Contents(count, first[0] if first else None, last[0] if last else None)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            last_id = 0

            def look() -> Sequence[bytes]:
                nonlocal last_id
                rows = connection.execute("SELECT id, value FROM log WHERE id > ? ORDER BY id", (last_id,)).fetchall()
                last_id = rows[-1][0] if rows else last_id
                return [value for _, value in rows]

            with polling(look) as wait:
                yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    path = place.directory / "log.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if place.is_durable else 'NORMAL'}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, timestamp_ms INTEGER, key BLOB, value BLOB)"
        )
        store = _Store(path, connection)
        yield store
        store.flush()


PEER = Peer(
    name="sqlite3",
    notes=__doc__,
    keeps_in="page cache",
    open=_open,
    batch_records=10_000,
    warm_up_count=COMMITS_TO_FIRST_CHECKPOINT,
    lacks={"consume_columns": "a row is a record"},
)
