"""
Rows as MessagePack maps: fields to bytes and back, and the error for damaged rows.

Rows that are rarely written are maps, so that a newer eventlog may add a field. The modules that use this one know
which fields a row has.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import msgpack

from eventlog.errors import CorruptBatch, FormatTooNew

T = TypeVar("T")

NOT_A_ROW = (ValueError, TypeError, KeyError, IndexError, struct.error, msgpack.UnpackException)
"""Errors of reading bytes that are not a row."""


def packed(fields: Mapping[str, object]) -> bytes:
    """Return the bytes of a row."""
    data: bytes = msgpack.packb(fields)
    return data


def fields_of(data: bytes | memoryview, what: str, version: int) -> dict[str, Any]:
    """
    Return the fields of a row with a version, which is checked before anything else is read.

    Raises:
        FormatTooNew: the row's version is above `version`, the newest that the caller knows.
        ValueError, TypeError, KeyError, ...: one of `NOT_A_ROW`: the bytes are not a row. The caller catches these
            errors around everything that it reads of the fields, and raises `damaged(what)`.
    """
    fields: dict[str, Any] = checked(msgpack.unpackb(data), dict)
    stored = checked(fields["version"], int)
    if stored > version:
        raise FormatTooNew(
            f"cannot read {what}: its row has version {stored}, but this eventlog knows up to {version}.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to read it.",
        )
    return fields


def checked(value: Any, kind: type[T]) -> T:
    """Return the value if it is of exactly this type."""
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def damaged(what: str, *, unaffected: str = "The records") -> CorruptBatch:
    """Return the error for a row that is not what was written; `unaffected` names what is intact."""
    return CorruptBatch(
        f"cannot read {what}: its row on disk is not what was written.",
        stored=f"{unaffected} are unaffected.",
        advice="Run `eventlog verify` on the log, and restore a backup.",
    )
