"""
The codecs of documents in MessagePack, and of the fields of classes that the reader does not have.

A document is made of dicts, lists and plain values. Tuples come back as lists. In a key the names of dicts are
sorted: equal keys have equal bytes, so they are one entity, in one partition.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import msgpack

from eventlog.codecs.base import Codec, Kind, Role, shorten, type_name
from eventlog.interruptions import unless_interrupted

# A packer allocates its whole buffer at once; 256 KiB, the default, would cost more than the packing.
_PACK_BUFFER_BYTES = 4096

# timestamp=3: aware datetimes. Maps may have any key; the length of the data bounds every other length.
_unpack: Callable[..., Any] = partial(msgpack.unpackb, timestamp=3, strict_map_key=False)

# The head of a time of 96 bits: before 1970 or after 2514. Only such a time may be none that a datetime can hold.
_FAR_TIME = b"\xc7\x0c\xff"


class MsgpackCodec(Codec[Any]):
    """
    A codec that stores documents as MessagePack: as JSON, and also bytes, datetimes and keys of any type.

    A datetime needs a time zone and comes back in UTC. Numbers have 64 bits. A tuple comes back as a list, except
    as a key of a dict, where it stays a tuple.

    Example:
        >>> MsgpackCodec(topic="orders", role="value").decode(bytes.fromhex("81a3736b75a3746561"))
        {'sku': 'tea'}
    """

    __slots__ = ()

    name = "msgpack"
    takes = "dicts, lists, str, bytes, int of 64 bits, float, bool, datetime with a time zone"

    def encode(self, value: object) -> bytes | None:
        """Return the document as MessagePack."""
        if value is None:
            return None
        try:
            return pack_key(value) if self.role == "key" else pack(value)
        except unless_interrupted(TypeError, ValueError, OverflowError, BufferError) as error:
            raise self.misfit(value, *document_misfit(self, value, error)) from error

    def decode(self, data: bytes | None) -> Any:
        """Return the document."""
        return None if data is None else unpack(self, data)

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Return the documents."""
        try:
            return list(map(_unpack, column))
        except unless_interrupted(Exception):
            return super().decode_column(column)


class ClassAsDictsCodec(MsgpackCodec):
    """
    A codec for the records of a class as dicts, for programs that do not have the class.

    A dict must have the fields that had no default when the topic was created. The types of its values are not
    checked: only the class knows them. It is written under the version that the topic was created with.
    """

    __slots__ = ("_head", "_required", "_stored")

    name = "class"

    def __init__(self, stored: dict[str, Any], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._stored = stored
        self._required = frozenset(stored["required"])
        version = stored.get("version", 1)
        self._head = b"" if version == 1 else b"\x92" + pack(version)

    def encode(self, value: object) -> bytes | None:
        """Return the fields as MessagePack."""
        if value is None:
            return None
        advice = f"Pass a dict of its fields, or declare {self.role}= the class."
        _check_fields(self, value, self._stored["class"], self._required, advice)
        fields = super().encode(value)
        return None if fields is None else self._head + fields

    def decode(self, data: bytes | None) -> Any:
        """Return the fields, without the version in front of them."""
        return _without_version(super().decode(data))

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Return the fields of each, without the version."""
        return list(map(_without_version, super().decode_column(column)))

    def to_stored(self) -> dict[str, object]:
        """Return what was stored."""
        return dict(self._stored)


def _without_version(fields: Any) -> Any:
    """Return the fields of a class: from version 2 on the version stands in front of them."""
    return fields[1] if type(fields) is list and len(fields) == 2 else fields


class EventsAsDictsCodec(MsgpackCodec):
    """
    A codec for the events of several classes as dicts, for programs that do not have the classes.

    An event is `{"event": name, "version": n, "data": {...}}`; `version` may be left out when writing. Any event can
    be read. Only events of the classes declared when the topic was created can be written, with the fields that were
    required then.
    """

    __slots__ = ("_rows", "_stored")

    name = "events"

    def __init__(self, stored: dict[str, Any], *, topic: str, role: Role, kind: Kind = "topic") -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._stored = stored
        self._rows: dict[str, dict[str, Any]] = {row["class"].rpartition(".")[2]: row for row in stored["classes"]}

    def encode(self, value: object) -> bytes | None:
        """Return the name, the version and the fields as MessagePack."""
        if value is None:
            return None
        advice = f'Pass {{"event": name, "data": {{...}}}}, or declare {self.role}= the classes.'
        if not isinstance(value, dict):
            raise self.misfit(value, f"{type_name(value)} is not a dict with an event", advice)
        name = value.get("event")
        row = self._rows.get(name) if isinstance(name, str) else None
        if row is None:
            what = shorten(name) if isinstance(name, str) else type_name(name)
            known = shorten(", ".join(self._rows))
            raise self.misfit(value, f"the event of the dict is {what}, known are {known}", advice)
        version = value.get("version", row["version"])
        if type(version) is not int or version < 1:
            raise self.misfit(value, "the version of the dict is not an int of at least 1", advice)
        if value.keys() - {"event", "version", "data"}:
            raise self.misfit(value, "the dict has more than event, version and data", advice)
        fields = value.get("data")
        # The fields of other versions are not known here.
        required: frozenset[str] = frozenset(row["required"] if version == row["version"] else ())
        _check_fields(self, fields, row["class"], required, advice)
        return super().encode([name, version, fields])

    def decode(self, data: bytes | None) -> Any:
        """Return the event as a dict."""
        if data is None:
            return None
        name, version, fields = event_parts(self, unpack(self, data))
        return {"event": name, "version": version, "data": fields}

    def decode_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Return the events as dicts."""
        return list(map(self.decode, column))

    def to_stored(self) -> dict[str, object]:
        """Return what was stored."""
        return dict(self._stored)


def event_parts(codec: Codec[Any], event: object) -> tuple[str, int, dict[str, Any]]:
    """
    Return name, version and fields of an unpacked event.

    Raises:
        ValueError: it is not an event.
    """
    if type(event) is not list or len(event) != 3:
        raise codec.damaged(f"{type_name(event)} instead of an event, which is a list of three")
    name, version, fields = event
    if type(name) is not str:
        raise codec.damaged(f"the name of the event is {type_name(name)}")
    if type(version) is not int or version < 1:
        raise codec.damaged("the version of the event is not an int of at least 1")
    if type(fields) is not dict:
        raise codec.damaged(f"the fields of the event are {type_name(fields)}")
    return name, version, fields


def pack(value: object) -> bytes:
    """
    Return one value as MessagePack; the errors of msgpack pass through.

    Raises:
        ValueError: it holds a time that no datetime can hold in UTC, so that it could never be read.
    """
    # A new packer for each value: packing may run code of the value, which may call this function again.
    data: bytes = msgpack.Packer(datetime=True, buf_size=_PACK_BUFFER_BYTES).pack(value)
    if 0xC7 in data and _FAR_TIME in data:  # to look for one byte takes a tenth of the time
        try:
            _unpack(data, object_pairs_hook=_dict_with_tuples)
        except unless_interrupted(OverflowError, ValueError) as error:
            raise ValueError("a datetime is before year 1 or after year 9999 in UTC") from error
    return data


def pack_key(value: object) -> bytes:
    """Return one key as MessagePack; the entries of every dict are in the order of their packed names."""
    try:
        return pack(_sorted(value))
    except unless_interrupted(RecursionError):
        raise ValueError("nested too deep") from None


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return dict(sorted(((name, _sorted(inner)) for name, inner in value.items()), key=lambda item: pack(item[0])))
    return list(map(_sorted, value)) if isinstance(value, list | tuple) else value


def unpack(codec: Codec[Any], data: bytes) -> Any:
    """
    Return one MessagePack document.

    Raises:
        ValueError: the bytes are not such a document; replaces every error of msgpack.
    """
    try:
        return _unpack(data)
    except unless_interrupted(TypeError):
        # A tuple as key came back as a list, which cannot be a key.
        try:
            return _unpack(data, object_pairs_hook=_dict_with_tuples)
        except unless_interrupted(Exception) as error:
            raise codec.damaged(error_text(error)) from error
    except unless_interrupted(Exception) as error:
        raise codec.damaged(error_text(error)) from error


def _dict_with_tuples(pairs: list[tuple[Any, Any]]) -> dict[Hashable, Any]:
    """Make a dict whose keys may be lists."""
    return {as_key(key): value for key, value in pairs}


def as_key(key: Any) -> Hashable:
    """Turn a list, and the lists in it, into tuples."""
    return tuple(map(as_key, key)) if isinstance(key, list) else key


def _check_fields(codec: Codec[Any], fields: object, class_name: str, required: frozenset[str], advice: str) -> None:
    """Raise TypeError unless `fields` is a dict with the required fields of a class."""
    if not isinstance(fields, dict):
        reason = f"{type_name(fields)} is not a dict with the fields of {class_name}"
        raise codec.misfit(fields, reason, advice)
    missing = required - fields.keys()
    if missing:
        names = shorten(", ".join(sorted(missing)))
        raise codec.misfit(fields, f"the dict lacks fields of {class_name}: {names}", advice)


def document_misfit(codec: Codec[Any], value: object, error: Exception) -> tuple[str, str | None]:
    """The reason why a document cannot be stored, and advice unless another codec would fit all of it."""
    reason = f"{type_name(value)} does not fit the codec '{codec.name}': {error_text(error)}"
    other_codec_fits = isinstance(error, TypeError) and not isinstance(value, dict | list | tuple)
    return reason, None if other_codec_fits else f"Pass {codec.takes}."


def error_text(error: Exception) -> str:
    """Return a short text for an error of another library, without the value."""
    if isinstance(error, UnicodeEncodeError):
        return "text with a lone surrogate is not valid in UTF-8"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return shorten(str(error) or type(error).__name__)
