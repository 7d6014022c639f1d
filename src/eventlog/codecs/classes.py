"""
The codec of an attrs class: a MessagePack map of its fields, through cattrs.

Imported only when such a codec is made, so that other topics do not need cattrs. A reader without the class sees a
plain dict, so fields are stored in MessagePack's own types: datetimes as they are, dates, UUIDs and decimals as text,
enums by value, sets as lists. The caller passes the class; nothing is looked up by name.
"""

from __future__ import annotations

import datetime as dt
import decimal
import operator
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from eventlog.codecs.base import Codec, Kind, Role, mismatch, shorten, type_name
from eventlog.codecs.documents import pack, unpack
from eventlog.interruptions import unless_interrupted

T = TypeVar("T")

# Types that MessagePack has itself, and other types that such a field may hold. Without our checks cattrs converts
# every value to the type: None to the text "None".
_NATIVE: tuple[tuple[type, tuple[type, ...]], ...] = (
    (str, ()),
    (int, ()),
    (float, (int,)),
    (bytes, ()),
    (bool, ()),
    (dt.datetime, ()),
)
# Types that are stored as text, with the functions that write and read them.
_AS_TEXT: tuple[tuple[type, Callable[[Any], str], Callable[[str], Any]], ...] = (
    (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    (uuid.UUID, str, uuid.UUID),
    (decimal.Decimal, str, decimal.Decimal),
)


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
            return pack(self._unstructure(value))
        except unless_interrupted(Exception) as error:  # hooks and properties of the class may raise any error
            reason = f"a field of {type_name(value)} cannot be stored: {shorten(str(error))}"
            raise self.misfit(value, reason, "Give the fields the types that the class declares.") from error

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


def hooks(codec: Codec[Any], *classes: type[Any]) -> list[tuple[Callable[[Any], Any], Callable[[Any, type[Any]], Any]]]:
    """
    Return, for each class, the function that takes an instance apart and the one that makes it.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: cattrs cannot read and write a field.
    """
    where = f"{codec.kind} {codec.topic!r}"
    try:
        from cattrs.preconf.msgpack import make_converter
    except ImportError as error:
        raise ImportError(
            f"cannot use {codec.role}={shorten(classes[0].__qualname__)} for {where}: cattrs is not installed. "
            f'Nothing was stored. Run: pip install "eventlog[cattrs]"'
        ) from error
    converter = make_converter(detailed_validation=False)
    for native, others in _NATIVE:
        check = _native_check((native, *others))
        converter.register_unstructure_hook(native, check)
        converter.register_structure_hook(native, check)
    for kind, write, read in _AS_TEXT:
        converter.register_unstructure_hook(kind, _text_writer(kind, write))
        converter.register_structure_hook(kind, _text_reader(read))
    made: list[tuple[Callable[[Any], Any], Callable[[Any, type[Any]], Any]]] = []
    for declared in classes:
        try:
            unstructure, structure = converter.get_unstructure_hook(declared), converter.get_structure_hook(declared)
            made.append((unstructure, _with_short_cut(declared, structure)))
        except unless_interrupted(Exception) as error:
            raise TypeError(
                f"cannot use {codec.role}={shorten(declared.__qualname__)} for {where}: cattrs cannot read and "
                f"write it, {type(error).__name__}: {shorten(str(error))}. Nothing was stored. Give its fields types "
                f'that cattrs knows, or declare {codec.role}="msgpack".'
            ) from error
    return made


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


def _with_short_cut(declared: type[Any], structure: Callable[[Any, type[Any]], Any]) -> Callable[[Any, type[Any]], Any]:
    """
    Return a faster `structure` for a class of plain fields: half the time if all fields are present.

    cattrs calls a hook for each field. If MessagePack has every type itself, one comparison of all types is enough;
    all other values go through the hooks, which also raise the errors.
    """
    fields = attrs.fields(declared)  # cattrs has resolved string annotations by now
    types = tuple(field.type for field in fields)
    natives = [native for native, _ in _NATIVE]
    if len(fields) < 2 or not all(field.init and not field.kw_only and field.type in natives for field in fields):
        return structure
    pick, count = operator.itemgetter(*(field.name for field in fields)), len(fields)

    def structure_plain(stored: Any, declared: type[Any]) -> Any:
        if len(stored) == count:
            try:
                values = pick(stored)
            except unless_interrupted(KeyError):  # as many fields, but not the same
                return structure(stored, declared)
            if tuple(map(type, values)) == types:
                return declared(*values)
        return structure(stored, declared)

    return structure_plain


def _native_check(kinds: tuple[type, ...]) -> Callable[..., Any]:
    """Make the hook that passes values of these types through, both ways."""

    def check(value: object, _declared: object = None) -> object:
        if isinstance(value, kinds):
            return value
        raise TypeError(f"{type_name(value)} in a field of type {kinds[0].__name__}")

    return check


def _text_writer(kind: type, write: Callable[[Any], str]) -> Callable[[object], str]:
    """Make the hook that writes one type as text, and refuses subclasses: a datetime is a date, but holds more."""

    def write_checked(value: object) -> str:
        if type(value) is kind:
            return write(value)
        raise TypeError(f"{type_name(value)} in a field of type {kind.__name__}")

    return write_checked


def _text_reader(read: Callable[[str], Any]) -> Callable[[str, object], Any]:
    """Make the hook that reads one type from text."""

    def read_text(text: str, _declared: object) -> Any:
        return read(text)

    return read_text


def _stored_fields(declared: type) -> Sequence[attrs.Attribute[Any]]:
    """Return the fields that are stored: those that `__init__` takes."""
    return [field for field in attrs.fields(declared) if field.init]


def _type_text(declared: object) -> str:
    """Return the type of a field as source code."""
    if declared is None:
        return "Any"
    return declared.__qualname__ if isinstance(declared, type) else str(declared)
