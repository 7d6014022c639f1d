"""
Classes made from a description, values of them, and a second process that makes the same classes.

A description is a tree of tuples, so that it can be sent to another process: `("int",)`, `("list", inner)`,
`("optional", inner)`, `("class", library, name, ((field, inner), ...))`, `("box", library, inner)` for a
generic class.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import multiprocessing
import multiprocessing.connection
import typing
import uuid
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

from eventlog.codecs import codec_from_stored
from eventlog.codecs.kinds import fields_of, library_of

T = TypeVar("T")


class Shade(enum.Enum):
    """An enum of text."""

    DARK = "dark"
    LIGHT = "light"


@attrs.frozen
class AttrsBox(Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


@dataclasses.dataclass
class DataBox(Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


class ModelBox(pydantic.BaseModel, Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


class StructBox(msgspec.Struct, Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


class DictBox(TypedDict, Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


class PairBox(NamedTuple, Generic[T]):
    """A generic class."""

    item: T
    items: list[T]


BOXES: dict[str, Any] = {
    "attrs": AttrsBox,
    "dataclasses": DataBox,
    "pydantic": ModelBox,
    "msgspec": StructBox,
    "typeddict": DictBox,
    "namedtuple": PairBox,
}
LIBRARIES = list(BOXES)

SCALARS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, st.integers(-(2**63), 2**64 - 1)),
    "str": (str, st.text(max_size=5)),
    "float": (float, st.floats()),
    "bool": (bool, st.booleans()),
    "bytes": (bytes, st.binary(max_size=5)),
    "datetime": (
        dt.datetime,
        st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=-11))])),
    ),
    "date": (dt.date, st.dates()),
    "decimal": (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    "uuid": (uuid.UUID, st.uuids()),
    "enum": (Shade, st.sampled_from(Shade)),
    "union": (int | str | None, st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=3))),
}


def types(library: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """Descriptions of the types of fields."""
    leaves = st.sampled_from([(name,) for name in SCALARS])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("list"), inner),
            st.tuples(st.just("dict"), inner),
            st.tuples(st.just("optional"), inner.filter(lambda one: one[0] not in ("optional", "union"))),
            st.tuples(st.just("box"), st.just(library), inner),
            classes(library, inner),
        ),
        max_leaves=5,
    )


def classes(library: str, inner: st.SearchStrategy[tuple[Any, ...]]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Descriptions of classes whose fields have such types."""
    return st.tuples(
        st.just("class"),
        st.just(library),
        st.sampled_from(["Order", "Line", "Buyer"]),
        st.lists(inner, min_size=1, max_size=4).map(
            lambda ones: tuple((f"field_{number}", one) for number, one in enumerate(ones))
        ),
    )


DESCRIPTIONS = st.sampled_from(LIBRARIES).flatmap(lambda library: classes(library, types(library)))


def made(described: tuple[Any, ...], memory: dict[Any, Any]) -> Any:
    """The type of a description; equal descriptions give the same class."""
    if described not in memory:
        memory[described] = _made(described, memory)
    return memory[described]


def _made(described: tuple[Any, ...], memory: dict[Any, Any]) -> Any:
    kind, *rest = described
    if kind in SCALARS:
        return SCALARS[kind][0]
    if kind == "list":
        return list[made(rest[0], memory)]  # type: ignore[misc]
    if kind == "dict":
        return dict[str, made(rest[0], memory)]  # type: ignore[misc]
    if kind == "optional":
        return made(rest[0], memory) | None
    if kind == "box":
        return BOXES[rest[0]][made(rest[1], memory)]
    library, name, fields = rest
    types = {field: made(inner, memory) for field, inner in fields}
    one: Any
    if library == "attrs":
        one = attrs.make_class(name, {field: attrs.field(type=inner) for field, inner in types.items()})
    elif library == "dataclasses":
        one = dataclasses.make_dataclass(name, list(types.items()))
    elif library == "pydantic":
        one = pydantic.create_model(name, **{field: (inner, ...) for field, inner in types.items()})
    elif library == "msgspec":
        one = msgspec.defstruct(name, list(types.items()))
    elif library == "typeddict":
        one = TypedDict(name, types)  # type: ignore[misc,operator]
    else:
        one = NamedTuple(name, list(types.items()))  # type: ignore[misc]
    one.__module__ = "shop"
    return one


def values(described: tuple[Any, ...], memory: dict[Any, Any]) -> st.SearchStrategy[Any]:
    """Values of a description."""
    kind, *rest = described
    if kind in SCALARS:
        return SCALARS[kind][1]
    if kind == "list":
        return st.lists(values(rest[0], memory), max_size=2)
    if kind == "dict":
        return st.dictionaries(st.text(max_size=3), values(rest[0], memory), max_size=2)
    if kind == "optional":
        return st.none() | values(rest[0], memory)
    one = made(described, memory)
    fields = (
        {field: values(inner, memory) for field, inner in rest[2]}
        if kind == "class"
        else {"item": values(rest[1], memory), "items": st.lists(values(rest[1], memory), max_size=2)}
    )
    construct = typing.get_origin(one) or one
    return st.fixed_dictionaries(fields).map(lambda given: construct(**given))


def canonical(value: Any) -> Any:
    """A value as one that can be sent and compared: instances with the name of their class, NaN as text."""
    library = library_of(type(value))
    if library is not None and library != "typeddict":
        name = type(value).__name__.partition("[")[0]
        return [name, {field.name: canonical(getattr(value, field.name)) for field in fields_of(type(value))}]
    if isinstance(value, dict):
        return {name: canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(canonical, value))
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC)
    return (type(value).__name__, value)


def is_plain(value: Any) -> bool:
    """Whether a value is made of what MessagePack has, and of no class."""
    if type(value) is dict:
        return all(type(name) is str for name in value) and all(map(is_plain, value.values()))
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (int, str, float, bool, bytes, dt.datetime)


# -- the other process -----------------------------------------------------------------------------------------------


def serve(pipe: multiprocessing.connection.Connection) -> None:
    """Decode what comes down the pipe: with the classes of the descriptions, and without any."""
    while True:
        try:
            described, stored, data = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_answer(described, stored, data))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}", False, {}))


def _answer(described: list[tuple[Any, ...]], stored: dict[str, Any], data: bytes) -> tuple[Any, ...]:
    memory: dict[Any, Any] = {}
    declared = tuple(made(one, memory) for one in described)
    value = declared if stored["name"] == "events" else declared[0]
    codec = codec_from_stored(stored, value, topic="orders", role="value")
    without = codec_from_stored(stored, None, topic="orders", role="value")
    plain = without.decode(data)
    again = codec.decode(without.encode(plain))
    return canonical(codec.decode(data)), canonical(again), is_plain(plain), plain


class OtherProcess:
    """A process that decodes with classes of its own."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def decoded(self, described: list[tuple[Any, ...]], stored: dict[str, Any], data: bytes) -> tuple[Any, ...]:
        """What the other process makes of some bytes."""
        self._pipe.send((described, stored, data))
        assert self._pipe.poll(30)
        answer: tuple[Any, ...] = self._pipe.recv()
        return answer

    def close(self) -> None:
        """End it."""
        self._pipe.close()
        self._process.join(10)
