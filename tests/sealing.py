"""Rows as they stand in a log of format 4: with the checksum behind them that docs/reference/format.md describes."""

from __future__ import annotations

import struct

import google_crc32c

from eventlog.store.lmdb.environment import BATCHES, FORMAT, INDEX

FORMAT_ROW = (FORMAT, b"eventlog")


def has_checksum(table: bytes, key: bytes) -> bool:
    """Whether the last four bytes of a row are a checksum of its key and its value."""
    return table not in (BATCHES, INDEX) and (table, key) != FORMAT_ROW


def sealed(table: bytes, key: bytes, value: bytes) -> bytes:
    """The bytes of a row."""
    if not has_checksum(table, key):
        return value
    return value + struct.pack("<I", google_crc32c.value(key + value))


def unsealed(table: bytes, key: bytes, data: bytes) -> bytes:
    """The value of a row, whose checksum has to hold."""
    if not has_checksum(table, key):
        return data
    assert sealed(table, key, data[:-4]) == data, f"the checksum of row {key!r} of table {table!r}"
    return data[:-4]
