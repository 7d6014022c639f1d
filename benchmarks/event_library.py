"""
The `eventsourcing` library as a peer of the event-sourcing rows: its recorders for SQLite, by their public methods.

Its events are `StoredEvent`s of bytes, so that neither its mapper nor its aggregates cost anything; names of entities
stay text, which spares it a UUID for each event. WAL and `synchronous=FULL` are its own choice and SQLite's default.
Knows nothing of eventlog.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

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
from benchmarks.measure import Round, Sample, Skipped
from benchmarks.peers import timed_calls
from benchmarks.setting import Setting
from benchmarks.workloads import expect

_FILE = "library.sqlite"
_KIND = "Event"
_WARM_UP_COMMITS = 1_200
_PROJECTED_COUNT = 200_000
_PROJECTED_ONE_BY_ONE_COUNT = 2_000
_PROJECTION_PAGE = 10_000


def load_library() -> tuple[Any, Any]:
    """
    The modules `eventsourcing.persistence` and `eventsourcing.sqlite`.

    Raises:
        Skipped: where the library is not installed.
    """
    try:
        from eventsourcing import persistence, sqlite
    except ImportError:
        raise Skipped("eventsourcing is not installed; pip install eventsourcing") from None
    return persistence, sqlite


@contextmanager
def datastore(directory: Path) -> Iterator[Any]:
    """A store of its own in that directory, closed afterwards."""
    _, sqlite = load_library()
    with closing(sqlite.SQLiteDatastore(str(directory / _FILE), originator_id_type="text")) as store:
        yield store


@contextmanager
def append(setting: Setting, *, events: int, is_new: bool, in_memory: bool) -> Iterator[Round]:
    """`insert_events()` of one event, or of all of a commit; counted once the first checkpoint is made."""
    persistence, sqlite = load_library()
    stored_event = persistence.StoredEvent
    warm_up = _WARM_UP_COMMITS if events == 1 else _WARM_UP_COMMITS // 4
    commits = appends(setting, events=events, is_new=is_new, warm_up=warm_up)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, datastore(path) as store:
            recorder = sqlite.SQLiteApplicationRecorder(store)
            recorder.create_table()

            def insert(commit: Commit) -> None:
                recorder.insert_events(
                    [
                        stored_event(commit.entity, version, _KIND, value)
                        for version, value in enumerate(commit.values, commit.expected_version + 1)
                    ]
                )

            sample = timed_calls(insert, commits, warm_up=warm_up)
            expect("events", recorder.max_notification_id(), len(commits) * events)
        return rated(sample, events)

    yield run


@contextmanager
def read(setting: Setting, *, order: Order) -> Iterator[Round]:
    """`select_events()` of one entity."""
    _, sqlite = load_library()
    entities = some_entities(setting)
    fill = partial(_fill, count=entity_count(setting), order=order)
    with setting.filled(f"eventsourcing, {order}", fill) as path, datastore(path) as store:
        recorder = sqlite.SQLiteApplicationRecorder(store)
        yield lambda: timed_reads(recorder.select_events, entities)


def _fill(directory: Path, *, count: int, order: Order) -> None:
    """The library's own table, filled behind its back: the same rows in the same order, in one commit."""
    _, sqlite = load_library()
    with datastore(directory) as store:
        sqlite.SQLiteApplicationRecorder(store).create_table()
    with closing(sqlite3.connect(directory / _FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-262144")
        connection.execute("BEGIN")
        for rows in chunks(count, order):
            connection.executemany(
                "INSERT INTO stored_events VALUES (?, ?, ?, ?)",
                [(entity, version, _KIND, value) for entity, version, value in rows],
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def project(setting: Setting, *, is_paged: bool) -> Iterator[Round]:
    """
    `select_notifications()` and a tracking recorder that keeps totals, its position in the same transaction.

    The library's runner gives a projection one event at a time, a transaction each: too slow for a million, so some
    are enough for a rate. Paged, we fold 10,000 events before we give them to the same recorder, as a patient user
    might.
    """
    _, sqlite = load_library()
    most = setting.count(_PROJECTED_COUNT if is_paged else _PROJECTED_ONE_BY_ONE_COUNT)
    count = entity_count(setting)
    fill = partial(_fill, count=count, order="interleaved")
    with setting.filled("eventsourcing, interleaved", fill) as path:

        def run() -> Sample:
            with setting.fresh_directory() as own, datastore(path) as source, datastore(own) as target:
                events = sqlite.SQLiteApplicationRecorder(source)
                totals = _totals_recorder(target)
                seen = position = 0
                started = time.perf_counter()
                while seen < most:
                    page = events.select_notifications(position + 1, min(_PROJECTION_PAGE, most - seen))
                    if not page:
                        break
                    for group in [page] if is_paged else [[event] for event in page]:
                        totals.add(_fold(group), group[-1].id)
                    seen, position = seen + len(page), page[-1].id
                elapsed = time.perf_counter() - started
                expect("events", totals.events_count(), min(most, count * EVENTS_PER_ENTITY))
            return Sample(seen / elapsed)

        yield run


def _fold(events: list[Any]) -> dict[str, tuple[int, int]]:
    changes: dict[str, tuple[int, int]] = {}
    for event in events:
        count, total = changes.get(event.originator_id, (0, 0))
        changes[event.originator_id] = (count + 1, total + amount(event.state))
    return changes


def _totals_recorder(store: Any) -> Any:
    """A tracking recorder with a table of totals, made as the library's manual shows it."""
    persistence, sqlite = load_library()

    class Totals(sqlite.SQLiteTrackingRecorder):  # type: ignore[misc]
        def construct_create_table_statements(self) -> list[str]:
            return [
                *super().construct_create_table_statements(),
                "CREATE TABLE totals (entity TEXT PRIMARY KEY, count INTEGER, total INTEGER) WITHOUT ROWID",
            ]

        def add(self, changes: Mapping[str, tuple[int, int]], position: int) -> None:
            with self.datastore.transaction(commit=True) as cursor:
                cursor.executemany(
                    "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT (entity) DO UPDATE SET "
                    "count = count + excluded.count, total = total + excluded.total",
                    sorted((entity, count, total) for entity, (count, total) in changes.items()),
                )
                self._insert_tracking(cursor, persistence.Tracking("events", position))

        def events_count(self) -> int:
            with self.datastore.transaction(commit=False) as cursor:
                cursor.execute("SELECT sum(count) FROM totals")
                return int(cursor.fetchone()[0])

    recorder = Totals(store)
    recorder.create_table()
    return recorder


@contextmanager
def exactly_once(setting: Setting, *, in_memory: bool) -> Iterator[Round]:
    """
    `select_notifications()` of 100, and a process recorder that stores an event for each with its position.

    The totals are those events; a dictionary has them at hand, so the library is spared a table and all reads.
    """
    persistence, sqlite = load_library()
    rows = input_rows(setting)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, datastore(path) as store:
            inbox = sqlite.SQLiteApplicationRecorder(store, events_table_name="inbox")
            inbox.create_table()
            for first in range(0, len(rows), 1_000):
                part = enumerate(rows[first : first + 1_000], first)
                inbox.insert_events(
                    [persistence.StoredEvent(entity, number, _KIND, value) for number, (entity, value) in part]
                )
            outbox = sqlite.SQLiteProcessRecorder(store)
            outbox.create_table()
            totals: dict[str, tuple[int, int]] = {}
            position = 0
            started = time.perf_counter()
            while page := inbox.select_notifications(position + 1, PAGE_RECORDS):
                outputs: list[Any] = []
                for event in page:
                    version, total = totals.get(event.originator_id, (0, 0))
                    version, total = version + 1, total + amount(event.state)
                    totals[event.originator_id] = version, total
                    state = with_total(event.state, total)
                    outputs.append(persistence.StoredEvent(event.originator_id, version, _KIND, state))
                position = page[-1].id
                outbox.insert_events(outputs, tracking=persistence.Tracking("inbox", position))
            elapsed = time.perf_counter() - started
            expect("outputs", outbox.max_notification_id(), len(rows))
            expect("total", sum(total for _, total in totals.values()), total_of(rows))
        return Sample(len(rows) / elapsed)

    yield run
