"""
`diskcache.Deque` on SQLite: WAL, `synchronous=NORMAL` by its own choice, `FULL` for durable appends.

Durable appends are counted from the first checkpoint on. Keys are left out, in its favour. `append()` for each record,
1,000 inside of one `transact()`; in bulk `extend()` of 1,000 inside of one. Objects are the values, iterated over
without taking them away. There is nothing to wait on: readers look each millisecond, and `popleft()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling
from benchmarks.compare.peers.raw_sqlite import COMMITS_TO_FIRST_CHECKPOINT

_TRANSACTION_RECORDS = 1_000
_READ_RECORDS = 100


@attrs.define
class _Store:
    module: Any
    directory: Path
    deque: Any

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys
        append = self.deque.append
        for first in range(0, len(values), _TRANSACTION_RECORDS):
            with self.deque.transact():
                for value in values[first : first + _TRANSACTION_RECORDS]:
                    append(value)

    def flush(self) -> None:
        """Nothing is left to do."""

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys
        with self.deque.transact():
            self.deque.extend(values)

    def append(self, value: bytes, key: bytes) -> None:
        del key
        self.deque.append(value)

    def objects(self) -> Iterator[Sequence[Any]]:
        part: list[Any] = []
        for value in self.deque:
            part.append(value)
            if len(part) == _READ_RECORDS:
                yield part
                part = []
        yield part

    def value_of(self, record: Any) -> bytes:
        value: bytes = record
        return value

    def count(self) -> int:
        return len(self.deque)

    def contents(self) -> Contents:
        count = self.count()
        return Contents(count, self.deque[0] if count else None, self.deque[-1] if count else None)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with closing(self.module.Cache(str(self.directory), eviction_policy="none")) as cache:
            deque = self.module.Deque.fromcache(cache)

            def look() -> Sequence[bytes]:
                try:
                    return [deque.popleft()]
                except IndexError:
                    return []

            with polling(look) as wait:
                yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import diskcache

    directory = place.directory / "deque"
    synchronous = 2 if place.is_durable else 1
    with closing(
        diskcache.Cache(str(directory), eviction_policy="none", sqlite_synchronous=synchronous, timeout=60)
    ) as cache:
        yield _Store(diskcache, directory, diskcache.Deque.fromcache(cache))


PEER = Peer(
    name="diskcache",
    notes=__doc__,
    keeps_in="page cache",
    open=_open,
    packages={"diskcache": "diskcache"},
    warm_up_count=COMMITS_TO_FIRST_CHECKPOINT,
    lacks={"consume_columns": "has no batches"},
)
