"""
py-lmdb alone: the position as the key, the record's key and value in one value.

`sync=False` where nothing has to be durable: that survives the process and, as LMDB's manual says, may leave a file
that is damaged after a power cut. One `put` per record, 1,000 a transaction; in bulk `putmulti` of 10,000, appending.
Durable is the default sync, one transaction for each record. Objects are the cursor's pairs. A reader looks each
millisecond: LMDB has nothing to wait on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs
import lmdb

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling
from benchmarks.setting import KEY_BYTES

_MAP_BYTES = 1 << 36
_TRANSACTION_RECORDS = 1_000
_READ_RECORDS = 1_000


@attrs.define
class _Store:
    environment: Any
    position: int = 0
    transaction: Any = None
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        transaction, position = self.transaction, self.position
        for value, key in zip(values, keys, strict=True):
            if transaction is None:
                transaction = self.environment.begin(write=True)
            transaction.put(position.to_bytes(8, "big"), key + value, append=True)
            position += 1
            if position % _TRANSACTION_RECORDS == 0:
                transaction.commit()
                transaction = None
        self.transaction, self.position = transaction, position

    def flush(self) -> None:
        if self.transaction is not None:
            self.transaction.commit()
            self.transaction = None

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        first = self.position
        pairs = [
            (position.to_bytes(8, "big"), key + value)
            for position, (key, value) in enumerate(zip(keys, values, strict=True), first)
        ]
        with self.environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)
        self.position = first + len(pairs)

    def append(self, value: bytes, key: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(self.position.to_bytes(8, "big"), key + value, append=True)
            self.position += 1

    def objects(self) -> Iterator[Sequence[Any]]:
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            part: list[Any] = []
            for pair in cursor:
                part.append(pair)
                if len(part) == _READ_RECORDS:
                    yield part
                    part = []
            yield part

    def value_of(self, record: Any) -> bytes:
        value: bytes = record[1]
        return value[KEY_BYTES:]

    def count(self) -> int:
        count: int = self.environment.stat()["entries"]
        return count

    def contents(self) -> Contents:
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            first = cursor.value()[KEY_BYTES:] if cursor.first() else None
            last = cursor.value()[KEY_BYTES:] if cursor.last() else None
        return Contents(self.count(), first, last)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        next_position = 0

        def look() -> Sequence[bytes]:
            nonlocal next_position
            with self.environment.begin() as transaction, transaction.cursor() as cursor:
                if not cursor.set_range(next_position.to_bytes(8, "big")):
                    return []
                values = [value[KEY_BYTES:] for value in cursor.iternext(keys=False)]
            next_position += len(values)
            return values

        with polling(look) as wait:
            yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    environment = lmdb.open(str(place.directory), map_size=_MAP_BYTES, sync=place.is_durable)
    with closing(environment):
        store = _Store(environment)
        store.position = store.count()
        yield store
        store.flush()


PEER = Peer(
    name="py-lmdb",
    notes=__doc__,
    keeps_in="page cache",
    open=_open,
    packages={"lmdb": "lmdb"},
    batch_records=10_000,
    lacks={"consume_columns": "a row is a record"},
)
