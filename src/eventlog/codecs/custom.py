"""
The codec of a user's own: an object that another process finds by its name, or is passed.

`ValueCodec` is what it must have. The name and the schema are stored with the topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventlog.codecs.base import Codec, Kind, Role, ValueCodec, mismatch, shorten, shown, type_name
from eventlog.codecs.documents import pack
from eventlog.interruptions import unless_interrupted

ENTRY_POINTS = "eventlog.codecs"
"""The group of entry points in which installed packages name their codecs."""

_MOST_NAME_BYTES = 100
_MOST_SCHEMA_BYTES = 64 << 10


class CustomCodec(Codec[Any]):
    """A codec that has a user's own do the work, and translates its errors."""

    __slots__ = ("_ours", "_schema", "takes")

    name = "custom"

    def __init__(self, declared: ValueCodec[Any], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._ours = declared
        self._schema = _checked(declared, f"{role}={shown(declared)} for {kind} {topic!r}")
        self.takes = f"what the codec {shorten(declared.name)!r} takes"

    def encode(self, value: object) -> bytes | None:
        """Return the bytes that the user's codec makes."""
        if value is None:
            return None
        try:
            data = self._ours.encode(value)
        except unless_interrupted(Exception) as error:  # the user's code may raise any error
            reason = f"{self._ours.name} cannot encode {type_name(value)}, {type(error).__name__}: {error}"
            raise self.misfit(value, shorten(reason), f"Pass {self.takes}.") from error
        if type(data) is not bytes:
            raise self.misfit(value, f"{self._ours.name} returned {type_name(data)}", "Let its encode() return bytes.")
        return data

    def decode(self, data: bytes | None) -> Any:
        """Return what the user's codec makes of the bytes."""
        if data is None:
            return None
        try:
            return self._ours.decode(data)
        except unless_interrupted(Exception) as error:  # as above
            raise self.damaged(f"{self._ours.name} raised {type(error).__name__}: {error}") from error

    def to_stored(self) -> dict[str, object]:
        """Return the name and the schema."""
        return {"name": self.name, "codec": self._ours.name, "schema": self._schema}

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Check that the stored codec is this one.

        Raises:
            TopicMismatch, StateMismatch: it has another name or another schema.
        """
        is_named = stored["codec"] == self._ours.name
        if is_named and _same_schema(stored["schema"], self._schema):
            return
        declared, known = f"the codec {self._ours.name!r}", f"the codec {stored['codec']!r}"
        raise mismatch(
            self.kind,
            self.topic,
            declared=f"{self.role}={declared}" + (" and another schema" if is_named else ""),
            stored=f"{self.role}={known}",
            advice=f"Pass the codec that it was created with, or leave {self.role}= out if a package has it as an "
            "entry point. To change it, copy the topic with log.copy_topic().",
        )


class MissingCodec(Codec[Any]):
    """The stand-in for a codec of a user's own that was neither passed nor found: it neither reads nor writes."""

    __slots__ = ("_stored", "_why", "takes")

    name = "custom"

    def __init__(self, stored: dict[str, Any], why: str, *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._stored = stored
        self._why = why
        self.takes = f"what the codec {shorten(stored['codec'])!r} takes"

    def encode(self, value: object) -> bytes | None:
        """Refuse anything but None."""
        if value is None:
            return None
        raise self.misfit(value, f"its codec {self._stored['codec']!r} is not here: {self._why}", self._help())

    def decode(self, data: bytes | None) -> Any:
        """Refuse anything but None; the record is intact."""
        if data is None:
            return None
        raise ValueError(
            f"cannot decode the {self.role} with the codec {self._stored['codec']!r}: {self._why}. {self._help()[:-1]}"
        )

    def to_stored(self) -> dict[str, object]:
        """Return what was stored."""
        return dict(self._stored)

    def _help(self) -> str:
        return (
            f"Open the {self.kind} with {self.role}= that codec, or install the package that has it as an entry point "
            f"of {ENTRY_POINTS}."
        )


def found_codec(stored: dict[str, Any], *, topic: str, role: Role, kind: Kind = "topic") -> Codec[Any]:
    """Return the stored codec by its entry point, or its stand-in."""
    from importlib.metadata import entry_points

    name: str = stored["codec"]
    found = list(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        return MissingCodec(
            stored, f"no entry point of {ENTRY_POINTS} has that name", topic=topic, role=role, kind=kind
        )
    try:
        codec = CustomCodec(found[0].load()(stored["schema"]), topic=topic, role=role, kind=kind)
        codec.check_stored(stored)
    except unless_interrupted(Exception) as error:  # the user's code may raise any error
        why = f"its entry point {found[0].value} failed, {type(error).__name__}: {shorten(str(error))}"
        return MissingCodec(stored, why, topic=topic, role=role, kind=kind)
    return codec


def _checked(declared: ValueCodec[Any], where: str) -> Any:
    """Return the schema of a codec; raises TypeError or ValueError if its parts are not what they should be."""
    name: object = declared.name
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= _MOST_NAME_BYTES:
        raise ValueError(
            f"cannot use {where}: its name is not 1 to {_MOST_NAME_BYTES} bytes of printable characters. Nothing was "
            'stored. Give it a name such as "shop.protobuf".'
        )
    encode: object = declared.encode
    decode: object = declared.decode
    if not (callable(encode) and callable(decode)):
        raise TypeError(f"cannot use {where}: encode and decode are not functions. Nothing was stored. Make them such.")
    schema: object = declared.schema
    if schema is None:
        return None
    try:
        size = len(pack(schema))
    except unless_interrupted(Exception) as error:
        raise TypeError(
            f"cannot use {where}: its schema cannot be stored, {shorten(str(error))}. Nothing was stored. Make it of "
            "text, numbers, bytes, lists and dicts."
        ) from error
    if not isinstance(schema, Mapping) or size > _MOST_SCHEMA_BYTES:
        raise ValueError(
            f"cannot use {where}: its schema is {type_name(schema)} of {size} bytes. Nothing was stored. Make it "
            f"a dict of at most {_MOST_SCHEMA_BYTES} bytes, or None."
        )
    return dict(schema)


def _same_schema(stored: Any, declared: Any) -> bool:
    """Whether two schemas are equal as they are stored, where a tuple is a list."""
    return bool(pack(stored) == pack(declared)) or stored == declared
