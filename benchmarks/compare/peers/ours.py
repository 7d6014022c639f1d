"""
eventlog, as its README shows it: the default durability, on disk.

There is no mode that leaves out the sync: `flush()` and `append_many()` return when the records are on disk, also
where others are content with the page cache. `send()` is called one record at a time, a producer's thread makes the
batches; `append_many()` is given 50,000 records a call. Objects are `Record`s out of `poll()`, columns the values of
`poll_batches()`; both check each batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

import eventlog
from benchmarks.compare.peer import TIMEOUT_S, TOPIC, Contents, Peer, Place, Wait


@attrs.define
class _Store:
    log: eventlog.EventLog
    topic: Any
    producer: Any

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        send = self.producer.send
        for value, key in zip(values, keys, strict=True):
            send(TOPIC, value, key=key)

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.topic.append_many(values, keys=keys)

    def flush(self) -> None:
        self.producer.flush()

    def append(self, value: bytes, key: bytes) -> None:
        self.topic.append(value, key=key)

    def objects(self) -> Iterator[Sequence[Any]]:
        with self.log.consumer(TOPIC) as consumer:
            while records := consumer.poll():
                yield records

    def columns(self) -> Iterator[Sequence[bytes]]:
        with self.log.consumer(TOPIC) as consumer:
            while batches := consumer.poll_batches():
                for batch in batches:
                    yield batch.values

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.value
        return value

    def count(self) -> int:
        return sum(end - first for first, end in self.topic.bounds().values())

    def contents(self) -> Contents:
        count = self.count()
        first = next(iter(self.topic.read(0, max_records=1)), None)
        last = next(iter(self.topic.read(0, start=max(0, count - 1), max_records=1)), None)
        return Contents(count, first.value if first else None, last.value if last else None)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with self.log.consumer(TOPIC) as consumer:
            yield lambda: [record.value for record in consumer.poll(timeout=TIMEOUT_S)]


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    with eventlog.open(place.directory) as log, log.producer() as producer:
        yield _Store(log, log.topic(TOPIC), producer)


PEER = Peer(name="eventlog", notes=__doc__, keeps_in="disk", open=_open, batch_records=50_000)
