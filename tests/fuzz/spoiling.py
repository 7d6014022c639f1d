"""
What happens to a log: rows that nobody of ours wrote, and bytes of the file that changed on the disk.

Each function takes randomness and gives one case. Nothing here knows a table by name, except for the checksums of two
of them, which a crafted row has to hold to be looked at.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import google_crc32c
import msgpack

from eventlog.store.lmdb.environment import BATCHES, FORMAT, INDEX
from tests.fuzz.sample import Row
from tests.sealing import has_checksum, sealed

PAGE_BYTES = 4096
NUMBERS = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1]
NUMBERS += [2**63, 2**64 - 2, 2**64 - 1, -1, -(2**31), -(2**63), 99_999, 100_000, 100_001]
VALUES: list[Any] = [
    *NUMBERS,
    None,
    True,
    False,
    1.5,
    float("nan"),
    "",
    "x",
    "custom:",
    "class",
    "events",
    "int",
    "bytes",
]
VALUES += ["\ud7ff" * 90, "a/b", "\0", b"", b"x" * 16, b"\xff" * 300, [], [1], [[1, 2]], [[1, [2]]], [None], [[]], {}]
VALUES += [{"name": "class"}, {"name": "events"}, {"name": "int"}, {"name": 7}, {1: 2}, {"name": None}, [["x", 1]]]
VALUES += [[[1, [[0, 2**70 % 2**64]]]], {"name": "class", "class": "x.Y", "schema": [], "required": 7}]

# -- rows --------------------------------------------------------------------------------------------------------------

Change = tuple[bytes, bytes, bytes | None]
"""The table, the key and the new value of a row; None where it is gone."""


def crafted_rows(rng: random.Random, rows: list[Row]) -> list[Change]:
    """One to three rows, of tables taken with equal chances, so that a table of one row is met as often as any."""
    by_table: dict[bytes, list[Row]] = {}
    for row in rows:
        by_table.setdefault(row[0], []).append(row)
    tables = sorted(by_table)
    return [
        change
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
        for change in _crafted(rng, rng.choice(by_table[rng.choice(tables)]), rows)
    ]


def _crafted(rng: random.Random, row: Row, rows: list[Row]) -> list[Change]:
    table, key, data = row
    match rng.choice(["value"] * 6 + ["key"] * 2 + ["both", "gone", "twice", "other"]):
        case "value":
            return [(table, key, resealed(table, key, new_value(rng, value_of(table, key, data)), rng))]
        case "key":
            key, old = new_key(rng, key), key
            return [(table, old, None), (table, key, resealed(table, key, value_of(table, old, data), rng))]
        case "both":
            key, value = new_key(rng, key), new_value(rng, value_of(table, key, data))
            return [(table, key, resealed(table, key, value, rng))]
        case "gone":
            return [(table, key, None)]
        case "twice":
            key, old = new_key(rng, key), key
            return [(table, key, resealed(table, key, value_of(table, old, data), rng))]
        case _:
            other, old, data = rng.choice(rows)
            return [(table, key, resealed(table, key, value_of(other, old, data), rng))]


def new_key(rng: random.Random, key: bytes) -> bytes:
    """Another key, which LMDB takes."""
    return (bytes(_mutated(rng, bytearray(key))) or b"\0")[:511]


def new_value(rng: random.Random, data: bytes) -> bytes:
    """Other bytes: a field of a map with another value, or just other bytes."""
    if rng.random() < 0.6:
        try:
            fields = msgpack.unpackb(data)
        except Exception:
            fields = None
        if isinstance(fields, dict) and fields:
            return _with_other_fields(rng, fields)
    return bytes(_mutated(rng, bytearray(data)))


def _with_other_fields(rng: random.Random, fields: dict[Any, Any]) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2])):
        inner: Any = fields
        key = rng.choice(list(inner))
        while isinstance(inner[key], dict) and inner[key] and rng.random() < 0.6:
            inner = inner[key]
            key = rng.choice(list(inner))
        if rng.random() < 0.1:
            del inner[key]
            if not fields:
                break
        elif isinstance(inner[key], int) and rng.random() < 0.6:
            inner[key] = rng.choice([*NUMBERS, inner[key] + 1, inner[key] - 1])
        else:
            inner[key] = rng.choice(VALUES)
    data: bytes = msgpack.packb(fields, unicode_errors="surrogatepass")
    return data


def value_of(table: bytes, key: bytes, data: bytes) -> bytes:
    """The value of a row, without the checksum that an eventlog puts behind it."""
    return data[:-4] if has_checksum(table, key) else data


def resealed(table: bytes, key: bytes, value: bytes, rng: random.Random) -> bytes:
    """The bytes of a row with a checksum that holds, mostly."""
    if has_checksum(table, key):
        return sealed(table, key, value) if rng.random() < 0.9 else value + rng.randbytes(4)
    if table == FORMAT and len(value) >= 4 and rng.random() < 0.8:
        return value[:-4] + struct.pack("<I", google_crc32c.value(key + value[:-4]))
    if table in (BATCHES, INDEX) and len(value) >= 4 and rng.random() < 0.8:
        return value[:-4] + struct.pack("<I", google_crc32c.value(value[:-4]))
    return value


def _mutated(rng: random.Random, data: bytearray) -> bytearray:
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        rng.choice(_MUTATIONS)(rng, data)
    return data


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(rng: random.Random, data: bytearray) -> None:
    size = rng.choice([1, 2, 4, 8])
    at = rng.randrange(len(data) + 1)
    data[at : at + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, "big")


def _cut(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice([1, 2, 8, 500])]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice([1, 4, 8, 300]))


_MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [_flip, _flip, _number, _number, _cut, _insert]

# -- files -------------------------------------------------------------------------------------------------------------


def damaged_file(rng: random.Random, file: bytes) -> tuple[str, bytes]:
    """Name a damage, and return the file with it."""
    data = bytearray(file)
    count = len(data) // PAGE_BYTES
    page, other = rng.randrange(count) * PAGE_BYTES, rng.randrange(count) * PAGE_BYTES
    kind = rng.choice(["bit"] * 5 + ["head"] * 3 + ["bytes", "zeroed", "swapped", "copied", "torn", "length"])
    match kind:
        case "bit":
            for _ in range(rng.choice([1, 1, 2, 8])):
                _flip(rng, data)
        case "head":  # what LMDB itself reads of a page
            for _ in range(rng.choice([1, 1, 3])):
                data[page + rng.randrange(64)] ^= 1 << rng.randrange(8)
        case "bytes":
            at = rng.randrange(len(data))
            data[at : at + 16] = rng.randbytes(16)[: len(data) - at]
        case "zeroed":
            data[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)
        case "swapped":
            one, two = bytes(data[page : page + PAGE_BYTES]), bytes(data[other : other + PAGE_BYTES])
            data[page : page + PAGE_BYTES], data[other : other + PAGE_BYTES] = two, one
        case "copied":
            data[page : page + PAGE_BYTES] = data[other : other + PAGE_BYTES]
        case "torn":
            part = rng.randrange(1, 8) * 512
            data[page : page + part] = bytes(part)
        case _:
            del data[rng.choice([rng.randrange(len(data)), rng.randrange(count) * PAGE_BYTES]) :]
    return kind, bytes(data)
