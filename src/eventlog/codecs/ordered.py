"""
The codec of the keys of a state: bytes that sort as the keys do.

LMDB sorts rows by the bytes of their keys. Because the bytes sort as the keys do, a range of keys is a range of rows.
A key is one item:

    item               bytes
    bytes              10, then the bytes
    str                20, then UTF-8, whose order is that of the code points
    int below 0        30, then 8 bytes, two's complement, big-endian
    int from 0         31, then 8 bytes, unsigned, big-endian
    tuple              40, then its items one after the other

Inside a tuple the end of an item must sort before anything that would make the item longer: in bytes and text each
byte 00 is written as 00 ff, and 00 00 ends them; 00 ends a tuple inside a tuple. Keys of different types sort in the
order bytes, text, numbers, tuples. The gaps between the first bytes are for later types.

The idea is that of FoundationDB's tuple layer; the bytes are our own.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

from eventlog.codecs.base import Codec, Kind, Role, mismatch, shown, type_name
from eventlog.errors import FormatTooNew
from eventlog.interruptions import unless_interrupted

K = TypeVar("K")

MOST_BYTES = 500
"""The most bytes of an encoded key: LMDB's keys have at most 511, and the key of a row holds more than ours."""

MOST_LEVELS = 8
"""The most levels of nested tuples."""

_BYTES, _STR, _NEGATIVE, _POSITIVE, _TUPLE = 0x10, 0x20, 0x30, 0x31, 0x40
_END = b"\0\0"
_ESCAPED = b"\0\xff"

_pack_negative = struct.Struct(">Bq").pack
_pack_positive = struct.Struct(">BQ").pack
_unpack_negative = struct.Struct(">q").unpack_from
_unpack_positive = struct.Struct(">Q").unpack_from
_INT_BYTES = 8

_TYPES: dict[type, tuple[int, ...]] = {
    bytes: (_BYTES,),
    str: (_STR,),
    int: (_NEGATIVE, _POSITIVE),
    tuple: (_TUPLE,),
}
_TAKES = {
    "bytes": "bytes",
    "str": "str",
    "int": "an int from -2**63 to 2**64 - 1",
    "tuple": "a tuple of str, bytes, int and tuples",
    None: "str, bytes, int from -2**63 to 2**64 - 1, or a tuple of them",
}


class OrderedCodec(Codec[K]):
    """
    A codec of keys whose bytes sort as the keys do: text by code points, numbers by size, tuples item by item.

    A key sorts before the longer keys that begin with it. A key is never None. An instance of a subclass is stored as
    its base type: a member of a `StrEnum` comes back as str, a named tuple as a tuple.

    Args:
        declared: the type of all keys: `str`, `bytes`, `int` or `tuple`; None takes all four.
        topic: the name of the state, used in messages.
        role: always "key".
        kind: "state" or "projection".

    Raises:
        TypeError: `declared` is something else.

    Example:
        >>> codec = OrderedCodec(tuple, topic="totals")
        >>> codec.decode(codec.encode(("alice", 7)))
        ('alice', 7)
        >>> first, end = codec.prefix_range(("alice",))
        >>> first <= codec.encode(("alice", 7)) < end <= codec.encode(("bob",))
        True
    """

    __slots__ = ("_first_bytes", "_takes_bytes", "_takes_int", "_takes_str", "takes", "type")

    name = "ordered"

    def __init__(
        self, declared: type[K] | None = None, *, topic: str, role: Role = "key", kind: Kind = "state"
    ) -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        if declared is not None and not any(declared is one for one in _TYPES):
            raise TypeError(
                f"cannot declare {role}={shown(declared)} for {kind} {topic!r}. Nothing was stored. Declare str, "
                f"bytes, int or tuple, or leave {role}= out to take all four."
            )
        self.type = None if declared is None else declared.__name__
        """Name of the declared type, or None."""
        self.takes = _TAKES[self.type]
        self._takes_str = declared in (None, str)
        self._takes_int = declared in (None, int)
        self._takes_bytes = declared in (None, bytes)
        declared_types = _TYPES if declared is None else (declared,)
        self._first_bytes = frozenset(first for one in declared_types for first in _TYPES[one])

    def encode(self, value: object) -> bytes:
        """
        Return the bytes of a key, 500 at most.

        Raises:
            TypeError: the key, or an item of it, has a type that keys cannot have. Nothing was stored.
            ValueError: the bytes are too many. Nothing was stored.
        """
        # The common keys first; `_encode_checked` raises the errors of all others.
        try:
            if type(value) is str and self._takes_str:
                data = b"\x20" + value.encode()
                if len(data) <= MOST_BYTES:
                    return data
            elif type(value) is int and self._takes_int:
                return _pack_positive(_POSITIVE, value) if value >= 0 else _pack_negative(_NEGATIVE, value)
            elif type(value) is bytes and self._takes_bytes:
                data = b"\x10" + value
                if len(data) <= MOST_BYTES:
                    return data
        except unless_interrupted(UnicodeEncodeError, struct.error):
            pass
        return self._encode_checked(value)

    def decode(self, data: bytes | None) -> K:
        """
        Return the key of stored bytes.

        Raises:
            ValueError: no key has these bytes.
        """
        if not data:
            raise self.damaged("a key has at least one byte")
        first = data[0]
        try:
            if first == _STR and self._takes_str:
                return data[1:].decode()  # type: ignore[return-value]
            if first == _POSITIVE and len(data) == 1 + _INT_BYTES and self._takes_int:
                return _unpack_positive(data, 1)[0]  # type: ignore[no-any-return]
            if first in self._first_bytes:
                return self._decode_checked(data, first)  # type: ignore[no-any-return]
        except unless_interrupted(UnicodeDecodeError) as error:
            raise self.damaged(f"not UTF-8, {error.reason}") from error
        except unless_interrupted(_Damage) as error:
            raise self.damaged(str(error)) from error
        raise self.damaged(f"no {self.type or 'key'} begins with byte {first:02x}")

    def prefix_range(self, prefix: object) -> tuple[bytes, bytes]:
        """
        Return the bytes of the first key with a prefix, and the end of all such keys, exclusive.

        The keys of a str or bytes prefix begin with it. The keys of a tuple prefix are the tuples that begin with its
        items, and the tuple itself. A prefix need not be a key. An empty prefix stands for all keys of its type.

        Raises:
            TypeError: no key can have a prefix of this type.
            ValueError: the prefix is longer than a key may be.
        """
        if not isinstance(prefix, str | bytes | tuple):
            raise self.misfit(prefix, f"{type_name(prefix)} is not a prefix", "Pass str, bytes or a tuple.")
        first = self._encode_checked(prefix)
        shared = first.rstrip(b"\xff")  # never empty: no first byte is ff
        return first, shared[:-1] + bytes([shared[-1] + 1])

    def to_stored(self) -> dict[str, object]:
        """Return the name, and the declared type if there is one."""
        return {"name": self.name} if self.type is None else {"name": self.name, "type": self.type}

    def _decode_checked(self, data: bytes, first: int) -> Any:
        """Return a key that is not text."""
        if first == _TUPLE:
            return _items(data, 1, 1)[0]
        if first == _BYTES:
            return data[1:]
        if len(data) == 1 + _INT_BYTES:
            return _number(data, 1, first)
        raise _Damage(f"a number of {len(data) - 1} bytes instead of {_INT_BYTES}")

    def _encode_checked(self, key: object) -> bytes:
        """Return the bytes of a key of any type; raises if it is not a valid key."""
        if self.type is not None and _type_of(key) != self.type:
            raise self.misfit(key, f"{type_name(key)} does not fit keys of type {self.type}")
        if isinstance(key, str):
            data = b"\x20" + self._utf8(key)
        elif isinstance(key, bytes):
            data = b"\x10" + key
        elif isinstance(key, tuple):
            data = b"\x40" + self._join(key, 1)
        else:
            data = self._int(key)
        if len(data) > MOST_BYTES:
            raise ValueError(
                f"cannot encode the {self.role} for {self.kind} {self.topic!r}: {type_name(key)} takes {len(data):,} "
                f"bytes, and {MOST_BYTES} are the most. Nothing was changed. Use a shorter key, e.g. a hash of it."
            )
        return data

    def _join(self, items: tuple[Any, ...], level: int) -> bytes:
        """Return the items of a tuple, each with its end."""
        if level > MOST_LEVELS:
            raise self.misfit(items, f"tuples are nested more than {MOST_LEVELS} deep", f"Pass {self.takes}.")
        parts: list[bytes] = []
        for item in items:
            if isinstance(item, str):
                data = self._utf8(item)
                parts.append(b"\x20%b\0\0" % (data.replace(b"\0", _ESCAPED) if 0 in data else data))
            elif isinstance(item, bytes):
                parts.append(b"\x10%b\0\0" % item.replace(b"\0", _ESCAPED))
            elif isinstance(item, tuple):
                parts.append(b"\x40%b\0" % self._join(item, level + 1))
            else:
                parts.append(self._int(item))
        return b"".join(parts)

    def _utf8(self, text: str) -> bytes:
        try:
            return str.encode(text)
        except unless_interrupted(UnicodeEncodeError) as error:
            reason = f"{type_name(text)} with a lone surrogate at position {error.start} is not valid in UTF-8"
            raise self.misfit(text, reason, "Pass text without surrogates, or bytes.") from error

    def _int(self, number: object) -> bytes:
        """Return the bytes of an int, with its first byte; raises for every other type."""
        if not isinstance(number, int) or isinstance(number, bool):
            raise self.misfit(number, f"{type_name(number)} cannot be part of a key", f"Pass {self.takes}.")
        try:
            return _pack_positive(_POSITIVE, number) if number >= 0 else _pack_negative(_NEGATIVE, number)
        except unless_interrupted(struct.error) as error:
            reason = f"an int of {number.bit_length()} bits and a sign does not fit into 8 bytes"
            raise self.misfit(number, reason, f"Pass {_TAKES['int']}, or text.") from error

    def _advice(self, value: object) -> str:
        """Advise which keys to declare for values of this type, or else which keys to pass."""
        fitting = _type_of(value)
        if fitting is None:
            return f"Pass {self.takes}."
        return f"Pass {self.takes}, or declare {self._call(f'{self.role}={fitting}')}."


def ordered_codec_from_stored(
    stored: dict[str, Any], declared: type[K] | None, *, topic: str, kind: Kind = "state"
) -> OrderedCodec[K]:
    """
    Make the codec of the keys of an existing state.

    Args:
        stored: the result of `to_stored()` when the state was created.
        declared: the caller's declaration; None opens what is stored.
        topic: the name of the state or projection, used in messages.
        kind: which of them.

    Raises:
        StateMismatch: `declared` differs from what is stored. The state is unchanged.
        FormatTooNew: a newer eventlog stored a codec that this one does not know. The state is unchanged.
        TypeError: keys cannot be of the type `declared`.

    Example:
        >>> ordered_codec_from_stored({"name": "ordered", "type": "int"}, None, topic="totals").encode(7).hex()
        '310000000000000007'
    """
    known = {one.__name__: one for one in _TYPES}
    name = stored.get("type")
    if stored.get("name") != OrderedCodec.name or (name is not None and name not in known):
        raise FormatTooNew(
            f"cannot open {kind} {topic!r}: its key has the codec {stored.get('name')!r} of type {name!r}, which this "
            "version of eventlog does not know.",
            stored=f"The {kind} is unchanged.",
            advice="Upgrade eventlog.",
        )
    codec = OrderedCodec(declared, topic=topic, kind=kind)
    if codec.type not in (None, name):
        raise mismatch(
            kind,
            topic,
            declared=f"key={codec.type}",
            stored="keys of any type" if name is None else f"key={name}",
            advice="Leave key= out to open what is stored.",
        )
    return OrderedCodec(None if name is None else known[name], topic=topic, kind=kind)


class _Damage(ValueError):
    """Raised for stored bytes that are not a key."""


def _type_of(key: object) -> str | None:
    """Return the name of the type as which a key is stored; None if it is not a key."""
    if isinstance(key, bool):
        return None
    return next((one.__name__ for one in _TYPES if isinstance(key, one)), None)


def _number(data: bytes, at: int, first: int) -> int:
    """Return the number at an index; its sign must be that of its first byte."""
    number: int
    if first == _POSITIVE:
        (number,) = _unpack_positive(data, at)
    else:
        (number,) = _unpack_negative(data, at)
        if number >= 0:
            raise _Damage("a negative number that is not negative")
    return number


def _items(data: bytes, at: int, level: int) -> tuple[tuple[Any, ...], int]:
    """Return the items of a tuple from an index on, and the index after the tuple."""
    if level > MOST_LEVELS:
        raise _Damage("tuples are nested too deeply")
    items: list[Any] = []
    while at < len(data):
        first = data[at]
        at += 1
        if first in (_STR, _BYTES):
            end = data.find(_END, at)
            if end < 0:
                raise _Damage("text or bytes without an end in a tuple")
            content = data[at:end]
            if 0 in content:
                if content.count(0) != content.count(_ESCAPED):
                    raise _Damage("an unescaped byte 00 in a tuple")
                content = content.replace(_ESCAPED, b"\0")
            items.append(content.decode() if first == _STR else content)
            at = end + len(_END)
        elif first in (_NEGATIVE, _POSITIVE):
            if at + _INT_BYTES > len(data):
                raise _Damage("a truncated number in a tuple")
            items.append(_number(data, at, first))
            at += _INT_BYTES
        elif first == _TUPLE:
            item, at = _items(data, at, level + 1)
            items.append(item)
        elif first == 0 and level > 1:
            return tuple(items), at
        else:
            raise _Damage(f"no item begins with byte {first:02x}")
    if level > 1:
        raise _Damage("a tuple without an end in a tuple")
    return tuple(items), at
