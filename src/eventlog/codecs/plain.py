"""
The codecs of plain values: bytes, text and 64-bit numbers.

Kafka's ByteArray, String and Long serializers write the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from eventlog.codecs.base import Codec, type_name
from eventlog.interruptions import unless_interrupted

_INT64 = struct.Struct(">q")
_BYTES_OR_NONE = {bytes, type(None)}
_pack_int64 = _INT64.pack
_unpack_int64 = _INT64.unpack


class BytesCodec(Codec[bytes]):
    """
    A codec that stores bytes as they are, and text as UTF-8; reading gives bytes.

    Example:
        >>> BytesCodec(topic="orders", role="value").encode("tea")
        b'tea'
    """

    __slots__ = ()

    name = "bytes"
    raw_type = bytes
    plain_type = bytes
    takes = "bytes, bytearray, memoryview or str"

    def encode(self, value: object) -> bytes | None:
        """Return the bytes; a bytearray or memoryview is copied."""
        if value is None or type(value) is bytes:
            return value
        if isinstance(value, str):
            return _utf8(self, value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise self.misfit(value)

    def encode_column(self, column: Sequence[object]) -> Sequence[bytes | None]:
        """Return the column itself if nothing in it needs encoding."""
        if set(map(type, column)) <= _BYTES_OR_NONE:
            return column  # type: ignore[return-value]
        return super().encode_column(column)

    def decode(self, data: bytes | None) -> bytes | None:
        """Return the same object."""
        return data

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """Return the same column."""
        return column


class StrCodec(Codec[str]):
    """
    A codec that stores text as UTF-8.

    UTF-8 cannot encode a lone surrogate, so text with one is refused.

    Example:
        >>> StrCodec(topic="orders", role="value").decode(b"tea")
        'tea'
    """

    __slots__ = ()

    name = "str"
    plain_type = str
    takes = "str"

    def encode(self, value: object) -> bytes | None:
        """Return the text as UTF-8."""
        if isinstance(value, str):
            return _utf8(self, value)
        if value is None:
            return None
        raise self.misfit(value)

    def encode_column(self, column: Sequence[object]) -> Sequence[bytes | None]:
        """Return the texts as UTF-8."""
        try:
            return list(map(str.encode, column))  # type: ignore[arg-type]  # raises TypeError for anything but text
        except unless_interrupted(TypeError, UnicodeEncodeError):
            return super().encode_column(column)

    def decode(self, data: bytes | None) -> str | None:
        """Return the text."""
        if data is None:
            return None
        try:
            return data.decode()
        except unless_interrupted(UnicodeDecodeError) as error:
            raise self.damaged(f"not UTF-8 at byte {error.start}") from error

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[str | None]:
        """Return the texts."""
        try:
            return list(map(bytes.decode, column))  # type: ignore[arg-type]  # None raises TypeError
        except unless_interrupted(TypeError, UnicodeDecodeError):
            return super().decode_column(column)


class IntCodec(Codec[int]):
    """
    A codec that stores 64-bit integers as 8 bytes, big-endian and signed.

    A bool is refused, because it would come back as a number.

    Example:
        >>> IntCodec(topic="orders", role="key").encode(-2).hex()
        'fffffffffffffffe'
    """

    __slots__ = ()

    name = "int"
    takes = "an int from -2**63 to 2**63 - 1"

    def encode(self, value: object) -> bytes | None:
        """Return the 8 bytes."""
        if type(value) is not int:
            if value is None:
                return None
            if not isinstance(value, int) or isinstance(value, bool):
                raise self.misfit(value)
        try:
            return _pack_int64(value)
        except unless_interrupted(struct.error) as error:
            reason = f"an int of {value.bit_length()} bits and a sign does not fit into 8 bytes"
            raise self.misfit(value, reason, f"Pass {self.takes}, or declare {self.role}=str.") from error

    def encode_column(self, column: Sequence[object]) -> Sequence[bytes | None]:
        """Return the 8 bytes of each number."""
        if set(map(type, column)) == {int}:
            try:
                return list(map(_pack_int64, column))
            except unless_interrupted(struct.error):
                pass  # too large for 8 bytes; `encode` raises the error with words
        return super().encode_column(column)

    def decode(self, data: bytes | None) -> int | None:
        """Return the number."""
        if data is None:
            return None
        if len(data) != 8:
            raise self.damaged(f"{len(data)} bytes instead of 8")
        number: int = _unpack_int64(data)[0]
        return number

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[int | None]:
        """Return the numbers."""
        try:
            # Check every length: 7 bytes next to 9 would join into two numbers that nobody wrote.
            if set(map(len, column)) <= {8}:  # type: ignore[arg-type]  # None raises TypeError
                return list(struct.unpack(f">{len(column)}q", b"".join(column)))  # type: ignore[arg-type]
        except unless_interrupted(TypeError):
            return super().decode_column(column)
        return super().decode_column(column)


def _utf8(codec: BytesCodec | StrCodec, value: str) -> bytes:
    """Return text as UTF-8, even if a subclass of str overrides `encode`."""
    try:
        return str.encode(value)
    except unless_interrupted(UnicodeEncodeError) as error:
        reason = f"{type_name(value)} with a lone surrogate at position {error.start} is not valid in UTF-8"
        advice = f"Pass text without surrogates, or bytes after declaring {codec.role}=bytes."
        raise codec.misfit(value, reason, advice) from error
