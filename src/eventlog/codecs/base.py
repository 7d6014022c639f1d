"""
What a codec promises, and how it refuses a value.

Knows no codec in particular.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import is_
from types import UnionType
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeGuard, TypeVar, Union, get_args, get_origin

from eventlog.errors import EventLogError, StateMismatch, TopicMismatch

T = TypeVar("T")

Role: TypeAlias = Literal["key", "value"]
"""Which side of a record, or of a row of state, a codec serves."""

Kind: TypeAlias = Literal["topic", "state"]
"""What is stored with a codec: `log.topic()` or `log.state()`."""

Upcasters: TypeAlias = Mapping[str, Sequence[Callable[[dict[str, Any]], object]]]
"""For the name of a stored class, what turns the fields of version 1 into those of version 2, and so on."""

_TEXT_LIMIT = 60


class UnknownEventData(ValueError):
    """
    Says that the bytes are a sound event, of a class or a version of it that nobody declared how to read.

    Who knows the record's place turns it into `UnknownEvent`.
    """


class NeverRaw:
    """The `raw_type` of codecs that encode everything; it has no instances."""


class Codec(ABC, Generic[T]):
    """
    Turns the keys or values of one topic, or of one state, into bytes and back.

    A codec has no state that changes, so any thread may use it. What `encode` returns shares nothing with the
    value: changing the value later changes nothing that was sent.

    `name` is stored with the topic. A value whose type is exactly `raw_type` may be stored as it is, without
    calling `encode`; only the bytes codec has such a type. `plain_type` is bytes or str where a value whose type is
    exactly that is stored as its bytes or its UTF-8, and comes back as such; compiled code does that by itself.
    `takes` says in words what `encode` accepts.

    Args:
        topic: the name of the topic, or of the state; for messages, as the others.
        role: whether we serve keys or values.
        kind: what `topic` is the name of.
    """

    __slots__ = ("kind", "role", "topic")

    name: ClassVar[str]
    raw_type: ClassVar[type] = NeverRaw
    plain_type: ClassVar[type | None] = None
    takes: str

    def __init__(self, *, topic: str, role: Role, kind: Kind = "topic") -> None:
        self.topic = topic
        self.role = role
        self.kind: Kind = kind

    @abstractmethod
    def encode(self, value: object) -> bytes | None:
        """
        Returns the bytes of a value; None stays None.

        Raises:
            TypeError: the value does not fit. Nothing was stored.
        """

    @abstractmethod
    def decode(self, data: bytes | None) -> T | None:
        """
        Returns the value of stored bytes; None stays None.

        Raises:
            ValueError: the bytes are not what this codec writes.
        """

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[T | None]:
        """
        Returns the values of many stored bytes, in order.

        The column is not changed; the bytes codec returns it itself.

        Raises:
            ValueError: some bytes are not what this codec writes. `decode` one by one tells which.
        """
        return list(map(self.decode, column))

    def encode_column(self, column: Sequence[object]) -> Sequence[bytes | None]:
        """
        Returns the bytes of many values, in order.

        The column is not changed; the bytes codec may return it itself.

        Raises:
            TypeError: one of the values does not fit. Nothing was stored.
        """
        encode = self.encode
        if len(column) > 1 and column[0] is column[-1] and all(map(is_, column, repeat(column[0]))):
            return [encode(column[0])] * len(column)  # one entity's records; what is only equal may be of another type
        return list(map(encode, column))

    def to_stored(self) -> dict[str, object]:
        """Returns what is stored with the topic to make this codec again: names, numbers, lists and dicts only."""
        return {"name": self.name}

    def misfit(self, value: object, reason: str | None = None, advice: str | None = None) -> TypeError:
        """
        Returns the error that refuses a value.

        Args:
            value: the value; its type is told, its content is not.
            reason: what is wrong, if it is not simply the type.
            advice: what to do, if it is not to declare another codec.
        """
        what = reason or f"{type_name(value)} does not fit the codec '{self.name}'"
        advice = advice or self._advice(value)
        return TypeError(
            f"cannot encode the {self.role} for {self.kind} {self.topic!r}: {what}. Nothing was stored. {advice}"
        )

    def damaged(self, reason: str) -> ValueError:
        """Returns the error that refuses stored bytes; `reason` is cut to a length one can read."""
        return ValueError(f"cannot decode the {self.role} with the codec '{self.name}': {shorten(reason)}")

    def _advice(self, value: object) -> str:
        """Says what to declare for a value of this type, or else what to give."""
        declarations = [f"{self.role}={one}" for one in _fitting(value) if one.strip('"') != self.name]
        if not declarations:
            return f"Give {self.takes}."
        first, *others = declarations
        return " or ".join([f"Declare log.{self.kind}({self.topic!r}, {first})", *others]) + "."


def mismatch(kind: Kind, name: str, *, declared: str, stored: str, advice: str) -> EventLogError:
    """
    Returns the error that refuses to open a topic or state that is stored with another codec.

    Args:
        kind: what is opened.
        name: its name.
        declared: what the caller declared, as one writes it.
        stored: what is stored, likewise, with what else there is to say of it.
        advice: what to do.
    """
    error = TopicMismatch if kind == "topic" else StateMismatch
    return error(
        f"cannot open {kind} {name!r} with {declared}: the {kind} was created with {stored}. "
        f"The {kind} is unchanged. {advice}"
    )


def is_attrs_class(declared: object) -> TypeGuard[type]:
    """Says whether something is a class made with attrs, without importing attrs."""
    return isinstance(declared, type) and hasattr(declared, "__attrs_attrs__")


def type_name(value: object) -> str:
    """Returns the name of a value's type, cut to a length one can read."""
    return shorten(type(value).__qualname__)


def shorten(text: str) -> str:
    """Cuts a text that may hold part of a value, so that no value is dumped into a message or a log."""
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 3] + "..."


def shown(declared: object) -> str:
    """Writes a declaration as the caller would, in 60 characters at most."""
    if isinstance(declared, tuple | list):
        names = ", ".join(map(shown, declared))
        return shorten(f"({names},)" if len(declared) == 1 else f"({names})")
    if isinstance(declared, type):
        return shorten(declared.__qualname__)
    if isinstance(declared, str):
        return shorten(ascii(declared))
    if is_union(declared):
        return shorten(" | ".join(map(shown, get_args(declared))))
    return shorten(type(declared).__name__)


def is_union(declared: object) -> bool:
    """Says whether something is `A | B` or `Union[A, B]`."""
    return isinstance(declared, UnionType) or get_origin(declared) is Union


def _fitting(value: object) -> tuple[str, ...]:
    """Returns what to declare for values of this type, as one writes it."""
    if is_attrs_class(type(value)):
        return (type_name(value),)
    if isinstance(value, str):
        return ("str",)
    if isinstance(value, int) and not isinstance(value, bool):
        return ("int",)
    if isinstance(value, bytes | bytearray | memoryview):
        return ("bytes",)
    if isinstance(value, dict | list | tuple | float | bool):
        return ('"json"', '"msgpack"')
    if isinstance(value, dt.datetime):
        return ('"msgpack"',)
    return ()
