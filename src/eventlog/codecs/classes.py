"""
The codec of a class: a MessagePack map of its fields, from version 2 on with the version in front.

    version 1       map of the fields
    version 2 ..    array of two: the version, map of the fields

The version is the number of the class's upcasters plus one, so a topic whose class never had one stores bare maps.

Imported only when such a codec is made, so that other topics need no cattrs. A reader without the class sees a plain
dict, so fields are stored in MessagePack's own types: datetimes as they are, dates, UUIDs and decimals as text, enums
by value, sets as lists. The caller passes the class; nothing is looked up by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from eventlog.codecs.base import Codec, Kind, Role, UnknownEventData, Upcasters, mismatch, shorten, type_name
from eventlog.codecs.documents import pack, pack_key, unpack
from eventlog.codecs.fields import hooks, refusal
from eventlog.codecs.kinds import class_of, fields_of, full_name, short_name, stored_name
from eventlog.codecs.upcasters import checked_upcasters, upcast
from eventlog.interruptions import unless_interrupted

T = TypeVar("T")


def class_codec(
    declared: type[T], upcasters: Upcasters | None, *, topic: str, role: Role, kind: Kind = "topic"
) -> ClassCodec[T]:
    """
    Make the codec of one class.

    Args:
        declared: the class, with its arguments if it is generic.
        upcasters: for its name, functions from version 1 to version 2, and so on.
        topic: the name of the topic or state, used in messages.
        role: what the codec is for.
        kind: whether `topic` names a topic or a state, used in messages.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: the class cannot be read and written, or `upcasters` are not valid.
    """
    chains = checked_upcasters(upcasters, f"{kind} {topic!r}", known=[short_name(declared)])
    chain = chains.get(short_name(declared))
    if chain:
        return VersionedClassCodec(declared, chain, topic=topic, role=role, kind=kind)
    return ClassCodec(declared, topic=topic, role=role, kind=kind)


class ClassCodec(Codec[T]):
    """
    A codec that stores instances of one class.

    Only instances of the class itself fit: the added fields of a subclass would be lost. Fields of plain types are
    checked when writing and when reading, so every stored record can be read. Validators run when a record is read,
    because reading makes a new instance.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: the class cannot be read and written.
    """

    __slots__ = ("_class", "_structure", "_type", "_unstructure", "takes")

    name = "class"

    def __init__(self, declared: type[T], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._class = declared
        self._type = class_of(declared)
        is_dict = self._type is dict
        self.takes = f"a{' dict as' if is_dict else 'n instance of'} {shorten(short_name(declared))}"
        self._unstructure, self._structure = hooks(self, declared)[0]

    def encode(self, value: object) -> bytes | None:
        """Return the fields as MessagePack."""
        if type(value) is not self._type:
            if value is None:
                return None
            raise self._another_type(value)
        try:
            fields = self._unstructure(value)
            return pack_key(fields) if self.role == "key" else pack(fields)
        except unless_interrupted(Exception) as error:  # hooks and properties of the class may raise any error
            raise self.misfit(value, *refusal(value, error)) from error

    def decode(self, data: bytes | None) -> T | None:
        """
        Return a new instance.

        Raises:
            UnknownEventData: the fields have a version that no upcaster reads.
            ValueError: the bytes are not an instance, or an upcaster failed.
        """
        return None if data is None else self._made(unpack(self, data))

    def _made(self, fields: Any) -> T:
        try:
            made: T = self._structure(fields, self._class)
        except unless_interrupted(Exception) as error:  # validators of the class may raise any error
            version = _version_of(fields)
            if version is not None:
                raise self._unknown(version) from None
            reason = f"not a {short_name(self._class)}, {type(error).__name__}: {error}"
            raise self.damaged(reason) from error
        return made

    @property
    def version(self) -> int:
        """The version under which instances are written."""
        return 1

    def to_stored(self) -> dict[str, object]:
        """Return the full name of the class and its fields, for readers that do not have the class."""
        version = {"version": self.version} if self.version > 1 else {}
        return {"name": self.name, **described(self._class), **version}

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Check that records of the stored class can be read as the declared one.

        Raises:
            TopicMismatch, StateMismatch: the class has another name, or a new field without a default and no upcaster
                for it, or there are fewer upcasters than before.
        """
        name, version = short_name(self._class), stored.get("version", 1)
        known = f"{self.role}={stored['class']}"
        if stored_name(stored["class"]) != name:
            raise self._mismatch(known, f"Leave {self.role}= out to read dicts.")
        if self.version < version:
            advice = f"Pass upcasters={{{name!r}: [...]}}, one for each version before {version}."
            raise self._mismatch(f"version {version} of {known}", advice)
        added = added_fields(self._class, stored["schema"])
        if added and self.version == version:
            raise self._mismatch(
                f"{known}, without the fields {', '.join(added)}",
                f"Give these fields a default, or add a function that makes them to upcasters={{{name!r}: [...]}}.",
            )

    def _mismatch(self, known: str, advice: str) -> Exception:
        declared = f"{self.role}={full_name(self._class)}"
        if self.version > 1:
            declared += f" with {self.version - 1} upcasters"
        return mismatch(self.kind, self.topic, declared=declared, stored=known, advice=advice)

    def _another_type(self, value: object) -> TypeError:
        reason = f"{type_name(value)} is not {shorten(short_name(self._class))}"
        if isinstance(value, self._type):
            reason += " but a subclass, whose own fields would be lost"
        return self.misfit(value, reason, f"Pass {self.takes}, or use another topic.")

    def _unknown(self, version: int) -> UnknownEventData:
        """Return the error for fields of a version that is not read here."""
        return UnknownEventData(
            f"cannot decode the {self.role} with the codec '{self.name}': it is {short_name(self._class)}, version "
            f"{version}, and the declared upcasters reach version {self.version}. A newer program wrote it: add its "
            "upcasters, or upgrade"
        )


class VersionedClassCodec(ClassCodec[T]):
    """A codec of one class whose fields have had other versions, which upcasters read."""

    __slots__ = ("_chain", "_head")

    def __init__(self, declared: type[T], chain: tuple[Any, ...], *, topic: str, role: Role, kind: Kind) -> None:
        self._chain = chain
        self._head = b"\x92" + pack(len(chain) + 1)  # an array of two, its first item, later the second
        super().__init__(declared, topic=topic, role=role, kind=kind)

    @property
    def version(self) -> int:
        """The version under which instances are written."""
        return len(self._chain) + 1

    def encode(self, value: object) -> bytes | None:
        """Return the version and the fields as MessagePack."""
        fields = super().encode(value)
        return None if fields is None else self._head + fields

    def _made(self, fields: Any) -> T:
        version = 1
        if type(fields) is list:
            version = _version_of(fields) or 0
            if not version:
                raise self.damaged("a list that is not a version and its fields")
            if version > self.version:
                raise self._unknown(version)
            fields = fields[1]
        made = upcast(self, short_name(self._class), self._chain, version, fields, ends=(self._type,))
        if type(made) is self._type and self._type is not dict:
            instance: T = made  # type: ignore[assignment]
            return instance
        return super()._made(made)


def _version_of(fields: object) -> int | None:
    """Return the version of fields that have one in front of them."""
    if type(fields) is list and len(fields) == 2 and type(fields[0]) is int and type(fields[1]) is dict:
        return fields[0] if fields[0] > 1 else None
    return None


def described(declared: type) -> dict[str, object]:
    """Return the description of a class that is stored for readers that do not have it."""
    fields = fields_of(declared)
    return {
        "class": full_name(declared),
        "schema": {field.name: _type_text(field.type) for field in fields},
        "required": [field.name for field in fields if field.is_required],
    }


def added_fields(declared: type, schema: Mapping[str, object]) -> list[str]:
    """Return the fields without a default that records with the stored schema do not have."""
    return [field.name for field in fields_of(declared) if field.is_required and field.name not in schema]


def _type_text(declared: object) -> str:
    """Return the type of a field as source code."""
    if declared is None:
        return "Any"
    return declared.__qualname__ if isinstance(declared, type) else str(declared)
