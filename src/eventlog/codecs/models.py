"""
The fields of pydantic models and msgspec Structs: taken apart for MessagePack, and made again, by their own libraries.

Both libraries make instances without looking at every value (`model_construct`, the constructor of a Struct), and a
serializer of the user's may write what its validator does not read. So every instance is read again when it is
written: a record that nobody can read must never be stored.

A library is imported when a class of it is declared; whoever has the class has the library.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from eventlog.codecs.base import type_name
from eventlog.codecs.documents import pack
from eventlog.codecs.kinds import is_same, library_of

Write: TypeAlias = Callable[[Any], Any]
Read: TypeAlias = Callable[[Any, Any], Any]

_NATIVE = (bytes, dt.datetime)
"""The types beside those of JSON that MessagePack has itself."""


def model_hooks(declared: type, *, is_key: bool) -> tuple[Write, Read]:
    """
    Return the function that takes an instance apart and the one that makes it.

    Args:
        declared: a pydantic model, a dataclass of pydantic, or a Struct.
        is_key: whether equal instances need equal bytes.

    Raises:
        ImportError: the library is older than what is needed here.
        TypeError: the library cannot read and write the class, or would write no fields.
    """
    write, read = _pydantic_hooks(declared, is_key) if library_of(declared) == "pydantic" else _msgspec_hooks(declared)

    def write_checked(value: object) -> Any:
        if type(value) is not declared:
            raise TypeError(f"{type_name(value)} in a field of type {declared.__qualname__}")
        stored = write(value)
        again = read(stored, declared)
        if not is_same(value, again):
            raise TypeError("what it is stored as is read as something else")
        return stored

    return write_checked, read


# -- pydantic --------------------------------------------------------------------------------------------------------


def _pydantic_hooks(declared: Any, is_key: bool) -> tuple[Write, Read]:  # noqa: FBT001
    import pydantic
    import pydantic_core

    if tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 11):
        raise ImportError(f'pydantic {pydantic.VERSION} is too old. Run: pip install "pydantic>=2.11"')
    if getattr(declared, "__pydantic_root_model__", False):
        raise TypeError("a root model has no fields")
    adapter = pydantic.TypeAdapter(declared)
    plain = partial(_plain, partial(pydantic_core.to_jsonable_python, by_alias=False), is_key)

    def write(value: object) -> Any:
        return plain(adapter.dump_python(value, round_trip=True, by_alias=False, warnings=False))

    def read(stored: Any, _declared: object) -> Any:
        return adapter.validate_python(stored, strict=False, by_alias=False, by_name=True)

    return write, read


def _plain(other: Callable[[Any], Any], is_key: bool, value: Any) -> Any:  # noqa: FBT001
    """Return a value as MessagePack has it: sets as lists, members of enums by value, and the rest as text."""
    if value is None or isinstance(value, bool | bytes | dt.datetime):
        return value
    if isinstance(value, enum.Enum):
        return _plain(other, is_key, value.value)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {_plain(other, is_key, name): _plain(other, is_key, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(other, is_key, inner) for inner in value]
    if isinstance(value, set | frozenset):
        inner = [_plain(other, is_key, one) for one in value]
        return sorted(inner, key=pack) if is_key else inner
    return other(value)


# -- msgspec ---------------------------------------------------------------------------------------------------------


def _msgspec_hooks(declared: Any) -> tuple[Write, Read]:
    import msgspec

    if declared.__struct_config__.array_like:
        raise TypeError("an array_like Struct is written without the names of its fields")
    msgspec.msgpack.Decoder(declared)  # raises now for a type that it does not know
    write = partial(msgspec.to_builtins, builtin_types=_NATIVE, order="sorted")

    def read(stored: Any, _declared: object) -> Any:
        return msgspec.convert(stored, declared, builtin_types=_NATIVE)

    return write, read
