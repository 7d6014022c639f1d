"""
The codec of JSON documents, and the rules by which it writes what JSON does not have.

A class, a time or a decimal number is written as a plain value and stays one: the reader gets an object, text or a
number. docs/reference/codecs.md has the table.
"""

from __future__ import annotations

import datetime as dt
import enum
import sys
from collections.abc import Sequence
from typing import Any

from eventlog.codecs.base import Codec, Kind, Role, type_name
from eventlog.codecs.documents import document_misfit, error_text
from eventlog.codecs.json_library import (
    LEAVES,
    MOST_LEVELS,
    JsonLibrary,
    best,
    dump_key,
    dump_text,
    has_no_number,
    is_plain,
    load_column,
    load_text,
)
from eventlog.codecs.kinds import fields_of, library_of
from eventlog.interruptions import unless_interrupted

_DIGITS = 4300  # the most in one number that a Python reads, unless it was told otherwise


class JsonCodec(Codec[Any]):
    """
    A codec that stores documents as compact JSON in UTF-8.

    Keys must be str and numbers finite: JSON would silently turn other keys into text, and it has no NaN. Reading
    accepts more than writing, because other programs may have written.

    Example:
        >>> JsonCodec(topic="orders", role="value").encode({"sku": "tea", "count": 2})
        b'{"sku":"tea","count":2}'
    """

    __slots__ = ()

    name = "json"
    takes = "dicts with str keys, lists, str, int, finite float, bool"

    def encode(self, value: object) -> bytes | None:
        """Return the document as JSON."""
        if value is None:
            return None
        try:
            data = (dump_key if self.role == "key" else dump_text)(value).encode()
            _check_nested(value, 1)
            if len(data) > _DIGITS and sys.get_int_max_str_digits() != _DIGITS:
                _check_numbers(value)
        except unless_interrupted(TypeError):
            return self._encode_by_rules(value)
        except unless_interrupted(ValueError, RecursionError) as error:
            raise self.misfit(value, *document_misfit(self, value, error)) from error
        return data

    def _encode_by_rules(self, value: object) -> bytes:
        """Return a document that holds what JSON does not have."""
        try:
            document = _Simplifier(self.role == "key").simplified(value, 1)
            data = (dump_key if self.role == "key" else dump_text)(document).encode()
            _check_nested(document, 1)
            if len(data) > _DIGITS and sys.get_int_max_str_digits() != _DIGITS:
                _check_numbers(document)
        except unless_interrupted(TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self.misfit(value, *document_misfit(self, value, error)) from error
        return data

    def decode(self, data: bytes | None) -> Any:
        """Return the document."""
        if data is None:
            return None
        try:
            return load_text(data.decode())
        except unless_interrupted(ValueError, RecursionError) as error:
            raise self.damaged(error_text(error)) from error

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Return the documents."""
        try:
            return load_column(column)
        except unless_interrupted(ValueError, RecursionError):
            return super().decode_column(column)


class FastJsonCodec(JsonCodec):
    """A codec of JSON documents that has a faster library do what it does in the same way."""

    __slots__ = ("_library",)

    def __init__(self, library: JsonLibrary, *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._library = library

    def encode(self, value: object) -> bytes | None:
        """Return the document as JSON."""
        if value is None or self.role == "key" or not is_plain(value):
            return super().encode(value)
        try:
            data = self._library.dump(value)
        except unless_interrupted(TypeError, ValueError, OverflowError, RecursionError):
            return super().encode(value)  # a long number, or damage that it names
        is_short = len(data) <= _DIGITS or sys.get_int_max_str_digits() == _DIGITS
        if is_short and (b"null" not in data or not has_no_number(value)):
            return data
        return super().encode(value)

    def decode(self, data: bytes | None) -> Any:
        """Return the document."""
        if data is None:
            return None
        try:
            return self._library.load(data)
        except unless_interrupted(ValueError, RecursionError):
            return super().decode(data)

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Return the documents."""
        try:
            return self._library.load_column(column)
        except unless_interrupted(TypeError, ValueError, RecursionError):  # TypeError: a tombstone is among them
            return list(map(self.decode, column))


def json_codec(*, topic: str, role: Role, kind: Kind = "topic") -> JsonCodec:
    """Make the codec of JSON documents, with the fastest library that is installed."""
    library = best()
    if library is None:
        return JsonCodec(topic=topic, role=role, kind=kind)
    return FastJsonCodec(library, topic=topic, role=role, kind=kind)


# -- what JSON does not have -----------------------------------------------------------------------------------------


class _Simplifier:
    """
    The rules by which a document becomes one of what JSON has.

    In keys equal values need equal bytes, so moments are written in UTC, and decimal numbers without trailing zeros.
    """

    def __init__(self, is_key: bool) -> None:  # noqa: FBT001
        self._is_key = is_key

    def simplified(self, value: Any, level: int) -> Any:
        """
        Return the document.

        Raises:
            TypeError: there is no rule for a type in it.
            ValueError, OverflowError: it is nested too deep, or a time is before year 1 or after 9999 in UTC.
        """
        if type(value) in LEAVES:
            return value
        if level > MOST_LEVELS:
            raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
        if isinstance(value, enum.Enum):
            return self.simplified(value.value, level)
        if isinstance(value, dict):
            return {name: self.simplified(inner, level + 1) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.simplified(inner, level + 1) for inner in value]
        if isinstance(value, str | int | float):
            return value
        if isinstance(value, dt.date):
            return self._time(value)
        if type(value).__module__ in ("decimal", "uuid"):
            return self._text(value)
        return self._fields(value, level)

    def _time(self, value: dt.date) -> str:
        if isinstance(value, dt.datetime):
            if value.utcoffset() is None:
                raise TypeError("a datetime has no time zone")
            if self._is_key:
                value = value.astimezone(dt.UTC)
        return value.isoformat()

    def _text(self, value: Any) -> str:
        from eventlog.codecs.scalars import DecimalCodec, UuidCodec

        for codec in (DecimalCodec, UuidCodec):
            if type(value) is codec.type:
                data = codec(topic="", role="key" if self._is_key else "value").encode(value)
                return (data or b"").decode()
        raise TypeError(f"there is no rule for {type_name(value)}")

    def _fields(self, value: Any, level: int) -> Any:
        """Return the fields of an instance of a class."""
        library = library_of(type(value))
        if library == "msgspec":
            return self.simplified(_builtins(value), level)
        if library == "pydantic" and hasattr(value, "model_dump"):
            return self.simplified(value.model_dump(mode="json"), level)
        if library is None:
            raise TypeError(f"there is no rule for {type_name(value)}")
        return {field.name: self.simplified(getattr(value, field.name), level + 1) for field in fields_of(type(value))}


def _builtins(value: object) -> Any:
    """Return a Struct as dicts and lists, by its own options; times and numbers are left to our rules."""
    import decimal
    import uuid

    import msgspec

    ours = (bytes, dt.datetime, dt.date, dt.time, decimal.Decimal, uuid.UUID)
    return msgspec.to_builtins(value, builtin_types=ours)


def _check_nested(value: object, level: int) -> None:
    """Raise an error if a dict has a key that JSON would turn into text, or if something is nested too deep."""
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str and not isinstance(key, str):
                raise TypeError(f"a key is {type_name(key)}, JSON has only str")
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for inner in value:
        if type(inner) not in LEAVES:
            if level == MOST_LEVELS:
                raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
            _check_nested(inner, level + 1)


def _check_numbers(value: object) -> None:
    """Raise ValueError if a number is too long for a Python with the usual limit."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_numbers(inner)
    elif isinstance(value, int) and abs(value) >= 10**_DIGITS:
        raise ValueError(f"a number has more than {_DIGITS} digits")
