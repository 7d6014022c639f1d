"""
Hand-written sqlite3 as a peer of the event-sourcing rows: what an expert would write in an afternoon.

WAL, `synchronous=FULL`, so that a commit is durable when the call returns; page cache and memory map are large enough
for all of the data. Two layouts, because each has its side of the table:

    by position   rows in the order of time, a unique index on (entity, version): appends and projections are fast
    by entity     rows clustered by (entity, version), a unique index on the position: entities are read fast

A wrong version is refused by the unique index. Unlike ours, neither refuses a version that leaves a gap: that would
cost another statement. Knows nothing of eventlog.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.event_data import (
    EVENTS_PER_ENTITY,
    PAGE_RECORDS,
    Commit,
    Order,
    amount,
    appends,
    chunks,
    entity_count,
    input_rows,
    rated,
    some_entities,
    timed_reads,
    total_of,
    with_total,
)
from benchmarks.measure import Round, Sample
from benchmarks.peers import timed_calls
from benchmarks.setting import Setting
from benchmarks.workloads import expect

Layout = Literal["by position", "by entity"]

_FILE = "events.sqlite"
_WARM_UP_COMMITS = 1_200
"""From its first checkpoint on SQLite overwrites its WAL file in place; see `peers.sqlite_append`."""
_PROJECTION_PAGE = 100_000
"""Larger is faster still: of 200,000 each page has two events of an entity here, at the price of a fifth in memory."""

LAYOUTS = {
    "by position": """
        CREATE TABLE events (
            position INTEGER PRIMARY KEY, entity TEXT NOT NULL, version INTEGER NOT NULL,
            timestamp_ms INTEGER NOT NULL, value BLOB NOT NULL);
        CREATE UNIQUE INDEX entities ON events (entity, version)""",
    "by entity": """
        CREATE TABLE events (
            entity TEXT NOT NULL, version INTEGER NOT NULL, position INTEGER NOT NULL,
            timestamp_ms INTEGER NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (entity, version)) WITHOUT ROWID;
        CREATE UNIQUE INDEX positions ON events (position)""",
}
_LOOP_TABLES = """
    CREATE TABLE inbox (position INTEGER PRIMARY KEY, entity TEXT NOT NULL, value BLOB NOT NULL);
    CREATE TABLE outbox (position INTEGER PRIMARY KEY, entity TEXT NOT NULL, value BLOB NOT NULL);
    CREATE TABLE totals (entity TEXT PRIMARY KEY, total INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE offsets (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO offsets VALUES ('loop', 0)"""
_PROJECTION_TABLES = """
    DROP TABLE IF EXISTS totals;
    DROP TABLE IF EXISTS checkpoints;
    CREATE TABLE totals (entity TEXT PRIMARY KEY, count INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE checkpoints (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO checkpoints VALUES ('totals', 0)"""


@contextmanager
def database(directory: Path, script: str = "") -> Iterator[sqlite3.Connection]:
    """A connection as the module says, closed afterwards; runs `script` first."""
    with closing(sqlite3.connect(directory / _FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-262144")
        connection.execute("PRAGMA mmap_size=1073741824")
        connection.executescript(script)
        yield connection


@contextmanager
def append(setting: Setting, *, events: int, is_new: bool, in_memory: bool) -> Iterator[Round]:
    """One INSERT a commit, of one row or of all of them; counted once the first checkpoint is made."""
    warm_up = _WARM_UP_COMMITS if events == 1 else _WARM_UP_COMMITS // 4
    commits = appends(setting, events=events, is_new=is_new, warm_up=warm_up)
    insert = "INSERT INTO events (entity, version, timestamp_ms, value) VALUES " + ", ".join(["(?, ?, ?, ?)"] * events)

    def run() -> Sample:
        with (
            setting.fresh_directory(in_memory=in_memory) as path,
            database(path, LAYOUTS["by position"]) as connection,
        ):

            def one(commit: Commit) -> None:
                now_ms = time.time_ns() // 1_000_000
                connection.execute(insert, (commit.entity, commit.expected_version + 1, now_ms, commit.values[0]))

            def many(commit: Commit) -> None:
                entity, now_ms = commit.entity, time.time_ns() // 1_000_000
                cells: list[object] = []
                for version, value in enumerate(commit.values, commit.expected_version + 1):
                    cells += (entity, version, now_ms, value)
                connection.execute(insert, cells)

            sample = timed_calls(one if events == 1 else many, commits, warm_up=warm_up)
            expect("events", connection.execute("SELECT count(*) FROM events").fetchone()[0], len(commits) * events)
        return rated(sample, events)

    yield run


@contextmanager
def read(setting: Setting, *, order: Order, layout: Layout) -> Iterator[Round]:
    """SELECT of one entity's rows in the order of versions, fetched as a list."""
    entities = some_entities(setting)
    select = "SELECT version, timestamp_ms, value FROM events WHERE entity = ? ORDER BY version"
    fill = partial(_fill, count=entity_count(setting), order=order, layout=layout)
    with setting.filled(f"sqlite3, {layout}, {order}", fill) as path, database(path) as connection:
        yield lambda: timed_reads(lambda entity: connection.execute(select, (entity,)).fetchall(), entities)


def _fill(directory: Path, *, count: int, order: Order, layout: Layout) -> None:
    """All events in one commit; rows go in sorted and the index comes last, so both are packed: for the peer."""
    script, _, index = LAYOUTS[layout].partition(";")
    table = "events" if layout == "by position" else "arrivals"
    with database(directory, script) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(
            "CREATE TEMP TABLE arrivals (position INTEGER PRIMARY KEY, entity, version, timestamp_ms, value)"
        )
        connection.execute("BEGIN")
        now_ms = time.time_ns() // 1_000_000
        for rows in chunks(count, order):
            connection.executemany(
                f"INSERT INTO {table} (entity, version, timestamp_ms, value) VALUES (?, ?, {now_ms}, ?)", rows
            )
        if table == "arrivals":
            connection.execute(
                "INSERT INTO events SELECT entity, version, position, timestamp_ms, value FROM arrivals "
                "ORDER BY entity, version"
            )
        connection.execute(index)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def project(setting: Setting) -> Iterator[Round]:
    """Pages of 100,000 events, folded in Python; one upsert for each entity and the checkpoint in one commit."""
    count = entity_count(setting)
    fill = partial(_fill, count=count, order="interleaved", layout="by position")
    with setting.filled("sqlite3, by position, interleaved", fill) as path:

        def run() -> Sample:
            with database(path, _PROJECTION_TABLES) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                started = time.perf_counter()
                position = 0
                while page := _project_page(connection, position):
                    position += page
                elapsed = time.perf_counter() - started
                found = connection.execute("SELECT count(*), sum(count) FROM totals").fetchone()
                expect("entities", found[0], count)
                expect("events", found[1], count * EVENTS_PER_ENTITY)
            return Sample(count * EVENTS_PER_ENTITY / elapsed)

        yield run


def _project_page(connection: sqlite3.Connection, position: int) -> int:
    """Takes the next page into the totals; how many events it had."""
    rows = connection.execute(
        "SELECT entity, value FROM events WHERE position > ? ORDER BY position LIMIT ?", (position, _PROJECTION_PAGE)
    ).fetchall()
    if not rows:
        return 0
    changes: dict[str, tuple[int, int]] = {}
    nothing = (0, 0)
    for entity, value in rows:
        count, total = changes.get(entity, nothing)
        changes[entity] = (count + 1, total + amount(value))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT (entity) DO UPDATE SET "
        "count = count + excluded.count, total = total + excluded.total",
        sorted((entity, count, total) for entity, (count, total) in changes.items()),
    )
    connection.execute("UPDATE checkpoints SET position = ? WHERE name = 'totals'", (position + len(rows),))
    connection.execute("COMMIT")
    return len(rows)


@contextmanager
def exactly_once(setting: Setting, *, in_memory: bool) -> Iterator[Round]:
    """Pages of 100 of an inbox: totals read and written, an output for each, and the offset, in one commit."""
    rows = input_rows(setting)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, database(path, _LOOP_TABLES) as connection:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO inbox (entity, value) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            started = time.perf_counter()
            while _loop_once(connection):
                pass
            elapsed = time.perf_counter() - started
            expect("outputs", connection.execute("SELECT count(*) FROM outbox").fetchone()[0], len(rows))
            expect("total", connection.execute("SELECT sum(total) FROM totals").fetchone()[0], total_of(rows))
        return Sample(len(rows) / elapsed)

    yield run


def _loop_once(connection: sqlite3.Connection) -> bool:
    """Takes 100 records of the inbox through; False when there were none."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    page = execute(
        "SELECT position, entity, value FROM inbox WHERE position > (SELECT position FROM offsets WHERE name = 'loop') "
        f"ORDER BY position LIMIT {PAGE_RECORDS}"
    ).fetchall()
    if page:
        names = list({entity for _, entity, _ in page})
        totals: dict[str, int] = dict(
            execute(f"SELECT entity, total FROM totals WHERE entity IN ({', '.join('?' * len(names))})", names)
        )
        outputs: list[tuple[str, bytes]] = []
        for _, entity, value in page:
            totals[entity] = total = totals.get(entity, 0) + amount(value)
            outputs.append((entity, with_total(value, total)))
        connection.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?)", totals.items())
        connection.executemany("INSERT INTO outbox (entity, value) VALUES (?, ?)", outputs)
        execute("UPDATE offsets SET position = ? WHERE name = 'loop'", (page[-1][0],))
    execute("COMMIT")
    return bool(page)
