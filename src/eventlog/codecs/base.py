"""The interface of a codec, and the errors with which it refuses a value."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import EnumMeta
from itertools import repeat
from operator import is_
from types import UnionType
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar, Union, get_args, get_origin

from eventlog.errors import EventLogError, StateMismatch, TopicMismatch

T = TypeVar("T")

Role: TypeAlias = Literal["key", "value", "snapshot"]
"""What a codec is for: keys or values of records, or of rows of a state; or the snapshots of a topic."""

Kind: TypeAlias = Literal["topic", "state", "projection"]
"""The owner of a codec, named as the method of the log that opens it."""

Upcasters: TypeAlias = Mapping[str, Sequence[Callable[[dict[str, Any]], object]]]
"""For the name of a stored class: functions from the fields of version 1 to those of version 2, and so on."""

_TEXT_LIMIT = 60


class UnknownEventData(ValueError):
    """
    Raised for a sound event of an undeclared class, or of a version that no upcaster reads.

    The caller knows the record's place and raises `UnknownEvent`.
    """


class ValueCodec(Protocol[T]):
    """
    A codec of your own, for `key=` and `value=`: an object with these four parts.

    Another process finds it by its name: it is passed there too, or an installed package names it as an entry point of
    the group `eventlog.codecs`. The entry point is a function, or the class, that is called with the stored schema and
    returns the codec.

    What it encodes it must be able to decode, in every process, and in keys equal values need equal bytes. It is never
    given None, which is the tombstone. Any thread may call it.

    Example:
        >>> class Reversed:
        ...     name = "shop.reversed"
        ...     schema = None
        ...     def encode(self, value: str) -> bytes:
        ...         return value[::-1].encode()
        ...     def decode(self, data: bytes) -> str:
        ...         return data.decode()[::-1]
        >>> with eventlog.open(":memory:") as log:
        ...     words = log.topic("words", value=Reversed())
        ...     meta = words.append("tea")
        ...     next(words.read()).value
        'tea'
    """

    @property
    def name(self) -> str:
        """The name, at most 100 bytes of printable characters; begin it with that of your package."""
        ...

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """
        What another process needs to make this codec, or None: text, numbers, bytes, lists and dicts, at most 64 KiB.

        Who passes a codec with another schema than the stored one gets `TopicMismatch`.
        """
        ...

    def encode(self, value: T, /) -> bytes:
        """Return the bytes of a value; any exception becomes a TypeError, and nothing is stored."""
        ...

    def decode(self, data: bytes, /) -> T:
        """Return the value of stored bytes; any exception becomes a `DecodeError`, which leaves the record intact."""
        ...


class NeverRaw:
    """The `raw_type` of codecs that encode every value; it has no instances."""


class Codec(ABC, Generic[T]):
    """
    The conversion of the keys or values of one topic, or of one state, to bytes and back.

    A codec is immutable, so any thread may use it. The bytes from `encode` share nothing with the value: changing the
    value later does not change what was sent.

    `name` is stored with the topic. A value whose type is exactly `raw_type` may be stored without calling `encode`;
    only the bytes codec has such a type. `plain_type` is bytes or str if values of exactly that type are stored as
    their bytes or their UTF-8, and come back as such; the accelerators then skip the codec. `takes` describes in words
    what `encode` accepts.

    Args:
        topic: the name of the topic, state or projection, used in messages.
        role: what the codec is for, used in messages.
        kind: what `topic` is the name of, used in messages.
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
        Return the bytes of a value; None stays None.

        Raises:
            TypeError: the value does not fit. Nothing was stored.
        """

    @abstractmethod
    def decode(self, data: bytes | None) -> T | None:
        """
        Return the value of stored bytes; None stays None.

        Raises:
            ValueError: the bytes are not what this codec writes.
        """

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[T | None]:
        """
        Return the values of a column of stored bytes, in order.

        The column is not changed; the bytes codec returns it as it is.

        Raises:
            ValueError: some bytes are not what this codec writes. Call `decode` on each to find out which.
        """
        return list(map(self.decode, column))

    def encode_column(self, column: Sequence[object]) -> Sequence[bytes | None]:
        """
        Return the bytes of a column of values, in order.

        The column is not changed; the bytes codec may return it as it is.

        Raises:
            TypeError: one of the values does not fit. Nothing was stored.
        """
        encode = self.encode
        if len(column) > 1 and column[0] is column[-1] and all(map(is_, column, repeat(column[0]))):
            return [encode(column[0])] * len(column)  # all the same object: equal objects may be of different types
        return list(map(encode, column))

    def to_stored(self) -> dict[str, object]:
        """Return what the topic stores to make this codec again: names, numbers, lists and dicts only."""
        return {"name": self.name}

    def misfit(self, value: object, reason: str | None = None, advice: str | None = None) -> TypeError:
        """
        Return the error that refuses a value.

        Args:
            value: the value; the message names its type, never its content.
            reason: what is wrong, unless it is simply the type.
            advice: what to do, unless it is to declare another codec.
        """
        what = reason or f"{type_name(value)} does not fit the codec '{self.name}'"
        advice = advice or self._advice(value)
        stored = "Nothing was changed." if self.role == "key" else "Nothing was stored."  # keys are for reading, too
        return TypeError(f"cannot encode the {self.role} for {self.kind} {self.topic!r}: {what}. {stored} {advice}")

    def damaged(self, reason: str) -> ValueError:
        """Return the error that refuses stored bytes; `reason` is shortened."""
        return ValueError(f"cannot decode the {self.role} with the codec '{self.name}': {shorten(reason)}")

    def _advice(self, value: object) -> str:
        """Advise which codec to declare for values of this type, or else which values to pass."""
        declarations = [f"{self.role}={one}" for one in _fitting(value) if one.strip('"') != self.name]
        if not declarations:
            return f"Pass {self.takes}."
        first, *others = declarations
        return " or ".join([f"Declare {self._call(first)}", *others]) + "."

    def _call(self, argument: str) -> str:
        """Return the call that opens what the codec is stored with."""
        name = f"{self.topic!r}, function" if self.kind == "projection" else repr(self.topic)
        return f"log.{self.kind}({name}, {argument})"


def mismatch(kind: Kind, name: str, *, declared: str, stored: str, advice: str) -> EventLogError:
    """
    Return the error for a topic, state or projection that is opened with another codec than it is stored with.

    Args:
        kind: which of them.
        name: its name.
        declared: the caller's declaration, as source code.
        stored: the stored declaration, as source code, with remarks.
        advice: what to do.
    """
    error = TopicMismatch if kind == "topic" else StateMismatch
    return error(
        f"cannot open {kind} {name!r} with {declared}: the {kind} was created with {stored}.",
        stored=f"The {kind} is unchanged.",
        advice=advice,
        topic=name if kind == "topic" else None,
        state=name if kind == "state" else None,
        projection=name if kind == "projection" else None,
    )


def type_name(value: object) -> str:
    """Return the name of a value's type, shortened."""
    return shorten(type(value).__qualname__)


def shorten(text: str) -> str:
    """Cut a text that may hold part of a value, so that no value is dumped into a message or a log file."""
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 3] + "..."


def shown(declared: object) -> str:
    """Return a declaration as source code, in 60 characters at most."""
    if isinstance(declared, tuple | list):
        names = ", ".join(map(shown, declared))
        return shorten(f"({names},)" if len(declared) == 1 else f"({names})")
    if isinstance(declared, type):
        return shorten(declared.__qualname__)
    from eventlog.codecs.kinds import is_class, short_name

    if is_class(declared):  # a generic class with its arguments
        return shorten(short_name(declared))
    if isinstance(declared, str):
        return shorten(ascii(declared))
    if is_union(declared):
        return shorten(" | ".join(map(shown, get_args(declared))))
    if is_custom(declared):
        return shorten(f"{type_name(declared)}()")
    return shorten(type(declared).__name__)


def is_union(declared: object) -> bool:
    """Whether something is `A | B` or `Union[A, B]`."""
    return isinstance(declared, UnionType) or get_origin(declared) is Union


def is_custom(declared: object) -> bool:
    """Whether something is a codec of the user's own, an object and not its class."""
    parts = ("name", "encode", "decode", "schema")
    return not isinstance(declared, type) and all(hasattr(declared, part) for part in parts)


def _fitting(value: object) -> tuple[str, ...]:
    """Return the declarations that fit values of this type, as source code."""
    from eventlog.codecs.kinds import is_class, short_name

    kind = type(value)
    if is_class(kind) or isinstance(kind, EnumMeta):
        return (shorten(short_name(kind)),)
    if isinstance(value, str):
        return ("str",)
    if isinstance(value, int) and not isinstance(value, bool):
        return ("int",)
    if isinstance(value, bytes | bytearray | memoryview):
        return ("bytes",)
    if isinstance(value, dict | list | tuple | float | bool):
        return ('"json"', '"msgpack"')
    if isinstance(value, dt.datetime):
        return ("datetime", '"msgpack"')
    return (kind.__name__,) if kind.__name__ in ("date", "Decimal", "UUID") else ()
