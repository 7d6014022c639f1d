"""
Rows as MessagePack maps: how fields become bytes, and what is said of bytes that are none.

The rows that are rarely written are such maps, so that a newer eventlog may add a field. Which fields a row has is
known to the modules that use this one; nothing here knows of tables or LMDB.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import msgpack

from eventlog.errors import CorruptBatch, FormatTooNew

T = TypeVar("T")

NOT_A_ROW = (ValueError, TypeError, KeyError, IndexError, struct.error, msgpack.UnpackException)
"""What comes of reading bytes that are no row."""


def packed(fields: Mapping[str, object]) -> bytes:
    """The bytes of a row."""
    data: bytes = msgpack.packb(fields)
    return data


def fields_of(data: bytes | memoryview, what: str, version: int) -> dict[str, Any]:
    """
    The fields of a row that says its version, which is judged before anything else is looked at.

    Raises:
        FormatTooNew: if the row's version is above `version`, the newest that the caller knows.
        ValueError, TypeError, KeyError, ...: one of `NOT_A_ROW`, if these bytes are no row; the caller catches it
            around all that it reads of the fields, and raises `damaged(what)`.
    """
    fields: dict[str, Any] = checked(msgpack.unpackb(data), dict)
    stored = checked(fields["version"], int)
    if stored > version:
        raise FormatTooNew(
            f"cannot read {what}: its row has version {stored}, and this eventlog knows up to {version}. "
            "Nothing is damaged. Upgrade eventlog to read it."
        )
    return fields


def checked(value: Any, kind: type[T]) -> T:
    """The value, if it is of this very type."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def damaged(what: str, *, unaffected: str = "The records") -> CorruptBatch:
    """The error for a row that is not what was written; `unaffected` begins the sentence that says what is whole."""
    return CorruptBatch(
        f"cannot read {what}: its row on disk is not what was written. {unaffected} are unaffected. "
        "Run `eventlog verify` on the log, and restore a backup."
    )
