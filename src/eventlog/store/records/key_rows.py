"""
The bytes of the key index: the rows that hold the records of a key, and their keys.

A topic that was made with `index="key"` keeps its records a second time, by key: consecutive records of one key, which
are numbered from 1, form a row, and rows stand in the order key, first version. So an entity is read from one place,
however far apart its records were stored. A large record's entry says only where the record is. A deleted record
leaves an empty entry, and a key that lost all its records an empty row: versions are never used again.

Layout: docs/reference/format.md. Reading is in `key_reader.py`, writing in `key_writer.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import TypeAlias

import google_crc32c
import msgpack

from eventlog.batches.format import is_headers
from eventlog.errors import CorruptBatch, FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers
from eventlog.store.rows.packing import LARGEST

LONGEST_KEY_BYTES = 480
"""The longest key of a record, escaped: LMDB's keys have 511 bytes, of which topic and version take 12."""
INLINE_BYTES = 1024
"""The largest value and headers, together, that are copied into a row."""

ROW_BYTES = 1980
"""The most bytes of a row's key and value: LMDB gives a value of more than half a page pages of its own."""
_HEAD = struct.Struct(">BBI")
_HEAD_VERSION = 1
_ARRAY = 0xDD
"""MessagePack's array with a length of four bytes: entries are appended without reading the others."""
ENTRIES = slice(1, -4)
"""The part of a row that is the array of entries, in MessagePack."""
_BEGINNING = bytes([_HEAD_VERSION, _ARRAY])
_CHECKSUM = struct.Struct("<I")
FRAME_BYTES = _HEAD.size + _CHECKSUM.size
_RESIDUE = 0x48674BC7
_ENTRY_BYTES = 40
"""The most bytes of an entry beside its value and headers."""
LAST_VERSION = b"\xff" * 8
_END = b"\0\0"
LEAST_KEY_BYTES = 14
"""Topic, end of an empty key, version."""

topic_key = struct.Struct(">I").pack
version_key = struct.Struct(">Q").pack
_checksum = google_crc32c.value
_packed: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, buf_size=4096).pack
_NOT_A_ROW = (ValueError, TypeError, msgpack.UnpackException)


Entry: TypeAlias = "tuple[int, int, int, int, bytes | None, Headers | None]"
"""
One record of a row: partition, offset, timestamp in ms, position, value, headers.

Headers are None when they and the value are in the batch alone.
"""


def escaped(key: bytes) -> bytes:
    """The stored form of a key: no form is a prefix of another, and they sort as the keys do."""
    return (key.replace(b"\0", b"\0\xff") if b"\0" in key else key) + _END


def unescaped(data: bytes) -> bytes:
    """The key of a stored form."""
    return data[:-2].replace(b"\0\xff", b"\0")


def entity_prefix(topic_id: int, key: bytes) -> bytes:
    """The prefix of the keys of all rows of one key of a topic."""
    return topic_key(topic_id) + escaped(key)


def pack_entries(
    partition: int,
    offsets: Iterable[int],
    timestamps_ms: Iterable[int],
    positions: Iterable[int],
    values: Sequence[bytes | None],
    headers: Iterable[Headers],
) -> list[bytes]:
    """The entries of some records."""
    rows = zip(repeat(partition), offsets, timestamps_ms, positions, values, headers)
    entries = list(map(_packed, rows))
    if max(map(len, entries)) > INLINE_BYTES + _ENTRY_BYTES:
        for index, entry in enumerate(entries):
            if len(entry) > INLINE_BYTES + _ENTRY_BYTES:
                location = msgpack.unpackb(entry)[:4]
                entries[index] = _packed((*location, None, None))
    return entries


def pack_entry(
    partition: int, offset: int, timestamp_ms: int, log_position: int, value: bytes | None, headers: Headers
) -> bytes:
    """The entry of one record, as `pack_entries` makes it."""
    entry = _packed((partition, offset, timestamp_ms, log_position, value, headers))
    if len(entry) > INLINE_BYTES + _ENTRY_BYTES:
        return _packed((partition, offset, timestamp_ms, log_position, None, None))
    return entry


def repacked(entry: Entry | None) -> bytes:
    """The bytes of an entry that was unpacked, or None for a deleted one, as they were in the row."""
    return _packed(entry)


def pack_row(count: int, body: bytes) -> bytes:
    """The bytes of a row with `count` entries."""
    data = _HEAD.pack(_HEAD_VERSION, _ARRAY, count) + body
    return data + _CHECKSUM.pack(_checksum(data))


def row_count(data: bytes | memoryview) -> int:
    """The number of entries of a row that was checked, by its head alone."""
    count: int = _HEAD.unpack_from(data)[2]
    return count


def row_body(data: bytes, what: object) -> bytes:
    """
    The packed entries of a row, to which others can be appended.

    Raises:
        CorruptBatch, FormatTooNew: if the row is damaged or newer, which a new head and checksum would hide.
    """
    check_row(data, what)
    return data[_HEAD.size : -4]


def is_intact(data: bytes) -> bool:
    """Whether a row is as it was written, by an eventlog that is not newer than this one."""
    return len(data) >= FRAME_BYTES and _checksum(data) == _RESIDUE and data[0] <= _HEAD_VERSION


def check_row(data: bytes, what: object) -> None:
    """
    Check a row as a whole, but not its entries, which are in `data[ENTRIES]`.

    `what` names it in errors.

    Raises:
        CorruptBatch, FormatTooNew: if the bytes are not what was written, or are of a newer eventlog.
    """
    if len(data) < FRAME_BYTES or _checksum(data) != _RESIDUE:
        raise damaged_index(what, "its checksum is wrong")
    if data[0] > _HEAD_VERSION:
        raise FormatTooNew(
            f"cannot read {what}: its row in the index has version {data[0]}, and this eventlog knows up to "
            f"{_HEAD_VERSION}.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to read it.",
        )
    if data[:2] != _BEGINNING:
        raise damaged_index(what, "it does not begin as a row")


def unpack_row(data: bytes, what: object) -> Sequence[Entry | None]:
    """
    The entries of a row; None for those that were deleted.

    Raises:
        CorruptBatch, FormatTooNew: if the bytes are not what was written, or are of a newer eventlog.
    """
    check_row(data, what)
    try:
        entries: Sequence[Entry | None] = msgpack.unpackb(data[ENTRIES], use_list=False)
        _check_entries(entries)
    except unless_interrupted(*_NOT_A_ROW) as error:
        raise damaged_index(what, error) from error
    return entries


def _check_entries(entries: Sequence[object]) -> None:
    """Raise ValueError if an entry is not valid; one call for all, because a row has many."""
    for entry in entries:
        if entry is None:
            continue
        if type(entry) is not tuple or len(entry) != 6:
            raise ValueError("an entry does not have six fields")
        partition, offset, timestamp_ms, log_position, value, headers = entry
        if (
            type(partition) is not int
            or type(offset) is not int
            or type(log_position) is not int
            or not (0 <= partition < LARGEST and 0 <= offset < LARGEST and 0 <= log_position < LARGEST)
        ):
            raise ValueError("an entry has no valid partition, offset or position")
        if (
            type(timestamp_ms) is not int
            or (value is not None and type(value) is not bytes)
            or (headers is not None and type(headers) is not tuple)
            or (headers and not is_headers(headers))
        ):
            raise ValueError("an entry has fields of the wrong type")


def split_row_key(key: bytes) -> tuple[bytes, int]:
    """
    Return the prefix of the keys of an entity's rows, and the first version of a row.

    Raises:
        CorruptBatch: if it is not the key of a row.
    """
    prefix, version = key[:-8], int.from_bytes(key[-8:], "big")
    what = f"the key {key.hex()} in the index"
    if len(key) < LEAST_KEY_BYTES or escaped(unescaped(prefix[4:])) != prefix[4:]:
        raise damaged_index(what, "its key is not what was written")
    if not 1 <= version < LARGEST:
        raise damaged_index(what, f"its key has version {version}, but the first is 1 and the last {LARGEST}")
    return prefix, version


def damaged_index(what: object, reason: object) -> CorruptBatch:
    """The error for a row of the index that is not what was written; `reason` says what is wrong with it."""
    return CorruptBatch(
        f"cannot read {what}: its row in the index is not what was written ({reason}).",
        stored="The record itself is unaffected in its partition.",
        advice="Run `eventlog verify` to list all damage.",
    )
