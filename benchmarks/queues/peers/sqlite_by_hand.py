"""
SQLite as an expert would write a queue with it: one table, WAL, `synchronous=FULL`.

One transaction a cycle, as ours: it deletes the jobs that are done and takes the next, by an index of those that nobody
has, ordered by the time from which they may be taken. `BEGIN IMMEDIATE`, a busy timeout, 64 MB of cache. A worker that
dies keeps its jobs for five minutes, as queues with a visibility timeout do; what it needs for that is stored with each
job. Dead letters, attempts and order by key are left out, in its favour.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import attrs

from benchmarks.compare.peer import Place
from benchmarks.queues.peer import HOUR_S, Begin, QueuePeer, job_of, parts

_MADE = """
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS ready ON jobs (due, id);
"""
_TAKE = """
UPDATE jobs SET due = ?, attempts = attempts + 1
WHERE id IN (SELECT id FROM jobs WHERE due <= ? ORDER BY due, id LIMIT ?) RETURNING id, value
"""
_VISIBLE_S = 300.0


@attrs.define
class _Jobs:
    base: sqlite3.Connection

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        self._add(numbers, at_once, 0.0)

    def _add(self, numbers: Sequence[int], at_once: int, due_s: float) -> None:
        for part in parts(numbers, at_once):
            self.base.execute("BEGIN IMMEDIATE")
            self.base.executemany(
                "INSERT INTO jobs (due, value) VALUES (?, ?)", [(due_s, job_of(number)) for number in part]
            )
            self.base.execute("COMMIT")

    def work(self, begin: Begin, at_once: int) -> list[int]:
        done: list[int] = []
        finished: list[tuple[int]] = []
        run, until_s = self.base.execute, begin()
        while True:
            run("BEGIN IMMEDIATE")
            if finished:
                self.base.executemany("DELETE FROM jobs WHERE id = ?", finished)
            is_over = time.monotonic() >= until_s
            now_s = time.time()
            rows = [] if is_over else run(_TAKE, (now_s + _VISIBLE_S, now_s, at_once)).fetchall()
            run("COMMIT")
            if not rows:
                return done
            done += [int(value) for _, value in rows]
            finished = [(row[0],) for row in rows]

    def delay(self, numbers: Sequence[int]) -> None:
        self._add(numbers, 10_000, time.time() + HOUR_S)


@contextmanager
def _open(place: Place) -> Iterator[_Jobs]:
    with closing(sqlite3.connect(place.directory / "jobs.db", isolation_level=None, timeout=30.0)) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute(f"PRAGMA synchronous={'FULL' if place.is_durable else 'OFF'}")
        base.execute("PRAGMA cache_size=-65536")
        base.executescript(_MADE)
        yield _Jobs(base)


PEER = QueuePeer(
    name="SQLite by hand",
    notes=__doc__,
    kind="embedded",
    is_durable=True,
    open=_open,
    most_pending=10_000_000,
    lacks={"threads": "a connection for each thread: as processes"},
)
