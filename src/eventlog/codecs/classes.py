"""
The codec of an attrs class: a MessagePack map of its fields, through cattrs.

Imported only when such a codec is made, so that other topics do not need cattrs. A reader without the class sees a
plain dict, so fields are stored in MessagePack's own types: datetimes as they are, dates, UUIDs and decimals as text,
enums by value, sets as lists. The caller passes the class; nothing is looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

from eventlog.codecs.base import Codec, Kind, Role, mismatch, shorten, type_name
from eventlog.codecs.documents import pack, pack_key, unpack
from eventlog.codecs.fields import hooks, refusal
from eventlog.interruptions import unless_interrupted

T = TypeVar("T")


class ClassCodec(Codec[T]):
    """
    A codec that stores instances of one attrs class.

    Only instances of the class itself fit: the added fields of a subclass would be lost. Fields of plain types are
    checked when writing and when reading, so every stored record can be read. Validators run when a record is read,
    because reading makes a new instance.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: cattrs cannot read and write a field.
    """

    __slots__ = ("_class", "_structure", "_unstructure", "takes")

    name = "class"

    def __init__(self, declared: type[T], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._class = declared
        self.takes = f"an instance of {shorten(declared.__qualname__)}"
        self._unstructure, self._structure = hooks(self, declared)[0]

    def encode(self, value: object) -> bytes | None:
        """Return the fields as MessagePack."""
        if type(value) is not self._class:
            if value is None:
                return None
            reason = f"{type_name(value)} is not {shorten(self._class.__qualname__)}"
            if isinstance(value, self._class):
                reason += " but a subclass, whose own fields would be lost"
            raise self.misfit(value, reason, self._class_advice())
        try:
            fields = self._unstructure(value)
            return pack_key(fields) if self.role == "key" else pack(fields)
        except unless_interrupted(Exception) as error:  # hooks and properties of the class may raise any error
            raise self.misfit(value, *refusal(value, error)) from error

    def decode(self, data: bytes | None) -> T | None:
        """Return a new instance."""
        if data is None:
            return None
        fields = unpack(self, data)
        try:
            made: T = self._structure(fields, self._class)
        except unless_interrupted(Exception) as error:  # validators of the class may raise any error
            reason = f"not a {self._class.__qualname__}, {type(error).__name__}: {error}"
            raise self.damaged(reason) from error
        return made

    def to_stored(self) -> dict[str, object]:
        """Return the full name of the class and its fields, for readers that do not have the class."""
        return {"name": self.name, **described(self._class)}

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Check that records of the stored class can be read as the declared one.

        Raises:
            TopicMismatch, StateMismatch: the class has another name, or a new field without a default.
        """
        declared = f"{self.role}={full_name(self._class)}"
        known = f"{self.role}={stored['class']}"
        if stored["class"].rpartition(".")[2] != self._class.__name__:
            advice = f"Leave {self.role}= out to read dicts."
            raise mismatch(self.kind, self.topic, declared=declared, stored=known, advice=advice)
        added = added_fields(self._class, stored["schema"])
        if added:
            known += f", without the fields {', '.join(added)}"
            advice = "Give these fields a default."
            raise mismatch(self.kind, self.topic, declared=declared, stored=known, advice=advice)

    def _class_advice(self) -> str:
        return f"Pass {self.takes}, or use another topic."


def full_name(declared: type) -> str:
    """Return the name of a class with its module, as it is stored."""
    return f"{declared.__module__}.{declared.__qualname__}"


def described(declared: type) -> dict[str, object]:
    """Return the description of a class that is stored for readers that do not have it."""
    fields = _stored_fields(declared)
    return {
        "class": full_name(declared),
        "schema": {field.name: _type_text(field.type) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
    }


def added_fields(declared: type, schema: Mapping[str, object]) -> list[str]:
    """Return the fields without a default that records with the stored schema do not have."""
    fields = _stored_fields(declared)
    return [field.name for field in fields if field.default is attrs.NOTHING and field.name not in schema]


def _stored_fields(declared: type) -> Sequence[attrs.Attribute[Any]]:
    """Return the fields that are stored: those that `__init__` takes."""
    return [field for field in attrs.fields(declared) if field.init]


def _type_text(declared: object) -> str:
    """Return the type of a field as source code."""
    if declared is None:
        return "Any"
    return declared.__qualname__ if isinstance(declared, type) else str(declared)
