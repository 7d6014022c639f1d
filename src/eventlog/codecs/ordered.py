"""
The codec of keys of state: bytes whose order is the order of the keys.

LMDB sorts rows by the bytes of their keys. Here a key becomes bytes that sort as the keys themselves do, so a
range of keys is a range of rows. A key is one item:

    item               bytes
    bytes              10, then the bytes
    str                20, then UTF-8, whose order is that of the code points
    int below 0        30, then 8 bytes, two's complement, big-endian
    int from 0         31, then 8 bytes, unsigned, big-endian
    tuple              40, then its items one after the other

Inside a tuple an item has to end somewhere, before whatever would make it longer: bytes and text have each byte 00
written as 00 ff, and end with 00 00; a tuple inside a tuple ends with 00. Keys of different types sort bytes, text,
numbers, tuples. The gaps between the first bytes are for types to come.

The idea is that of FoundationDB's tuple layer; the bytes are our own. Knows nothing of where the rows are.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

from eventlog.codecs.base import Codec, Kind, Role, mismatch, shown, type_name
from eventlog.errors import FormatTooNew

K = TypeVar("K")

MOST_BYTES = 500
"""How long an encoded key may be: LMDB's keys have 511 bytes at most, and a row has more in its key than ours."""

MOST_LEVELS = 8
"""How deep tuples may be nested."""

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
    Stores keys so that their bytes sort as they do: text by code points, numbers by size, tuples item by item.

    A key that another one begins with comes before it. A key is never None. Subclasses are stored as what they
    are in the end: a member of a `StrEnum` comes back as str, a named tuple as a tuple.

    Args:
        declared: the type of all keys: `str`, `bytes`, `int` or `tuple`; None takes them all.
        topic: the name of the state; for messages, as the others.
        role: always the key.
        kind: always a state.

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
                f"bytes, int or tuple, or leave {role}= out to take them all."
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
        Returns the bytes of a key, 500 at most.

        Raises:
            TypeError: the key has another type, or an item that has no place in a key. Nothing was stored.
            ValueError: its bytes are too many. Nothing was stored.
        """
        # The common keys come first and alone; whatever is odd about them, the long way says it.
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
        except (UnicodeEncodeError, struct.error):
            pass
        return self._encode_checked(value)

    def decode(self, data: bytes | None) -> K:
        """
        Returns the key of stored bytes.

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
        except UnicodeDecodeError as error:
            raise self.damaged(f"no UTF-8, {error.reason}") from error
        except _Damage as error:
            raise self.damaged(str(error)) from error
        raise self.damaged(f"no {self.type or 'key'} begins with byte {first:02x}")

    def prefix_range(self, prefix: object) -> tuple[bytes, bytes]:
        """
        Returns the bytes of the first key with a prefix, and the bytes that all such keys are below.

        A str or bytes is the prefix of the keys that begin with it, a tuple that of the tuples that begin with its
        items, itself included. A prefix need not be a key. An empty one stands for all keys of its type.

        Raises:
            TypeError: a prefix of this type has no keys here.
            ValueError: it is longer than keys are.
        """
        if not isinstance(prefix, str | bytes | tuple):
            raise self.misfit(prefix, f"{type_name(prefix)} is no prefix", "Give str, bytes or a tuple.")
        first = self._encode_checked(prefix)
        shared = first.rstrip(b"\xff")  # never empty: no first byte is ff
        return first, shared[:-1] + bytes([shared[-1] + 1])

    def to_stored(self) -> dict[str, object]:
        """Returns the name, and the declared type if there is one."""
        return {"name": self.name} if self.type is None else {"name": self.name, "type": self.type}

    def _decode_checked(self, data: bytes, first: int) -> Any:
        """Returns a key that is no text."""
        if first == _TUPLE:
            return _items(data, 1, 1)[0]
        if first == _BYTES:
            return data[1:]
        if len(data) == 1 + _INT_BYTES:
            return _number(data, 1, first)
        raise _Damage(f"a number of {len(data) - 1} bytes instead of {_INT_BYTES}")

    def _encode_checked(self, key: object) -> bytes:
        """Returns the bytes of a key of any kind, or raises what is wrong with it."""
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
                f"bytes, {MOST_BYTES} are the most. Nothing was stored. Give a shorter key, e.g. a hash of it."
            )
        return data

    def _join(self, items: tuple[Any, ...], level: int) -> bytes:
        """Returns the items of a tuple, each with its end."""
        if level > MOST_LEVELS:
            raise self.misfit(items, f"tuples are nested more than {MOST_LEVELS} deep", f"Give {self.takes}.")
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
        except UnicodeEncodeError as error:
            reason = f"{type_name(text)} with a lone surrogate at position {error.start} has no UTF-8"
            raise self.misfit(text, reason, "Give text without surrogates, or bytes.") from error

    def _int(self, number: object) -> bytes:
        """Returns a number with its first byte; all else that may come here is refused."""
        if not isinstance(number, int) or isinstance(number, bool):
            raise self.misfit(number, f"{type_name(number)} has no place in a key", f"Give {self.takes}.")
        try:
            return _pack_positive(_POSITIVE, number) if number >= 0 else _pack_negative(_NEGATIVE, number)
        except struct.error as error:
            reason = f"an int of {number.bit_length()} bits and a sign does not fit 8 bytes"
            raise self.misfit(number, reason, f"Give {_TAKES['int']}, or text.") from error

    def _advice(self, value: object) -> str:
        """Says which keys to declare for a value of this type, or else what to give."""
        fitting = _type_of(value)
        if fitting is None:
            return f"Give {self.takes}."
        return f"Give {self.takes}, or declare log.{self.kind}({self.topic!r}, {self.role}={fitting})."


def ordered_codec_from_stored(stored: dict[str, Any], declared: type[K] | None, *, topic: str) -> OrderedCodec[K]:
    """
    Makes the codec of the keys of a state that exists.

    Args:
        stored: what `to_stored()` gave when the state was created.
        declared: what the caller declared now; None opens what is stored.
        topic: the name of the state, for messages.

    Raises:
        StateMismatch: `declared` is not what is stored. The state is unchanged.
        FormatTooNew: a newer eventlog stored what this one does not know. The state is unchanged.
        TypeError: `declared` is no type of keys.

    Example:
        >>> ordered_codec_from_stored({"name": "ordered", "type": "int"}, None, topic="totals").encode(7).hex()
        '310000000000000007'
    """
    known = {one.__name__: one for one in _TYPES}
    name = stored.get("type")
    if stored.get("name") != OrderedCodec.name or (name is not None and name not in known):
        raise FormatTooNew(
            f"cannot open state {topic!r}: its key has the codec {stored.get('name')!r} of type {name!r}, which this "
            f"version of eventlog does not know. The state is unchanged. Upgrade eventlog."
        )
    codec = OrderedCodec(declared, topic=topic)
    if codec.type not in (None, name):
        raise mismatch(
            "state",
            topic,
            declared=f"key={codec.type}",
            stored="keys of any type" if name is None else f"key={name}",
            advice="Leave key= out to open what is stored.",
        )
    return OrderedCodec(None if name is None else known[name], topic=topic)


class _Damage(ValueError):
    """Says what is wrong with stored bytes."""


def _type_of(key: object) -> str | None:
    """Returns the name of the type that a key is stored as, or None when it is no key."""
    if isinstance(key, bool):
        return None
    return next((one.__name__ for one in _TYPES if isinstance(key, one)), None)


def _number(data: bytes, at: int, first: int) -> int:
    """Returns the number at a place; its sign must be the one that its first byte said."""
    number: int
    if first == _POSITIVE:
        (number,) = _unpack_positive(data, at)
    else:
        (number,) = _unpack_negative(data, at)
        if number >= 0:
            raise _Damage("a number below 0 that is not")
    return number


def _items(data: bytes, at: int, level: int) -> tuple[tuple[Any, ...], int]:
    """Returns the items of a tuple from a place on, and the place behind it."""
    if level > MOST_LEVELS:
        raise _Damage("tuples are nested too deep")
    items: list[Any] = []
    while at < len(data):
        first = data[at]
        at += 1
        if first in (_STR, _BYTES):
            end = data.find(_END, at)
            if end < 0:
                raise _Damage("text or bytes in a tuple without an end")
            content = data[at:end]
            if 0 in content:
                if content.count(0) != content.count(_ESCAPED):
                    raise _Damage("a byte 00 in a tuple that is not escaped")
                content = content.replace(_ESCAPED, b"\0")
            items.append(content.decode() if first == _STR else content)
            at = end + len(_END)
        elif first in (_NEGATIVE, _POSITIVE):
            if at + _INT_BYTES > len(data):
                raise _Damage("a number in a tuple that is cut short")
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
        raise _Damage("a tuple in a tuple without an end")
    return tuple(items), at
