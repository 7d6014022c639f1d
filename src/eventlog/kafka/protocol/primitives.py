"""
The small parts that generated codecs call: variable lengths, UUIDs, unknown tagged fields.

What they refuse they raise as `Refused`, without a place: `codecs` knows which line of the generated code called.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, NoReturn
from uuid import UUID

Buffer = bytes | bytearray | memoryview

COPIED_BYTES = 1024
"""What is shorter is copied into the buffer that is being filled; a longer one becomes a buffer of its own."""

NO_UUID = UUID(int=0)


class Refused(Exception):
    """A part of a message that cannot be read, for the reason that it is made with."""


def refuse(reason: str) -> NoReturn:
    """Refuse what is being read."""
    raise Refused(reason)


def refuse_null() -> NoReturn:
    """Refuse null where there must be a value."""
    raise Refused("it must not be null")


def refuse_length(length: int, left: int) -> NoReturn:
    """Refuse a length that is negative or larger than what is left."""
    raise Refused(f"a length of {length} bytes, and {max(left, 0)} are left")


def refuse_count(count: int, left: int) -> NoReturn:
    """Refuse a count of elements that is negative or larger than what is left could hold."""
    raise Refused(f"{count} elements, and {max(left, 0)} bytes are left")


def varint(data: Buffer, at: int, first: int) -> tuple[int, int]:
    """Read the rest of an unsigned variable integer of 32 bits, whose first byte was read and was more than 127."""
    value = first & 127
    for shift in (7, 14, 21, 28):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value > 0xFFFFFFFF:
                break
            return value, at
    raise Refused("a variable integer of more than 32 bits")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(map(_encoded, range(256)))


def to_varint(value: int) -> bytes:
    """Write an unsigned variable integer."""
    return _SMALL[value] if value < 256 else _encoded(value)


def skip_tagged(data: Buffer, at: int, count: int, end: int) -> int:
    """Skip tagged fields, and return where they end; `count` is the first byte of their number, which is not 0."""
    if count > 127:
        count, at = varint(data, at, count)
    if 2 * count > end - at:
        refuse_count(count, end - at)
    for _ in range(count):
        _, size, at = tag_and_size(data, at, end)
        at += size
    return at


def tag_and_size(data: Buffer, at: int, end: int) -> tuple[int, int, int]:
    """Read what stands before a tagged field: its tag and its size in bytes, which are there."""
    tag = data[at]
    at += 1
    if tag > 127:
        tag, at = varint(data, at, tag)
    size = data[at]
    at += 1
    if size > 127:
        size, at = varint(data, at, size)
    if size > end - at:
        refuse_length(size, end - at)
    return tag, size, at


@lru_cache(maxsize=4096)
def to_uuid(data: bytes) -> UUID:
    """Make a UUID of 16 bytes; those of topics come again and again."""
    return UUID(bytes=data)


_ARRAYS = {letter: [Struct(f">{count}{letter}") for count in range(9)] for letter in "bhiq"}


def read_numbers(letter: str, data: Buffer, at: int, count: int) -> list[Any]:
    """Read an array of numbers by their letter of `struct`."""
    structs = _ARRAYS[letter]
    return list((structs[count] if count < 9 else Struct(f">{count}{letter}")).unpack_from(data, at))


def write_numbers(letter: str, numbers: Sequence[int]) -> bytes:
    """Write an array of numbers by their letter of `struct`, without its length."""
    count, structs = len(numbers), _ARRAYS[letter]
    return (structs[count] if count < 9 else Struct(f">{count}{letter}")).pack(*numbers)


def size_of(value: Buffer | list[Buffer]) -> int:
    """Return how many bytes a buffer has, or a list of them."""
    return sum(map(len, value)) if isinstance(value, list) else len(value)


def put(parts: list[Buffer], out: bytearray, value: Buffer | list[Buffer], size: int) -> bytearray:
    """Append a buffer, or a list of them, to the message, and return what the next field is to be appended to."""
    if size < COPIED_BYTES:
        if isinstance(value, list):
            for each in value:
                out += each
        else:
            out += value
        return out
    parts.append(out)
    if isinstance(value, list):
        parts += value
    else:
        parts.append(value)
    return bytearray()
