"""Reading schedules: in the order of time over the topics, in a snapshot or in the transaction that sends them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

from eventlog.backend.schedules import StoredSchedule
from eventlog.errors import CorruptBatch, FormatTooNew
from eventlog.interruptions import suppress
from eventlog.store.lmdb.environment import SCHEDULE, Cursor, Environment, Snapshot, Transaction
from eventlog.store.rows.schedules import (
    FAILED,
    NEVER_MS,
    WAITING,
    Place,
    ScheduleRow,
    Tally,
    id_key,
    tally_key,
    topic_prefix,
)

_PAGE = 500
_AFTER_TOPIC = slice(5, None)
"""The part of a key behind its topic: time and number, which no two schedules share."""


def stored(place: Place, row: ScheduleRow) -> StoredSchedule:
    """A schedule, of its place and its row."""
    return StoredSchedule(
        row.id,
        row.topic,
        None if row.placed_by else row.partition,
        row.key,
        row.value,
        row.headers,
        place.due_ms,
        row.scheduled_ms,
        row.message_id,
        row.error,
    )


def scheduled_topics(cursor: Cursor, kind: bytes = WAITING) -> Iterator[int]:
    """The ids of the topics that have schedules of a kind: a search for each."""
    is_found = cursor.set_range(kind)
    while is_found and (key := bytes(cursor.key()))[:1] == kind:
        topic_id = int.from_bytes(key[1:5], "big")
        yield topic_id
        is_found = cursor.set_range(topic_prefix(kind, topic_id + 1))


def _rows_of(cursor: Cursor, prefix: bytes, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The rows of one topic from a key on and before another: what they are ordered by, their keys and their bytes."""
    is_found = cursor.set_range(start)
    while is_found and (key := bytes(cursor.key())).startswith(prefix) and key < end:
        yield key[_AFTER_TOPIC], key, bytes(cursor.value())
        is_found = cursor.next()


def rows_by_time(
    environment: Environment,
    transaction: Snapshot | Transaction,
    topics: Iterable[int],
    *,
    kind: bytes,
    after: bytes,
    end_ms: int,
) -> Iterator[tuple[bytes, bytes]]:
    """
    The rows of some topics before a time, in the order of time; `after` is what the first of them is ordered by.

    Their bytes are as they are stored: one that is damaged is nobody else's trouble.
    """
    end = end_ms.to_bytes(8, "big")
    with ExitStack() as cursors:
        parts = []
        for topic_id in topics:
            prefix = topic_prefix(kind, topic_id)
            cursor: Cursor = transaction.cursor(db=environment.table(SCHEDULE))
            cursors.callback(cursor.close)
            parts.append(_rows_of(cursor, prefix, prefix + after, prefix + end))
        rows = parts[0] if len(parts) == 1 else heapq.merge(*parts)
        for _, key, data in rows:
            yield key, data


def read_tally(environment: Environment) -> Tally:
    """The counts of all schedules."""
    return Tally.unpack(environment.read(lambda transaction: environment.row(transaction, SCHEDULE, tally_key)))


def first_due_ms(environment: Environment, passed_by: set[bytes]) -> int | None:
    """When the first schedule is due that waits, leaving out some keys of rows; None if none waits."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(SCHEDULE)) as cursor:
        first: int | None = None
        for topic_id in scheduled_topics(cursor):
            prefix = topic_prefix(WAITING, topic_id)
            while bytes(key := cursor.key()).startswith(prefix):
                if bytes(key) not in passed_by:
                    due_ms = Place.of(bytes(key)).due_ms
                    first = due_ms if first is None else min(first, due_ms)
                    break
                if not cursor.next():
                    break
        return first


def read_schedule(environment: Environment, schedule_id: bytes) -> StoredSchedule | None:
    """One schedule, of its id."""

    def look(transaction: Transaction) -> StoredSchedule | None:
        data = environment.row(transaction, SCHEDULE, id_key(schedule_id))
        if data is None:
            return None
        place = Place.unpack(data)
        row = environment.row(transaction, SCHEDULE, place.key)
        return None if row is None else stored(place, ScheduleRow.unpack(row))

    return environment.read(look)


def scan(
    environment: Environment, topics: list[int] | None, *, first_ms: int, end_ms: int | None, is_failed: bool
) -> Iterator[StoredSchedule]:
    """
    The schedules of some topics, or of all, in the order of time; some at a time, each in a snapshot of its own.

    Raises:
        CorruptBatch: one is damaged.
    """
    kind, after = FAILED if is_failed else WAITING, first_ms.to_bytes(8, "big")
    until_ms = NEVER_MS + 1 if end_ms is None else end_ms
    while True:
        page: list[StoredSchedule] = []
        with environment.reading() as transaction:
            chosen = topics
            if chosen is None:
                with transaction.cursor(db=environment.table(SCHEDULE)) as cursor:
                    chosen = list(scheduled_topics(cursor, kind))
            rows = rows_by_time(environment, transaction, chosen, kind=kind, after=after, end_ms=until_ms)
            for key, data in islice(rows, _PAGE):
                row = ScheduleRow.unpack(environment.value(SCHEDULE, key, data))
                page.append(stored(Place.of(key), row))
                after = key[_AFTER_TOPIC] + b"\0"
            rows.close()  # type: ignore[attr-defined]
        yield from page
        if len(page) < _PAGE:
            return


def readable(environment: Environment, key: bytes, data: bytes) -> ScheduleRow | None:
    """The row of these bytes; None if it is damaged, or too new."""
    with suppress(CorruptBatch, FormatTooNew):
        return ScheduleRow.unpack(environment.value(SCHEDULE, key, data))
    return None
