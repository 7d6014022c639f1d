"""
The codec of a topic of several classes: each value is stored with the name and version of its class.

A value is a MessagePack array of three:

    0  str  name of the class, without its module
    1  int  version of the class's fields, from 1
    2  map  the fields, as in `classes.py`

The version written is the number of the class's upcasters plus one. Fields written under an older version pass
through the upcasters from that version on before an instance is made.

Imported only when such a codec is made. The caller passes the classes; nothing is looked up by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from eventlog.codecs.base import (
    Codec,
    Kind,
    Role,
    UnknownEventData,
    Upcasters,
    mismatch,
    shorten,
    shown,
    type_name,
)
from eventlog.codecs.classes import added_fields, described
from eventlog.codecs.documents import event_parts, pack, unpack
from eventlog.codecs.fields import hooks, refusal
from eventlog.codecs.kinds import class_of, is_class, short_name, stored_name
from eventlog.codecs.upcasters import checked_upcasters, upcast
from eventlog.interruptions import unless_interrupted

T = TypeVar("T")


class EventsCodec(Codec[T]):
    """
    A codec that stores instances of some classes, each read back as an instance of its own class.

    The class is stored by its name without the module, so it may move between modules. Only instances of the classes
    themselves fit: the added fields of a subclass would be lost.

    An upcaster takes the fields as they are stored (a dict of plain values, its own copy) and returns the fields of
    the next version. The last of a chain may return an instance of a declared class instead, which is how a class that
    was renamed or split is read.

    Args:
        declared: the classes.
        upcasters: for the name of a stored class, functions from version 1 to version 2, and so on. A chain that ends
            in an instance of a declared class may have any name.
        topic: the name of the topic or state, used in messages.
        role: always "value".
        kind: whether `topic` names a topic or a state, used in messages.

    Raises:
        ImportError: cattrs is not installed.
        TypeError: a class cannot be read and written, two of them have the same name or are TypedDicts, or `upcasters`
            are not valid.

    Example:
        >>> import attrs
        >>> @attrs.frozen
        ... class Opened:
        ...     owner: str
        >>> old = EventsCodec([Opened], topic="accounts").encode(Opened("alice"))
        >>> codec = EventsCodec([Opened], {"Opened": [lambda old: {"owner": old["owner"].title()}]}, topic="accounts")
        >>> codec.decode(old), codec.decode(codec.encode(Opened("bob")))
        (Opened(owner='Alice'), Opened(owner='bob'))
    """

    __slots__ = ("_chains", "_classes", "_ends", "_readers", "_writers", "takes")

    name = "events"

    def __init__(
        self,
        declared: Sequence[type[T]],
        upcasters: Upcasters | None = None,
        *,
        topic: str,
        role: Role = "value",
        kind: Kind = "topic",
    ) -> None:
        super().__init__(topic=topic, role=role, kind=kind)
        self._classes = tuple(declared)
        names = list(map(short_name, declared))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise TypeError(
                f"cannot use {role}={shown(self._classes)} for {kind} {topic!r}: two of the classes are called "
                f"{twice}, and values are stored under that name. Nothing was stored. Rename one of them."
            )
        if [class_of(one) for one in declared].count(dict) > 1:
            raise TypeError(
                f"cannot use {role}={shown(self._classes)} for {kind} {topic!r}: two of them are TypedDicts, and a "
                "dict does not tell which one it is. Nothing was stored. Make one of them a dataclass, or merge them."
            )
        self.takes = f"an instance of {shorten(' or '.join(names))}"
        self._chains = checked_upcasters(upcasters, f"{kind} {topic!r}")
        self._writers: dict[type, tuple[bytes, Callable[[Any], Any]]] = {}
        self._readers: dict[str, tuple[int, Callable[[Any, type[T]], T], type[T]]] = {}
        for one, (unstructure, structure) in zip(self._classes, hooks(self, *self._classes), strict=True):
            name = short_name(one)
            version = self._version(name)
            # An array of three, its first two items, later the third: the same bytes as packing all three at once.
            self._writers[class_of(one)] = b"\x93" + pack(name) + pack(version), unstructure
            self._readers[name] = version, structure, one
        self._ends = tuple(self._writers)

    def encode(self, value: object) -> bytes | None:
        """Return the name, the version and the fields as MessagePack."""
        writer = self._writers.get(type(value))
        if writer is None:
            if value is None:
                return None
            raise self._undeclared(value)
        head, unstructure = writer
        try:
            return head + pack(unstructure(value))
        except unless_interrupted(Exception) as error:  # hooks and properties of the class may raise any error
            raise self.misfit(value, *refusal(value, error)) from error

    def decode(self, data: bytes | None) -> T | None:
        """
        Return a new instance.

        Raises:
            UnknownEventData: the class is not declared, or no upcaster reads this version.
            ValueError: the bytes are not such an event, or an upcaster failed.
        """
        if data is None:
            return None
        event = unpack(self, data)
        if type(event) is list and len(event) == 3 and type(event[0]) is str:
            name, version, fields = event
            reader = self._readers.get(name)
            if reader is not None and version == reader[0] and type(version) is int:
                try:
                    return reader[1](fields, reader[2])
                except unless_interrupted(Exception) as error:  # validators of the class may raise any error
                    raise self._no_instance(reader[2], error) from error
        return self._decode_older(*event_parts(self, event))

    def to_stored(self) -> dict[str, object]:
        """Return the classes with their fields and versions, for readers that do not have the classes."""
        classes = [{**described(one), "version": self._version(short_name(one))} for one in self._classes]
        return {"name": self.name, "classes": classes}

    def check_stored(self, stored: dict[str, Any]) -> None:
        """
        Check that values of those stored classes that are declared here can be read.

        Raises:
            TopicMismatch, StateMismatch: a class has a new field without a default and no upcaster for it, or there
                are fewer upcasters than before.
        """
        declared = {short_name(one): one for one in self._classes}
        for row in stored["classes"]:
            name = stored_name(row["class"])
            if name not in declared:
                continue
            version, known = self._version(name), row["version"]
            if version < known:
                raise self._mismatch(
                    name,
                    f"version {known} of {row['class']}",
                    f"Pass upcasters={{{name!r}: [...]}}, one for each version before {known}.",
                )
            added = added_fields(declared[name], row["schema"])
            if added and version == known:
                raise self._mismatch(
                    name,
                    f"version {version} of {row['class']}, without the fields {', '.join(added)}",
                    f"Give these fields a default, or add a function that makes them to upcasters={{{name!r}: [...]}}.",
                )

    def _version(self, name: str) -> int:
        """Return the version under which a declared class is written."""
        return len(self._chains.get(name, ())) + 1

    def _decode_older(self, name: str, version: int, fields: dict[str, Any]) -> T:
        """Read an event of an older version through the upcasters, or raise."""
        chain, reader = self._chains.get(name, ()), self._readers.get(name)
        if version > len(chain) + (reader is not None):
            raise self._unknown(name, version)
        made = upcast(self, name, chain, version, fields, ends=self._ends)
        if type(made) is not dict and type(made) in self._writers:
            return made  # type: ignore[no-any-return]
        fields = made
        if reader is None:
            raise self._unknown(name, version)
        try:
            return reader[1](fields, reader[2])
        except unless_interrupted(Exception) as error:  # as in decode()
            raise self._no_instance(reader[2], error) from error

    def _no_instance(self, declared: type, error: Exception) -> ValueError:
        return self.damaged(f"not a {short_name(declared)}, {type(error).__name__}: {error}")

    def _unknown(self, name: str, version: int) -> UnknownEventData:
        """Return the error for a sound event that the declared classes and upcasters cannot read."""
        short = shorten(name)
        if name in self._readers:
            reason = f"the declared upcasters reach version {self._version(name)}"
            advice = "A newer program wrote it: add its upcasters, or upgrade"
        elif name in self._chains:
            reason = f"{short} is not declared, and its upcasters do not end in an instance of a declared class here"
            advice = f"Let the last of upcasters={{{short!r}: [...]}} return an instance"
        else:
            reason = f"the declared classes are {shown(self._classes)}"
            advice = f"Declare {short} too, or upcasters={{{short!r}: [...]}} that end in an instance of these"
        return UnknownEventData(
            f"cannot decode the {self.role} with the codec '{self.name}': it is {short}, version {version}, and "
            f"{reason}. {advice}"
        )

    def _undeclared(self, value: object) -> TypeError:
        """Return the error for a value that is of none of the declared classes."""
        classes = shown(self._classes)
        reason = f"{type_name(value)} is none of {classes}"
        if isinstance(value, self._ends):
            reason += " but a subclass of one, whose own fields would be lost"
        elif is_class(type(value)):
            return self.misfit(value, reason, f"Declare {type_name(value)} too, beside the others in {self.role}=.")
        return self.misfit(value, reason, f"Pass {self.takes}.")

    def _mismatch(self, name: str, stored: str, advice: str) -> Exception:
        declared = f"{self.role}={shown(self._classes)}, {name} with {self._version(name) - 1} upcasters"
        return mismatch(self.kind, self.topic, declared=declared, stored=stored, advice=advice)
