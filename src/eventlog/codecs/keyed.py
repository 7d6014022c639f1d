"""
The fields of TypedDicts and NamedTuples: dicts and tuples whose parts have names and types.

Both are stored as a map from names to values. cattrs has hooks for them, but it writes a NamedTuple as a list, drops
the keys that a TypedDict does not have, and knows no generic NamedTuple; so it has these instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

from eventlog.codecs.base import shorten, type_name
from eventlog.codecs.kinds import class_of, fields_of, short_name
from eventlog.codecs.models import Read, Write
from eventlog.interruptions import unless_interrupted

if TYPE_CHECKING:
    from cattrs import Converter


def dict_writer(declared: Any, converter: Converter) -> Write:
    """Make the hook for a TypedDict, whose keys are checked because a dict may have any."""
    types = _types_in(declared)
    required = frozenset(field.name for field in fields_of(declared) if field.is_required)

    def write(value: object) -> Any:
        if not isinstance(value, dict) or not required <= value.keys() <= types.keys():
            raise TypeError(f"{type_name(value)} without the keys of a {shorten(short_name(declared))}")
        return {name: converter.unstructure(item, unstructure_as=types[name]) for name, item in value.items()}

    for kind in types.values():
        _check_known(converter, kind)
    return write


def dict_reader(declared: Any, converter: Converter) -> Read:
    """Make the hook that reads a TypedDict; keys that it does not have are skipped."""
    types = _types_in(declared)
    required = frozenset(field.name for field in fields_of(declared) if field.is_required)

    def read(stored: Any, _declared: object) -> Any:
        missing = required - stored.keys()
        if missing:
            raise KeyError(*sorted(missing))
        return {name: converter.structure(item, types[name]) for name, item in stored.items() if name in types}

    return read


def pair_writer(declared: Any, converter: Converter) -> Write:
    """Make the hook for a NamedTuple."""
    origin, types = class_of(declared), _types_in(declared)

    def write(value: Any) -> Any:
        if type(value) is not origin:
            raise TypeError(f"{type_name(value)} in a field of type {shorten(origin.__qualname__)}")
        return {name: converter.unstructure(getattr(value, name), unstructure_as=types[name]) for name in types}

    for kind in types.values():
        _check_known(converter, kind)
    return write


def pair_reader(declared: Any, converter: Converter) -> Read:
    """Make the hook that reads a NamedTuple; what is not stored has its default."""
    origin, types = class_of(declared), _types_in(declared)

    def read(stored: Any, _declared: object) -> Any:
        given = {name: converter.structure(stored[name], kind) for name, kind in types.items() if name in stored}
        return origin(**given)

    return read


def _types_in(declared: Any) -> dict[str, Any]:
    """Return the types of fields, with the arguments of a generic class in their places."""
    origin = get_origin(declared) or declared
    arguments = dict(zip(getattr(origin, "__parameters__", ()), get_args(declared), strict=False))

    def filled(hint: Any) -> Any:
        if hint in arguments:
            return arguments[hint]
        open_ones = getattr(hint, "__parameters__", ())
        return hint[tuple(arguments.get(one, Any) for one in open_ones)] if open_ones else hint

    return {field.name: filled(field.type) for field in fields_of(origin)}


def _check_known(converter: Converter, kind: Any) -> None:
    """Raise an error for a type that cattrs does not know, unless it is the class that we are making the hook of."""
    try:
        converter.get_structure_hook(kind)
    except unless_interrupted(RecursionError):
        return
