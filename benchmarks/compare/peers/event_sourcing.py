"""
The `eventsourcing` library at its recorder for SQLite, with events that are bytes already.

So neither its mapper nor its aggregates cost anything. WAL and `synchronous=FULL` are its own choice and SQLite's
default: every commit is durable, and there is no mode without the sync. All events are of one entity; keys are left
out, in its favour. `insert_events()` of one event for single records, of 10,000 in bulk. Appends are counted from the
first checkpoint on. Objects are `Notification`s of `select_notifications()`, 1,000 at a time. There is nothing to wait
on: readers look each millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.peer import TOPIC, Contents, Peer, Place, Wait, polling
from benchmarks.compare.peers.raw_sqlite import COMMITS_TO_FIRST_CHECKPOINT

_KIND = "Event"
_READ_RECORDS = 1_000


@attrs.define
class _Store:
    stored_event: Any
    recorder: Any
    version: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        for value, key in zip(values, keys, strict=True):
            self.append(value, key)

    def flush(self) -> None:
        """Nothing is left to do."""

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys
        event, version = self.stored_event, self.version
        self.recorder.insert_events(
            [event(TOPIC, number, _KIND, value) for number, value in enumerate(values, version + 1)]
        )
        self.version += len(values)

    def append(self, value: bytes, key: bytes) -> None:
        del key
        with self.lock:
            self.version += 1
            self.recorder.insert_events([self.stored_event(TOPIC, self.version, _KIND, value)])

    def objects(self) -> Iterator[Sequence[Any]]:
        next_id = 1
        while page := self.recorder.select_notifications(next_id, _READ_RECORDS):
            yield page
            next_id = page[-1].id + 1

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.state
        return value

    def count(self) -> int:
        return int(self.recorder.max_notification_id() or 0)

    def contents(self) -> Contents:
        count = self.count()
        if not count:
            return Contents(0, None, None)
        first, last = (self.recorder.select_notifications(number, 1)[0].state for number in (1, count))
        return Contents(count, first, last)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        next_id = 1

        def look() -> Sequence[bytes]:
            nonlocal next_id
            page = self.recorder.select_notifications(next_id, _READ_RECORDS)
            next_id += len(page)
            return [event.state for event in page]

        with polling(look) as wait:
            yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    from eventsourcing import persistence, sqlite

    path = str(place.directory / "events.sqlite")
    with closing(sqlite.SQLiteDatastore(path, originator_id_type="text")) as datastore:
        recorder = sqlite.SQLiteApplicationRecorder(datastore)
        recorder.create_table()
        store = _Store(persistence.StoredEvent, recorder)
        store.version = store.count()
        yield store


PEER = Peer(
    name="eventsourcing",
    notes=__doc__,
    keeps_in="disk",
    open=_open,
    packages={"eventsourcing": "eventsourcing"},
    batch_records=10_000,
    warm_up_count=COMMITS_TO_FIRST_CHECKPOINT,
    lacks={"consume_columns": "an event is an object"},
)
