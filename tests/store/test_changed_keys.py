"""
A changed bit in a key of a leaf page: readers give all records or say that the log is damaged, never fewer.

The bits are changed in the file, one at a time, in every key of the tables that lead to records.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import eventlog
import eventlog.aio
from eventlog.store.lmdb.environment import BATCHES, INDEX, ORDER
from eventlog.store.lmdb.pages import Branch, Leaf, PageFile
from tests.store.test_page_verification import root_of

KEYS = [f"k{number}" for number in range(4)]
EVERY = 61
"""One of so many bits is changed: the number has no divisor in common with the bits of a key."""
VERSION_BYTES = 8


class Place(NamedTuple):
    """A key on a leaf page: where it is in the file, and where its version begins, if it has one."""

    at: int
    length: int
    version_at: int


def fill(path: Path, *, trims: bool) -> None:
    """Many batches in five partitions of two topics, one of them with an index."""
    with eventlog.open(path) as log:
        letters = log.topic("letters", partitions=3, key=str, index="key")
        parcels = log.topic("parcels", partitions=2)
        for number in range(30):
            for partition in range(3):
                letters.append_many([b"v" * 24] * 4, keys=KEYS, partition=partition)
            for partition in range(2):
                parcels.append_many([b"%d" % number * 150] * 3, partition=partition)
        if trims:
            letters.delete_records({0: 30, 1: 10})
            parcels.delete_records({1: 33})


def keys_of(path: Path, table: bytes) -> Iterator[Place]:
    """The keys on the leaf pages of a table."""
    data = (path / "data.mdb").read_bytes()
    file = PageFile(str(path / "data.mdb"))
    pages = [root_of(path, table)]
    for number in pages:
        page = file.page(number)
        if isinstance(page, Branch):
            pages += [child for _, child in page.children]
            continue
        assert isinstance(page, Leaf)
        begin = number * file.page_bytes
        for index, (key, _) in enumerate(page.rows):
            (row,) = struct.unpack_from("=H", data, begin + 16 + 2 * index)
            at = begin + row + 8
            assert data[at : at + len(key)] == key
            yield Place(at, len(key), at + len(key) - VERSION_BYTES if table == INDEX else at + len(key))
    file.close()


Read = Callable[[Any], int]


def total(rows: Any) -> int:
    """The number of rows."""
    return sum(1 for _ in rows)


def poll(log: Any) -> int:
    """What a consumer receives until there is nothing more."""
    with log.consumer("letters", "parcels") as consumer:
        return sum(map(len, iter(consumer.poll, [])))


def poll_columns(log: Any) -> int:
    """The same in columns."""
    with log.consumer("letters", "parcels") as consumer:
        return sum(len(batch) for batches in iter(consumer.poll_batches, []) for batch in batches)


def ends(log: Any) -> int:
    """The sum of the ends of all partitions."""
    return sum(end for name in ("letters", "parcels") for _, end in log.topic(name).bounds().values())


READS: dict[str, Read] = {
    "read": lambda log: total(log.topic("letters").read()) + total(log.topic("parcels").read()),
    "one partition": lambda log: total(log.topic("parcels").read(partition=1)),
    "another": lambda log: total(log.topic("letters").read(partition=2)),
    "columns": lambda log: sum(map(len, log.topic("letters").read_batches())),
    "poll": poll,
    "poll of columns": poll_columns,
    "ends": ends,
    "read_all": lambda log: total(log.read_all()),
    "read_all from the middle": lambda log: total(log.read_all(300)),
    "read_all of a topic": lambda log: total(log.read_all(topics=["parcels"])),
    "end of the log": lambda log: log.end_log_position(),
}
READS_BY_KEY: dict[str, Read] = {
    "history": lambda log: sum(total(log.topic("letters").history(key)) for key in KEYS),
    "backwards": lambda log: sum(total(log.topic("letters").history(key, is_reversed=True)) for key in KEYS),
    "keys": lambda log: total(log.topic("letters").keys()),
}
VERSIONS: dict[str, Read] = {
    "version": lambda log: sum(log.topic("letters").version(key) for key in KEYS),
    "latest": lambda log: sum(log.topic("letters").latest(key).version for key in KEYS),
}


async def read_in_a_loop(path: Path) -> int:
    """What a consumer of an event loop receives, and what reading there gives."""
    async with await eventlog.aio.open(path) as log:
        found = sum([len(batch) async for batch in (await log.topic("letters")).read_batches()])
        async with log.consumer("letters", "parcels") as consumer:
            while records := await consumer.poll():
                found += len(records)
        return found


def changes(path: Path, places: list[Place], *, every: int = EVERY) -> Iterator[tuple[Place, int, int]]:
    """Change bit after bit in the file, and back; the key, the place of the byte and the bit."""
    data = (path / "data.mdb").read_bytes()
    file = os.open(path / "data.mdb", os.O_WRONLY)
    try:
        bits = [(place, place.at + byte, bit) for place in places for byte in range(place.length) for bit in range(8)]
        for place, at, bit in bits[::every]:
            os.pwrite(file, bytes([data[at] ^ 1 << bit]), at)
            yield place, at, bit
            os.pwrite(file, data[at : at + 1], at)
    finally:
        os.close(file)


def outcome(read: Read, log: Any) -> int | None:
    """What a read gives; None where it says that the log is damaged."""
    try:
        return read(log)
    except eventlog.EventLogError:
        return None


def spoiled_copy(path: Path, *, trims: bool) -> Path:
    """A log, and a copy to change, whose path it returns."""
    fill(path, trims=trims)
    return Path(shutil.copytree(path, path.with_name("spoiled")))


@pytest.mark.parametrize(
    ("table", "trims"),
    [(BATCHES, False), (BATCHES, True), (ORDER, False), (ORDER, True), (INDEX, False)],
    ids=["batches", "batches-trimmed", "order", "order-trimmed", "index"],
)
def test_a_changed_key_hides_no_record_in_silence(path: Path, table: bytes, trims: bool) -> None:
    """Neither from readers of partitions nor from those of the log; nor from those of keys, if none was deleted."""
    spoiled = spoiled_copy(path, trims=trims)
    reads = READS if table != INDEX else READS_BY_KEY | VERSIONS
    with eventlog.open(path) as log:
        wanted = {name: read(log) for name, read in reads.items()}
    silent: list[str] = []
    errors = tries = 0
    for place, at, bit in changes(spoiled, list(keys_of(spoiled, table)), every=3 if table == INDEX else EVERY):
        tries += 1
        with eventlog.open(spoiled) as log:
            for name, read in reads.items():
                if name in VERSIONS and at >= place.version_at:
                    continue  # a wrong number of a row that is there: `verify` tells
                found = outcome(read, log)
                errors += found is None
                if found is not None and found < wanted[name]:
                    silent.append(f"{name}: {found} of {wanted[name]}, byte {at - place.at}, bit {bit}")
    assert not silent, f"{len(silent)} of {tries} times {len(reads)}: {silent[:5]}"
    assert errors > tries // 4


def test_a_loop_meets_no_silent_end_either(path: Path) -> None:
    """The same of `eventlog.aio`, which reads through the same backend."""
    spoiled = spoiled_copy(path, trims=False)
    wanted = asyncio.run(read_in_a_loop(path))
    errors = 0
    for place, at, bit in changes(spoiled, list(keys_of(spoiled, BATCHES)), every=10 * EVERY + 1):
        try:
            found = asyncio.run(read_in_a_loop(spoiled))
        except eventlog.EventLogError:
            errors += 1
            continue
        assert found == wanted, (at - place.at, bit)
    assert errors


def test_nothing_is_stored_where_the_end_is_not_certain(path: Path) -> None:
    """An append does not give offsets again, nor positions."""
    spoiled = spoiled_copy(path, trims=False)
    for table, offsets in ((BATCHES, [4, 5, 6, 7]), (ORDER, range(7))):
        last = list(keys_of(spoiled, table))[-1]
        for byte in offsets:
            with (spoiled / "data.mdb").open("r+b") as file:
                file.seek(last.at + byte)
                before = file.read(1)
                file.seek(last.at + byte)
                file.write(bytes([before[0] ^ 4]))
            with eventlog.open(spoiled) as log, pytest.raises(eventlog.CorruptBatch):
                log.topic("parcels").append(b"more", partition=1)
            with (spoiled / "data.mdb").open("r+b") as file:
                file.seek(last.at + byte)
                file.write(before)
