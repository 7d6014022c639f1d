"""
`NamedTuple` as `typing` has it, made in a sixth of the time.

`typing.NamedTuple` compiles and checks the annotation of every field, and `collections.namedtuple` compiles a
constructor: 60 to 100 us a class. Every program makes some fifty of them when it imports us, and twenty more when it
joins its first group. Here annotations stay the strings that they are in the source, and a constructor is one of ours
with other names for its arguments. Type checkers see the class of `typing`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - so it is exported
else:
    from collections import namedtuple
    from types import FunctionType

    _new = tuple.__new__
    _UNEXPECTED = TypeError if sys.version_info >= (3, 13) else ValueError

    def _make(cls: type, iterable: Iterable[Any]) -> Any:
        """Make a tuple of the values of an iterable."""
        made = _new(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self: Any, /, **changes: Any) -> Any:
        """Return a tuple with other values for some fields."""
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise _UNEXPECTED(f"Got unexpected field names: {list(changes)!r}")
        return made

    def _repr(self: Any) -> str:
        """Return the fields with their values."""
        fields = [f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True)]
        return f"{type(self).__name__}({', '.join(fields)})"

    _NEW = (
        lambda s: _new(s, ()),
        lambda s, a: _new(s, (a,)),
        lambda s, a, b: _new(s, (a, b)),
        lambda s, a, b, c: _new(s, (a, b, c)),
        lambda s, a, b, c, d: _new(s, (a, b, c, d)),
        lambda s, a, b, c, d, e: _new(s, (a, b, c, d, e)),
        lambda s, a, b, c, d, e, f: _new(s, (a, b, c, d, e, f)),
        lambda s, a, b, c, d, e, f, g: _new(s, (a, b, c, d, e, f, g)),
        lambda s, a, b, c, d, e, f, g, h: _new(s, (a, b, c, d, e, f, g, h)),
        lambda s, a, b, c, d, e, f, g, h, i: _new(s, (a, b, c, d, e, f, g, h, i)),
        lambda s, a, b, c, d, e, f, g, h, i, j: _new(s, (a, b, c, d, e, f, g, h, i, j)),
        lambda s, a, b, c, d, e, f, g, h, i, j, k: _new(s, (a, b, c, d, e, f, g, h, i, j, k)),
        lambda s, a, b, c, d, e, f, g, h, i, j, k, m: _new(s, (a, b, c, d, e, f, g, h, i, j, k, m)),
        lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n: _new(s, (a, b, c, d, e, f, g, h, i, j, k, m, n)),
        lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o: _new(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o)),
        lambda s, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p: _new(s, (a, b, c, d, e, f, g, h, i, j, k, m, n, o, p)),
    )
    """Constructors like those of `namedtuple`, by the number of fields; a class with more has one from there."""
    _ONE = vars(namedtuple("_One", ("one",)))  # noqa: PYI024
    _getter = type(_ONE["one"])
    _DOCS = [f"Alias for field number {index}" for index in range(len(_NEW))]
    _COMMON = {
        "__slots__": (),
        "__getnewargs__": _ONE["__getnewargs__"],
        "__repr__": _repr,
        "_asdict": _ONE["_asdict"],
        "_make": classmethod(_make),
        "_replace": _replace,
    }
    """What is the same in all of them."""
    if "__replace__" in _ONE:  # from Python 3.13 on
        _COMMON["__replace__"] = _replace

    class _Maker(type):
        """The class of `NamedTuple`: a class made from it is like one of `collections.namedtuple`."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            if len(fields) >= len(_NEW):
                made = namedtuple(name, fields, defaults=defaults.values(), module=namespace["__module__"])  # noqa: PYI024
                for attribute, value in namespace.items():
                    if attribute != "__module__":
                        setattr(made, attribute, value)
                return made
            new = FunctionType(
                _NEW[len(fields)].__code__.replace(
                    co_name="__new__", co_qualname=f"{name}.__new__", co_varnames=("_cls", *fields)
                ),
                globals(),
                "__new__",
                tuple(defaults.values()),
            )
            shown = f"{name}({', '.join(fields)}{',' * (len(fields) == 1)})"
            new.__doc__ = f"Create new instance of {shown}"
            members = {**_COMMON, "__doc__": shown, "__new__": new, **namespace}
            members |= {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
            for index, field in enumerate(fields):
                members[field] = _getter(index, _DOCS[index])
            return type(name, (tuple,), members)

    class NamedTuple(metaclass=_Maker):
        """A tuple with names for its fields, as the class says them, and with its methods."""
