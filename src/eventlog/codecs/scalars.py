"""
The codecs of single values that have a type of their own: numbers, times, ids and the members of an enum.

Where Kafka has a serializer for the type (Double, Boolean, UUID), the bytes are the same. In a key, values that are
equal have equal bytes, so that they are one entity in one partition: `0.0` and `-0.0`, `Decimal("1.0")` and
`Decimal("1.00")`, the same moment in two time zones.

Imported only when such a codec is made.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import struct
import uuid
from abc import abstractmethod
from typing import Any, ClassVar

from eventlog.codecs.base import Codec, Kind, Role, mismatch, shorten, type_name
from eventlog.codecs.documents import as_key, error_text, pack, unpack
from eventlog.codecs.kinds import full_name, short_name, stored_name
from eventlog.interruptions import unless_interrupted

_DOUBLE = struct.Struct(">d")
_INT64 = struct.Struct(">q")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_WIDE = decimal.Context(prec=decimal.MAX_PREC, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])


class ScalarCodec(Codec[Any]):
    """A codec of the values of exactly one type; subclasses know its bytes."""

    __slots__ = ()

    type: ClassVar[type]

    def encode(self, value: object) -> bytes | None:
        """Return the bytes of the value."""
        if type(value) is not self.type:
            if value is None:
                return None
            raise self.misfit(value)
        try:
            return self._to_bytes(value)
        except unless_interrupted(ValueError, OverflowError) as error:
            raise self.misfit(value, f"{type_name(value)}: {shorten(str(error))}", f"Pass {self.takes}.") from error

    def decode(self, data: bytes | None) -> Any:
        """Return the value."""
        if data is None:
            return None
        try:
            return self._from_bytes(data)
        except unless_interrupted(ValueError, ArithmeticError, struct.error) as error:
            raise self.damaged(f"not {self.takes}: {error_text(error)}") from error

    @abstractmethod
    def _to_bytes(self, value: Any) -> bytes: ...

    @abstractmethod
    def _from_bytes(self, data: bytes) -> Any: ...


class FloatCodec(ScalarCodec):
    """
    A codec that stores numbers as 8 bytes, IEEE 754, big-endian: Kafka's Double.

    An int is taken if a float can hold it.

    Example:
        >>> FloatCodec(topic="prices", role="value").encode(1.5).hex()
        '3ff8000000000000'
    """

    __slots__ = ()

    name = "float"
    type = float
    takes = "a float"

    def encode(self, value: object) -> bytes | None:
        """Return the 8 bytes."""
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
            value = float(value)
        return super().encode(value)

    def _to_bytes(self, value: float) -> bytes:
        return _DOUBLE.pack(value + 0.0 if self.role == "key" else value)  # -0.0 + 0.0 is 0.0

    def _from_bytes(self, data: bytes) -> float:
        number: float = _DOUBLE.unpack(data)[0]
        return number


class BoolCodec(ScalarCodec):
    """A codec that stores a truth value as one byte, 01 or 00: Kafka's Boolean."""

    __slots__ = ()

    name = "bool"
    type = bool
    takes = "True or False"

    def _to_bytes(self, value: bool) -> bytes:  # noqa: FBT001 - it is the value
        return b"\1" if value else b"\0"

    def _from_bytes(self, data: bytes) -> bool:
        if data not in (b"\0", b"\1"):
            raise ValueError(f"{len(data)} bytes that are neither 00 nor 01")
        return data == b"\1"


class UuidCodec(ScalarCodec):
    """A codec that stores a UUID as its 36 characters: Kafka's UUID."""

    __slots__ = ()

    name = "uuid"
    type = uuid.UUID
    takes = "a UUID"

    def _to_bytes(self, value: uuid.UUID) -> bytes:
        return str(value).encode()

    def _from_bytes(self, data: bytes) -> uuid.UUID:
        if len(data) != 36:
            raise ValueError(f"{len(data)} bytes instead of 36")
        return uuid.UUID(data.decode())


class DateCodec(ScalarCodec):
    """A codec that stores a date as text in ISO 8601."""

    __slots__ = ()

    name = "date"
    type = dt.date
    takes = "a date"

    def _to_bytes(self, value: dt.date) -> bytes:
        return value.isoformat().encode()

    def _from_bytes(self, data: bytes) -> dt.date:
        return dt.date.fromisoformat(data.decode())


class DatetimeCodec(ScalarCodec):
    """
    A codec that stores a moment as microseconds since 1970 UTC, 8 bytes, big-endian and signed.

    A datetime needs a time zone and comes back in UTC.
    """

    __slots__ = ()

    name = "datetime"
    type = dt.datetime
    takes = "a datetime with a time zone, from year 1 to 9999 in UTC"

    def _to_bytes(self, value: dt.datetime) -> bytes:
        if value.utcoffset() is None:
            raise ValueError("it has no time zone")
        return _INT64.pack((value.astimezone(dt.UTC) - _EPOCH) // _MICROSECOND)

    def _from_bytes(self, data: bytes) -> dt.datetime:
        return _EPOCH + dt.timedelta(microseconds=_INT64.unpack(data)[0])


class DecimalCodec(ScalarCodec):
    """A codec that stores a decimal number as text; trailing zeros stay, but in keys they go."""

    __slots__ = ()

    name = "decimal"
    type = decimal.Decimal
    takes = "a Decimal"

    def _to_bytes(self, value: decimal.Decimal) -> bytes:
        if self.role == "key" and value.is_finite():
            value = value.normalize(_WIDE) if value else decimal.Decimal(0)
        return str(value).encode()

    def _from_bytes(self, data: bytes) -> decimal.Decimal:
        return decimal.Decimal(data.decode())


class EnumCodec(Codec[Any]):
    """
    A codec that stores a member of an enum by its value, as MessagePack.

    Raises:
        TypeError: the value of a member is none that MessagePack has, so that it could not be read.
    """

    __slots__ = ("_enum", "takes")

    name = "enum"

    def __init__(self, declared: type[enum.Enum], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._enum = declared
        self.takes = f"a member of {shorten(declared.__qualname__)}"
        for member in declared:
            try:
                is_same = self.decode(pack(member.value)) is member
            except unless_interrupted(Exception):
                is_same = False
            if not is_same:
                raise TypeError(
                    f"cannot use {role}={shorten(declared.__qualname__)} for {kind} {topic!r}: {member.name} does not "
                    "come back from its value. Nothing was stored. Give its members values of str, int, float or bytes."
                )

    def encode(self, value: object) -> bytes | None:
        """Return the value of the member."""
        if isinstance(value, self._enum):
            return pack(value.value)
        if value is None:
            return None
        raise self.misfit(value, None, f"Pass {self.takes}.")

    def decode(self, data: bytes | None) -> Any:
        """Return the member."""
        if data is None:
            return None
        value = unpack(self, data)
        try:
            return self._enum(as_key(value))
        except unless_interrupted(ValueError, TypeError) as error:
            raise self.damaged(f"not {self.takes}") from error

    def to_stored(self) -> dict[str, object]:
        """Return the full name of the enum, and its values."""
        return {"name": self.name, "class": full_name(self._enum), "values": [one.value for one in self._enum]}

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Check that the stored members are of this enum.

        Raises:
            TopicMismatch, StateMismatch: they are of an enum with another name.
        """
        if stored_name(stored["class"]) != short_name(self._enum):
            raise mismatch(
                self.kind,
                self.topic,
                declared=f"{self.role}={full_name(self._enum)}",
                stored=f"{self.role}={stored['class']}",
                advice=f"Leave {self.role}= out to read the values of its members.",
            )


class EnumAsValuesCodec(Codec[Any]):
    """A codec for the members of an enum as their values, for programs that do not have the enum."""

    __slots__ = ("_stored", "takes")

    name = "enum"

    def __init__(self, stored: dict[str, Any], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._stored = stored
        self.takes = f"the value of a member of {stored['class']}"

    def encode(self, value: object) -> bytes | None:
        """Return the value, if a member had it when the topic was created."""
        if value is None:
            return None
        if not any(value == one and type(value) is type(one) for one in map(as_key, self._stored["values"])):
            raise self.misfit(
                value, f"{type_name(value)} is no value of {self._stored['class']}", f"Pass {self.takes}."
            )
        return pack(value)

    def decode(self, data: bytes | None) -> Any:
        """Return the value."""
        return None if data is None else as_key(unpack(self, data))

    def to_stored(self) -> dict[str, object]:
        """Return what was stored."""
        return dict(self._stored)


SCALARS: dict[str, type[ScalarCodec]] = {
    one.name: one for one in (FloatCodec, BoolCodec, UuidCodec, DateCodec, DatetimeCodec, DecimalCodec)
}
"""The codecs of single values, by their names."""
