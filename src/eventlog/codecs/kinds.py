"""
The classes whose instances can be stored: which library a class is of, and which fields it has.

A class is recognised by what its library leaves in it, so that no library is imported for a question. The functions
that take instances apart are in `fields.py` and `models.py`.
"""

from __future__ import annotations

from enum import EnumMeta
from typing import Any, Literal, TypeAlias, TypeGuard, get_args, get_origin, get_type_hints

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

Library: TypeAlias = Literal["attrs", "dataclasses", "msgspec", "namedtuple", "pydantic", "typeddict"]
"""The library, or the part of `typing`, that a class is made with."""


class Field(NamedTuple):
    """One field of a class, as it is stored."""

    name: str
    type: object
    is_required: bool


def library_of(declared: object) -> Library | None:
    """Return the library of a class, or of a generic class with its arguments; None for anything else."""
    one = get_origin(declared) or declared
    if not isinstance(one, type):
        return None
    if "__attrs_attrs__" in one.__dict__ or hasattr(one, "__attrs_attrs__"):
        return "attrs"
    if hasattr(one, "__pydantic_fields__"):  # models, and the dataclasses of pydantic
        return "pydantic"
    if hasattr(one, "__dataclass_fields__"):
        return "dataclasses"
    if hasattr(one, "__struct_fields__"):
        return "msgspec"
    if issubclass(one, tuple) and hasattr(one, "_fields"):
        return "namedtuple"
    if issubclass(one, dict) and hasattr(one, "__required_keys__"):
        return "typeddict"
    return None


def is_class(declared: object) -> TypeGuard[type]:
    """Whether instances of something can be stored field by field."""
    return library_of(declared) is not None


def is_enum(declared: object) -> TypeGuard[type]:
    """Whether something is an enum with members."""
    return isinstance(declared, EnumMeta) and len(declared) > 0


def class_of(declared: Any) -> type:
    """Return the type of the instances: the class itself, without arguments; dict for a TypedDict."""
    one: type = get_origin(declared) or declared
    return dict if library_of(one) == "typeddict" else one


def short_name(declared: Any) -> str:
    """Return the name of a class without its module and its arguments, by which it is known."""
    name: str = (get_origin(declared) or declared).__name__
    return name.partition("[")[0]


def full_name(declared: Any) -> str:
    """Return the name of a class with its module, as it is stored."""
    one = get_origin(declared) or declared
    return f"{one.__module__}.{one.__qualname__.partition('[')[0]}"


def stored_name(stored_class: str) -> str:
    """Return the name without the module of a class that is stored with its full name."""
    return stored_class.rpartition(".")[2]


def fields_of(declared: Any) -> list[Field]:
    """Return the fields that are stored: those from which an instance is made."""
    one, library = get_origin(declared) or declared, library_of(declared)
    if library == "attrs":
        import attrs

        return [Field(f.name, f.type, f.default is attrs.NOTHING) for f in attrs.fields(one) if f.init]
    if library == "dataclasses":
        import dataclasses

        missing = dataclasses.MISSING
        return [
            Field(f.name, f.type, f.default is missing and f.default_factory is missing)
            for f in dataclasses.fields(one)
            if f.init
        ]
    if library == "pydantic":
        return [Field(name, f.annotation, f.is_required()) for name, f in one.__pydantic_fields__.items()]
    if library == "msgspec":
        import msgspec

        return [Field(f.encode_name, f.type, f.required) for f in msgspec.structs.fields(one)]
    hints = hints_of(one)
    if library == "namedtuple":
        return [Field(name, hints.get(name, Any), name not in one._field_defaults) for name in one._fields]
    return [Field(name, _without_marks(hint), _is_required(one, name, hint)) for name, hint in hints.items()]


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, where NaN equals NaN, and a class without `__eq__` is compared field by field."""
    if one == other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one != one and other != other  # NaN
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(inner, other[name]) for name, inner in one.items())
    library = library_of(type(one))
    if library in (None, "namedtuple"):
        return isinstance(one, list | tuple) and len(one) == len(other) and all(map(is_same, one, other))
    if library == "pydantic":
        names: Any = one.__dict__.keys() | other.__dict__.keys()
    else:
        names = one.__struct_fields__ if library == "msgspec" else [field.name for field in fields_of(type(one))]
    return all(is_same(getattr(one, name, None), getattr(other, name, None)) for name in names)


def hints_of(declared: type) -> dict[str, Any]:
    """Return the types of the fields of a class, as text where a name cannot be looked up."""
    try:
        return get_type_hints(declared, include_extras=True)
    except unless_interrupted(NameError, TypeError):
        return dict(declared.__annotations__)


def _mark(hint: object) -> str:
    """Return the name of what stands around a type in a TypedDict: `Required`, `NotRequired` or `ReadOnly`."""
    return str(getattr(get_origin(hint), "_name", ""))


def _without_marks(hint: object) -> object:
    while _mark(hint) in ("Required", "NotRequired", "ReadOnly"):
        hint = get_args(hint)[0]
    return hint


def _is_required(declared: Any, name: str, hint: object) -> bool:
    """Whether a TypedDict needs a key; with annotations that are text, Python itself does not know of the marks."""
    while _mark(hint) == "ReadOnly":
        hint = get_args(hint)[0]
    if _mark(hint) in ("Required", "NotRequired"):
        return _mark(hint) == "Required"
    return name in declared.__required_keys__
