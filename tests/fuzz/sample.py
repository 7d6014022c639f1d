"""
A log with rows in every table, which the harness of damage spoils.

It is made once for each run; a copy of its file takes a millisecond. `rows` reads tables with LMDB alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import lmdb

import eventlog
from eventlog.store.lmdb.environment import TABLES

Row = tuple[bytes, bytes, bytes]
"""The table, the key and the value of a row."""
ENGINE = 0
GROUP = "billing"
DELETED_COUNT = 9
"""How many records the first partition of the topic with message ids has lost."""


@attrs.frozen
class Opened:
    """An event."""

    owner: str


@attrs.frozen
class Paid:
    """Another event."""

    cents: int = 0


class Sample(NamedTuple):
    """The files of the log: as it was written, compacted, and as the commit before the last had left it."""

    grown: bytes
    compact: bytes
    rows: list[Row]
    earlier_rows: list[Row]


def make_sample(directory: Path) -> Sample:
    """Make the log, and take its files."""
    path = directory / "log"
    with eventlog.open(path) as log:
        _fill(log)
        consumer = log.consumer("accounts", "never", group=GROUP, instance_id="till")
        consumer.poll(max_records=5)
        consumer.commit()
        log.compact(directory / "earlier")
        log.topic("orders").append(b"the last commit")
        log.compact(directory / "compact")
        grown = (path / "data.mdb").read_bytes()
        consumer.close()
    compact = (directory / "compact" / "data.mdb").read_bytes()
    found = rows(directory / "compact")
    missing = set(TABLES) - {table for table, _, _ in found}
    assert not missing, f"the sample has no rows in {missing}: add some, so that they are spoiled too"
    return Sample(grown, compact, found, rows(directory / "earlier"))


def _fill(log: eventlog.EventLog) -> None:
    accounts = log.topic("accounts", partitions=2, key=str, value="json", index="key", snapshot="json")
    orders = log.topic("orders")
    events = log.topic("events", key=int, value=(Opened, Paid), partitioner="murmur2")
    log.topic("one", value=Opened).append(Opened("bo"))
    log.topic("never", partitions=3)
    for number in range(60):
        orders.append_many([b"o%d" % number * 9] * (number % 4 + 1))
        accounts.append({"n": number}, key=f"a{number % 7}", message_id=f"m{number}")
    orders.append_many([b"large" * 3000, b"larger" * 20_000], headers=[{"h": b"1"}, {}], timestamps_ms=[5, 900])
    accounts.append_many([{"big": "x" * 3000}, None], keys=["a1", "a2"], headers=[{"trace": b"1"}, None])
    accounts.append_many([{"k": "v" * 40}] * 120, keys=[f"b{number % 60}" for number in range(120)])
    events.append_many([Opened("al"), Paid(7), None], keys=[1, 2, 1])
    accounts.delete_records({0: DELETED_COUNT})
    orders.delete_records({0: 20})
    accounts.save_snapshot("a1", {"sum": 1}, version=3)
    with log.producer(name="till-7") as producer:
        for number in range(30):
            producer.send(orders, b"sent %d" % number)
    for start in range(0, 300, 100):
        with log.transaction() as tx:
            totals = tx.state("totals", key=str, value="json")
            for number in range(start, start + 100):
                totals[f"key {number:05}"] = {"n": number, "text": "t" * 60}
            tx.send(orders, b"in a transaction")
    log.projection("sums", _fold, topics=["accounts"], key=str, value=int).catch_up()
    log.projection("all", _fold, key=str, value=int).catch_up()


def _fold(state: Any, record: Any) -> None:
    state[str(record.key)] = state.get(str(record.key), 0) + 1


def put_file(directory: Path, data: bytes) -> Path:
    """Put a log's file where a log may be opened."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "data.mdb").write_bytes(data)
    return directory


@contextmanager
def raw(path: Path) -> Iterator[tuple[Any, dict[bytes, Any]]]:
    """Open a log's file with LMDB alone: the environment, and its tables."""
    environment: Any = lmdb.open(str(path), max_dbs=64, map_size=1 << 28, lib_version=ENGINE, lock=False, sync=False)
    try:
        yield environment, {name: environment.open_db(name, create=False) for name in TABLES}
    finally:
        environment.close()


def rows(path: Path) -> list[Row]:
    """Return all rows of all tables, in their order."""
    with raw(path) as (environment, tables), environment.begin() as transaction:
        return [
            (name, bytes(key), bytes(data))
            for name, table in tables.items()
            for key, data in transaction.cursor(db=table)
        ]


def change_rows(path: Path, changes: list[tuple[bytes, bytes, bytes | None]]) -> None:
    """Put rows, or remove those whose value is None."""
    with raw(path) as (environment, tables), environment.begin(write=True) as transaction:
        for table, key, data in changes:
            if data is None:
                transaction.delete(key, db=tables[table])
            else:
                transaction.put(key, data, db=tables[table])
