"""
RocksDB by rocksdict, in raw mode: the position as the key, the record's key and value in one value.

Without compression; the write-ahead log is on, in the page cache, and for durable appends `WriteOptions.sync`. Each
record is put into a `WriteBatch`, which is written after 1,000 of them, since that is faster than `db[key] = value`;
in bulk the same. Objects are pairs of `items()`. Readers look each millisecond: in the same process with the same
handle, in another one as a secondary instance that catches up.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling
from benchmarks.setting import KEY_BYTES

_BATCH_RECORDS = 1_000


@attrs.define
class _Store:
    module: Any
    handle: Any
    is_secondary: bool = False
    position: int = 0
    batch: Any = None
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        batch, position = self.batch, self.position
        for value, key in zip(values, keys, strict=True):
            if batch is None:
                batch = self.module.WriteBatch(raw_mode=True)
            batch.put(position.to_bytes(8, "big"), key + value)
            position += 1
            if position % _BATCH_RECORDS == 0:
                self.handle.write(batch)
                batch = None
        self.batch, self.position = batch, position

    def flush(self) -> None:
        if self.batch is not None:
            self.handle.write(self.batch)
            self.batch = None

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.send(values, keys)
        self.flush()

    def append(self, value: bytes, key: bytes) -> None:
        with self.lock:
            position = self.position
            self.position += 1
        self.handle[position.to_bytes(8, "big")] = key + value

    def objects(self) -> Iterator[Sequence[Any]]:
        part: list[Any] = []
        for pair in self.handle.items():
            part.append(pair)
            if len(part) == _BATCH_RECORDS:
                yield part
                part = []
        yield part

    def value_of(self, record: Any) -> bytes:
        value: bytes = record[1]
        return value[KEY_BYTES:]

    def count(self) -> int:
        iterator = self.handle.iter()
        iterator.seek_to_last()
        return int.from_bytes(iterator.key(), "big") + 1 if iterator.valid() else 0

    def contents(self) -> Contents:
        first = last = None
        iterator = self.handle.iter()
        iterator.seek_to_first()
        if iterator.valid():
            first = iterator.value()[KEY_BYTES:]
            iterator.seek_to_last()
            last = iterator.value()[KEY_BYTES:]
        return Contents(sum(1 for _ in self.handle.items()), first, last)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        next_position = 0

        def look() -> Sequence[bytes]:
            nonlocal next_position
            if self.is_secondary:
                self.handle.try_catch_up_with_primary()
            values: list[bytes] = []
            while (value := self.handle.get(next_position.to_bytes(8, "big"))) is not None:
                values.append(value[KEY_BYTES:])
                next_position += 1
            return values

        with polling(look) as wait:
            yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import rocksdict

    options = rocksdict.Options(raw_mode=True)
    options.set_compression_type(rocksdict.DBCompressionType.none())
    path = str(place.directory / "rocks")
    try:
        handle = rocksdict.Rdict(path, options)
    except Exception as error:
        if "lock" not in str(error).lower():
            raise
        with tempfile.TemporaryDirectory() as own:
            yield from _secondary(rocksdict, path, Path(own), options)
        return
    try:
        if place.is_durable:
            write_options = rocksdict.WriteOptions()
            write_options.sync = True
            handle.set_write_options(write_options)
        store = _Store(rocksdict, handle)
        store.position = store.count()
        yield store
        store.flush()
    finally:
        handle.close()


def _secondary(rocksdict: Any, path: str, own: Path, options: Any) -> Iterator[_Store]:
    """What a second process may open while the first one writes."""
    handle = rocksdict.Rdict(path, options, access_type=rocksdict.AccessType.secondary(str(own)))
    try:
        yield _Store(rocksdict, handle, is_secondary=True)
    finally:
        handle.close()


PEER = Peer(
    name="rocksdict",
    notes=__doc__,
    keeps_in="page cache",
    open=_open,
    packages={"rocksdict": "rocksdict"},
    lacks={"consume_columns": "a row is a record"},
)
