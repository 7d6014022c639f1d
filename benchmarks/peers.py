"""
What we compare with, beside confluent-kafka (`confluent.py`): a plain file, sqlite3, py-lmdb.

Each is used the way its manual says is fast. Knows nothing of eventlog.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from benchmarks.measure import Round, Sample
from benchmarks.setting import (
    PAYLOAD_BYTES,
    RECORDS_PER_BATCH,
    RECORDS_PER_CALL,
    Setting,
    make_keys,
    make_values,
)

WARM_UP_COUNT = 10

_COMMITS_TO_FIRST_CHECKPOINT = 1_200
_LENGTH_BYTES = 4


@contextmanager
def file_append_many(setting: Setting, *, is_synced: bool, partitions: int = 1) -> Iterator[Round]:
    """A plain file: one MessagePack batch and its length per 1,000 records, one flush per 50,000 when synced."""
    count = setting.count(500_000, at_least=RECORDS_PER_CALL)
    values, keys = make_values(RECORDS_PER_CALL), make_keys(RECORDS_PER_CALL)
    calls = count // RECORDS_PER_CALL
    sync = getattr(os, "fdatasync", os.fsync)

    def run() -> Sample:
        with setting.fresh_directory() as path, (path / "plain").open("wb", buffering=0) as file:
            started = time.perf_counter()
            for _ in range(calls):
                write_batches(file.fileno(), values, keys, partitions=partitions)
                if is_synced:
                    sync(file.fileno())
            elapsed = time.perf_counter() - started
        return Sample(calls * RECORDS_PER_CALL / elapsed)

    yield run


def write_batches(file: int, values: Sequence[bytes], keys: Sequence[bytes], *, partitions: int = 1) -> None:
    """Writes the columns in batches of 1,000 records, grouped by partition when there are several."""
    pack = msgpack.Packer().pack
    timestamp_ms = time.time_ns() // 1_000_000
    for partition, own_values, own_keys in _by_partition(values, keys, partitions):
        for first in range(0, len(own_values), RECORDS_PER_BATCH):
            end = first + RECORDS_PER_BATCH
            batch = pack((partition, timestamp_ms, own_keys[first:end], own_values[first:end]))
            os.write(file, len(batch).to_bytes(_LENGTH_BYTES, "big") + batch)


def _by_partition(
    values: Sequence[bytes], keys: Sequence[bytes], partitions: int
) -> Iterator[tuple[int, Sequence[bytes], Sequence[bytes]]]:
    if partitions == 1:
        yield 0, values, keys
        return
    columns: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in range(partitions)]
    crc32 = zlib.crc32
    for value, key in zip(values, keys, strict=True):
        own_values, own_keys = columns[crc32(key) % partitions]
        own_values.append(value)
        own_keys.append(key)
    for partition, (own_values, own_keys) in enumerate(columns):
        yield partition, own_values, own_keys


def read_batches(path: Path) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
    """The batches of such a file: timestamp, keys, values."""
    with path.open("rb", buffering=0) as file:
        while head := file.read(_LENGTH_BYTES):
            body = file.read(int.from_bytes(head, "big"))
            _, timestamp_ms, keys, values = msgpack.unpackb(body)
            yield timestamp_ms, keys, values


@contextmanager
def file_consume(setting: Setting, *, as_rows: bool) -> Iterator[Round]:
    """Reads such a file, as columns or as one tuple a record."""
    count = setting.count(1_000_000)
    with setting.fresh_directory() as directory:
        path = directory / "plain"
        with path.open("wb", buffering=0) as file:
            write_batches(file.fileno(), make_values(count), make_keys(count))

        def run() -> Sample:
            seen = 0
            started = time.perf_counter()
            for timestamp_ms, keys, values in read_batches(path):
                if as_rows:
                    for _row in [(timestamp_ms, key, value) for key, value in zip(keys, values, strict=True)]:
                        pass
                seen += len(values)
            elapsed = time.perf_counter() - started
            if seen != count:
                raise RuntimeError(f"the plain file gave {seen} of {count} records")
            return Sample(count / elapsed)

        yield run


@contextmanager
def file_disk_bytes(setting: Setting) -> Iterator[Round]:
    """What such a file takes on disk, per byte of payload."""
    count = setting.count(1_000_000, at_least=RECORDS_PER_CALL)

    def run() -> Sample:
        with setting.fresh_directory() as directory, (directory / "plain").open("wb", buffering=0) as file:
            write_batches(file.fileno(), make_values(count), make_keys(count))
            status = os.fstat(file.fileno())
        return Sample(
            status.st_size / (count * PAYLOAD_BYTES), {"allocated": status.st_blocks * 512 / (count * PAYLOAD_BYTES)}
        )

    yield run


@contextmanager
def sqlite_append(setting: Setting, *, is_checkpointed: bool) -> Iterator[Round]:
    """
    One INSERT and its commit per record; WAL, `synchronous=FULL`: durable when the call returns.

    While the WAL file grows, each flush writes the file's new size as well. After the first checkpoint SQLite
    overwrites the WAL in place, which is a third to a half cheaper and what it does from then on. So we count from
    there, or, not checkpointed, let the file grow throughout.
    """
    count = setting.count(4_000)
    warm_up = _COMMITS_TO_FIRST_CHECKPOINT if is_checkpointed else WARM_UP_COUNT
    rows = list(zip(make_keys(warm_up + count), make_values(warm_up + count), strict=True))

    def run() -> Sample:
        with (
            setting.fresh_directory() as path,
            closing(sqlite3.connect(path / "log.sqlite", isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            if not is_checkpointed:
                connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, timestamp_ms INTEGER, key BLOB, value BLOB)")

            def append(row: tuple[bytes, bytes]) -> None:
                now_ms = time.time_ns() // 1_000_000
                connection.execute("INSERT INTO log (timestamp_ms, key, value) VALUES (?, ?, ?)", (now_ms, *row))

            return timed_calls(append, rows, warm_up=warm_up)

    yield run


@contextmanager
def lmdb_append(setting: Setting) -> Iterator[Round]:
    """One put and its commit per record with py-lmdb alone: what our own layers stand on."""
    rows = list(enumerate(make_values(WARM_UP_COUNT + setting.count(4_000))))

    def run() -> Sample:
        with (
            setting.fresh_directory() as path,
            closing(lmdb.open(str(path / "raw"), map_size=1 << 30)) as environment,
        ):

            def append(row: tuple[int, bytes]) -> None:
                with environment.begin(write=True) as transaction:
                    transaction.put(row[0].to_bytes(8, "big"), row[1], append=True)

            return timed_calls(append, rows)

    yield run


def timed_calls(call: Any, rows: Sequence[Any], *, warm_up: int = WARM_UP_COUNT) -> Sample:
    """Calls once per row, one after the other; the first `warm_up` are not counted."""
    durations: list[int] = []
    clock = time.perf_counter_ns
    for row in rows[:warm_up]:
        call(row)
    started = clock()
    for row in islice(rows, warm_up, None):
        called = clock()
        call(row)
        durations.append(clock() - called)
    elapsed_s = (clock() - started) / 1e9
    return Sample(len(durations) / elapsed_s, durations_ns=durations)
