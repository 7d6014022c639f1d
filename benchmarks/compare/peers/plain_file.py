"""
A plain file: one MessagePack batch of keys and values and its length per 1,000 records.

The least a program could do: no offsets, no checksum, no index, no readers that wait. `flush()` hands over to the page
cache; durable means a batch of one record and `fdatasync`, under a lock for threads. A call per record appends to two
lists. Objects are tuples made of the columns. Readers look each millisecond. Opening reads the lengths of all batches.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgpack

from benchmarks.compare.peer import Contents, Peer, Place, Wait, polling

_LENGTH_BYTES = 4
_HEAD_BYTES = 16  # the batch's array, its timestamp, and the length of its first column
_BATCH_RECORDS = 1_000


@attrs.define
class _Store:
    path: Path
    file: int
    is_durable: bool
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    open_values: list[bytes] = attrs.field(factory=list)
    open_keys: list[bytes] = attrs.field(factory=list)
    pack: Any = attrs.field(factory=lambda: msgpack.Packer().pack)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        send_one = self.send_one
        for value, key in zip(values, keys, strict=True):
            send_one(value, key)

    def send_one(self, value: bytes, key: bytes) -> None:
        """What a program calls with one record."""
        self.open_values.append(value)
        self.open_keys.append(key)
        if len(self.open_values) == _BATCH_RECORDS:
            self.flush()

    def flush(self) -> None:
        if self.open_values:
            self.write(self.open_values, self.open_keys)
            self.open_values.clear()
            self.open_keys.clear()

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        self.write(values, keys)

    def write(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        """Writes one batch and its length."""
        body = self.pack((time.time_ns() // 1_000_000, keys, values))
        os.write(self.file, len(body).to_bytes(_LENGTH_BYTES, "big") + body)

    def append(self, value: bytes, key: bytes) -> None:
        with self.lock:
            self.write([value], [key])
            if self.is_durable:
                os.fdatasync(self.file)

    def bodies(self) -> Iterator[Any]:
        """The batches: timestamp, keys, values."""
        with self.path.open("rb", buffering=0) as file:
            while head := file.read(_LENGTH_BYTES):
                yield msgpack.unpackb(file.read(int.from_bytes(head, "big")))

    def objects(self) -> Iterator[Sequence[Any]]:
        for timestamp_ms, keys, values in self.bodies():
            yield [(timestamp_ms, key, value) for key, value in zip(keys, values, strict=True)]

    def columns(self) -> Iterator[Sequence[bytes]]:
        for _, _, values in self.bodies():
            yield values

    def value_of(self, record: Any) -> bytes:
        value: bytes = record[2]
        return value

    def count(self) -> int:
        with self.path.open("rb") as file:
            found = 0
            while head := file.read(_LENGTH_BYTES):
                start = file.read(min(int.from_bytes(head, "big"), _HEAD_BYTES))
                unpacker = msgpack.Unpacker()
                unpacker.feed(start)
                unpacker.read_array_header()
                unpacker.skip()
                found += unpacker.read_array_header()
                file.seek(int.from_bytes(head, "big") - len(start), os.SEEK_CUR)
        return found

    def contents(self) -> Contents:
        count, first, last = 0, None, None
        for values in self.columns():
            first = values[0] if count == 0 else first
            count, last = count + len(values), values[-1]
        return Contents(count, first, last)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with self.path.open("rb", buffering=0) as file:

            def look() -> Sequence[bytes]:
                values: list[bytes] = []
                while head := file.read(_LENGTH_BYTES):
                    values += msgpack.unpackb(file.read(int.from_bytes(head, "big")))[2]
                return values

            with polling(look) as wait:
                yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    path = place.directory / "plain"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        yield _Store(path, file, place.is_durable)
    finally:
        os.close(file)


PEER = Peer(name="plain file", notes=__doc__, keeps_in="page cache", open=_open, batch_records=_BATCH_RECORDS)
