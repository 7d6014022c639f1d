"""
The codec of an attrs class: a MessagePack map of its fields, through cattrs.

Imported only when such a codec is made, so cattrs is needed by nobody else. A reader without the class sees a
plain dict, so fields are stored as what MessagePack has: datetimes as they are, dates, UUIDs and decimals as text,
enums by value, sets as lists.

Knows nothing of how classes are found: the caller brings them.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from eventlog.codecs.base import Codec, Role, shorten, type_name
from eventlog.codecs.documents import pack, unpack
from eventlog.errors import TopicMismatch

T = TypeVar("T")

# Types that MessagePack has itself, with what else a field of that type may hold. Without our checks cattrs turns
# whatever it finds into the type: None into the text "None".
_NATIVE: tuple[tuple[type, tuple[type, ...]], ...] = (
    (str, ()),
    (int, ()),
    (float, (int,)),
    (bytes, ()),
    (bool, ()),
    (dt.datetime, ()),
)
# Types that are stored as text, with how to write and read it.
_AS_TEXT: tuple[tuple[type, Callable[[Any], str], Callable[[str], Any]], ...] = (
    (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    (uuid.UUID, str, uuid.UUID),
    (decimal.Decimal, str, decimal.Decimal),
)


class ClassCodec(Codec[T]):
    """
    Stores instances of one attrs class, and gives them back.

    Only instances of the class itself fit: of a subclass the added fields would be lost. The declared types of
    fields are checked when writing and when reading, as far as they are plain types, so what was stored can be
    read. Validators run when a record is read, since reading makes a new instance.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: cattrs can not read and write a field.
    """

    __slots__ = ("_class", "_structure", "_unstructure", "takes")

    name = "class"

    def __init__(self, declared: type[T], *, topic: str, role: Role) -> None:
        super().__init__(topic=topic, role=role)
        self._class = declared
        self.takes = f"an instance of {shorten(declared.__qualname__)}"
        self._unstructure, self._structure = _hooks(declared, topic=topic, role=role)

    def encode(self, value: object) -> bytes | None:
        """Returns the fields as MessagePack."""
        if type(value) is not self._class:
            if value is None:
                return None
            reason = f"{type_name(value)} is not {shorten(self._class.__qualname__)}"
            if isinstance(value, self._class):
                reason += " but a subclass, whose own fields would be lost"
            raise self.misfit(value, reason, self._class_advice())
        try:
            return pack(self._unstructure(value))
        except Exception as error:  # hooks and properties of the class may raise anything
            reason = f"a field of {type_name(value)} can not be stored: {shorten(str(error))}"
            raise self.misfit(value, reason, "Give fields the types that the class declares.") from error

    def decode(self, data: bytes | None) -> T | None:
        """Returns a new instance."""
        if data is None:
            return None
        fields = unpack(self, data)
        try:
            return self._structure(fields, self._class)
        except Exception as error:  # validators of the class may raise anything
            reason = f"no {self._class.__qualname__}, {type(error).__name__}: {error}"
            raise self.damaged(reason) from error

    def to_stored(self) -> dict[str, object]:
        """Returns the full name of the class and its fields, for those who do not have it."""
        fields = _stored_fields(self._class)
        return {
            "name": self.name,
            "class": f"{self._class.__module__}.{self._class.__qualname__}",
            "schema": {field.name: _type_text(field.type) for field in fields},
            "required": [field.name for field in fields if field.default is attrs.NOTHING],
        }

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Makes sure that records of the stored class can be read as ours.

        Raises:
            TopicMismatch: the class has another name, or a new field without a default.
        """
        known = f"the topic was created with {self.role}={stored['class']}"
        ours = self.to_stored()["class"]
        if stored["class"].rpartition(".")[2] != self._class.__name__:
            raise TopicMismatch(
                f"cannot open topic {self.topic!r} with {self.role}={ours}: {known}. The topic is unchanged. "
                f"Leave {self.role}= out to read dicts."
            )
        added = [
            field.name
            for field in _stored_fields(self._class)
            if field.default is attrs.NOTHING and field.name not in stored["schema"]
        ]
        if added:
            raise TopicMismatch(
                f"cannot open topic {self.topic!r} with {self.role}={ours}: {known}, without the fields "
                f"{', '.join(added)}. The topic is unchanged. Give these fields a default."
            )

    def _class_advice(self) -> str:
        return f"Give {self.takes}, or use a topic of its own."


def _hooks(declared: type[T], *, topic: str, role: Role) -> tuple[Callable[[T], Any], Callable[[Any, type[T]], T]]:
    """Returns what takes an instance apart and what puts one together."""
    shown = shorten(declared.__qualname__)
    try:
        from cattrs.preconf.msgpack import make_converter
    except ImportError as error:
        raise ImportError(
            f"cannot use {role}={shown} for topic {topic!r}: cattrs is not installed. Nothing was stored. "
            f'Run: pip install "eventlog[cattrs]"'
        ) from error
    converter = make_converter(detailed_validation=False)
    for native, others in _NATIVE:
        check = _native_check((native, *others))
        converter.register_unstructure_hook(native, check)
        converter.register_structure_hook(native, check)
    for kind, write, read in _AS_TEXT:
        converter.register_unstructure_hook(kind, _text_writer(kind, write))
        converter.register_structure_hook(kind, _text_reader(read))
    try:
        return converter.get_unstructure_hook(declared), converter.get_structure_hook(declared)
    except Exception as error:
        raise TypeError(
            f"cannot use {role}={shown} for topic {topic!r}: cattrs can not read and write it, "
            f"{type(error).__name__}: {shorten(str(error))}. Nothing was stored. Give its fields types that cattrs "
            f'knows, or declare {role}="msgpack".'
        ) from error


def _native_check(kinds: tuple[type, ...]) -> Callable[..., Any]:
    """Makes the hook that lets a value of these types through as it is, both ways."""

    def check(value: object, _declared: object = None) -> object:
        if isinstance(value, kinds):
            return value
        raise TypeError(f"{type_name(value)} in a field of type {kinds[0].__name__}")

    return check


def _text_writer(kind: type, write: Callable[[Any], str]) -> Callable[[object], str]:
    """Makes the hook that writes one type as text, and refuses subclasses: a datetime is a date, but holds more."""

    def write_checked(value: object) -> str:
        if type(value) is kind:
            return write(value)
        raise TypeError(f"{type_name(value)} in a field of type {kind.__name__}")

    return write_checked


def _text_reader(read: Callable[[str], Any]) -> Callable[[str, object], Any]:
    """Makes the hook that reads one type from text."""

    def read_text(text: str, _declared: object) -> Any:
        return read(text)

    return read_text


def _stored_fields(declared: type) -> Sequence[attrs.Attribute[Any]]:
    """Returns the fields that are stored: those that `__init__` takes."""
    return [field for field in attrs.fields(declared) if field.init]


def _type_text(declared: object) -> str:
    """Writes the type of a field as one would in the class."""
    if declared is None:
        return "Any"
    return declared.__qualname__ if isinstance(declared, type) else str(declared)
