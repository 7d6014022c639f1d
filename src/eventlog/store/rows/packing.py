"""
Rows as MessagePack maps: fields to bytes and back, their bounds, and the error for damaged rows.

Rows that are rarely written are maps, so that a newer eventlog may add a field. The modules that use this one know
which fields a row has. A row is checked against the bounds of docs/reference/format.md where it is read: nothing that
is stored may end in an endless loop, or in an error that is not ours.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import msgpack

from eventlog.errors import CorruptBatch, FormatTooNew

T = TypeVar("T")

LARGEST = 2**63 - 1
"""The largest offset, position, version, epoch and time that a row may hold; one more still fits into 8 bytes."""
LARGEST_ID = 2**32 - 2
"""The largest id of a topic or state; one more still fits into 4 bytes."""
NOT_A_ROW = (ValueError, TypeError, KeyError, IndexError, struct.error, re.error, msgpack.UnpackException)
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
    stored = whole(fields["version"], 1, LARGEST)
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


def whole(value: Any, least: int = 0, most: int = LARGEST) -> int:
    """Return the value if it is an int within the bounds, both inclusive."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.60} is not a number from {least} to {most}")
    return value


def moment(value: Any) -> int:
    """Return the value if it is a time in ms since 1970 UTC."""
    return whole(value, -LARGEST - 1)


def counter(data: bytes | memoryview | None, what: str, *, size_bytes: int, least: int, most: int) -> int:
    """Return the number of a row that holds nothing else; `least` if there is no such row."""
    if data is None:
        return least
    number = int.from_bytes(data, "big")
    if len(data) != size_bytes or not least <= number <= most:
        raise damaged(what, f"{number} in {len(data)} bytes is not a number from {least} to {most} in {size_bytes}")
    return number


def damaged(what: str, reason: object = None, *, unaffected: str = "The records") -> CorruptBatch:
    """
    Return the error for a row that is not what was written.

    Args:
        what: names the row, or what it is about.
        reason: says what is wrong with it: a text, or the error of reading it.
        unaffected: names what is intact.
    """
    why = f" ({f'no field {reason}' if isinstance(reason, KeyError) else reason})" if reason is not None else ""
    return CorruptBatch(
        f"cannot read {what}: its row on disk is not what was written{why}.",
        stored=f"{unaffected} are unaffected.",
        advice="Run `eventlog verify` on the log, and restore a backup.",
    )


# -- descriptions of codecs ----------------------------------------------------------------------------------


def codec_fields(value: Any) -> dict[str, Any]:
    """
    Return the description of a codec, as `Codec.to_stored` makes it, if what codecs read of it is there.

    Codecs that are not known here pass: the room of the codecs refuses them as too new.
    """
    fields: dict[str, Any] = checked(value, dict)
    name = checked(fields["name"], str)
    if name == "class":
        _check_class(fields)
        whole(fields.get("version", 1), 1)
    elif name == "events":
        for described in _filled(fields["classes"]):
            _check_class(checked(described, dict))
            whole(described["version"], 1)
    elif name == "enum":
        checked(fields["class"], str)
        _filled(fields["values"])
    elif name == "custom":
        checked(fields["codec"], str)
        if fields["schema"] is not None:
            checked(fields["schema"], dict)
    elif fields.get("type") is not None:
        checked(fields["type"], str)
    return fields


def _check_class(fields: dict[str, Any]) -> None:
    checked(fields["class"], str)
    for field, text in checked(fields["schema"], dict).items():
        checked(field, str)
        checked(text, str)
    for field in checked(fields["required"], list):
        checked(field, str)


def _filled(value: Any) -> list[Any]:
    items: list[Any] = checked(value, list)
    if not items:
        raise ValueError("it has no classes or values")
    return items
