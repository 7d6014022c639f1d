"""A small log with rows in every table, damage to copies of its file, and which of its batches the damage hits."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import eventlog
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.lmdb.pages import PageFile
from eventlog.store.repair.walk import IN_USE, Walk
from eventlog.store.rows.tables import split_batch_key

PAGE_BYTES = 4096
LEAF = 2
Place = tuple[str, int, int]
"""A topic, a partition, an offset."""


def make_log(path: Path) -> None:
    """A log of some sixty pages: topics with and without an index, large and small batches, groups, states, more."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=str, index="key", partitions=2)
        plain = log.topic("plain")
        for number in range(30):
            orders.append_many([b"v%d" % number * 6] * 4, keys=[f"k{(number + one) % 9}" for one in range(4)])
            plain.append(b"x" * (120 if number % 6 else 5000), message_id=f"m{number}")
            with log.transaction() as transaction:
                transaction.send("plain", b"in a transaction %d" % number)
                transaction.state("counts", key=str, value=int).put(f"s{number}", number)
        plain.delete_records({0: 7})
        orders.append(b"large" * 1500, key="large")
        with log.consumer("plain", "orders", group="billing") as consumer:
            while consumer.poll(timeout=0):
                pass
            consumer.commit()


def contents(path: Path) -> dict[Place, object]:
    """All records that can be read, by their places, with their log positions."""
    with eventlog.open(path) as log:
        return {
            (record.topic, record.partition, record.offset): (
                position,
                record.timestamp_ms,
                record.key,
                record.value,
                record.headers,
            )
            for position, record in log.read_all()
        }


def batches_in_use(path: Path) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """The batches by topic id, partition and last offset: where they are in the file, from and to, and their span."""
    data = (path / "data.mdb").read_bytes()
    file = PageFile(str(path / "data.mdb"))
    try:
        walk = Walk(file, file.metas()[0])
        batches = {key: walk.value(value) for key, value in walk.rows(BATCHES)}
    finally:
        file.close()
    found = {}
    for page in range(2, len(walk.marks)):
        start = page * PAGE_BYTES
        flags, lower = struct.unpack_from("=HH", data, start + 10)
        if walk.marks[page] != IN_USE or flags != LEAF:
            continue
        for slot in range(16, lower, 2):
            node = start + int(struct.unpack_from("=H", data, start + slot)[0])
            size, _, is_elsewhere, key_bytes = struct.unpack_from("=HHHH", data, node)
            key, at = data[node + 8 : node + 8 + key_bytes], node + 8 + key_bytes
            if is_elsewhere and key in batches:
                at = struct.unpack_from("=Q", data, at)[0] * PAGE_BYTES + 16
                size = len(batches[key] or b"")
            if data[at : at + size] == batches.get(key):
                found[split_batch_key(key)] = (at, at + size, int.from_bytes(data[at + 8 : at + 12], "big"))
    assert len(found) == len(batches)
    return found


class Damage(NamedTuple):
    """A change of the bytes from `begin` to `end`: to others, or None where the file is cut."""

    name: str
    begin: int
    end: int
    other: bytes | None

    @property
    def is_cut(self) -> bool:
        """Whether the file ends at `begin`."""
        return self.other is None


def damages(size_bytes: int, chance: random.Random) -> Iterator[Damage]:
    """Damage without an end; a flip has the bit that changes as its bytes."""
    while True:
        kind = chance.choices(["flip", "zeros", "page", "noise", "cut"], [12, 3, 3, 2, 1])[0]
        at = chance.randrange(size_bytes)
        end = min(size_bytes, at + chance.choice([8, 100, 600]))
        if kind == "flip":
            yield Damage("flip", at, at + 1, bytes([1 << chance.randrange(8)]))
        elif kind == "zeros":
            yield Damage("zeros", at, end, bytes(end - at))
        elif kind == "noise":
            yield Damage("noise", at, end, chance.randbytes(end - at))
        elif kind == "page":
            begin = at // PAGE_BYTES * PAGE_BYTES
            yield Damage("zeroed page", begin, begin + PAGE_BYTES, bytes(PAGE_BYTES))
        elif at > 2 * PAGE_BYTES:
            yield Damage("cut", at, size_bytes, None)


def spoiled(data: bytes, damage: Damage) -> bytes:
    """The bytes of a file with damage."""
    if damage.other is None:
        return data[: damage.begin]
    if damage.name == "flip":
        return data[: damage.begin] + bytes([data[damage.begin] ^ damage.other[0]]) + data[damage.end :]
    return data[: damage.begin] + damage.other + data[damage.end :]
