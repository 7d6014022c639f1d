"""
The codecs of keys and values, as declared by the caller and as stored with a topic or state.

A codec turns Python values into bytes and back. It is declared once and stored with the topic, so every process
decodes alike. On disk a key or value is bytes or None. None means "no key" or "tombstone" for every codec, so
`encode(None)` and `decode(None)` are None everywhere.

The codecs that a log with bytes and text needs are in `plain.py`; the modules of the others, and the libraries that
they need, are imported when the first such codec is made.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Literal, TypeAlias, TypeVar, get_args, overload

from eventlog.codecs.base import Codec, Kind, Role, Upcasters, is_custom, is_union, mismatch, shorten, shown
from eventlog.codecs.plain import BytesCodec, IntCodec, StrCodec
from eventlog.errors import FormatTooNew

__all__ = ["Codec", "CodecName", "Declared", "Kind", "Role", "Upcasters", "codec_for", "codec_from_stored"]

T = TypeVar("T")

CodecName: TypeAlias = Literal[
    "bytes", "str", "int", "json", "msgpack", "float", "bool", "uuid", "date", "datetime", "decimal"
]
"""The names of the codecs that need no class."""

Declared: TypeAlias = type[T] | tuple[type[T], ...] | list[type[T]] | UnionType | CodecName | None
"""
The type of `key=` and `value=`: a type, a class, a name, or None for "not declared"; or a `ValueCodec`.

`value=` also takes several classes, as a tuple, a list or a union.
"""

_NAMES: tuple[str, ...] = get_args(CodecName)
_NAMES_OF_TYPES = {
    ("builtins", "bytes"): "bytes",
    ("builtins", "str"): "str",
    ("builtins", "int"): "int",
    ("builtins", "float"): "float",
    ("builtins", "bool"): "bool",
    ("uuid", "UUID"): "uuid",
    ("datetime", "date"): "date",
    ("datetime", "datetime"): "datetime",
    ("decimal", "Decimal"): "decimal",
}
"""The codecs of single values by the names of their types, so that no module is imported for a question."""

_ACCEPTED = (
    'bytes, str, int, float, bool, datetime, date, Decimal, UUID, "json", "msgpack", an Enum, a class with fields '
    "or a codec of your own"
)


@overload
def codec_for(
    declared: type[T], *, topic: str, role: Role, kind: Kind = ..., upcasters: Upcasters | None = ...
) -> Codec[T]: ...
@overload
def codec_for(
    declared: tuple[type[T], ...] | list[type[T]],
    *,
    topic: str,
    role: Role,
    kind: Kind = ...,
    upcasters: Upcasters | None = ...,
) -> Codec[T]: ...
@overload
def codec_for(
    declared: Literal["bytes"] | None, *, topic: str, role: Role, kind: Kind = ..., upcasters: None = ...
) -> Codec[bytes]: ...
@overload
def codec_for(
    declared: Literal["str"], *, topic: str, role: Role, kind: Kind = ..., upcasters: None = ...
) -> Codec[str]: ...
@overload
def codec_for(
    declared: Literal["int"], *, topic: str, role: Role, kind: Kind = ..., upcasters: None = ...
) -> Codec[int]: ...
@overload
def codec_for(
    declared: object, *, topic: str, role: Role, kind: Kind = ..., upcasters: Upcasters | None = ...
) -> Codec[Any]: ...


def codec_for(
    declared: object, *, topic: str, role: Role, kind: Kind = "topic", upcasters: Upcasters | None = None
) -> Codec[Any]:
    """
    Make the codec of a new topic, or of the values of a new state.

    Args:
        declared: the caller's declaration; None is `bytes`.
        topic: the name of the topic or state, used in messages.
        role: "key" or "value"; several classes may only be values.
        kind: whether `topic` names a topic or a state.
        upcasters: with classes: functions that read values of older versions of a class.

    Raises:
        TypeError: there is no codec for `declared`, the class cannot be read and written, or `upcasters` are not
            valid. Nothing was stored.
        ImportError: a class was declared whose library is not installed, or too old. Nothing was stored.

    Example:
        >>> codec = codec_for(str, topic="orders", role="value")
        >>> codec.encode("tea"), codec.decode(b"tea"), codec.to_stored()
        (b'tea', 'tea', {'name': 'str'})
    """
    name = _declared_name(declared, topic=topic, role=role, kind=kind)
    if name == "events":
        from eventlog.codecs.events import EventsCodec

        return EventsCodec(_classes(declared), upcasters, topic=topic, role=role, kind=kind)
    if name == "class":
        from eventlog.codecs.classes import class_codec

        one: Any = declared
        return class_codec(one, upcasters, topic=topic, role=role, kind=kind)
    if upcasters is not None:
        raise _useless_upcasters(declared, topic=topic, role=role, kind=kind)
    if name == "enum":
        from eventlog.codecs.scalars import EnumCodec

        members: Any = declared
        return EnumCodec(members, topic=topic, role=role, kind=kind)
    if name == "custom":
        from eventlog.codecs.custom import CustomCodec

        ours: Any = declared
        return CustomCodec(ours, topic=topic, role=role, kind=kind)
    return _named_codec(name, topic=topic, role=role, kind=kind)


def codec_from_stored(
    stored: dict[str, Any],
    declared: object,
    *,
    topic: str,
    role: Role,
    kind: Kind = "topic",
    upcasters: Upcasters | None = None,
) -> Codec[Any]:
    """
    Make the codec of an existing topic, or of the values of an existing state.

    `declared=None` opens what is stored; a topic of a class then takes and returns plain dicts. A class matches by its
    name without the module, so it may move between modules. It may also have changed: new fields need a default, and
    removed fields are skipped when old records are read. Of several classes some may be missing and some may be new.

    Args:
        stored: the result of `to_stored()` when the topic was created.
        declared: the caller's declaration, or None.
        topic: the name of the topic or state, used in messages.
        role: "key" or "value", used in messages.
        kind: whether `topic` names a topic or a state.
        upcasters: with classes: functions that read values of older versions of a class.

    Raises:
        TopicMismatch, StateMismatch: `declared` differs from what is stored. The topic is unchanged.
        FormatTooNew: a newer eventlog stored a codec that this one does not know. The topic is unchanged.
        TypeError, ImportError: as for `codec_for`.

    Example:
        >>> codec_from_stored({"name": "int"}, None, topic="orders", role="key").decode(bytes(8))
        0
    """
    known = stored.get("name")
    if known not in (*_NAMES, "class", "events", "enum", "custom"):
        raise FormatTooNew(
            f"cannot open {kind} {topic!r}: its {role} has the codec {known!r}, which this version of eventlog "
            "does not know.",
            stored=f"The {kind} is unchanged.",
            advice="Upgrade eventlog.",
            topic=topic if kind == "topic" else None,
        )
    if declared is None:
        if upcasters is not None:
            raise _useless_upcasters(declared, topic=topic, role=role, kind=kind)
        return _undeclared_codec(stored, topic=topic, role=role, kind=kind)
    name = _declared_name(declared, topic=topic, role=role, kind=kind)
    if name != known:
        raise mismatch(
            kind,
            topic,
            declared=f"{role}={shown(declared)}",
            stored=f"{role}={_shown_stored(stored)}",
            advice=_mismatch_advice(known, name, declared, role=role, kind=kind),
        )
    codec = codec_for(declared, topic=topic, role=role, kind=kind, upcasters=upcasters)
    if name in ("class", "events", "enum", "custom"):
        checking: Any = codec
        checking.check_stored(stored)
    return codec


def _undeclared_codec(stored: dict[str, Any], *, topic: str, role: Role, kind: Kind) -> Codec[Any]:
    """Make the stored codec for a caller that declared nothing."""
    if stored["name"] == "class":
        from eventlog.codecs.documents import ClassAsDictsCodec

        return ClassAsDictsCodec(stored, topic=topic, role=role, kind=kind)
    if stored["name"] == "events":
        from eventlog.codecs.documents import EventsAsDictsCodec

        return EventsAsDictsCodec(stored, topic=topic, role=role, kind=kind)
    if stored["name"] == "enum":
        from eventlog.codecs.scalars import EnumAsValuesCodec

        return EnumAsValuesCodec(stored, topic=topic, role=role, kind=kind)
    if stored["name"] == "custom":
        from eventlog.codecs.custom import found_codec

        return found_codec(stored, topic=topic, role=role, kind=kind)
    return _named_codec(stored["name"], topic=topic, role=role, kind=kind)


def _named_codec(name: str, *, topic: str, role: Role, kind: Kind) -> Codec[Any]:
    """Make one of the codecs that need no class."""
    if name == "bytes":
        return BytesCodec(topic=topic, role=role, kind=kind)
    if name == "str":
        return StrCodec(topic=topic, role=role, kind=kind)
    if name == "int":
        return IntCodec(topic=topic, role=role, kind=kind)
    if name == "json":
        from eventlog.codecs.json_codec import json_codec

        return json_codec(topic=topic, role=role, kind=kind)
    if name == "msgpack":
        from eventlog.codecs.documents import MsgpackCodec

        return MsgpackCodec(topic=topic, role=role, kind=kind)
    from eventlog.codecs.scalars import SCALARS

    return SCALARS[name](topic=topic, role=role, kind=kind)


def _declared_name(declared: object, *, topic: str, role: Role, kind: Kind) -> str:
    """The name of the declared codec; raises TypeError if there is none."""
    name = _name_of_one(declared)
    if name is not None:
        return name
    classes = _classes(declared)
    from eventlog.codecs.kinds import is_class

    if role != "key" and classes and all(map(is_class, classes)):
        return "events"
    reason = ""
    if role == "key" and classes:
        reason = ": a key has one type"
    elif type(None) in classes or None in classes:
        reason = ": None is the tombstone and always allowed; leave it out"
    elif classes:
        reason = ": not all of them are classes with fields"
    elif isinstance(declared, type) and hasattr(declared, "encode") and hasattr(declared, "decode"):
        reason = ": pass a codec, and not its class"
    several = ", or several of these: (A, B)" if role != "key" else ""
    raise TypeError(
        f"cannot declare {role}={shown(declared)} for {kind} {topic!r}{reason}. Nothing was stored. "
        f"Declare {_ACCEPTED}{several}."
    )


def _name_of_one(declared: object) -> str | None:
    """Return the name of the codec of one type, class, name or codec; None if there is none, or several classes."""
    if declared is None:
        return "bytes"
    if isinstance(declared, type):
        name = _NAMES_OF_TYPES.get((declared.__module__, declared.__qualname__))
        if name is not None:
            return name
    if isinstance(declared, str) and declared in _NAMES:
        return declared
    from eventlog.codecs.kinds import is_class, is_enum

    if is_class(declared):
        return "class"
    if is_enum(declared):
        return "enum"
    return "custom" if is_custom(declared) else None


def _classes(declared: object) -> tuple[Any, ...]:
    """Return the members of a tuple, list or union; empty for anything else."""
    if isinstance(declared, tuple | list):
        return tuple(declared)
    return get_args(declared) if is_union(declared) else ()


def _useless_upcasters(declared: object, *, topic: str, role: Role, kind: Kind) -> TypeError:
    """Return the error for upcasters of values that are stored without the name of their class."""
    return TypeError(
        f"cannot use upcasters= for {kind} {topic!r} with {role}={shown(declared)}: they need values that are stored "
        f"with the version of their class. Nothing was stored. Declare {role}= a class, or several: (A, B)."
    )


def _mismatch_advice(known: str, name: str, declared: object, *, role: Role, kind: Kind) -> str:
    """Advice for opening a topic or state whose stored codec is not the declared one."""
    open_it = f"Leave {role}= out to open what is stored"
    if (known, name) == ("events", "class"):
        return (
            f"Declare {role}={shown((declared,))}, as a tuple: its values are stored with the name of their class. "
            f"{open_it}."
        )
    if (known, name) == ("class", "events"):
        return (
            f"Its values are stored without the name of their class: declare that one class, or use another "
            f"{kind}. "
            f"{open_it}."
        )
    return f"{open_it}."


def _shown_stored(stored: dict[str, Any]) -> str:
    """Return a stored codec as source code."""
    name = stored["name"]
    if name in ("class", "enum"):
        return str(stored["class"])
    if name == "custom":
        return f"the codec {stored['codec']!r}"
    if name == "events":
        from eventlog.codecs.kinds import stored_name

        names = [stored_name(row["class"]) for row in stored["classes"]]
        return shorten(f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})")
    return f'"{name}"' if name in ("json", "msgpack") else str(name)
