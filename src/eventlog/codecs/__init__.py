"""
Which codec a topic's keys and values have, as declared and as stored.

A codec turns what callers hold into bytes and back. It is declared once and stored with the topic, so every
process decodes alike. On disk a key or value is bytes or None. None means "no key" or "tombstone" whatever the
codec is, so `encode(None)` and `decode(None)` are None everywhere.

The codecs themselves are in the modules beside this one; what needs json, msgpack or cattrs is imported when the
first such codec is made. Knows nothing of batches, files or threads.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypeVar, overload

from eventlog.codecs.base import Codec, Role, is_attrs_class
from eventlog.codecs.plain import BytesCodec, IntCodec, StrCodec
from eventlog.errors import FormatTooNew, TopicMismatch

__all__ = ["Codec", "CodecName", "Declared", "Role", "codec_for", "codec_from_stored"]

T = TypeVar("T")

CodecName: TypeAlias = Literal["bytes", "str", "int", "json", "msgpack"]
"""The codecs that can be declared by name."""

Declared: TypeAlias = type[T] | CodecName | None
"""What `key=` and `value=` take: `bytes`, `str`, `int`, an attrs class, a name, or None for "not said"."""

_ACCEPTED = 'bytes, str, int, "bytes", "str", "int", "json", "msgpack" or an attrs class'
_NAMES = ("bytes", "str", "int", "json", "msgpack")


@overload
def codec_for(declared: type[T], *, topic: str, role: Role) -> Codec[T]: ...
@overload
def codec_for(declared: Literal["bytes"] | None, *, topic: str, role: Role) -> Codec[bytes]: ...
@overload
def codec_for(declared: Literal["str"], *, topic: str, role: Role) -> Codec[str]: ...
@overload
def codec_for(declared: Literal["int"], *, topic: str, role: Role) -> Codec[int]: ...
@overload
def codec_for(declared: Literal["json", "msgpack"], *, topic: str, role: Role) -> Codec[Any]: ...
@overload
def codec_for(declared: object, *, topic: str, role: Role) -> Codec[Any]: ...


def codec_for(declared: object, *, topic: str, role: Role) -> Codec[Any]:
    """
    Makes the codec of a new topic.

    Args:
        declared: what the caller declared; None is `bytes`.
        topic: the topic's name, for messages.
        role: "key" or "value", for messages.

    Raises:
        TypeError: `declared` is nothing we can store by, or cattrs can not read and write the class. Nothing was
            stored.
        ImportError: a class was declared and cattrs is not installed. Nothing was stored.

    Example:
        >>> codec = codec_for(str, topic="orders", role="value")
        >>> codec.encode("tea"), codec.decode(b"tea"), codec.to_stored()
        (b'tea', 'tea', {'name': 'str'})
    """
    name = _declared_name(declared, topic=topic, role=role)
    if name == "class":
        from eventlog.codecs.classes import ClassCodec

        assert isinstance(declared, type)
        return ClassCodec(declared, topic=topic, role=role)
    return _named_codec(name, topic=topic, role=role)


def codec_from_stored(stored: dict[str, Any], declared: object, *, topic: str, role: Role) -> Codec[Any]:
    """
    Makes the codec of a topic that exists.

    `declared=None` opens what is stored; a topic of a class then gives and takes plain dicts. A class matches by
    its name without the module, so it may move between modules. It may also have changed: fields that the topic
    was created without need a default, fields that are gone are skipped when old records are read.

    Args:
        stored: what `to_stored()` gave when the topic was created.
        declared: what the caller declared now, or None.
        topic: the topic's name, for messages.
        role: "key" or "value", for messages.

    Raises:
        TopicMismatch: `declared` is not what is stored. The topic is unchanged.
        FormatTooNew: a newer eventlog stored a codec that this one does not know. The topic is unchanged.
        TypeError, ImportError: as for `codec_for`.

    Example:
        >>> codec_from_stored({"name": "int"}, None, topic="orders", role="key").decode(bytes(8))
        0
    """
    stored_name = stored.get("name")
    if stored_name not in (*_NAMES, "class"):
        raise FormatTooNew(
            f"cannot open topic {topic!r}: its {role} has the codec {stored_name!r}, which this version of "
            f"eventlog does not know. The topic is unchanged. Upgrade eventlog."
        )
    if declared is None:
        return _undeclared_codec(stored, topic=topic, role=role)
    name = _declared_name(declared, topic=topic, role=role)
    if name != stored_name:
        raise TopicMismatch(
            f"cannot open topic {topic!r} with {role}={_shown(declared)}: the topic was created with "
            f"{role}={_shown_stored(stored)}. The topic is unchanged. Leave {role}= out to open what is stored."
        )
    codec = codec_for(declared, topic=topic, role=role)
    if name == "class":
        from eventlog.codecs.classes import ClassCodec

        assert isinstance(codec, ClassCodec)
        codec.check_stored(stored)
    return codec


def _undeclared_codec(stored: dict[str, Any], *, topic: str, role: Role) -> Codec[Any]:
    """Makes the stored codec for somebody who declared nothing."""
    if stored["name"] == "class":
        from eventlog.codecs.documents import ClassAsDictsCodec

        return ClassAsDictsCodec(stored, topic=topic, role=role)
    return _named_codec(stored["name"], topic=topic, role=role)


def _named_codec(name: str, *, topic: str, role: Role) -> Codec[Any]:
    """Makes one of the codecs that need no class."""
    if name == "bytes":
        return BytesCodec(topic=topic, role=role)
    if name == "str":
        return StrCodec(topic=topic, role=role)
    if name == "int":
        return IntCodec(topic=topic, role=role)
    from eventlog.codecs.documents import JsonCodec, MsgpackCodec

    return (JsonCodec if name == "json" else MsgpackCodec)(topic=topic, role=role)


def _declared_name(declared: object, *, topic: str, role: Role) -> str:
    """Says which codec was declared, or raises TypeError."""
    if declared is None:
        return "bytes"
    if declared is bytes or declared is str or declared is int:
        return declared.__name__
    if isinstance(declared, str) and declared in _NAMES:
        return declared
    if is_attrs_class(declared):
        return "class"
    raise TypeError(
        f"cannot declare {role}={_shown(declared)} for topic {topic!r}. Nothing was stored. Declare {_ACCEPTED}."
    )


def _shown(declared: object) -> str:
    """Writes a declaration as the caller would, in 60 characters at most."""
    if isinstance(declared, type):
        return declared.__qualname__[:60]
    return ascii(declared)[:60] if isinstance(declared, str) else type(declared).__name__[:60]


def _shown_stored(stored: dict[str, Any]) -> str:
    """Writes a stored codec as one would declare it."""
    name = stored["name"]
    if name == "class":
        return str(stored["class"])
    return f'"{name}"' if name in ("json", "msgpack") else str(name)
